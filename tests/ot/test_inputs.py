"""Odd inputs work; bad ones raise an error that names the argument."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from scgenot.ot import FusedGromovWasserstein, GromovWasserstein, Sinkhorn, squared_euclidean
from scgenot.pair import Pair
from truth.cells import random_pair
from truth.plans import dense

SOLVERS = [Sinkhorn, GromovWasserstein, FusedGromovWasserstein]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("epsilon", [0, -1, "foo", None, float("nan"), float("inf")])
def test_bad_epsilon(solver, epsilon):
    with pytest.raises(ValueError, match="`epsilon`"):
        solver(epsilon=epsilon)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "tau", [(0, 1), (1, 1.5), 0.9, (0.9,), (0.9, 0.9, 0.9), (-0.1, 1), (float("nan"), 1)]
)
def test_bad_tau(solver, tau):
    with pytest.raises(ValueError, match="`tau`"):
        solver(tau=tau)


def raises(solver, pair, match):
    with pytest.raises(ValueError, match=match):
        solver(pair)


def test_two_spaces_in_a_linear_coupling():
    raises(Sinkhorn(), random_pair(p=3, q=2), "`source` has 3 columns, `target` 2")


def test_fused_without_shared_features():
    raises(FusedGromovWasserstein(), random_pair(), "`source_shared`")


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_bad_alpha(alpha):
    with pytest.raises(ValueError, match=r"`alpha=.*` must be from 0"):
        FusedGromovWasserstein(alpha=alpha)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"geometry": "polar"}, "`geometry`"),
        ({"intra_cost": "cityblock"}, "`intra_cost`"),
        ({"intra_cost": squared_euclidean, "max_dense_cells": 50}, "`max_dense_cells`"),
        ({"intra_cost": lambda x, y: -squared_euclidean(x, y)}, "`intra_cost`"),
    ],
)
def test_bad_options_of_quadratic_couplings(options, match):
    raises(GromovWasserstein(n_starts=1, **options), random_pair(), match)


def test_no_starts():
    with pytest.raises(ValueError, match=r"`n_starts=.*` must be an integer >= 1"):
        GromovWasserstein(n_starts=0)


# rounding of the mean leaves unequal rows for some of these values
@pytest.mark.parametrize("value", [0.0, 0.1, 3.3, 1e4 + 0.1])
@pytest.mark.parametrize("geometry", ["unit", "centred", "raw"])
def test_constant_cells(geometry, value):
    pair = replace(random_pair(), source=np.full((60, 3), value))
    raises(GromovWasserstein(geometry=geometry), pair, "same representation")


def test_constant_cells_in_a_linear_coupling():
    raises(Sinkhorn(), Pair(np.ones((5, 2)), np.ones((4, 2))), "`cost`")


@pytest.mark.medium
@pytest.mark.parametrize("solver", [Sinkhorn(), GromovWasserstein(n_starts=1)])
def test_any_array_of_numbers(solver):
    """Whatever the memory layout, byte order and type: the same cells."""
    pair = random_pair(weights=False)
    x, y = np.round(pair.source * 4), np.round(pair.target * 4)
    locked = x.astype(np.float32)
    locked.flags.writeable = False
    expected = dense(solver(Pair(x, y)))
    for other in (
        x[::-1].copy()[::-1],
        np.asfortranarray(x),
        np.repeat(x, 2, axis=1)[:, ::2],
        x.astype(">f8"),
        x.astype(int),
        x.astype(np.float16),
        locked,
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", "Coupling of")
            assert np.array_equal(dense(solver(Pair(other, y))), expected)


def test_a_coupling_does_not_follow_later_changes_of_the_cells():
    pair = random_pair()
    coupling = Sinkhorn(dtype=torch.float64)(pair)
    before = coupling.x.clone()
    pair.source[:] = 0
    assert torch.equal(coupling.x, before)


@pytest.mark.medium
@pytest.mark.parametrize(
    "solver", [Sinkhorn(), GromovWasserstein(n_starts=2), GromovWasserstein(n_starts=1)]
)
@pytest.mark.parametrize("sizes", [(2, 2), (2, 7), (7, 2)])
def test_few_cells(solver, sizes):
    coupling = solver(random_pair(n=sizes[0], m=sizes[1]))
    assert coupling.shape == sizes
    assert np.isfinite(dense(coupling)).all()


@pytest.mark.parametrize("tolerance", [0, 1e-300])
def test_a_tolerance_that_cannot_be_met(tolerance):
    coupling = Sinkhorn(epsilon=10, tolerance=tolerance, max_iterations=100)(random_pair())
    assert np.isfinite(dense(coupling)).all()
