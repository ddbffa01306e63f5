"""The geometry of Gaussian populations against closed forms, in double precision."""

import numpy as np
import pytest
import torch

from scgenot.population import bures
from scgenot.population.bures import Gaussians
from truth.laws import bures_wasserstein

EYE = torch.eye(4, dtype=torch.float64)


def random(n: int, d: int, seed: int, rank: int | None = None) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(n, d, rank or 2 * d, generator=generator, dtype=torch.float64)
    means = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return Gaussians(means, root @ root.mT / root.shape[-1])


@pytest.fixture
def x():
    return random(6, 4, 0)


@pytest.fixture
def y():
    return random(6, 4, 1)


def close(found, expected, atol=1e-12):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_distance_of_commuting_covariances():
    a, b = torch.tensor([4.0, 1, 9, 0]).double(), torch.tensor([1.0, 16, 0, 0]).double()
    basis = torch.linalg.qr(random(1, 4, 3).covariance[0])[0]
    first = Gaussians(torch.zeros(4).double(), basis @ a.diag() @ basis.T)
    second = Gaussians(torch.ones(4).double(), basis @ b.diag() @ basis.T)
    expected = (4 + (a.sqrt() - b.sqrt()).square().sum()).sqrt()
    # eigenvalues of 0 are known up to rounding of the largest
    close(bures.distance(first, second), expected, 1e-7)
    squared = bures.distance(first, second, squared=True)
    close(squared, expected**2, 1e-6)


def test_distance_is_that_of_the_formula(x, y):
    expected = bures_wasserstein(
        *(part.cpu().numpy() for side in (x, y) for part in (side.mean, side.covariance))
    )
    np.testing.assert_allclose(
        bures.distance(x, y, squared=True).cpu().numpy(), expected, atol=1e-12
    )


def test_distance_is_one(x, y):
    close(bures.distance(x, x), torch.zeros(6).double(), 1e-13)
    close(bures.distance(x, y), bures.distance(y, x))
    z = random(6, 4, 2)
    assert (bures.distance(x, z) <= bures.distance(x, y) + bures.distance(y, z) + 1e-12).all()


def test_scaling_and_translation(x, y):
    scaled = [Gaussians(3 * side.mean, 9 * side.covariance) for side in (x, y)]
    close(bures.distance(*scaled), 3 * bures.distance(x, y))
    moved = [Gaussians(side.mean + 5, side.covariance) for side in (x, y)]
    close(bures.distance(*moved), bures.distance(x, y))
    close(bures.distance(x, Gaussians(x.mean + 2, x.covariance)), torch.full((6,), 4.0).double())
    grown = Gaussians(x.mean, 4 * x.covariance)
    close(bures.distance(x, grown), x.covariance.diagonal(dim1=1, dim2=2).sum(1).sqrt())


@pytest.mark.parametrize("rank", [None, 2, 1])
def test_all_pairs(rank):
    x, y = random(7, 4, 0, rank), random(5, 4, 1, rank)
    expected = torch.stack([bures.distance(x, y[j]) for j in range(5)], 1)
    close(bures.distances(x, y), expected)
    own = bures.distances(x)
    close(own, bures.distances(x, x), 1e-7)
    assert torch.equal(own, own.T)
    assert torch.equal(own.diagonal(), torch.zeros(7).double())


def test_all_pairs_in_blocks_are_the_same(x, y, monkeypatch):
    whole = bures.distances(x, y), bures.distances(x)
    monkeypatch.setattr(bures, "BLOCK", 40)
    close(bures.distances(x, y), whole[0])
    close(bures.distances(x), whole[1])


def test_equal_singular_covariances_have_no_distance():
    x = random(3, 5, 0, rank=2)
    close(bures.distance(x, x), torch.zeros(3).double(), 1e-12)
    assert bures.distances(x).isfinite().all()
    point = Gaussians(x.mean, 0 * x.covariance)
    spread = x.covariance.diagonal(dim1=1, dim2=2).sum(1).sqrt()
    close(bures.distance(x, point), spread)


def test_transport_matrix(x, y):
    A = bures.transport(x, y)
    close(A, A.mT)
    close(A @ x.covariance @ A, y.covariance)
    assert (torch.linalg.eigvalsh(A) > 0).all()
    close(A @ bures.transport(y, x), EYE.expand(6, 4, 4))


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_geodesic(x, y, t):
    at = bures.geodesic(x, y, t)
    whole = bures.distance(x, y)
    close(bures.distance(x, at), t * whole)
    close(bures.distance(at, y), (1 - t) * whole)
    close(at.covariance, at.covariance.mT, 0)


def test_geodesic_takes_a_time_for_each(x, y):
    t = torch.linspace(0, 1, 6, dtype=torch.float64)
    close(bures.distance(x, bures.geodesic(x, y, t)), t * bures.distance(x, y))


def test_endpoint(x, y):
    end = bures.geodesic(x, y, 1.0)
    close(end.mean, y.mean)
    close(end.covariance, y.covariance)


@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_velocity_is_the_derivative(x, y, t):
    at, found = bures.geodesic(x, y, t), bures.velocity(x, y, t)
    close(found.linear, found.linear.mT)
    close(found.mean, y.mean - x.mean)
    A = bures.transport(x, y)
    M = (1 - t) * EYE + t * A
    expected = (A - EYE) @ x.covariance @ M + M @ x.covariance @ (A - EYE)
    close(found.linear @ at.covariance + at.covariance @ found.linear, expected, 1e-11)
    # the speed along a geodesic is its length
    close(bures.squared_speed(at, found).sqrt(), bures.distance(x, y))


def test_steps_reach_the_endpoint(x, y):
    # the step is exact along a geodesic, however large
    close(bures.step(x, bures.velocity(x, y, 0.0), 1.0).covariance, y.covariance)
    at = x
    for k in range(4):
        at = bures.step(at, bures.velocity(x, y, k / 4), 0.25)
    close(at.mean, y.mean)
    close(at.covariance, y.covariance)


def test_a_step_of_any_size_leaves_covariances_positive(x, y):
    wild = bures.Velocity(y.mean, -50 * random(6, 4, 3).covariance)
    found = bures.step(x, wild, 0.7).covariance
    close(found, found.mT, 0)
    assert (torch.linalg.eigvalsh(found) > 0).all()


def test_transport_from_a_singular_covariance_is_finite():
    x, y = random(3, 5, 0, rank=2), random(3, 5, 1)
    A = bures.transport(x, y)
    assert A.isfinite().all()
    assert bures.geodesic(x, y, 0.5).covariance.isfinite().all()


def test_barycenter_of_commuting_covariances():
    scales = torch.tensor([1.0, 4, 9]).double()
    shape = random(1, 4, 0).covariance[0]
    x = Gaussians(random(3, 4, 1).mean, scales[:, None, None] * shape)
    found = bures.barycenter(x)
    close(found.mean, x.mean.mean(0))
    close(found.covariance, 4 * shape, 1e-11)  # (1 + 2 + 3) / 3 squared


def test_barycenter_is_where_maps_average_to_identity(x):
    weights = torch.arange(1, 7).double()
    found = bures.barycenter(x, weights)
    maps = bures.transport(Gaussians(x.mean, found.covariance.expand(6, 4, 4)), x)
    mean = (weights[:, None, None] * maps).sum(0) / weights.sum()
    close(mean, EYE, 1e-9)
    close(found.mean, (weights[:, None] * x.mean).sum(0) / weights.sum())
