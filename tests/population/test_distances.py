"""Distances between populations are distances, and those that their names say."""

import numpy as np
import pytest
from scipy.stats import energy_distance as in_one_dimension

from scgenot import metrics
from scgenot.population import energy
from scgenot.population.distances import pairwise, scale_of, subsample

KINDS = ["bures", "sinkhorn", "energy"]


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return [
        rng.normal(rng.normal(size=4), rng.uniform(0.5, 2, size=4), size=(n, 4))
        for n in (40, 70, 12, 55)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_symmetric_with_zero_diagonals(clouds, kind):
    found = pairwise([*clouds, clouds[0][::-1]], kind)
    assert np.array_equal(found, found.T)
    assert not np.diag(found).any()
    assert (found[:4, :4][~np.eye(4, dtype=bool)] > 0.1).all()
    assert found[0, 4] < 2e-3  # the same cells in another order; single precision


@pytest.mark.parametrize("kind", ["bures", "energy"])
def test_the_triangle_inequality(clouds, kind):
    found = pairwise(clouds, kind)
    assert (found[:, :, None] <= found[:, None] + found[None] + 1e-12).all()


@pytest.mark.parametrize(("kind", "factor"), [("bures", 3), ("sinkhorn", 3), ("energy", 3**0.5)])
def test_moving_changes_nothing_and_scaling_scales(clouds, kind, factor):
    found = pairwise(clouds, kind)
    np.testing.assert_allclose(pairwise([c + 7 for c in clouds], kind), found, atol=1e-4)
    np.testing.assert_allclose(pairwise([3 * c for c in clouds], kind), factor * found, rtol=1e-4)


@pytest.mark.parametrize("kind", ["bures", "sinkhorn"])
def test_a_shift_is_its_length(clouds, kind):
    shift = np.array([1.0, -2, 2, 0])
    found = pairwise([clouds[0], clouds[0] + shift], kind)[0, 1]
    assert abs(found - 3) < 1e-5


def test_energy_distances(clouds, monkeypatch):
    expected = [[metrics.energy_distance(x, y) ** 0.5 for y in clouds] for x in clouds]
    np.testing.assert_allclose(pairwise(clouds, "energy"), expected, atol=1e-7)
    monkeypatch.setattr(energy, "BLOCK", 100)
    np.testing.assert_allclose(pairwise(clouds, "energy"), expected, atol=1e-7)
    flat = [cloud[:, :1] for cloud in clouds[:2]]
    found = pairwise(flat, "energy")[0, 1]
    assert abs(found - in_one_dimension(*(c[:, 0] for c in flat))) < 1e-10


def test_cells_are_drawn_by_the_seed(clouds):
    found = [pairwise(clouds, "energy", n_cells=20, rng=seed) for seed in (0, 0, 1)]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert [len(c) for c in subsample(clouds, 20)] == [20, 20, 12, 20]


def test_the_scale_is_a_mean_squared_distance(clouds):
    pairs = [np.square(c[:, None] - c).sum(2).mean() for c in clouds]
    assert scale_of(clouds) == pytest.approx(np.mean(pairs))
    assert scale_of([c[:1] for c in clouds]) == 1
