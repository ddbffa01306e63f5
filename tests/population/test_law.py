"""The linear-Gaussian law of populations against refits and known covariances."""

import numpy as np
import pytest
import torch

from scgenot.population.bures import Gaussians
from scgenot.population.cells import draw_cells
from scgenot.population.frame import Frame
from scgenot.population.law import PENALTIES, count_factors, factors, fit_law, ridge

RNG = np.random.default_rng(0)


def test_ridge_finds_a_linear_mean():
    features, weights = RNG.normal(size=(30, 3)), RNG.normal(size=(3, 7))
    found = ridge(features @ weights + 2, features, np.arange(30))
    np.testing.assert_allclose(found.weights, weights, atol=1e-4)  # the least penalty is 1e-6
    np.testing.assert_allclose(found.intercept, 2, atol=1e-4)


def test_features_that_tell_nothing_are_not_used():
    found = ridge(RNG.normal(size=(30, 5)), np.zeros((30, 2)), np.arange(30))
    np.testing.assert_array_equal(found.weights, 0)
    assert found.freedom == 1


def test_the_error_of_left_out_groups_is_that_of_refits():
    values, features = RNG.normal(size=(20, 4)), RNG.normal(size=(20, 3))
    groups = np.repeat(np.arange(5), 4)
    found = ridge(values, features, groups)
    unit = np.square(features - features.mean(0)).sum() / 3
    errors = []
    for penalty in [np.inf, *PENALTIES * unit]:
        error = 0.0
        for group in range(5):
            kept = groups != group
            # the intercept is that of the kept, the penalty is the same for all
            center, offset = features[kept].mean(0), values[kept].mean(0)
            x, y = features[kept] - center, values[kept] - offset
            weights = np.linalg.pinv(x.T @ x + min(penalty, 1e12) * np.eye(3)) @ x.T @ y
            error += np.square(values[~kept] - offset - (features[~kept] - center) @ weights).sum()
        errors.append(error)
    np.testing.assert_allclose(found.error, min(errors), rtol=1e-6)


def test_factors_are_those_of_the_law():
    """1000 samples of three factors among 20 coordinates: standard errors of variances 4.5 %."""
    basis = np.linalg.qr(RNG.normal(size=(20, 3)))[0]
    scales = np.array([3.0, 2.0, 1.5])
    values = RNG.normal(size=(1000, 3)) * np.sqrt(scales**2 - 0.01) @ basis.T
    values += 0.1 * RNG.normal(size=(1000, 20))
    assert count_factors(values, 0) == 3
    found, variances, rest = factors(values, 3)
    np.testing.assert_allclose(variances, scales**2, rtol=0.15)
    np.testing.assert_allclose(rest, 0.01, rtol=0.05)
    np.testing.assert_allclose(np.linalg.svd(found.T @ basis)[1], 1, atol=0.01)


def test_the_features_that_serve_are_chosen():
    features = RNG.uniform(-1, 1, size=(60, 1))
    values = features**2 @ np.ones((1, 4)) + 0.01 * RNG.normal(size=(60, 4))
    _, chosen = fit_law(values, [features, np.hstack([features, features**2])], np.arange(60))
    assert chosen == 1


@pytest.fixture
def frame():
    made, generator = Frame(12, 3), torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.double}
    made.basis.copy_(torch.linalg.qr(torch.randn(12, 3, **options))[0])
    made.noise_mean.copy_(torch.randn(12, **options))
    made.noise_std.copy_(torch.rand(12, **options) + 0.5)
    made.scales.copy_(torch.tensor([3.0, 2.0, 0.5]))
    made.rest.fill_(0.1)
    return made


def test_frame_there_and_back(frame):
    generator = torch.Generator().manual_seed(1)
    z, mean = torch.randn(2, 7, 12, generator=generator, dtype=torch.double)
    t = torch.linspace(0, 1, 7).double()[:, None]
    y = frame.point(t, z, mean)
    torch.testing.assert_close(frame.coordinates(t, y, mean), z, rtol=0, atol=1e-11)
    h = 1e-6
    moved = (frame.point(t + h, z, mean) - frame.point(t - h, z, mean)) / (2 * h)
    torch.testing.assert_close(moved, frame.rate(z, mean), rtol=0, atol=1e-8)


def test_frame_ends_in_the_law(frame):
    eye = torch.eye(12).double()
    covariance = 0.01 * eye + frame.basis * (frame.scales**2 - 0.01) @ frame.basis.T
    root = frame.color(eye)
    torch.testing.assert_close(root.T @ root, covariance, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [6, 50])
def test_cells_have_the_moments_of_their_population(n):
    root = torch.randn(3, 5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    given = Gaussians(root[..., 0], root @ root.mT)
    cells = np.stack(draw_cells(given, n, np.random.default_rng(0)))
    np.testing.assert_allclose(cells.mean(1), given.mean, atol=1e-10)
    found = np.stack([np.cov(cloud.T) for cloud in cells])
    np.testing.assert_allclose(found, given.covariance, atol=1e-9)


def test_few_cells_are_normal():
    """Their moments are not fixed: over 4000 populations of one cell they are those of the law."""
    given = Gaussians(torch.zeros(4000, 2).double(), torch.eye(2).double().expand(4000, 2, 2))
    cells = np.concatenate(draw_cells(given, 1, np.random.default_rng(0)))
    assert abs(cells.var() - 1) < 5 * np.sqrt(2 / 8000)
