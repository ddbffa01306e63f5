"""What every metric asks of its arrays, and the blocks in which it looks at them."""

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.utils import gen_batches

BLOCK = 2**22  # entries of a distance matrix held at once: 32 MB


def row_blocks(n: int, m: int) -> Iterator[slice]:
    """Yield slices of the rows of an `n x m` matrix, few enough that a block fits in memory."""
    return gen_batches(n, max(1, BLOCK // m))


def same_space(predicted, true, other: str = "true") -> tuple[np.ndarray, np.ndarray]:
    """Both as finite float64 matrices with as many columns; the messages name the argument."""
    checked = []
    for name, values in (("predicted", predicted), (other, true)):
        cells = np.asarray(values)
        if cells.ndim != 2 or not np.issubdtype(cells.dtype, np.number):
            raise ValueError(
                f"`{name}` must be numbers, cells x features; found {cells.dtype} of shape {cells.shape}."
            )
        if len(cells) < 2 or cells.shape[1] == 0:
            raise ValueError(
                f"`{name}` has shape {cells.shape}: at least 2 cells and 1 feature are needed."
            )
        if not np.isfinite(cells).all():
            bad = int((~np.isfinite(cells)).any(1).sum())
            raise ValueError(
                f"`{name}` has NaN or infinite values in {bad} of {len(cells)} cells: drop those cells."
            )
        checked.append(cells.astype(np.float64))
    if checked[0].shape[1] != checked[1].shape[1]:
        widths = checked[0].shape[1], checked[1].shape[1]
        raise ValueError(
            f"`predicted` has {widths[0]} features, `{other}` {widths[1]}: give both in one space."
        )
    return checked[0], checked[1]


def one_label_a_cell(values: Sequence, cells: np.ndarray, name: str) -> np.ndarray:
    """Labels as strings; the messages name the argument."""
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
