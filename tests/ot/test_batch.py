"""Descents in one tensor program end where descents one by one end."""

import numpy as np
import pytest
import torch

from scgenot.ot import FusedGromovWasserstein, GromovWasserstein, squared_euclidean
from scgenot.ot.quadratic import batch
from scgenot.ot.quadratic.batch import BatchDescender
from scgenot.ot.quadratic.problem import QuadraticTask
from scgenot.ot.sinkhorn import to_problem
from scgenot.pair import Pair
from truth.cells import lopsided, rotation

EPSILON = 0.02


def task_of(solver: GromovWasserstein, *, shared: bool = False) -> QuadraticTask:
    """Sixty cells and a turned, noisy copy of them."""
    rng = np.random.default_rng(0)
    x = lopsided(60, rng)
    y = x @ rotation(3, rng) + 0.1 * rng.normal(size=x.shape)
    more = {"source_shared": x[:, :1], "target_shared": x[:, :1] + 0.1} if shared else {}
    problem = to_problem(Pair(x, y, **more), solver)
    linear = squared_euclidean if shared else None
    return QuadraticTask.prepare(solver, problem, int(shared), 0.3 * shared, linear)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("solver", "shared"),
    [
        (GromovWasserstein(geometry="centred", dtype=torch.float64), False),
        (
            GromovWasserstein(
                geometry="centred", intra_cost=squared_euclidean, dtype=torch.float64
            ),
            False,
        ),
        (FusedGromovWasserstein(geometry="centred", dtype=torch.float64), True),
    ],
    ids=["factored", "dense", "fused"],
)
def test_ends_are_where_single_descents_stay(solver, shared, monkeypatch):
    """Descents one by one, from where those of the batch end, find the same objective there.

    Costs still move by a thousandth of epsilon, and objectives by less.
    """
    monkeypatch.setattr(batch, "STILL_BOUNDS", (0, 1e-3))
    task = task_of(solver, shared=shared)
    many = BatchDescender(task.problem, task.source, task.target, task.fused, max_outer=500)
    ends = many.run(task._starts(4, seed=0), [3 * EPSILON, EPSILON])
    single = task._descender(1e-8)
    for end in ends:
        stayed = single.run(task._on_cells(end.cost), [EPSILON])
        assert end.objective == pytest.approx(stayed.objective, rel=1e-3)


def test_the_size_of_a_part_changes_nothing(monkeypatch):
    """Starts are worked on a few at a time: which ones does not matter."""
    task = task_of(GromovWasserstein(dtype=torch.float64))
    many = BatchDescender(task.problem, task.source, task.target, None, max_outer=5)
    whole = many.run(task._starts(5, seed=0), [3 * EPSILON, EPSILON])
    monkeypatch.setattr(batch, "ENTRIES", 1)
    single = many.run(task._starts(5, seed=0), [3 * EPSILON, EPSILON])
    for one, other in zip(whole, single, strict=True):
        assert one.objective == pytest.approx(other.objective, rel=1e-9)


def test_cells_that_nothing_reaches_overflow_nothing():
    """At an epsilon far too small, in single precision, all ends are finite."""
    task = task_of(GromovWasserstein())
    many = BatchDescender(task.problem, task.source, task.target, None, max_outer=5)
    ends = many.run(task._starts(5, seed=0), [1e-5])
    assert all(end.is_finite for end in ends)
