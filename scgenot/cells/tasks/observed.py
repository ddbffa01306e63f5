"""Which cells of an AnnData are target cells of a fit, and under which condition."""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import NamedTuple

import numpy as np
from anndata import AnnData

from scgenot.cells.strata import known_strata
from scgenot.cells.tasks.screen import Screen
from scgenot.cells.tasks.task import name_of
from scgenot.cells.tasks.time_course import TimeCourse
from scgenot.cells.tasks.translation import Translation

Labels = Sequence[Mapping[str, object]]


class Observed(NamedTuple):
    """Target cells of some links: their positions, conditions and strata."""

    links: list[int]
    rows: np.ndarray
    condition: np.ndarray | None
    strata: list[dict]


@singledispatch
def observed(task, adata: AnnData, labels: Labels) -> list[Observed]:
    """Find the target cells of links, which have the given labels, among measured cells.

    Parameters
    ----------
    task
        Task of the fit.
    adata
        Measured cells, of the fit or others.
    labels
        Labels of each link.

    Returns
    -------
    The target cells of each condition that has some.

    Raises
    ------
    ValueError
        When the task is one of the user's own.
    """
    raise ValueError(
        f"Which cells are targets is known for fits from `fit_perturbation`, `fit_trajectory` and "
        f"`fit_translation`; this one has the task {name_of(task)!r}."
    )


@observed.register
def _(task: Screen, adata: AnnData, labels: Labels) -> list[Observed]:
    named: dict[tuple, list[int]] = {}
    for k, label in enumerate(labels):
        if label.get("dose") != 0:  # the control that is coupled with itself
            named.setdefault((str(label["perturbation"]), label.get("dose")), []).append(k)
    found = []
    for (name, dose), links in named.items():
        rows = task.treated_rows(adata, name, dose)
        if len(rows):
            question = task.ask(adata, name, dose=dose, rows=rows)
            strata = known_strata(adata, [*task.covariates, *task.told], rows)
            found.append(Observed(links, rows, question.condition, strata))
    return found


@observed.register
def _(task: TimeCourse, adata: AnnData, labels: Labels) -> list[Observed]:
    times, found = task.times(adata), []
    for later in sorted({label["target_time"] for label in labels}):
        rows = np.flatnonzero(times == later)
        # of several steps to a time the shortest
        earlier = max(one["source_time"] for one in labels if one["target_time"] == later)
        wanted = {"source_time": earlier, "target_time": later}
        links = [k for k, label in enumerate(labels) if dict(label) == wanted]
        if len(rows):
            condition = np.tile(task.condition(earlier, later), (len(rows), 1))
            found.append(
                Observed(links, rows, condition, known_strata(adata, task.covariates, rows))
            )
    return found


@observed.register
def _(task: Translation, adata: AnnData, labels: Labels) -> list[Observed]:
    rows = np.arange(adata.n_obs)
    return [Observed(list(range(len(labels))), rows, None, [{}] * len(rows))]
