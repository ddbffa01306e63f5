"""What is compared when perturbations, donors, cell types or doses of a screen were held out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from anndata import AnnData

from scgenot import baselines
from scgenot._random import numpy_rng
from scgenot.cells.keys import PAIRS
from scgenot.cells.tasks.conditions import Conditions, split_name
from scgenot.cells.tasks.screen import group_rows, read_perturbations
from scgenot.fit.evaluation.comparison import (
    BASELINE,
    GENOT,
    MODEL,
    Comparison,
    Features,
    Grouped,
    Others,
    Prediction,
    read_groups,
    refuse_seen,
)
from scgenot.fit.evaluation.generic import random_cells
from scgenot.fit.evaluation.maps import Fitted, drawn, held_out_strata, map_predictions
from scgenot.fit.questions import ask
from scgenot.model import Genot

MAX_CELLS = 200  # of each other perturbation, whose features are looked at
ALL_MEAN, ALL_CELLS = "mean shift of all perturbations", "random cells of all perturbations"

Key = tuple[frozenset[str], float | None]  # the parts of a perturbation, and its dose


@dataclass(frozen=True)
class Screen:
    """The conditions that a fit has seen."""

    fit: Fitted
    conditions: Conditions

    def key(self, name: str, dose: float | None) -> Key:
        """Return what makes two ways to write a condition the same."""
        parts = frozenset(split_name(name, self.conditions.separator, self.conditions.control))
        return parts, None if dose is None else float(dose)

    @cached_property
    def pairs(self) -> dict[Key, list[int]]:
        """Rows of the table of pairs by condition; without the control that is coupled with itself."""
        table, found = self.fit.entry[PAIRS], {}
        doses = table["dose"] if "dose" in table else [None] * len(table)
        for row, (name, dose) in enumerate(zip(table["perturbation"], doses, strict=True)):
            if dose != 0:
                found.setdefault(self.key(str(name), dose), []).append(row)
        return found

    def cells(self, key: Key, side: str) -> np.ndarray:
        """Source or target cells of a condition."""
        return self.fit.cells[self.fit.side(self.pairs[key], side)]

    def shift(self, key: Key) -> np.ndarray:
        """Mean change under a condition."""
        return self.cells(key, "target").mean(0) - self.cells(key, "source").mean(0)

    @cached_property
    def mean_shift(self) -> np.ndarray:
        """Mean change over all conditions, each counting the same."""
        return np.mean([self.shift(key) for key in self.pairs], axis=0)

    def sample(self, key: Key) -> np.ndarray:
        """At most 200 cells of a condition."""
        cells = self.cells(key, "target")
        return cells[numpy_rng(0).permutation(len(cells))[:MAX_CELLS]]


def screen_comparisons(
    screen: Screen,
    held_out: AnnData,
    cells: np.ndarray,
    genot: Genot,
    params: dict,
    to_features: Features,
    *,
    groupby: str | None,
    in_sample: bool,
    seed: int,
) -> Iterator[Grouped]:
    """Predict each held-out condition from the held-out control cells."""
    perturbation_key, dose_key = params["perturbation_key"], params.get("dose_key")
    separator = screen.conditions.separator
    names, doses, is_control = read_perturbations(
        held_out, perturbation_key, params.get("control"), dose_key, separator, held_out=True
    )
    targets = [screen.fit.side(rows, "target") for rows in screen.pairs.values()]
    refuse_seen(
        held_out.obs_names[~is_control],
        screen.fit.names[np.concatenate(targets)],
        in_sample=in_sample,
    )
    groups, moments = read_groups(held_out, groupby), all_moments(screen, to_features)
    told = [key for key in params["network_covariates"] if key not in params["covariates"]]
    for (name, dose), treated in group_rows(names, doses, is_control).items():
        question, key = ask(held_out, params, name, dose), screen.key(name, dose)
        query = cells[question.rows]
        methods = {GENOT: Prediction.of_all(MODEL, drawn(genot, query, question.condition, seed))}
        if key in screen.pairs:
            nested = held_out_strata(held_out, [*params["covariates"], *told], question.rows)
            methods |= map_predictions(
                screen.fit, screen.pairs[key], query, groups[question.rows], nested, seed
            )
        else:
            methods["identity"] = Prediction.of_all(BASELINE, baselines.identity(query))
            methods |= between_doses(screen, key, query, seed) | from_parts(screen, key, query)
        if len(screen.pairs) > 1:
            methods |= of_all(screen, query, seed)
        comparison = Comparison(
            condition=name if dose is None else f"{name or 'treated'} {dose:g}",
            group="",
            predictions=methods,
            true=cells[treated].astype(float),
            n_source=len(query),
            negative=ALL_CELLS if len(screen.pairs) > 1 else "identity",
            to_features=to_features,
            control=query,
            others=other_cells(moments, key),
        )
        yield comparison, groups[question.rows], groups[treated]


def of_all(screen: Screen, query: np.ndarray, seed: int) -> dict[str, Prediction]:
    """Predict the average of all perturbations: of their means, and of their cells."""
    pool = np.concatenate([screen.sample(key) for key in screen.pairs])
    return {
        ALL_MEAN: Prediction.of_all(BASELINE, query + screen.mean_shift),
        ALL_CELLS: random_cells(pool, len(query), seed),
    }


class Moments(NamedTuple):
    """Number of cells of a condition, and mean and variance of their features."""

    n: int
    mean: np.ndarray
    variance: np.ndarray


def all_moments(screen: Screen, to_features: Features) -> dict[Key, Moments]:
    """Look at the features of some cells of every condition."""
    features = {key: to_features(screen.sample(key)) for key in screen.pairs}
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


def between_doses(screen: Screen, key: Key, query: np.ndarray, seed: int) -> dict[str, Prediction]:
    """Predict a dose from the nearest fitted ones; untreated cells are dose 0."""
    parts, dose = key
    levels = sorted(level for name, level in screen.pairs if name == parts and level is not None)
    if dose is None or not levels:
        return {}
    below, above = (
        [level for level in levels if level < dose],
        [level for level in levels if level > dose],
    )
    methods, control = {}, screen.cells((parts, levels[0]), "source")
    low = screen.cells((parts, below[-1]), "target") if below else control
    if below:
        methods["dose below"] = random_cells(low, len(query), seed)
    if above:
        high = screen.cells((parts, above[0]), "target")
        methods["dose above"] = random_cells(high, len(query), seed)
        at, start, end = (
            screen.conditions.strength(level)
            for level in (dose, below[-1] if below else 0.0, above[0])
        )
        fraction = (at - start) / (end - start)
        shifted = baselines.interpolated_shift(control, low, high, fraction, query)
        methods["interpolation of means"] = Prediction.of_all(BASELINE, shifted)
        pairs = baselines.plan_pairs(low, high, len(query), rng=numpy_rng([seed, 5]))
        line = baselines.straight(low, high, fraction, pairs=pairs)
        methods["discrete plan between doses"] = Prediction.of_all(BASELINE, line)
    return methods


def from_parts(screen: Screen, key: Key, query: np.ndarray) -> dict[str, Prediction]:
    """Predict a combination by the sum of its parts, and an unseen one by their embedding."""
    parts, dose = key
    singles = {
        name: self_key
        for self_key in screen.pairs
        if self_key[1] == dose
        for name in only(self_key[0])
    }
    shifts = {name: screen.shift(single) for name, single in singles.items()}
    methods, tokens = {}, screen.conditions.tokens
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


def only(parts: frozenset[str]) -> Sequence[str]:
    """The name of a single perturbation; nothing for a combination."""
    return list(parts) if len(parts) == 1 else []
