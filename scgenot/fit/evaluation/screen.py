"""What is compared when perturbations, donors, cell types or doses were held out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from scgenot import baselines
from scgenot._random import numpy_rng
from scgenot.cells.read import check_anndata
from scgenot.cells.strata import known_strata
from scgenot.cells.tasks import Screen
from scgenot.cells.tasks.conditions import same_dose
from scgenot.fit.evaluation.comparison import (
    BASELINE,
    GENOT,
    MODEL,
    Comparison,
    Grouped,
    Others,
    Prediction,
    read_groups,
    refuse_seen,
)
from scgenot.fit.evaluation.comparisons import comparisons, offered
from scgenot.fit.evaluation.fitted import Evaluation
from scgenot.fit.evaluation.generic import random_cells
from scgenot.fit.evaluation.metrics import CHANGES, INDEPENDENT, POPULATIONS, Metric

MOSTLY = 0.5  # of the control cells
MAX_CELLS = 200  # of each other perturbation, whose features are looked at
ALL_MEAN, ALL_CELLS = "mean shift of all perturbations", "random cells of all perturbations"

Key = tuple[frozenset[str], float | None]  # the parts of a perturbation, and its dose


@offered.register
def _(task: Screen) -> dict[str, Metric]:
    return {**POPULATIONS, **INDEPENDENT, **CHANGES}


@dataclass(frozen=True)
class Measured:
    """The conditions that a fit has seen."""

    asked: Evaluation

    @property
    def task(self) -> Screen:
        """The measured."""
        return self.asked.fit.task

    def key(self, name: str, dose: float | None) -> Key:
        """Return what makes two ways to write a condition the same."""
        return frozenset(self.task.parts(name)), None if dose is None else float(dose)

    @cached_property
    def links(self) -> dict[Key, list[int]]:
        """Links by condition, without the control that is coupled with itself."""
        found = {}
        for k, link in enumerate(self.asked.fit.links):
            name, dose = str(link.labels["perturbation"]), link.labels.get("dose")
            if dose != 0:
                found.setdefault(self.key(name, dose), []).append(k)
        return found

    def known(self, key: Key) -> Key | None:
        """Return the fitted condition that a condition is, its dose up to rounding."""
        same = [
            (parts, dose)
            for parts, dose in self.links
            if parts == key[0] and are_equal(dose, key[1])
        ]
        return same[0] if same else None

    def rows(self, key: Key, side: str) -> np.ndarray:
        """Positions of the source or target cells of a condition."""
        return self.asked.fit.rows(self.links[key], side)

    def cells(self, key: Key, side: str) -> np.ndarray:
        """Source or target cells of a condition."""
        return self.asked.training[self.rows(key, side)]

    def shift(self, key: Key) -> np.ndarray:
        """Mean change under a condition."""
        return self.cells(key, "target").mean(0) - self.cells(key, "source").mean(0)

    @cached_property
    def mean_shift(self) -> np.ndarray:
        """Mean change over all conditions, each counting the same."""
        return np.mean([self.shift(key) for key in self.links], axis=0)

    def sample(self, key: Key) -> np.ndarray:
        """At most 200 cells of a condition."""
        cells = self.cells(key, "target")
        return cells[numpy_rng(0).permutation(len(cells))[:MAX_CELLS]]


@comparisons.register
def _(task: Screen, asked: Evaluation) -> Iterator[Grouped]:
    fit, held_out, seed = asked.fit, asked.held_out, asked.seed
    check_anndata(held_out, "held_out")
    read, cells, measured = task.read(held_out, held_out=True), fit.cells(held_out), Measured(asked)
    targets = np.concatenate([measured.rows(key, "target") for key in measured.links])
    refuse_seen(
        held_out.obs_names[~read.is_control],
        fit.adata.obs_names[targets],
        in_sample=asked.in_sample,
    )
    groups, moments = read_groups(held_out, asked.groupby), all_moments(measured)
    keys = [*task.covariates, *task.told]
    for (name, dose), treated in read.groups()[0].items():
        question, key = fit.ask(held_out, name, dose), measured.key(name, dose)
        query, known = cells[question.rows], measured.known(key)
        own = asked.drawn(query, question.condition)
        predictions = {GENOT: Prediction.of_all(MODEL, own)}
        if known is not None:
            strata = known_strata(held_out, keys, question.rows)
            links, own_groups = measured.links[known], groups[question.rows]
            predictions |= asked.map_predictions(links, query, own_groups, strata)
        elif asked.baselines:
            predictions["identity"] = Prediction.of_all(BASELINE, baselines.identity(query))
            predictions |= between_doses(measured, key, query, seed)
            predictions |= from_parts(measured, key, query)
        several = len(measured.links) > 1
        if several and asked.baselines:
            predictions |= of_all(measured, query, seed)
        comparison = Comparison(
            condition=name if dose is None else f"{name or 'treated'} {dose:g}",
            group="",
            predictions=predictions,
            true=cells[treated].astype(float),
            n_source=len(query),
            negative=ALL_CELLS if several else "identity",
            to_features=asked.to_features,
            control=query,
            others=other_cells(moments, key),
            note=note_of_fitted(asked, held_out.obs_names[question.rows]),
        )
        yield comparison, groups[question.rows], groups[treated]


def note_of_fitted(asked: Evaluation, names: pd.Index) -> str:
    """Say when most cells to predict from were fitted; nothing otherwise."""
    if asked.in_sample or not asked.baselines or names.isin(asked.source_names).mean() <= MOSTLY:
        return ""
    return (
        "The control cells to predict from were fitted, too, which favors mean shifts: these move "
        "fitted cells to a mean without sampling error. Hold out control cells, such as half."
    )


def of_all(measured: Measured, query: np.ndarray, seed: int) -> dict[str, Prediction]:
    """Predict the average of all perturbations: of their means, and of their cells."""
    pool = np.concatenate([measured.sample(key) for key in measured.links])
    return {
        ALL_MEAN: Prediction.of_all(BASELINE, query + measured.mean_shift),
        ALL_CELLS: random_cells(pool, len(query), seed),
    }


class Moments(NamedTuple):
    """Number of cells of a condition, and mean and variance of their features."""

    n: int
    mean: np.ndarray
    variance: np.ndarray


def all_moments(measured: Measured) -> dict[Key, Moments]:
    """Look at the features of some cells of every condition."""
    to_features = measured.asked.to_features
    features = {key: to_features(measured.sample(key)) for key in measured.links}
    return {key: Moments(len(f), f.mean(0), f.var(0, ddof=1)) for key, f in features.items()}


def other_cells(moments: dict[Key, Moments], key: Key) -> Others | None:
    """Pool the cells of other perturbations; None when there are none."""
    others = [found for other, found in moments.items() if other[0] != key[0]]
    if not others:
        return None
    n = sum(found.n for found in others)
    mean = sum(found.n * found.mean for found in others) / n
    squares = sum(
        (found.n - 1) * found.variance + found.n * (found.mean - mean) ** 2 for found in others
    )
    center = np.mean([found.mean for found in moments.values()], axis=0)
    return Others(mean, squares / (n - 1), n, center)


def between_doses(
    measured: Measured, key: Key, query: np.ndarray, seed: int
) -> dict[str, Prediction]:
    """Predict a dose that was not fitted from the nearest ones that were, untreated cells being
    dose 0.
    """
    parts, dose = key
    levels = sorted(level for name, level in measured.links if name == parts and level is not None)
    if dose is None or not levels:
        return {}
    below, above = (
        [level for level in levels if level < dose],
        [level for level in levels if level > dose],
    )
    methods, control = {}, measured.cells((parts, levels[0]), "source")
    low = measured.cells((parts, below[-1]), "target") if below else control
    if below:
        methods["dose below"] = random_cells(low, len(query), seed)
    if above:
        high = measured.cells((parts, above[0]), "target")
        methods["dose above"] = random_cells(high, len(query), seed)
        at, start, end = (
            measured.task.conditions.strength(level)
            for level in (dose, below[-1] if below else 0.0, above[0])
        )
        fraction = (at - start) / (end - start)
        shifted = baselines.interpolated_shift(control, low, high, fraction, query)
        methods["interpolation of means"] = Prediction.of_all(BASELINE, shifted)
        pairs = baselines.plan_pairs(low, high, len(query), rng=numpy_rng([seed, 5]))
        line = baselines.straight(low, high, fraction, pairs=pairs)
        methods["discrete plan between doses"] = Prediction.of_all(BASELINE, line)
    return methods


def from_parts(measured: Measured, key: Key, query: np.ndarray) -> dict[str, Prediction]:
    """Predict a combination by the sum of its parts, and what was never seen by the embedding of
    its parts.
    """
    parts, dose = key
    singles = {
        name: self_key
        for self_key in measured.links
        if are_equal(self_key[1], dose)
        for name in only(self_key[0])
    }
    shifts = {name: measured.shift(single) for name, single in singles.items()}
    methods, tokens = {}, measured.task.conditions.tokens
    if len(parts) > 1 and parts <= set(shifts):
        methods["sum of mean shifts"] = Prediction.of_all(
            BASELINE, query + sum(shifts[part] for part in sorted(parts))
        )
    elif len(shifts) > 1 and parts <= set(tokens.index):
        known = np.column_stack([np.ones(len(shifts)), tokens.loc[list(shifts)].to_numpy()])
        slope = np.linalg.lstsq(known, np.stack(list(shifts.values())), rcond=None)[0]
        asked = np.column_stack([np.ones(len(parts)), tokens.loc[sorted(parts)].to_numpy()])
        methods["mean shift by embedding"] = Prediction.of_all(
            BASELINE, query + (asked @ slope).sum(0)
        )
    return methods


def are_equal(dose: float | None, other: float | None) -> bool:
    """Whether doses are equal up to rounding, or there are none."""
    return dose is None or bool(same_dose(dose, other))


def only(parts: frozenset[str]) -> Sequence[str]:
    """The name of a single perturbation; nothing for a combination."""
    return list(parts) if len(parts) == 1 else []
