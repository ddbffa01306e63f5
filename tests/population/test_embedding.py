"""Euclidean distances of embedded populations against distances between the populations."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist, squareform

from scgenot.population import bures
from scgenot.population.bures import Gaussians
from scgenot.population.embedding import (
    gaussian_coordinates,
    reference_cells,
    transport_coordinates,
)

RNG = np.random.default_rng(0)


def stack(means, covariances) -> Gaussians:
    return Gaussians(torch.tensor(means), torch.tensor(covariances))


def random_gaussians(n: int, d: int, spread: float) -> Gaussians:
    """Gaussians around one; `spread` is how far covariances are from it."""
    noise = RNG.normal(size=(n, d, d)) * spread
    root = np.diag(np.arange(1.0, d + 1)) @ (np.eye(d) + (noise + noise.transpose(0, 2, 1)) / 2)
    return stack(RNG.normal(size=(n, d)), root.transpose(0, 2, 1) @ root)


def test_commuting_covariances_are_embedded_exactly():
    basis = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    values = RNG.uniform(0.2, 3, size=(9, 4))
    x = stack(RNG.normal(size=(9, 4)), np.einsum("ij,nj,kj->nik", basis, values, basis))
    found = gaussian_coordinates(x)
    assert found.values.shape == (9, 4 + 10) == (9, len(set(found.names)))
    expected = bures.distances(x).cpu().numpy()
    np.testing.assert_allclose(squareform(pdist(found.values)), expected, atol=1e-10)


def test_distances_to_the_barycenter_are_exact():
    x = random_gaussians(8, 3, 0.3)
    found = gaussian_coordinates(x).values
    expected = bures.distance(x, bures.barycenter(x)).cpu().numpy()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), expected, atol=1e-10)


def test_distances_are_not_shorter_and_alike_near_the_barycenter():
    x = random_gaussians(10, 4, 0.05)
    expected, found = (
        squareform(bures.distances(x).cpu().numpy()),
        pdist(gaussian_coordinates(x).values),
    )
    assert (found >= expected - 1e-12).all()
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_shifts_are_transported_exactly():
    cells = RNG.normal(size=(80, 3))
    shifts = np.array([[0, 0, 0], [1, 2, 2], [-3, 0, 0.0]])
    found = transport_coordinates([cells + s for s in shifts], n_reference=50).values
    np.testing.assert_allclose(cdist(found, found), cdist(shifts, shifts), atol=1e-5)


@pytest.mark.slow
def test_gaussian_clouds_are_as_far_as_their_laws():
    scales = np.array([0.6, 1, 1.4, 1.8])
    clouds = [s * RNG.normal(size=(1500, 2)) + [3 * s, 0] for s in scales]
    found = transport_coordinates(clouds, n_cells=None, epsilon=0.02, n_reference=400).values
    # W2 of isotropic Gaussians: the means, and sqrt(2) times the scales
    expected = np.abs(scales[:, None] - scales) * np.sqrt(9 + 2)
    np.testing.assert_allclose(cdist(found, found), expected, atol=0.12)


def test_the_embedding_repeats_itself():
    clouds = [RNG.normal(size=(n, 3)) for n in (5, 60, 30)]
    first, second = (transport_coordinates(clouds, n_reference=40, rng=3) for _ in range(2))
    assert np.array_equal(first.values, second.values)
    assert first.values.shape == (3, 120) == (3, len(first.names))


@pytest.mark.parametrize("n", [2, 7, 30])
def test_every_population_gives_as_many_reference_cells(n):
    clouds = [np.full((size, 1), float(k)) for k, size in enumerate((3, 50, 20))]
    counts = np.bincount(reference_cells(clouds, n, RNG)[:, 0].astype(int), minlength=3)
    assert counts.sum() == n
    assert np.ptp(counts) <= 1
