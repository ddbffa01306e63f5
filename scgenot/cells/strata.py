"""Strata: cells are coupled only with cells of the same donor, batch or cell type, as far as there are enough."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.pair import Pair

logger = logging.getLogger("scgenot")

# fewest cells of a stratum, on either side, that are coupled by themselves
MIN_CELLS = 10
# what strata are called that were pooled, after what they have in common
POOLED = "pooled"


@dataclass(frozen=True)
class Linked:
    """A pair within one AnnData, and which cells it is made of."""

    pair: Pair
    source: np.ndarray
    target: np.ndarray
    labels: dict[str, float | str] = field(default_factory=dict)


def read_strata(
    adata: AnnData, covariates: Sequence[str], *, argument: str = "covariates"
) -> np.ndarray:
    """Read the stratum of each cell: the values of some columns of obs, side by side."""
    check_list(covariates, argument)
    columns = []
    for key in covariates:
        if key not in adata.obs:
            raise KeyError(
                f"`{argument}` names {key!r}, which is not in obs; found {list(adata.obs)}."
            )
        missing = int(pd.isna(adata.obs[key]).sum())
        if missing:
            raise ValueError(
                f"`{argument}` names {key!r}, which is missing in {missing} of {adata.n_obs} cells."
            )
        columns.append(adata.obs[key].astype(str))
    if not columns:
        return np.full(adata.n_obs, "", dtype=object)
    return np.array([" | ".join(values) for values in zip(*columns, strict=True)], dtype=object)


def check_list(keys: Sequence[str], argument: str) -> None:
    """Raise a TypeError when a list of columns is none, or the name of one, which is a sequence of letters."""
    if isinstance(keys, str):
        raise TypeError(
            f"`{argument}={keys!r}` is text: give a list of columns of obs, such as [{keys!r}]."
        )
    if not isinstance(keys, Collection):
        raise TypeError(
            f"`{argument}={keys!r}` is no list: give one of columns of obs, empty for none."
        )


def nested_strata(
    adata: AnnData, covariates: Sequence[str], *, argument: str = "covariates"
) -> list[np.ndarray]:
    """Read the strata by all covariates, by all but the last."""
    check_list(covariates, argument)
    return [
        read_strata(adata, covariates[:n], argument=argument)
        for n in range(len(covariates), -1, -1)
    ]


def split(
    nested: Sequence[np.ndarray],
    source: np.ndarray,
    target: np.ndarray,
    *,
    name: str,
    argument: str = "covariates",
    min_cells: int = MIN_CELLS,
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Split the cells of a pair by stratum."""
    finest = nested[0]
    if len({*finest[source], *finest[target]}) == 1:
        if min(len(source), len(target)) < min_cells:
            logger.warning(
                "%s: %d source and %d target cells; under %d on a side say little.",
                *(name, len(source), len(target), min_cells),
            )
        return [(str(finest[source[0]]), source, target)]
    parts = []
    for strata in nested:
        for label in large_strata(strata, source, target, min_cells):
            part = [cells[strata[cells] == label] for cells in (source, target)]
            source, target = source[strata[source] != label], target[strata[target] != label]
            if strata is finest:
                parts.append((label, *part))
                continue
            small = listed(finest[np.concatenate(part)])
            logger.info(
                "%s: strata %s have under %d cells on a side and are pooled.",
                name,
                small,
                min_cells,
            )
            parts.append((f"{label} | {POOLED}" if label else POOLED, *part))
    if len(source) or len(target):
        logger.warning(
            "%s: %d source and %d target cells of the strata %s are left out, under %d on a side.",
            *(
                name,
                len(source),
                len(target),
                listed(finest[np.concatenate([source, target])]),
                min_cells,
            ),
        )
    if not parts:
        raise ValueError(
            f"{name}: no stratum of `{argument}` has {min_cells} cells on both sides, nor have all together: "
            "name fewer columns, or drop these cells."
        )
    return parts


def report_pooled(linked: Sequence[Linked], covariates: Sequence[str]) -> None:
    """Log how many cells are not coupled within all covariates, which is all when these differ between the sides."""
    n_cells = [len(item.source) + len(item.target) for item in linked]
    is_pooled = [item.labels["stratum"].split(" | ")[-1] == POOLED for item in linked]
    if not covariates or not any(is_pooled):
        return
    share = np.average(is_pooled, weights=n_cells)
    if all(item.labels["stratum"] == POOLED for item in linked):
        logger.warning(
            "`covariates` %s: no stratum has %d cells on both sides, all cells were coupled as one. Columns that "
            "differ between the two sides, or between all cells, make no strata.",
            *(list(covariates), MIN_CELLS),
        )
    else:
        logger.warning(
            "%.0f %% of the cells are in strata of under %d on a side, which were pooled.",
            100 * share,
            MIN_CELLS,
        )


def large_strata(
    strata: np.ndarray, source: np.ndarray, target: np.ndarray, min_cells: int
) -> list[str]:
    """Return the strata with enough cells on both sides, sorted."""
    counts = [pd.Series(strata[cells]).value_counts() for cells in (source, target)]
    return sorted(set.intersection(*(set(count.index[count >= min_cells]) for count in counts)))


def listed(labels: np.ndarray) -> list[str]:
    """Return the first five labels, sorted, and whether there are more."""
    names = sorted(set(map(str, labels)))
    return [*names[:5], *(["..."] if len(names) > 5 else [])]
