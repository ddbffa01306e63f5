"""Options that a caller passes: refused before any work, by name and with what was found."""

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def check_count(name: str, value, least: int, why: str = "") -> None:
    """Refuse what is no whole number of at least some size."""
    expected = f"a whole number, at least {least}{why and ' '}{why}"
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"`{name}={value!r}` must be {expected}.")
    if value < least:
        raise ValueError(f"`{name}={value}` must be {expected}.")


def check_number(name: str, value, expected: str, allowed: Callable[[float], bool]) -> None:
    """Refuse what is no number, or not an allowed one."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"`{name}={value!r}` must be a number, {expected}.")
    if not allowed(value):
        raise ValueError(f"`{name}={value}` must be {expected}.")


def check_share(name: str, value) -> None:
    """Refuse what is no number between 0 and 1, the ends left out; as :func:`check_number`."""
    check_number(name, value, "between 0 and 1", lambda share: 0 < share < 1)


def check_hidden_share(value) -> None:
    """Refuse a share of hidden conditions that is not at least 0 and below 1, or None; as :func:`check_number`."""
    if value is None:
        return
    check_number("condition_dropout", value, "at least 0 and below 1", lambda share: 0 <= share < 1)


def check_guidance(guidance) -> None:
    """Refuse a strength of guidance that is no finite number; as :func:`check_number`."""
    check_number("guidance", guidance, "finite; 1 is the fit's own law", math.isfinite)


def best_device() -> str:
    """Return "cuda" when there is one, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_device(device: "str | torch.device | None") -> "str | torch.device":
    """Return a device to compute on."""
    import torch

    if device is None:
        return best_device()
    try:
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"`device={device!r}` cannot be used here ({reason}); 'cpu' always can, None takes CUDA where there is one."
        ) from error
    return device


def check_dose(dose) -> None:
    """Refuse a dose, or one of several, that is not a number of 0 or more; None is no dose."""
    for value in dose if isinstance(dose, (list, tuple)) else [dose]:
        if value is not None:
            check_number("dose", value, "a number >= 0", lambda each: 0 <= each < math.inf)
