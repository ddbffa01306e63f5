"""What a caller passes is checked before any work; messages give its name and what was found."""

import math
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from scgenot._settings import settings

if TYPE_CHECKING:
    import torch


LARGEST = 1e150  # squared distances of larger cells are infinite


def check_count(name: str, value, least: int, why: str = "") -> None:
    """Raise unless a value is an integer of at least some size."""
    expected = f"an integer >= {least}{why and ' '}{why}"
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"`{name}={value!r}` must be {expected}.")
    if value < least:
        raise ValueError(f"`{name}={value}` must be {expected}.")


def check_number(name: str, value, expected: str, allowed: Callable[[float], bool]) -> None:
    """Raise unless a value is a number, and an allowed one."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"`{name}={value!r}` must be a number, {expected}.")
    if not allowed(value):
        raise ValueError(f"`{name}={value}` must be {expected}.")


def check_share(name: str, value) -> None:
    """Raise unless a value is a number between 0 and 1, the ends excluded."""
    check_number(name, value, "between 0 and 1", lambda share: 0 < share < 1)


def check_rate(name: str, value) -> None:
    """Raise unless a value is a number of at least 0 and below 1."""
    check_number(name, value, "at least 0 and below 1", lambda rate: 0 <= rate < 1)


def check_unit(name: str, value) -> None:
    """Raise unless a value is a number between 0 and 1, the ends included."""
    check_number(name, value, "between 0 and 1", lambda share: 0 <= share <= 1)


def check_guidance(guidance) -> None:
    """Raise unless the strength of guidance is a finite number."""
    check_number(
        "guidance", guidance, "finite; 1 is the learned distribution", lambda g: abs(g) < 1e6
    )


def check_matrix(values, name: str, least: int = 2) -> np.ndarray:
    """Return finite numbers, cells x features, of at least so many cells; raises a ValueError."""
    cells = as_array(values, name)
    if cells.ndim != 2 or not np.issubdtype(cells.dtype, np.number):
        raise ValueError(
            f"`{name}` must be numbers, cells x features; "
            f"found {cells.dtype} of shape {cells.shape}."
        )
    if len(cells) < least or cells.shape[1] == 0:
        raise ValueError(
            f"`{name}` has shape {cells.shape}: at least {least} cell(s) and 1 feature are needed."
        )
    if not np.isfinite(cells).all():
        bad = int((~np.isfinite(cells)).any(1).sum())
        raise ValueError(
            f"`{name}` has NaN or infinite values in {bad} of {len(cells)} cells: "
            "drop or impute them."
        )
    if cells.dtype.kind == "f" and float(np.abs(cells).max()) > LARGEST:
        raise ValueError(f"`{name}` has values above {LARGEST}: their squares overflow; rescale.")
    return cells


def as_array(values, name: str, kind: type | None = None) -> np.ndarray:
    """Return values as an array, or raise a ValueError that names them."""
    if hasattr(values, "detach"):  # a tensor, on any device
        values = values.detach().cpu()
    try:
        return np.asarray(values, dtype=kind)
    except (TypeError, ValueError, OverflowError) as error:
        found = type(values).__name__
        raise ValueError(f"`{name}` must be an array of numbers; found {found}: {error}") from error


def check_one_space(populations: Mapping[str, object], least: int = 1) -> list[np.ndarray]:
    """Return float64 copies of matrices by name, all with as many features."""
    checked = [
        check_matrix(cells, name, least).astype(np.float64) for name, cells in populations.items()
    ]
    first = next(iter(populations))
    for name, cells in zip(populations, checked, strict=True):
        if cells.shape[1] != checked[0].shape[1]:
            raise ValueError(
                f"`{first}` has {checked[0].shape[1]} features, `{name}` {cells.shape[1]}: "
                "give all in one space."
            )
    return checked


def check_weights(values, n: int, name: str, *, rows: bool = False) -> np.ndarray:
    """Return weights of `n` cells, ones for None; `rows` also allows a matrix of shape (b, n)."""
    if values is None:
        return np.ones(n)
    weights = as_array(values, name, float)
    if weights.shape[-1:] != (n,) or weights.ndim > 1 + rows:
        expected = f"({n},)" + rows * f" or (b, {n})"
        raise ValueError(
            f"`{name}` has shape {weights.shape}, expected {expected}: one weight per cell."
        )
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"`{name}` must be finite, non-negative and not all zero.")
    return weights


def check_labels(values: Sequence, n: int, name: str) -> np.ndarray:
    """Return labels of `n` cells as strings; raises a ValueError when one is missing."""
    labels = np.asarray(values, dtype=object)
    if labels.shape != (n,):
        raise ValueError(f"`{name}` has shape {labels.shape}, expected ({n},): one label per cell.")
    if not all(isinstance(label, Hashable) for label in labels):
        raise ValueError(f"`{name}` must be one label per cell; found lists among them.")
    # NaN alone differs from itself
    missing = sum(label is None or label != label for label in labels)
    if missing:
        raise ValueError(
            f"`{name}` is missing for {missing} of {n} cells: drop those cells or name the group."
        )
    return labels.astype(str)


def check_memory(name: str, value, n_values: int) -> None:
    """Refuse an option that asks for more single precision numbers than the machine can hold."""
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**40
    if 4 * n_values > pages * 4096:
        raise ValueError(
            f"`{name}={value}` asks for {4 * n_values / 1e9:.0f} GB, more than available: use a "
            "smaller number, or fewer cells at a time."
        )


def best_device() -> str:
    """Return "cuda" when there is one, else "cpu"; of several, the one of this process."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    own = int(os.environ.get("LOCAL_RANK", 0))  # set by torchrun
    return f"cuda:{own % torch.cuda.device_count()}" if own else "cuda"


def usable_device(device: "str | torch.device | None") -> "str | torch.device":
    """Return a device to compute on."""
    import torch

    device = settings.device if device is None else device
    if device is None:
        return best_device()
    try:
        # couplings and draws take double precision, which Apple's GPUs (mps) do not have
        torch.empty(0, device=device, dtype=torch.float64)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"`device={device!r}` is not available ({reason}); use 'cpu', or None for CUDA if "
            "available."
        ) from error
    return device


def check_dose(dose) -> None:
    """Refuse a dose, or one of several, that is not a number of 0 or more; None is no dose."""
    for value in dose if isinstance(dose, (list, tuple)) else [dose]:
        if value is not None:
            check_number("dose", value, "a number >= 0", lambda each: 0 <= each < math.inf)
