"""Warnings that point at the line of the user, however deep in the package they arise."""

import sys
import warnings


def warn_user(message: str) -> None:
    """Warn of a mistake or a risk of the user's, at the first line outside of scgenot."""
    level, frame = 1, sys._getframe(0)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("scgenot"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
