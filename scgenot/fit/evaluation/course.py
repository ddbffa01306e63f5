"""What is compared when a time of a course was held out, or cells at its times."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot import baselines
from scgenot._random import numpy_rng
from scgenot.cells.course import Course, fitted_times, read_course
from scgenot.cells.tasks.time_course import time_condition
from scgenot.cells.times import read_times
from scgenot.fit.evaluation.comparison import (
    ALL,
    BASELINE,
    COUPLING,
    GENOT,
    MODEL,
    Comparison,
    Features,
    Grouped,
    Prediction,
    read_groups,
    refuse_seen,
)
from scgenot.fit.evaluation.generic import MAX_PLANNED
from scgenot.fit.evaluation.maps import Fitted, drawn, held_out_strata, map_predictions
from scgenot.model import Genot
from scgenot.tl._interpolate import interpolate

BEFORE = "time before"


@dataclass(frozen=True)
class HeldOut:
    """Cells of a course that were held out."""

    adata: AnnData
    cells: np.ndarray
    times: np.ndarray
    groups: np.ndarray


def course_comparisons(
    fitted: AnnData,
    fit: Fitted,
    held_out: AnnData,
    cells: np.ndarray,
    genot: Genot,
    to_features: Features,
    *,
    key: str,
    groupby: str | None,
    n_cells: int | None,
    in_sample: bool,
    seed: int,
) -> Iterator[Grouped]:
    """Predict what held-out cells became, and populations at left-out times."""
    course = read_course(fitted, fit.entry, key)
    found = HeldOut(
        held_out, cells, held_out_times(held_out, course), read_groups(held_out, groupby)
    )
    present = set(np.unique(found.times).tolist())
    steps = [step for step in course.steps if set(step) <= present]
    ends = {time for step in steps for time in step}
    between = [
        time for time in sorted(present - ends) if any(a < time < b for a, b in course.steps)
    ]
    if not steps and not between:
        raise ValueError(
            f"`held_out` has cells at {sorted(present)}: neither both times of a fitted step nor a time "
            f"within one; fitted are {course.steps}."
        )
    true = np.isin(found.times, [later for _, later in steps])
    seen = np.concatenate(
        [
            fit.side(course.rows(*step), side)
            for step in course.steps
            for side in ("source", "target")
        ]
    )
    refuse_seen(held_out.obs_names[true], fit.names[seen], in_sample=in_sample)
    # other times bend the course: a left-out cell that is still there would tell the answer, coupled or not
    refuse_seen(held_out.obs_names[np.isin(found.times, between)], fit.names, in_sample=False)
    if between and groupby is not None:
        raise ValueError(
            f"`groupby={groupby!r}` needs source cells; at the left-out times {between} there are none."
        )
    for step in steps:
        yield step_comparison(course, step, fit, found, genot, to_features, seed)
    for time in between:
        yield left_out_comparison(fitted, course, time, fit, found, to_features, key, n_cells, seed)


def held_out_times(held_out: AnnData, course: Course) -> np.ndarray:
    """Read the times of held-out cells: those of the fit as it read them, others as numbers on the same scale."""
    time_key, known = course.params["time_key"], course.sampled
    if time_key not in held_out.obs:
        raise KeyError(
            f"{time_key!r}, the time of the fit, is not in obs of `held_out`; found {list(held_out.obs)}."
        )
    times = fitted_times(held_out.obs[time_key], course.params)
    new = np.isnan(times)
    if new.any():
        labels = AnnData(
            obs=pd.DataFrame(
                {time_key: list(course.params["time_labels"])}, index=known.astype(str)
            )
        )
        try:
            same = np.allclose(read_times(labels, time_key), known)
        except ValueError:
            same = False
        if not same:
            raise ValueError(
                f"obs[{time_key!r}] of `held_out` has times that the fit has not, and those of the fit are categories "
                "without numbers: where a time between them lies cannot be told."
            )
        times[new] = read_times(held_out[new], time_key)
    return times


def step_comparison(
    course: Course,
    step: tuple[float, float],
    fit: Fitted,
    held_out: HeldOut,
    genot: Genot,
    to_features: Features,
    seed: int,
) -> Grouped:
    """Predict held-out cells at the later time of a step from those at the earlier one."""
    rows, true = (np.flatnonzero(held_out.times == time) for time in step)
    query, groups = held_out.cells[rows], held_out.groups[rows]
    condition = np.tile(time_condition(course.sampled, *step), (len(query), 1))
    nested = held_out_strata(held_out.adata, course.params["covariates"], rows)
    methods = {GENOT: Prediction.of_all(MODEL, drawn(genot, query, condition, seed))}
    methods |= map_predictions(fit, course.rows(*step), query, groups, nested, seed)
    comparison = Comparison(
        condition=f"{step[0]:g} to {step[1]:g}",
        group="",
        predictions=methods,
        true=held_out.cells[true].astype(float),
        n_source=len(query),
        negative="identity",
        to_features=to_features,
    )
    return comparison, groups, held_out.groups[true]


def left_out_comparison(
    fitted: AnnData,
    course: Course,
    time: float,
    fit: Fitted,
    held_out: HeldOut,
    to_features: Features,
    key: str,
    n_cells: int | None,
    seed: int,
) -> Grouped:
    """Predict the population at a time within a fitted step."""
    step = min(
        (step for step in course.steps if step[0] < time < step[1]),
        key=lambda step: step[1] - step[0],
    )
    x, y = (
        fit.cells[fit.side(course.rows(*step), side)].astype(float) for side in ("source", "target")
    )
    n = (len(x) + len(y)) // 2 if n_cells is None else n_cells

    ours = partial(
        interpolate, fitted, time, n_cells=n, decoder=as_they_are, clip=False, key=key, rng=seed
    )

    methods = {
        GENOT: Prediction.of_all(MODEL, ours(method="model").X),
        "coupling, clock and bend": Prediction.of_all(COUPLING, ours().X),
        "plain coupling": Prediction.of_all(COUPLING, ours(straight=True).X),
        **between(x, y, (time - step[0]) / (step[1] - step[0]), n, seed),
    }
    true = held_out.cells[held_out.times == time].astype(float)
    n_source = max(len(method.cells) for method in methods.values())
    comparison = Comparison(f"{time:g}", "", methods, true, n_source, BEFORE, to_features)
    return comparison, np.full(n_source, ALL, dtype=object), np.full(len(true), ALL, dtype=object)


def as_they_are(states: np.ndarray) -> pd.DataFrame:
    """Return states as features."""
    return pd.DataFrame(states, columns=[f"state {k}" for k in range(states.shape[1])])


def between(x: np.ndarray, y: np.ndarray, s: float, n: int, seed: int) -> dict[str, Prediction]:
    """Predict the population a fraction of the way from one time to the next by baselines."""
    rng = numpy_rng([seed, 6])
    x, y = rng.permutation(x), rng.permutation(y)
    shifts = {"mean shift": baselines.mean_shift, "Gaussian map": baselines.gaussian_map}
    # every cell at most once: repeated cells would count against the mixture
    largest = min(n, int(min(len(x) / (1 - s), len(y) / s)))
    some, others = x[:MAX_PLANNED], y[:MAX_PLANNED]
    product = baselines.random_pairs(len(x), len(y), n, rng=rng)
    planned = baselines.plan_pairs(some, others, n, rng=rng)
    cells = {
        BEFORE: x[:n],
        "time after": y[:n],
        "mixture": baselines.mixture(x, y, s, largest, rng=rng),
        "random pairs": baselines.straight(x, y, s, pairs=product),
        **{name: x[:n] + s * (move(x, y, x[:n]) - x[:n]) for name, move in shifts.items()},
        "discrete plan": baselines.straight(some, others, s, pairs=planned),
    }
    return {name: Prediction.of_all(BASELINE, values) for name, values in cells.items()}
