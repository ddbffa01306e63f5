"""Values of a column of obs that were carried to other cells, as they are written."""

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.groups import read_groups
from scgenot.cells.keys import KEPT, UNASSIGNED
from scgenot.cells.labels import like_column
from scgenot.course.chain import ratio


def read_values(
    adata: AnnData, column: str, here: np.ndarray | None = None
) -> tuple[pd.Index | None, np.ndarray]:
    """Return labels and which cells have them; or None, and numbers beside 1 if known.

    Cells outside the mask `here` have no value; None for all.
    """
    if column in adata.obs and adata.obs[column].dtype.kind in "iuf":
        numbers = adata.obs[column].to_numpy(dtype=float, na_value=np.nan)
        known = np.isfinite(numbers) if here is None else here & np.isfinite(numbers)
        return None, np.column_stack([np.where(known, numbers, 0), known])
    return read_groups(adata, column, among=here, argument="column")


def carried(
    found: np.ndarray,
    labels: pd.Index | None,
    column: pd.Series,
    name: str,
    kept: np.ndarray | None = None,
) -> dict[str, object]:
    """Return the columns of obs for what was carried.

    Parameters
    ----------
    found
        Mass of each label in each cell, shape `(n, k)`; or sums of numbers and of their weights.
    labels
        The labels; None for numbers.
    column
        The column that they are of.
    name
        What to write.
    kept
        Share of the mass of each cell that a partial plan keeps, shape `(n,)`, NaN for cells that
        nothing was carried to; None where all is kept.
    """
    is_left = np.zeros(len(found), dtype=bool) if kept is None else kept < KEPT
    share = {} if kept is None else {f"{name}_kept": kept}
    if labels is None:
        return {name: np.where(is_left, np.nan, ratio(*found.T)), **share}
    total = found.sum(axis=1)
    codes = np.where(total > 0, found.argmax(axis=1), len(labels) + 1)
    codes[is_left] = len(labels)
    probability = ratio(found.max(axis=1), total)
    if kept is not None:
        probability = np.where(is_left, 1 - kept, probability * kept)
    every = np.array([*labels.to_numpy(dtype=object), UNASSIGNED, None], dtype=object)
    values = like_column(every[codes], column)
    return {
        # text becomes a category, as in a file
        name: pd.Categorical(values) if values.dtype.kind == "O" else values,
        f"{name}_probability": probability,
        **share,
    }
