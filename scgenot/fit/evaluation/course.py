"""What is compared when a time of a course was held out, or cells at its times."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from anndata import AnnData

from scgenot import baselines
from scgenot._random import numpy_rng
from scgenot.cells.read import check_anndata, check_column
from scgenot.cells.strata import known_strata
from scgenot.cells.tasks import TimeCourse
from scgenot.course.steps import Steps
from scgenot.fit.between import BEFORE, trivial_populations
from scgenot.fit.evaluation.comparison import (
    ALL,
    BASELINE,
    COUPLING,
    GENOT,
    MODEL,
    Comparison,
    Grouped,
    Prediction,
    read_groups,
    refuse_seen,
)
from scgenot.fit.evaluation.comparisons import comparisons
from scgenot.fit.evaluation.fitted import Evaluation
from scgenot.fit.evaluation.generic import MAX_PLANNED, PLAIN_COUPLING
from scgenot.fit.interpolation import population_at
from scgenot.fit.transport import Transport


@dataclass(frozen=True)
class HeldOutCells:
    """Cells of a course that were held out."""

    adata: AnnData
    cells: np.ndarray
    times: np.ndarray
    groups: np.ndarray


@comparisons.register
def _(task: TimeCourse, asked: Evaluation) -> Iterator[Grouped]:
    held_out, names = asked.held_out, asked.fit.adata.obs_names
    check_anndata(held_out, "held_out")
    times, groups = held_out_times(held_out, task), read_groups(held_out, asked.groupby)
    found = HeldOutCells(held_out, asked.fit.cells(held_out), times, groups)
    fitted, present = Steps(task.steps), set(np.unique(times).tolist())
    steps = [step for step in fitted if set(step) <= present]
    ends = {time for step in steps for time in step}
    between = [time for time in sorted(present - ends) if any(a < time < b for a, b in fitted)]
    if not steps and not between:
        raise ValueError(
            f"`held_out` has cells at {sorted(present)}: neither both times of a fitted step nor a "
            f"time within one; the fitted steps are {fitted}."
        )
    true = np.isin(times, [later for _, later in steps])
    every = range(len(asked.fit.links))
    seen = np.concatenate([asked.fit.rows(every, side) for side in ("source", "target")])
    refuse_seen(held_out.obs_names[true], names[seen], in_sample=asked.in_sample)
    # other times bend the course: a left-out cell that is still there would tell the answer,
    # coupled or not
    refuse_seen(held_out.obs_names[np.isin(times, between)], names, in_sample=False)
    if between and asked.groupby is not None:
        raise ValueError(
            f"`groupby={asked.groupby!r}` needs source cells; at the left-out times {between} "
            "there are none."
        )
    for step in steps:
        yield step_comparison(asked, step, found)
    for time in between:
        yield left_out_comparison(asked, time, fitted.around(time), found)


def held_out_times(held_out: AnnData, task: TimeCourse) -> np.ndarray:
    """Read the times of held-out cells: those of the fit, and others on the same scale."""
    key = task.time_key
    check_column(held_out, key, "time_key", "held_out")
    times = task.scale.times_of(held_out.obs[key], new=True)
    if np.isnan(times).any():
        raise ValueError(
            f"obs[{key!r}] of `held_out` has times that the fit does not have and that cannot be "
            "placed between its times: their position is unknown. Use numbers in the fit."
        )
    return times


def links_of_step(asked: Evaluation, step: tuple[float, float]) -> list[int]:
    """Positions of the links of a step, one per stratum."""
    wanted = {"source_time": step[0], "target_time": step[1]}
    return [k for k, link in enumerate(asked.fit.links) if link.labels == wanted]


def step_comparison(
    asked: Evaluation, step: tuple[float, float], held_out: HeldOutCells
) -> Grouped:
    """Predict held-out cells at the later time of a step from those at the earlier one."""
    task = asked.fit.task
    rows, true = (np.flatnonzero(held_out.times == time) for time in step)
    query, groups = held_out.cells[rows], held_out.groups[rows]
    strata = known_strata(held_out.adata, task.covariates, rows)
    own = asked.drawn(query, task.condition(*step))
    predictions = {GENOT: Prediction.of_all(MODEL, own)}
    predictions |= asked.map_predictions(links_of_step(asked, step), query, groups, strata)
    comparison = Comparison(
        condition=f"{step[0]:g} to {step[1]:g}",
        group="",
        predictions=predictions,
        true=held_out.cells[true].astype(float),
        n_source=len(query),
        negative="identity",
        to_features=asked.to_features,
    )
    return comparison, groups, held_out.groups[true]


def left_out_comparison(
    asked: Evaluation, time: float, step: tuple[float, float], held_out: HeldOutCells
) -> Grouped:
    """Predict the population at a time within a fitted step."""
    fit, links = asked.fit, links_of_step(asked, step)
    x, y = (asked.training[fit.rows(links, side)].astype(float) for side in ("source", "target"))
    n = (len(x) + len(y)) // 2 if asked.n_cells is None else asked.n_cells

    def ours(method: Literal["coupling", "model"], *, straight: bool = False) -> np.ndarray:
        transport = Transport(fit.adata, fit, method, 1, asked.seed, None)
        return population_at(transport, time, n, straight=straight)[1].cells

    predictions = {GENOT: Prediction.of_all(MODEL, ours("model"))}
    if asked.baselines:
        predictions |= {
            "coupling, clock, pace and bend": Prediction.of_all(COUPLING, ours("coupling")),
            PLAIN_COUPLING: Prediction.of_all(COUPLING, ours("coupling", straight=True)),
            **between(x, y, (time - step[0]) / (step[1] - step[0]), n, asked.seed),
        }
    true = held_out.cells[held_out.times == time].astype(float)
    n_source = max(len(found.cells) for found in predictions.values())
    name, to_features = f"{time:g}", asked.to_features
    comparison = Comparison(name, "", predictions, true, n_source, BEFORE, to_features)
    return comparison, np.full(n_source, ALL, dtype=object), np.full(len(true), ALL, dtype=object)


def between(x: np.ndarray, y: np.ndarray, s: float, n: int, seed: int) -> dict[str, Prediction]:
    """Predict the population a fraction of the way from one time to the next by baselines."""
    rng = numpy_rng([seed, 6])
    cells = trivial_populations(x, y, s, n, rng)
    some, others = (rng.permutation(side)[:MAX_PLANNED] for side in (x, y))
    planned = baselines.plan_pairs(some, others, n, rng=rng)
    cells["discrete plan"] = baselines.straight(some, others, s, pairs=planned)
    return {name: Prediction.of_all(BASELINE, values) for name, values in cells.items()}
