"""Groups of cells out of obs."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.labels import factorize, text_of, texts_of
from scgenot.cells.read import check_column

# a column of obs, or some of its groups
Groups = str | Mapping[str, Sequence[object]]


def read_groups(
    adata: AnnData,
    groupby: str,
    groups: Sequence[object] | object | None = None,
    *,
    among: np.ndarray | None = None,
    argument: str = "groupby",
    named: str | None = None,
) -> tuple[pd.Index, np.ndarray]:
    """Read which cells are in which group.

    Parameters
    ----------
    adata
        Cells.
    groupby
        Column of obs.
    groups
        Labels, or one; None for all that are there, in the order of the categories or sorted.
    among
        Which cells count, shape `(n_obs,)`; None for all.
    argument
        What `groupby` is called in messages.
    named
        What `groups` is called in messages; None for `argument`.

    Returns
    -------
    The labels as the column holds them, and whether each cell has each, shape `(n_obs, n_groups)`.

    Raises
    ------
    KeyError
        When there is no such column.
    ValueError
        When no cell that counts has a group.
    """
    check_column(adata, groupby, argument)
    codes, known = factorize(adata.obs[groupby])
    if among is not None:
        codes = np.where(among, codes, -1)
    texts = texts_of(known)
    first = {text: code for code, text in reversed(list(enumerate(texts)))}
    # labels that read the same are one group, as everywhere
    codes = np.array([*(first[text] for text in texts), -1])[codes]
    place = {texts[code]: code for code in np.unique(codes[codes >= 0])}
    asked = groups if np.iterable(groups) and not isinstance(groups, str) else [groups]
    names = list(place) if groups is None else list(map(text_of, asked))
    unknown = [name for name in names if name not in place]
    if unknown or not names:
        where = "" if among is None else f" of the {among.sum()} at this time"
        raise ValueError(
            f"`{named or argument}`: no cell{where} has {unknown or 'any group'} in {groupby!r}; "
            f"found {list(place)}."
        )
    chosen = np.array([place[name] for name in names])
    return known[chosen], codes[:, None] == chosen


def column_of(groups: Groups) -> str:
    """Return the column that groups are of."""
    return groups if isinstance(groups, str) else next(iter(groups))


def described(adata: AnnData, columns: Sequence[str], covariates: Sequence[str]) -> dict:
    """Say of the columns of a table of groups what a plot needs to know: labels and colors.

    `within` is the column, where it is one that cells were coupled within.
    """
    labels, colors = {}, {}
    for column in dict.fromkeys(columns):
        values = adata.obs[column]
        is_category = isinstance(values.dtype, pd.CategoricalDtype)
        known = values.cat.categories if is_category else factorize(values)[1]
        names, stored = texts_of(known), adata.uns.get(f"{column}_colors", ())
        labels |= dict.fromkeys(names)
        if len(stored) == len(names):
            colors = dict(zip(names, map(str, stored), strict=True)) | colors
    one = columns[0] if len(set(columns)) == 1 and columns[0] in covariates else None
    return {"labels": list(labels), "colors": colors, "within": one}


def read_mask(adata: AnnData, cells, groupby: str | None = None) -> np.ndarray:
    """Read a set of cells, given as a mask or as groups of a column of obs."""
    if groupby is not None:
        return read_groups(adata, groupby, cells, named="cells")[1].any(axis=1)
    mask = np.asarray(cells)
    if mask.shape != (adata.n_obs,) or mask.dtype != bool:
        raise ValueError(
            f"`cells` must be a boolean for each of {adata.n_obs} cells, or groups of the column "
            f"`groupby`; found {mask.dtype} of shape {mask.shape}."
        )
    return mask
