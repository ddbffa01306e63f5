"""Means and covariances of populations, of few cells and of many."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from scgenot.population import bures
from scgenot.population.bures import Gaussians
from scgenot.population.cells import draw_cells
from scgenot.population.gaussian import estimate, unshrunk

RNG = np.random.default_rng(0)
SHAPE = np.diag([9.0, 4, 1, 0.25])


def cloud(n: int, mean=0.0, scale=1.0, rng=RNG) -> np.ndarray:
    return mean + rng.multivariate_normal(np.zeros(4), scale * SHAPE, size=n)


def test_moments_of_many_cells():
    clouds = [cloud(4000, 1), cloud(4000, 0, 4)]
    found = estimate(clouds)
    assert found.mean.dtype == found.covariance.dtype == torch.float64
    np.testing.assert_allclose(found.mean.cpu().numpy(), [c.mean(0) for c in clouds], atol=1e-12)
    expected = np.array([np.cov(c.T) for c in clouds])
    # a standard error of a variance of n cells is sqrt(2 / n) of it: 2 %
    np.testing.assert_allclose(found.covariance.cpu().numpy(), expected, rtol=0, atol=0.02 * 36)


def test_few_cells_are_nearer_to_the_truth_than_their_own_covariance():
    rng, own, shrunk = np.random.default_rng(1), [], []
    for _ in range(20):
        clouds = [cloud(4, rng=rng), *(cloud(200, rng=rng) for _ in range(5))]
        found = estimate(clouds, warn=False).covariance[0].cpu().numpy()
        own.append(np.linalg.norm(np.cov(clouds[0].T) - SHAPE))
        shrunk.append(np.linalg.norm(found - SHAPE))
    assert np.mean(shrunk) < np.mean(own)


def test_scaling_of_the_cells_scales_the_covariances():
    clouds = [cloud(6, 1), cloud(9), cloud(300, 2, 3)]
    scales = np.array([1, 10, 0.1, 5.0])
    found = estimate(clouds, warn=False)
    scaled = estimate([c * scales for c in clouds], warn=False)
    expected = found.covariance.cpu().numpy() * np.outer(scales, scales)
    np.testing.assert_allclose(scaled.covariance.cpu().numpy(), expected, rtol=1e-9)


def test_one_cell_has_the_covariance_of_all():
    clouds = [cloud(1), cloud(500), cloud(500, 3), cloud(3)]
    with pytest.warns(
        UserWarning, match=r"2 of 4 populations have at most 4 cells.*a \(1\), d \(3"
    ):
        found = estimate(clouds, names=list("abcd"))
    np.testing.assert_allclose(found.covariance[0].cpu().numpy(), SHAPE, atol=1.5)
    assert (torch.linalg.eigvalsh(found.covariance) > 0).all()


def test_two_cells_have_full_rank():
    found = estimate([cloud(2), cloud(2, 5), cloud(50)], warn=False)
    assert (torch.linalg.eigvalsh(found.covariance) > 1e-3).all()


def test_a_constant_column_leaves_covariances_positive():
    clouds = [np.c_[cloud(30), np.zeros(30)], np.c_[cloud(40), np.zeros(40)]]
    found = estimate(clouds, warn=False)
    assert (torch.linalg.eigvalsh(found.covariance) >= 0).all()


def test_populations_of_single_cells_have_no_spread():
    with pytest.raises(ValueError, match="no population has two different cells"):
        estimate([cloud(1), cloud(1)], names=["a", "b"])


def test_the_formula():
    clouds = [cloud(n, n) for n in (1, 3, 50, 4000)]
    found = estimate(clouds, warn=False).covariance.cpu().numpy()
    within = found[0]  # one cell says nothing else
    pooled = sum((len(c) - 1) * np.cov(c.T) for c in clouds[1:]) / 4050
    np.testing.assert_allclose(within, pooled, atol=0.5)  # five standard errors
    for k, cells in enumerate(clouds[1:], 1):
        n = len(cells)
        expected = ((n - 1) * np.cov(cells.T) + 4 * within) / (n + 3)
        np.testing.assert_allclose(found[k], expected, atol=1e-10)


def test_the_order_of_distances_is_kept():
    rng = np.random.default_rng(3)
    angle = np.linspace(0, np.pi / 2, 12)
    covariances = np.tile(0.3 * np.eye(10), (12, 1, 1))
    cos, sin = np.cos(angle), np.sin(angle)
    covariances[:, 0, 0], covariances[:, 1, 1] = cos**2 + 0.1 * sin**2, sin**2 + 0.1 * cos**2
    covariances[:, 0, 1] = covariances[:, 1, 0] = 0.9 * sin * cos
    clouds = [rng.multivariate_normal(np.zeros(10), one, size=100) for one in covariances]
    found = estimate(clouds)
    found = bures.distances(Gaussians(torch.zeros(12, 10).double(), found.covariance)).cpu().numpy()
    true = bures.distances(Gaussians(torch.zeros(12, 10).double(), torch.tensor(covariances)))
    pairs = np.triu_indices(12, 1)
    assert spearmanr(found[pairs], true.cpu().numpy()[pairs])[0] > 0.85


def test_one_column():
    clouds = [cloud(300)[:, :1], cloud(3, 0, 4)[:, :1]]
    found = estimate(clouds, warn=False).covariance.cpu().numpy()
    scatter = np.array([(len(c) - 1) * np.var(c, ddof=1) for c in clouds])
    within = scatter.sum() / 301
    np.testing.assert_allclose(found[:, 0, 0], (scatter + within) / [300, 3], rtol=1e-10)


def test_cells_whose_shrunk_covariance_is_given():
    """Up to the shrinkage of the covariance within all, of 6,000 cells: about 1e-4."""
    found = estimate([cloud(60, 0, scale) for scale in np.linspace(0.5, 2, 100)])
    values, vectors = torch.linalg.eigh(found.covariance.mean(0))  # sizes are equal: that within
    white, back = vectors / values.sqrt() @ vectors.T, vectors * values.sqrt() @ vectors.T
    wanted = back @ unshrunk(white @ found.covariance @ white, 60) @ back
    cells = draw_cells(Gaussians(found.mean, wanted), 60, RNG)
    again = estimate(cells)
    off = (again.covariance - found.covariance).abs().amax((1, 2))
    assert (off < 1e-3 * found.covariance.abs().amax((1, 2))).all()


def test_the_covariance_within_is_its_own_shrunk_one():
    eye = torch.eye(4).double()
    torch.testing.assert_close(unshrunk(eye, 30), eye)
