"""Populations in AnnData: patients, wells or neighborhoods, each a set of cells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from anndata import AnnData
from pandas.api.types import is_numeric_dtype
from scipy import sparse

from scgenot._check import check_count
from scgenot._warn import warn_user
from scgenot.cells.labels import factorize, text_of, texts_of
from scgenot.cells.read import check_anndata, check_column, representation
from scgenot.cells.write import plain

N_CELLS = "n_cells"


@dataclass(frozen=True)
class Populations:
    """Sets of cells in one representation.

    Parameters
    ----------
    key
        Column of obs that names the populations.
    labels
        Label of each population, as in the column.
    rows
        Positions of the cells of each; a cell may be in several, as in neighborhoods.
    cells
        The representation of all cells, shape `(n_obs, d)`.
    obs
        Columns that are constant within populations, and `n_cells`, by name of the population.
    """

    key: str
    labels: pd.Index
    rows: list[np.ndarray]
    cells: np.ndarray
    obs: pd.DataFrame

    def __len__(self) -> int:
        """Return the number of populations."""
        return len(self.rows)

    def __getitem__(self, position: int) -> np.ndarray:
        """Return the cells of one population, shape `(n_k, d)`."""
        return self.cells[self.rows[position]]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the cells of each population."""
        return (self.cells[rows] for rows in self.rows)

    @property
    def names(self) -> list[str]:
        """Names of the populations as text."""
        return list(self.obs.index)

    @property
    def sizes(self) -> np.ndarray:
        """Numbers of cells, shape `(n,)`."""
        return np.array(list(map(len, self.rows)))

    def select(self, positions: Sequence[int]) -> "Populations":
        """Return some of them, in the given order."""
        return replace(
            self,
            labels=self.labels[positions],
            rows=[self.rows[k] for k in positions],
            obs=self.obs.iloc[positions],
        )


def read_populations(
    adata: AnnData,
    population_key: str,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    constant: Sequence[str] = (),
    argument: str = "condition",
    least: int = 2,
    name: str = "adata",
) -> Populations:
    """Read populations and their cells.

    Cells without a label are ignored, with a warning.

    Parameters
    ----------
    adata
        Cells.
    population_key
        Column of obs with the population of each cell: text, numbers, booleans or categories. Or a
        key of obsp with neighborhoods: the entries of a row that are not 0 are the neighbors of a
        cell, and columns of this cell describe the neighborhood.
    use_rep
        Key of obsm, or "X"; None for the first of `X_pca`, `X_lsi`, `X_clr`.
    layer
        Layer to use instead of a representation.
    constant
        Columns of obs that must be constant within each population.
    argument
        Name of `constant` in messages.
    least
        Minimum number of populations.
    name
        Name of the AnnData in messages.

    Returns
    -------
    Populations in the order of the categories, or sorted.

    Raises
    ------
    KeyError
        When a column or the representation is not there.
    ValueError
        When there are too few populations, a column of `constant` varies within one, or the
        representation is not finite.
    """
    check_anndata(adata, name)
    check_count("least", least, 1)
    if population_key not in adata.obs and population_key in adata.obsp:
        return _neighborhoods(
            adata,
            population_key,
            constant,
            argument,
            representation(adata, use_rep, layer=layer, name=name),
        )
    check_column(adata, population_key, "population_key", name)
    codes, labels = _codes(adata.obs[population_key])
    missing = int((codes < 0).sum())
    if len(labels) < least:
        shown = f": {', '.join(texts_of(labels))}" if len(labels) else ""
        raise ValueError(
            f"`population_key={population_key!r}` has {len(labels)} population(s) in `{name}`"
            f"{shown}; at least {least} are needed."
        )
    order = np.argsort(codes, kind="stable")[missing:]
    rows = np.split(order, np.cumsum(np.bincount(codes[order]))[:-1])
    obs = constant_columns(adata, rows, leave_out=population_key)
    for column in constant:
        check_column(adata, column, argument, name)
        _check_constant(adata.obs[column], rows, texts_of(labels), argument)
    cells = representation(adata, use_rep, layer=layer, name=name)
    if missing:
        warn_user(
            f"`population_key={population_key!r}` is missing for {missing} of {len(codes)} cells "
            f"of `{name}`: they are ignored."
        )
    names = pd.Index(texts_of(labels), dtype=object, name=None)
    return Populations(population_key, labels, rows, cells, obs.set_axis(names, axis=0))


def _neighborhoods(
    adata: AnnData, key: str, constant: Sequence[str], argument: str, cells: np.ndarray
) -> Populations:
    """Read the neighborhoods of a key of obsp; cells with an empty row are not centers."""
    found = sparse.csr_matrix(adata.obsp[key])
    centers = np.flatnonzero(np.diff(found.indptr))
    rows = [found.indices[found.indptr[k] : found.indptr[k + 1]] for k in centers]
    if not rows:
        raise ValueError(f"`population_key={key!r}`: obsp has no neighborhoods with this key.")
    obs = adata.obs.iloc[centers].copy()
    for column in constant:
        check_column(adata, column, argument)
        missing = int(obs[column].isna().sum())
        if missing:
            raise ValueError(
                f"`{argument}={column!r}` is missing for {missing} of {len(obs)} centers of "
                "neighborhoods: fill in the missing values, or do not use the column."
            )
    obs[N_CELLS] = list(map(len, rows))
    names = pd.Index(list(map(str, adata.obs_names[centers])), dtype=object)
    return Populations(key, names, rows, cells, obs.set_axis(names, axis=0))


def constant_columns(
    adata: AnnData, rows: Sequence[np.ndarray], *, leave_out: str | None = None
) -> pd.DataFrame:
    """Return the columns of obs that are constant within populations, and `n_cells`.

    Parameters
    ----------
    adata
        Cells.
    rows
        Positions of the cells of each population.
    leave_out
        Column to leave out.

    Returns
    -------
    One row per population, with the values and dtypes of the columns.
    """
    first = np.array([own[0] for own in rows], dtype=np.intp)
    members, sizes = np.concatenate(rows), np.array(list(map(len, rows)))
    kept = []
    for position, column in enumerate(adata.obs.columns):
        if column not in (leave_out, N_CELLS):
            values = adata.obs.iloc[:, position]
            codes = (factorize if is_numeric_dtype(values) else _codes)(values)[0]
            if (codes[members] == np.repeat(codes[first], sizes)).all():
                kept.append(position)
    obs = adata.obs.iloc[first, kept].copy()
    obs[N_CELLS] = sizes
    return obs


def _codes(column: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Population of each cell, -1 where missing; labels that read the same are one."""
    codes, known = factorize(column)
    texts = texts_of(known)
    first = {text: code for code, text in reversed(list(enumerate(texts)))}
    codes = np.array([*(first[text] for text in texts), -1], dtype=np.intp)[codes]
    there = np.unique(codes[codes >= 0])
    place = np.full(len(known) + 1, -1, dtype=np.intp)
    place[there] = np.arange(len(there))
    return place[codes], known[there]


def _check_constant(
    column: pd.Series, rows: list[np.ndarray], names: list[str], argument: str
) -> None:
    """Refuse a column that varies within a population, or is missing for one."""
    codes, known = _codes(column)
    for own, name in zip(rows, names, strict=True):
        found = np.unique(codes[own])
        if found[0] < 0:
            raise ValueError(
                f"`{argument}={column.name!r}` is missing for {(codes[own] < 0).sum()} of "
                f"{len(own)} cells of the population {name!r}: fill in the missing values, or do "
                "not use the column."
            )
        if len(found) > 1:
            shown = ", ".join(map(text_of, known[found[:5]]))
            raise ValueError(
                f"`{argument}={column.name!r}` varies within the population {name!r}: found "
                f"{shown}. It must be constant within each population; combine both columns to "
                "define populations by both."
            )


def stored_distances(found: Populations, distances: np.ndarray, kind: str) -> dict:
    """Return distances in a form that can be written to files, for any names."""
    return {
        "distances": distances,
        "names": np.array(found.names, dtype=object),
        "population_key": found.key,
        "kind": kind,
    }


def as_anndata(
    found: Populations, values: np.ndarray, names: Sequence[str], asked: Mapping
) -> AnnData:
    """Return an AnnData with one row per population and named columns."""
    obs = found.obs.copy()
    labels = found.labels
    if not isinstance(labels.dtype, pd.StringDtype) and labels.dtype.kind in "OmM":
        labels = pd.Index(found.names, dtype=object)  # a file holds neither dates nor several types
    obs.insert(0, found.key, pd.Categorical(labels, labels.unique()))
    var = pd.DataFrame(index=pd.Index(list(names), dtype=object))
    return AnnData(values, obs=obs, var=var, uns={"population": plain(dict(asked))})


def column_of_populations(
    adata: AnnData, population_key: str, column: str, names: Sequence[str]
) -> pd.Series:
    """Return the value of a column for some populations; raise if it varies within one."""
    check_column(adata, column, "color")
    if population_key not in adata.obs and population_key in adata.obsp:
        codes, labels = np.arange(adata.n_obs), adata.obs_names  # neighbourhoods of these cells
    else:
        check_column(adata, population_key, "population_key")
        codes, labels = _codes(adata.obs[population_key])
    place = {text: code for code, text in enumerate(texts_of(labels))}
    missing = [name for name in names if name not in place]
    if missing:
        raise ValueError(
            f"`adata` has no cells of the populations {missing[:5]} in {population_key!r}: the "
            "distances were computed from other cells."
        )
    order = np.argsort(codes, kind="stable")[(codes < 0).sum() :]
    rows = np.split(order, np.cumsum(np.bincount(codes[order]))[:-1])
    rows = [rows[place[name]] for name in names]
    _check_constant(adata.obs[column], rows, list(names), "color")
    return adata.obs[column].iloc[[own[0] for own in rows]].set_axis(list(names))
