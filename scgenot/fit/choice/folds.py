"""Folds: which cells candidates are fitted to, and on which they are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import NamedTuple

import numpy as np
from anndata import AnnData

from scgenot._random import numpy_rng
from scgenot.cells.labels import factorize
from scgenot.cells.strata import MIN_CELLS as FEWEST
from scgenot.cells.tasks import Screen, TimeCourse
from scgenot.pair import Link

CELLS = "cells"
# fewest cells of a group on both sides that are scored
MIN_CELLS = 5
# most cells of one side of a pair to score and to fit: candidates need no more to be told apart
MAX_SCORED, MAX_FITTED = 300, 2000


class NoChoice(Exception):
    """Why candidates cannot be compared; the first is then fitted as if it were the only one."""


@dataclass(frozen=True)
class Fold:
    """Positions of cells to fit and to score; the column within whose values these are scored."""

    fitted: np.ndarray
    scored: np.ndarray
    groupby: str | None = None


class Part(NamedTuple):
    """Cells that are held out, source cells of others to predict from, and those also fitted."""

    out: np.ndarray
    sources: np.ndarray
    shared: np.ndarray


def folds_of(
    task, adata: AnnData, links: Sequence[Link], hold_out: str, n_folds: int, seed: int
) -> list[Fold]:
    """Hold out cells, or the values of a column."""
    rng, groups = numpy_rng([seed, 11]), groups_of(links, adata.n_obs)
    if hold_out == CELLS:
        parts, groupby = parts_of_cells(links, groups, n_folds, rng), None
        columns = [key for key in getattr(task, "covariates", ()) if key in adata.obs]
        codes = factorize(adata.obs[columns[0]])[0] if columns else None
        if columns and all(has_groups(links, part.out, codes) for part in parts):
            groupby = columns[0]
    else:
        parts, groupby = parts_of_column(task, adata, links, hold_out, n_folds, rng)
    folds = []
    for out, sources, shared in parts:
        scored = np.union1d(few_of_each(out, groups, MAX_SCORED, rng), sources)
        # what is left over of the cells of large groups may be fitted, of values of a column not
        left = np.setdiff1d(np.arange(adata.n_obs), scored if hold_out == CELLS else out)
        left = np.setdiff1d(left, np.setdiff1d(sources, shared))
        kept = few_of_each(left[groups[left] >= 0], groups, MAX_FITTED, rng)
        rest = np.union1d(kept, left[groups[left] < 0])
        folds.append(Fold(rest.astype(int), scored.astype(int), groupby))
    return folds


def groups_of(links: Sequence[Link], n: int) -> np.ndarray:
    """Return the link and side that each cell is of, as an integer; -1 for cells of none."""
    groups = np.full(n, -1)
    for side in ("source", "target"):
        for k, link in reversed(list(enumerate(links))):
            if not is_itself(link):
                groups[getattr(link, f"{side}_rows")] = 2 * k + (side == "target")
    return groups


def is_itself(link: Link) -> bool:
    """Whether a link is of cells with themselves, such as control at dose 0."""
    return np.array_equal(link.source_rows, link.target_rows)


def few_of_each(
    rows: np.ndarray, groups: np.ndarray, most: int, rng: np.random.Generator
) -> np.ndarray:
    """Return at most so many cells of each group, at random."""
    rows = rng.permutation(rows)
    kept = [rows[groups[rows] == group][:most] for group in np.unique(groups[rows])]
    return np.sort(np.concatenate([*kept, np.empty(0, dtype=int)])).astype(int)


def parts_of_cells(
    links: Sequence[Link], groups: np.ndarray, n_folds: int, rng: np.random.Generator
) -> list[Part]:
    """Split the cells of each side of each link into as many parts as there are folds."""
    sizes = [min(len(one.source_rows), len(one.target_rows)) for one in links if not is_itself(one)]
    least = n_folds * MIN_CELLS
    if max(sizes, default=0) < least:
        raise NoChoice(
            f"no pair has {least} cells on both sides, {MIN_CELLS} for each of {n_folds} folds"
        )
    fold = np.full(len(groups), -1)
    for group in np.unique(groups[groups >= 0]):
        rows = rng.permutation(np.flatnonzero(groups == group))
        fold[rows] = (np.arange(len(rows)) + rng.integers(n_folds)) % n_folds
    nobody = np.empty(0, dtype=int)
    return [Part(np.flatnonzero(fold == k), nobody, nobody) for k in range(n_folds)]


def has_groups(links: Sequence[Link], rows: np.ndarray, codes: np.ndarray) -> bool:
    """Whether some value of a column has enough of some cells on both sides of a link."""
    inside = np.zeros(len(codes), dtype=bool)
    inside[rows] = True
    return any(has_pair(links, inside & (codes == code)) for code in np.unique(codes[rows]))


def has_pair(links: Sequence[Link], inside: np.ndarray) -> bool:
    """Whether both sides of a link have enough of some cells."""
    return any(
        min(inside[link.source_rows].sum(), inside[link.target_rows].sum()) >= MIN_CELLS
        for link in links
        if not is_itself(link)
    )


def parts_of_column(
    task,
    adata: AnnData,
    links: Sequence[Link],
    column: str,
    n_folds: int,
    rng: np.random.Generator,
) -> tuple[list[Part], str | None]:
    """Deal the values of a column out to folds, large ones first; each is held out once."""
    codes, found = factorize(adata.obs[column])
    groups, levels, whole = groups_of(links, adata.n_obs), [], True
    for code in range(len(found)):
        inside = codes == code
        if has_pair(links, inside & (groups >= 0)):
            levels.append((np.flatnonzero(inside), np.empty(0, dtype=int)))
        elif (sources := sources_of_others(task, links, column, inside)) is not None:
            levels.append((np.flatnonzero(inside), sources))
            whole = False
    if len(levels) < 2:
        raise NoChoice(
            f"`hold_out={column!r}` has {len(levels)} of {len(found)} values that can be held out "
            "and predicted from the others, and 2 are needed"
        )
    order = sorted(rng.permutation(len(levels)), key=lambda k: -len(levels[k][0]))
    n = min(n_folds, len(levels))
    dealt = [[levels[k] for k in order[start::n]] for start in range(n)]
    parts = []
    for fold in dealt:
        out = np.concatenate([rows for rows, _ in fold])
        sources = np.unique(np.concatenate([found for _, found in fold]))
        parts.append(with_sources(out, np.setdiff1d(sources, out), groups, rng))
    return parts, column if whole else None


def with_sources(
    out: np.ndarray, sources: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> Part:
    """Predict from half of the source cells of each group, not fitted; from all where few are.

    Baselines move fitted cells to a mean that does not depend on how these were drawn: with the
    same cells they would score better than they are.
    """
    asked, shared = [sources[:0]], [sources[:0]]
    for group in np.unique(groups[sources]):
        own = rng.permutation(sources[groups[sources] == group])
        n = min(len(own) // 2, len(own) - FEWEST)  # a stratum with fewer is not fitted
        are_few = n < MIN_CELLS
        asked.append(own if are_few else own[:n])
        shared.append(own if are_few else own[:0])
    few = rng.permutation(np.concatenate(asked))[:MAX_SCORED]
    return Part(out, few, np.intersect1d(few, np.concatenate(shared)))


@singledispatch
def sources_of_others(
    task, links: Sequence[Link], column: str, inside: np.ndarray
) -> np.ndarray | None:
    """Return source cells for a value of a column without its own; None when it cannot do so."""
    return None


@sources_of_others.register
def _(task: Screen, links: Sequence[Link], column: str, inside: np.ndarray) -> np.ndarray | None:
    treated = [link for link in links if inside[link.target_rows].sum() >= MIN_CELLS]
    own = [link for link in links if inside[link.source_rows].any()]
    if own or not treated:  # the control, or a value with a few control cells
        return None
    return np.unique(np.concatenate([link.source_rows for link in treated]))


@sources_of_others.register
def _(
    task: TimeCourse, links: Sequence[Link], column: str, inside: np.ndarray
) -> np.ndarray | None:
    sides = [
        sum(inside[getattr(link, f"{side}_rows")].sum() for link in links)
        for side in ("source", "target")
    ]
    is_between = column == task.time_key and min(sides) >= MIN_CELLS
    return np.empty(0, dtype=int) if is_between else None  # the cells before and after are fitted
