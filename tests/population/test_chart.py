"""Coordinates of Gaussian populations against the geometry, in double precision."""

import numpy as np
import pytest
import torch

from scgenot.population import bures
from scgenot.population.bures import Gaussians
from scgenot.population.chart import Chart
from scgenot.population.gaussian import estimate

D = 4


def random(n: int, seed: int) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.double}
    root = torch.randn(n, D, 2 * D, **options)
    return Gaussians(torch.randn(n, D, **options), root @ root.mT / (2 * D))


@pytest.fixture
def chart():
    made = Chart(D)
    made.fit(random(20, 0))
    return made


def close(found, expected, atol=1e-11):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_there_and_back(chart):
    given = random(6, 1)
    white = chart.whiten(given)
    back = chart.color(chart.populations(chart.coordinates(white)))
    close(back.mean, given.mean)
    close(back.covariance, given.covariance)


def test_the_mean_population_is_the_origin(chart):
    given = random(20, 0)
    mean = Gaussians(given.mean.mean(0), given.covariance.mean(0))
    close(chart.coordinates(chart.whiten(mean)), torch.zeros(chart.size).double())


def test_push_is_the_derivative_of_the_populations(chart):
    """`dS = L S + S L` and `dm`, from the difference quotient of the coordinates."""
    at = chart.whiten(random(6, 2))
    y, h = chart.coordinates(at), 1e-6
    change = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    there, back = (chart.populations(y + sign * h * change) for sign in (1, -1))
    moved = chart.push(at, change)
    close((there.mean - back.mean) / (2 * h), moved.mean, 1e-8)
    expected = moved.linear @ at.covariance + at.covariance @ moved.linear
    close((there.covariance - back.covariance) / (2 * h), expected, 1e-7)
    close(moved.linear, moved.linear.mT)
    close(chart.pull(at, moved), change)


def test_distance_from_the_identity_is_the_length_of_the_root(chart):
    eye = torch.eye(D).double()
    at = Gaussians(torch.zeros(5, D).double(), random(5, 4).covariance)
    start = Gaussians(at.mean, eye.expand(5, D, D))
    _, change = chart.unpack(chart.coordinates(at))
    close(bures.distance(start, at), change.square().sum((-2, -1)).sqrt())


@pytest.mark.medium
def test_sampling_error_is_the_same_in_all_coordinates():
    """Of n cells, 1 / n up to terms of order 1 / n^2; 4000 populations: 5 standard errors."""
    n, rng = 400, np.random.default_rng(0)
    clouds = rng.normal(size=(4000, n, D))
    means = torch.from_numpy(clouds.mean(1))
    centred = torch.from_numpy(clouds) - means[:, None]
    found = Gaussians(means, centred.mT @ centred / (n - 1))
    variance = Chart(D).coordinates(found).var(0) * n
    assert (variance - 1).abs().max() < 5 * (2 / 4000) ** 0.5 + 3 * D / n


def test_columns_without_spread_stay_finite():
    clouds = [np.random.default_rng(k).normal(size=(30, D)) * [1, 1, 1, 1e-9] for k in range(5)]
    chart = Chart(D)
    chart.fit(estimate(clouds))
    assert chart.coordinates(chart.whiten(estimate(clouds))).isfinite().all()
