"""Warnings that point at the line of the user, however deep in the package they arise."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_said: ContextVar[set[str] | None] = ContextVar("said", default=None)


@contextmanager
def each_once() -> Iterator[None]:
    """Give each warning of the package once within, however many questions give rise to it."""
    token = _said.set(set())
    try:
        yield
    finally:
        _said.reset(token)


def warn_user(message: str) -> None:
    """Warn of a mistake or a risk of the user's, at the first line outside of scgenot."""
    said = _said.get()
    if said is not None:
        if message in said:
            return
        said.add(message)
    level, frame = 1, sys._getframe(0)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "scgenot":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
