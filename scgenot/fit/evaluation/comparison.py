"""What is compared in an evaluation: predictions for one population, and its true cells."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.read import check_column
from scgenot.cells.strata import read_strata

logger = logging.getLogger("scgenot")

ALL = "all"  # the group when there is one
# kinds of predictions
MODEL, COUPLING, BASELINE = "model", "coupling", "baseline"
SUPERVISED, CEILING = "supervised", "ceiling"
GENOT = "GENOT"

N_LISTED = 10  # groups in a message

Features = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Prediction:
    """Predicted cells, and the row of the source cell of each.

    Where there are fewer than source cells, they are random cells and of no source cell in
    particular.
    """

    kind: str
    cells: np.ndarray
    rows: np.ndarray

    @classmethod
    def of_all(cls, kind: str, cells: np.ndarray) -> "Prediction":
        """Make a prediction of one cell for each source cell, in their order."""
        return cls(kind, np.asarray(cells, dtype=float), np.arange(len(cells)))


@dataclass(frozen=True)
class Others:
    """Moments of the features of the other perturbations, and the mean over all."""

    mean: np.ndarray
    variance: np.ndarray
    n_cells: int
    center: np.ndarray


@dataclass(frozen=True)
class Profiles:
    """Mean features of the true cells of all conditions of a group; `own` is one row of them.

    `halves` are of those true cells that the ceiling is compared with.
    """

    means: np.ndarray
    halves: np.ndarray
    own: int


@dataclass(frozen=True)
class Comparison:
    """All predictions for one condition and group, and what metrics need to know of it."""

    condition: str
    group: str
    predictions: dict[str, Prediction]
    true: np.ndarray
    n_source: int
    negative: str
    to_features: Features
    paired: bool = False
    control: np.ndarray | None = None
    others: Others | None = None
    profiles: Profiles | None = None
    labels: np.ndarray | None = None
    reference: np.ndarray | None = None
    reference_labels: np.ndarray | None = None
    note: str = ""  # for the verdict

    @cached_property
    def true_features(self) -> np.ndarray:
        """Features of the true cells, shape `(m, g)`."""
        return self.to_features(self.true)

    @cached_property
    def control_features(self) -> np.ndarray:
        """Features of the source cells, shape `(n_source, g)`."""
        return self.to_features(self.control)


# a comparison, and the group of each of its source and of its true cells
Grouped = tuple[Comparison, np.ndarray, np.ndarray]


def split_all(wholes: Iterable[Grouped], *, min_cells: int) -> list[Comparison]:
    """Split comparisons by the groups of their source and of their true cells."""
    found, small = [], []
    for whole, source_groups, true_groups in wholes:
        for group in pd.unique(np.concatenate([source_groups, true_groups])):
            source = np.flatnonzero(source_groups == group)
            true = np.flatnonzero(true_groups == group)
            if min(len(source), len(true)) >= min_cells:
                found.append(choose(whole, source, true, group=str(group)))
                continue
            label = whole.condition if group == ALL else f"{whole.condition}, group {group}"
            small.append(f"{label}: {len(source)} source and {len(true)} true cells")
            logger.info("%s, under `min_cells=%d`: left out.", small[-1], min_cells)
    if not found:
        more = f"; and {len(small) - N_LISTED} more" if len(small) > N_LISTED else ""
        raise ValueError(
            f"`held_out` has no condition and group with `min_cells={min_cells}` cells on both "
            f"sides ({'; '.join(small[:N_LISTED])}{more}): hold out more cells, or lower "
            "`min_cells`, to 10 at least."
        )
    return found


def shuffled(comparison: Comparison, n_cells: int | None, rng: np.random.Generator) -> Comparison:
    """Put source and true cells in random order, and keep at most so many of each."""
    source = rng.permutation(comparison.n_source)[:n_cells]
    true = rng.permutation(len(comparison.true))[:n_cells]
    true = source if comparison.paired else true
    return choose(comparison, source, true, group=comparison.group)


def choose(
    comparison: Comparison, source: np.ndarray, true: np.ndarray, *, group: str
) -> Comparison:
    """Keep some source and some true cells, in the order given."""
    place = np.full(comparison.n_source, -1)
    place[source] = np.arange(len(source))
    predictions = {}
    for name, found in comparison.predictions.items():
        order = np.argsort(place[found.rows], kind="stable")
        is_kept = place[found.rows][order] >= 0
        kept, rows = order[is_kept], place[found.rows[order[is_kept]]]
        if len(found.rows) < comparison.n_source:
            # few cells, of no source cell in particular: as many as possible, own ones first
            kept = np.concatenate([kept, order[~is_kept]])[: len(source)]
            rows = np.arange(len(kept))
        predictions[name] = Prediction(found.kind, found.cells[kept], rows)
    control, labels = comparison.control, comparison.labels
    return replace(
        comparison,
        group=group,
        predictions=predictions,
        true=comparison.true[true],
        n_source=len(source),
        control=None if control is None else control[source],
        labels=None if labels is None else labels[true],
    )


def with_profiles(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Tell each comparison the mean features of all conditions of its group."""
    members: dict[str, list[int]] = {}
    for k, one in enumerate(comparisons):
        members.setdefault(one.group, []).append(k)
    found = {}
    for rows in members.values():
        features = [comparisons[k].true_features for k in rows]
        means = np.stack([true.mean(0) for true in features])
        halves = np.stack([true[len(true) // 2 :].mean(0) for true in features])
        found |= {k: Profiles(means, halves, own) for own, k in enumerate(rows)}
    return [replace(one, profiles=found[k]) for k, one in enumerate(comparisons)]


def read_groups(adata: AnnData, groupby: str | None) -> np.ndarray:
    """Read the group of every cell; one for all when there is no column."""
    if groupby is None:
        return np.full(adata.n_obs, ALL, dtype=object)
    check_column(adata, groupby, "groupby")
    return read_strata(adata, [groupby], argument="groupby")


def refuse_seen(
    held_out: pd.Index, fitted: Mapping[str, object] | pd.Index, *, in_sample: bool
) -> None:
    """Raise a ValueError when cells to score against were in the fit, by obs name."""
    seen = held_out[held_out.isin(list(fitted))]
    if len(seen) and not in_sample:
        raise ValueError(
            f"`held_out` has {len(seen)} of {len(held_out)} true cells that the fit has seen "
            f"({', '.join(seen[:3])}), which a model may have memorized. Fit without them; if "
            "these "
            "are other cells of the same name, rename them; or pass `in_sample=True` to score the "
            "cells of the fit all the same."
        )
