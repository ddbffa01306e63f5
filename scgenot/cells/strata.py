"""Strata: cells are coupled within a donor, batch or cell type, as far as there are enough."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from anndata import AnnData

from scgenot._warn import warn_user
from scgenot.cells.labels import factorize, text_of

logger = logging.getLogger("scgenot")

# fewest cells of a stratum, on either side, that are coupled by themselves
MIN_CELLS = 10

Stratum = dict[str, object]
Part = tuple[Stratum, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Strata:
    """The strata of all cells, nested: by all columns, by all but the last, and so on.

    Parameters
    ----------
    covariates
        The columns; what is named last is given up first where there are too few cells.
    levels
        For each number of columns, from none to all: the stratum of each cell as an integer,
        shape `(n_obs,)`, and the value of each column in each of these strata.
    argument
        What the columns are called in messages.
    """

    covariates: list[str]
    levels: list[tuple[np.ndarray, list[Stratum]]]
    argument: str = "covariates"

    @classmethod
    def read(
        cls, adata: AnnData, covariates: Sequence[str], *, argument: str = "covariates"
    ) -> "Strata":
        """Read the strata of all cells.

        Raises
        ------
        TypeError
            When `covariates` is not a list of columns.
        KeyError
            When there is no such column.
        ValueError
            When a value is missing.
        """
        check_list(covariates, argument)
        codes, values = np.zeros(adata.n_obs, dtype=np.intp), [{}]
        levels, keys = [(codes, values)], list(dict.fromkeys(covariates))
        for key in keys:
            if key not in adata.obs:
                raise KeyError(
                    f"`{argument}` names {key!r}, which is not in obs; found {list(adata.obs)}."
                )
            own, labels = factorize(adata.obs[key])
            missing = int((own < 0).sum())
            if missing:
                raise ValueError(
                    f"`{argument}` names {key!r}, which is missing in {missing} of {adata.n_obs} "
                    "cells."
                )
            found, codes = np.unique(codes * max(len(labels), 1) + own, return_inverse=True)
            outer = [divmod(k, len(labels)) for k in found.tolist()]
            values = [{**values[k], key: labels[inner]} for k, inner in outer]
            levels.append((codes, values))
        return cls(keys, levels, argument)

    def of_rows(self, rows: np.ndarray) -> list[Stratum]:
        """Return the finest stratum of some cells."""
        codes, values = self.levels[-1]
        return [values[code] for code in codes[rows]]

    def shared(self, candidates: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return the candidates in strata of other cells; all of them where there are none."""
        codes, values = self.levels[-1]
        is_there = np.bincount(codes[others], minlength=len(values)) > 0
        found = candidates[is_there[codes[candidates]]]
        return found if len(found) else candidates

    def split(
        self, source: np.ndarray, target: np.ndarray, *, min_cells: int = MIN_CELLS
    ) -> list[Part]:
        """Split the cells of a pair by stratum.

        Parameters
        ----------
        source, target
            Positions of the cells, shapes `(n,)` and `(m,)`.
        min_cells
            Fewest cells of a stratum on either side; smaller ones are pooled with others that agree
            in all columns but the last, then but the last two, and so on. One stratum alone is
            never too small.

        Returns
        -------
        Stratum, source and target positions of each part. A pooled stratum lacks the columns in
        which its cells differ. Cells that are too few even together are in no part.
        """
        codes, values = self.levels[-1]
        found = np.unique(codes[np.concatenate([source, target])])
        if len(found) == 1:
            return [(values[found[0]], source, target)]
        parts = []
        for codes, values in reversed(self.levels):
            counts = [np.bincount(codes[rows], minlength=len(values)) for rows in (source, target)]
            is_large = np.minimum(*counts) >= min_cells
            sides = []
            for rows in (source, target):
                rows = rows[is_large[codes[rows]]]
                order = np.argsort(codes[rows], kind="stable")
                cuts = np.searchsorted(codes[rows][order], np.flatnonzero(is_large))
                sides.append(np.split(rows[order], cuts[1:]))
            if is_large.any():
                labels = [values[code] for code in np.flatnonzero(is_large)]
                parts += list(zip(labels, *sides, strict=True))
            source, target = (rows[~is_large[codes[rows]]] for rows in (source, target))
        return parts

    def report(
        self,
        groups: Mapping[str, tuple[np.ndarray, np.ndarray, list[Part]]],
        *,
        left_out: Sequence[str] = (),
        min_cells: int = MIN_CELLS,
    ) -> None:
        """Say in one warning what was left out or pooled; what is small in one log line.

        Parameters
        ----------
        groups
            By name, positions of the source and target cells, and the parts that they were split
            into.
        left_out
            What was left out before, as it shall be named.
        min_cells
            As for :meth:`split`.

        Raises
        ------
        ValueError
            When there is no part at all.
        """
        lost, pooled, small, n_pooled, n_cells = list(left_out), [], [], 0, 0
        for name, (source, target, parts) in groups.items():
            both = (source, 1), (target, 2)
            rest = [np.setdiff1d(side, _joined(parts, k)) for side, k in both]
            if any(map(len, rest)):
                lost.append(f"{name}{self._listed(rest)} ({len(rest[0])} and {len(rest[1])} cells)")
            for stratum, *sides in parts:
                n_cells += sum(map(len, sides))
                if len(stratum) < len(self.covariates):
                    n_pooled += sum(map(len, sides))
                    pooled.append(f"{name}{self._listed(sides)}")
                elif min(map(len, sides)) < min_cells:
                    small.append(f"{name} ({len(sides[0])} and {len(sides[1])})")
        if small:
            few = f"under {min_cells} cells on a side, which is few for a coupling"
            logger.warning(f"{few}: {', '.join(small)}.")
        if not n_cells:
            raise ValueError(
                f"no stratum of `{self.argument}` has {min_cells} cells on both sides, nor do all "
                f"strata together ({'; '.join(lost)}): name fewer columns, or add cells."
            )
        said = [f"left out: {'; '.join(lost)}"] if lost else []
        if pooled:
            said.append(f"pooled, {n_pooled / n_cells:.0%} of the cells: {'; '.join(pooled)}")
        if said:
            warn_user(
                f"groups with under {min_cells} cells on a side (source and target) were "
                f"{'; and '.join(said)}."
            )

    def _listed(self, sides: Sequence[np.ndarray]) -> str:
        """The finest strata of some cells, the first five."""
        codes, values = self.levels[-1]
        found = [stratum_text(values[k]) for k in np.unique(codes[np.concatenate(sides)])]
        shown = [*found[:5], *(["..."] if len(found) > 5 else [])]
        return f" of {', '.join(shown)}" if self.covariates else ""


def _joined(parts: Sequence[Part], side: int) -> np.ndarray:
    """The positions of one side of all parts."""
    return np.concatenate([np.empty(0, dtype=np.intp), *(part[side] for part in parts)])


def read_strata(
    adata: AnnData, covariates: Sequence[str], *, argument: str = "covariates"
) -> np.ndarray:
    """Read the values of some columns of obs, side by side as text, shape `(n_obs,)`."""
    codes, values = Strata.read(adata, covariates, argument=argument).levels[-1]
    texts = list(map(stratum_text, values))
    if len(set(texts)) < len(texts):  # "a | b" and "c" are not "a" and "b | c"
        texts = [str({key: text_of(label) for key, label in one.items()}) for one in values]
    return np.array(texts, dtype=object)[codes]


def check_list(keys: Sequence[str], argument: str) -> None:
    """Raise a TypeError unless `keys` is a list of columns; the name of one is not a list."""
    if isinstance(keys, str):
        raise TypeError(
            f"`{argument}={keys!r}` is text: give a list of columns of obs, such as [{keys!r}]."
        )
    if not isinstance(keys, Collection):
        raise TypeError(f"`{argument}={keys!r}` must be a list of columns of obs.")


def stratum_text(stratum: Stratum, covariates: Sequence[str] = ()) -> str:
    """Name a stratum in tables and messages; "pooled" at the end when it lacks some covariates."""
    words = [text_of(value) for value in stratum.values()]
    return " | ".join([*words, *(["pooled"] if len(stratum) < len(covariates) else [])])


def match_stratum(stratum: Stratum, others: Sequence[Stratum]) -> np.ndarray:
    """Return which fitted strata a cell may take.

    Parameters
    ----------
    stratum
        Values of the cell by covariate, in the order of the fit.
    others
        The fitted strata; pooled ones have fewer values.

    Returns
    -------
    Positions among `others`: of its own stratum; else of all that agree in the most first
    covariates, and of the one that pools all cells only where none agrees in any.

    Examples
    --------
    >>> match_stratum({"type": "T", "donor": "new"}, [{"type": "T", "donor": "1"}, {}])
    array([0])
    """
    wanted = [(key, text_of(value)) for key, value in stratum.items()]
    fitted = [[(key, text_of(value)) for key, value in other.items()] for other in others]
    for n in range(len(wanted), 0, -1):
        inside = [k for k, other in enumerate(fitted) if other[:n] == wanted[:n]]
        if inside:
            return np.array(inside)
    all_pooled = [k for k, other in enumerate(fitted) if not other]
    return np.array(all_pooled or range(len(fitted)), dtype=int)


def known_strata(adata: AnnData, keys: Sequence[str], rows: np.ndarray) -> list[dict]:
    """Read strata of cells, by as many of the first columns as are there without gaps."""
    known = list(takewhile(lambda key: key in adata.obs and not adata.obs[key].isna().any(), keys))
    return Strata.read(adata, known).of_rows(rows)
