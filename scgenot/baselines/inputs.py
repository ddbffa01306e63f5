"""What every baseline asks of its arguments."""

from collections.abc import Sequence

import numpy as np


def one_space(populations: dict[str, np.ndarray]) -> list[np.ndarray]:
    """All as finite float64 matrices with as many columns; the messages call them by their keys."""
    checked: dict[str, np.ndarray] = {}
    for name, values in populations.items():
        cells = np.asarray(values)
        if cells.ndim != 2 or not np.issubdtype(cells.dtype, np.number):
            raise ValueError(
                f"`{name}` must be numbers, cells x features; found {cells.dtype} of shape {cells.shape}."
            )
        if 0 in cells.shape:
            raise ValueError(
                f"`{name}` has shape {cells.shape}: at least 1 cell and 1 feature are needed."
            )
        if not np.isfinite(cells).all():
            bad = int((~np.isfinite(cells)).any(1).sum())
            raise ValueError(
                f"`{name}` has NaN or infinite values in {bad} of {len(cells)} cells: drop those cells."
            )
        checked[name] = cells.astype(
            np.float64
        )  # a copy: what is returned is never the caller's array
    first = next(iter(checked))
    for name, cells in checked.items():
        widths = checked[first].shape[1], cells.shape[1]
        if widths[0] != widths[1]:
            raise ValueError(
                f"`{first}` has {widths[0]} features, `{name}` {widths[1]}: give all in one space."
            )
    return list(checked.values())


def group_labels(values: Sequence, cells: np.ndarray, name: str) -> np.ndarray:
    """Labels as strings, one a cell."""
    labels = np.asarray(values, dtype=object)
    if labels.shape != (len(cells),):
        raise ValueError(
            f"`{name}` has shape {labels.shape}, expected ({len(cells)},): one label a cell."
        )
    missing = sum(
        label is None or label != label for label in labels
    )  # NaN alone differs from itself
    if missing:
        raise ValueError(
            f"`{name}` is missing for {missing} of {len(cells)} cells: drop those cells or name the group."
        )
    return labels.astype(str)


def check_fraction(value: float, name: str) -> None:
    """Raise a ValueError unless the value is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}={value}` must be between 0 and 1.")


def check_count(value: int, name: str) -> None:
    """Raise a ValueError unless the value is a whole number of at least 1."""
    if value != int(value) or value < 1:
        raise ValueError(f"`{name}={value}` must be a whole number, at least 1.")
