"""What is compared in an evaluation: the predictions of all methods for one population, and the true cells."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.read import check_column
from scgenot.cells.strata import read_strata

logger = logging.getLogger("scgenot")

ALL = "all"  # the group, or the condition, when there is one
# kinds of methods
MODEL, COUPLING, BASELINE, SUPERVISED, CEILING = (
    "model",
    "coupling",
    "baseline",
    "supervised",
    "ceiling",
)
GENOT = "GENOT"

N_LISTED = 10  # groups in a message

Features = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Method:
    """What a method predicts."""

    kind: str
    cells: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Others:
    """Features of the treated cells of a screen's other perturbations."""

    mean: np.ndarray
    variance: np.ndarray
    n_cells: int
    centre: np.ndarray


@dataclass(frozen=True)
class Part:
    """All predictions for one condition and group."""

    condition: str
    group: str
    methods: dict[str, Method]
    true: np.ndarray
    n_source: int
    negative: str
    to_features: Features
    paired: bool = False
    control: np.ndarray | None = None
    others: Others | None = None
    labels: np.ndarray | None = None
    reference: np.ndarray | None = None
    reference_labels: np.ndarray | None = None

    @cached_property
    def true_features(self) -> np.ndarray:
        """Features of the true cells, shape `(m, g)`."""
        return self.to_features(self.true)

    @cached_property
    def control_features(self) -> np.ndarray:
        """Features of the source cells, shape `(n_source, g)`."""
        return self.to_features(self.control)


def one_each(kind: str, cells: np.ndarray) -> Method:
    """Return the method that predicts one cell for each source cell, in their order."""
    return Method(kind, np.asarray(cells, dtype=float), np.arange(len(cells)))


def split_all(
    wholes: Iterable[tuple[Part, np.ndarray, np.ndarray]], *, min_cells: int
) -> list[Part]:
    """Split parts by the groups of their source and of their true cells."""
    parts, small = [], []
    for whole, source_groups, true_groups in wholes:
        for group in pd.unique(np.concatenate([source_groups, true_groups])):
            source, true = (
                np.flatnonzero(source_groups == group),
                np.flatnonzero(true_groups == group),
            )
            if min(len(source), len(true)) >= min_cells:
                parts.append(choose(whole, source, true, group=str(group)))
                continue
            label = whole.condition if group == ALL else f"{whole.condition}, group {group}"
            small.append(f"{label}: {len(source)} source and {len(true)} true cells")
            logger.info("%s, under `min_cells=%d`: left out.", small[-1], min_cells)
    if not parts:
        more = f"; and {len(small) - N_LISTED} more" if len(small) > N_LISTED else ""
        raise ValueError(
            f"`held_out` has no condition and group with `min_cells={min_cells}` cells on both sides "
            f"({'; '.join(small[:N_LISTED])}{more}): hold out more cells, or lower `min_cells`, to 10 at least."
        )
    return parts


def shuffled(part: Part, n_cells: int | None, rng: np.random.Generator) -> Part:
    """Put source and true cells in random order, and keep so many of each."""
    source, true = (
        rng.permutation(part.n_source)[:n_cells],
        rng.permutation(len(part.true))[:n_cells],
    )
    return choose(part, source, source if part.paired else true, group=part.group)


def choose(part: Part, source: np.ndarray, true: np.ndarray, *, group: str) -> Part:
    """Keep some source and some true cells, in the order given."""
    place = np.full(part.n_source, -1)
    place[source] = np.arange(len(source))
    methods = {}
    for name, method in part.methods.items():
        order = np.argsort(place[method.rows], kind="stable")
        kept = order[place[method.rows][order] >= 0]
        methods[name] = Method(method.kind, method.cells[kept], place[method.rows[kept]])
    return Part(
        part.condition,
        group,
        methods,
        part.true[true],
        len(source),
        part.negative,
        part.to_features,
        paired=part.paired,
        control=None if part.control is None else part.control[source],
        others=part.others,
        labels=None if part.labels is None else part.labels[true],
        reference=part.reference,
        reference_labels=part.reference_labels,
    )


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
            f"`held_out` has {len(seen)} of {len(held_out)} true cells that the fit has seen ({', '.join(seen[:3])}): "
            "what was learned by heart would count as predicted. Fit without them; or, if these are other cells of "
            "the same name, rename them. `in_sample=True` scores the cells of the fit all the same."
        )
