"""Groups of cells out of obs."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.read import check_column

# a column of obs, or some of its groups
Groups = str | Mapping[str, Sequence[str]]


def read_groups(
    adata: AnnData,
    groupby: str,
    groups: Sequence[str] | str | None = None,
    *,
    among: np.ndarray | None = None,
    argument: str = "groupby",
) -> tuple[list[str], np.ndarray]:
    """Read which cells are in which group."""
    check_column(adata, groupby, argument)
    column = adata.obs[groupby]
    known = (
        column.cat.categories
        if isinstance(column.dtype, pd.CategoricalDtype)
        else sorted(column.dropna().unique())
    )
    here = column.notna().to_numpy() if among is None else column.notna().to_numpy() & among
    labels = np.where(here, column.astype(str).to_numpy(dtype=object), None)
    found = [name for name in map(str, known) if (labels == name).any()]
    names = (
        found
        if groups is None
        else [str(name) for name in ([groups] if np.isscalar(groups) else groups)]
    )
    unknown = [name for name in names if name not in found]
    if unknown or not names:
        where = "" if among is None else f" of the {among.sum()} at this time"
        raise ValueError(
            f"`{argument}`: no cell{where} has {unknown or 'any group'} in {groupby!r}; found {found}."
        )
    return names, np.stack([labels == name for name in names], axis=1)


def read_mask(adata: AnnData, cells, groupby: str | None) -> np.ndarray:
    """Read a set of cells, given as a mask or as groups of a column of obs."""
    if groupby is not None:
        return read_groups(adata, groupby, cells)[1].any(axis=1)
    mask = np.asarray(cells)
    if mask.shape != (adata.n_obs,) or mask.dtype != bool:
        raise ValueError(
            f"`cells` must be a boolean for each of {adata.n_obs} cells, or groups of the column `groupby`; found "
            f"{mask.dtype} of shape {mask.shape}."
        )
    return mask
