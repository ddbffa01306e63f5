"""Laws that are Gaussian mixtures: against quadrature, and against what makes a plan entropic."""

import numpy as np
import pytest
from scipy.stats import chisquare, norm

import scgenot as sg
from truth.mixtures import MixturePlan


def random_law(dim: int, kind: str, rng, epsilon: float = 0.4, k: int = 3) -> sg.model.MixtureLaw:
    spread = rng.uniform(0.3, 1.5, size=(k, dim))
    axes = np.linalg.qr(rng.normal(size=(k, dim, dim)))[0]
    slopes = spread if kind == "diagonal" else (axes * spread[:, None]) @ axes.swapaxes(1, 2)
    weights = rng.uniform(0.2, 1, size=k)
    return sg.model.MixtureLaw(weights, rng.normal(size=(k, dim)), slopes, epsilon)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(params=["diagonal", "full"])
def law(request, rng):
    return random_law(3, request.param, rng)


def test_one_dimension_against_quadrature(rng):
    law = random_law(1, "diagonal", rng)
    plan = MixturePlan(law.weights, law.intercepts[:, 0], law.slopes[:, 0], law.epsilon)
    x, y = np.array([-1.3, 0.4, 2.0]), np.linspace(-25, 25, 4001)
    density = plan.density(x, y)
    every = np.repeat(x, len(y))[:, None], np.tile(y, len(x))[:, None]
    found = np.exp(law.log_prob(*every)).reshape(density.shape)
    np.testing.assert_allclose(found, density, rtol=1e-11, atol=1e-300)
    step = y[1] - y[0]
    np.testing.assert_allclose(found.sum(1) * step, 1, rtol=1e-12)
    mean = found @ y * step
    np.testing.assert_allclose(law.mean(x[:, None])[:, 0], mean, atol=1e-12)
    variance = found @ y**2 * step - mean**2
    np.testing.assert_allclose(law.covariance(x[:, None])[:, 0, 0], variance, rtol=1e-10)


def test_it_is_an_entropic_plan(law, rng):
    # log pi(y | x) + |x - y|^2 / (2 eps) is a function of x and one of y
    (x, other), (y, more) = rng.normal(size=(2, 20, 3)), rng.normal(size=(2, 20, 3))

    def potential(x, y):
        return law.log_prob(x, y) + ((x - y) ** 2).sum(1) / (2 * law.epsilon)

    mixed = potential(x, y) - potential(other, y) - potential(x, more) + potential(other, more)
    np.testing.assert_allclose(mixed, 0, atol=1e-10)


def test_diagonal_and_full_slopes_agree(rng):
    law = random_law(3, "diagonal", rng)
    full = np.stack([np.diag(slope) for slope in law.slopes])
    same = sg.model.MixtureLaw(law.weights, law.intercepts, full, law.epsilon)
    x, y = rng.normal(size=(2, 9, 3))
    for name, args in (("mean", (x,)), ("covariance", (x,)), ("log_prob", (x, y))):
        np.testing.assert_allclose(
            getattr(law, name)(*args), getattr(same, name)(*args), atol=1e-12
        )
    np.testing.assert_allclose(law.sample(x, 5), same.sample(x, 5), atol=1e-12)


def test_samples_have_the_moments_of_the_law(law, rng):
    x, n = rng.normal(size=(2, 3)), 40_000
    draws = law.sample(x, n, rng=1)
    covariance = law.covariance(x)
    error = 5 * np.sqrt(np.diagonal(covariance, axis1=1, axis2=2) / n)
    assert (np.abs(draws.mean(1) - law.mean(x)) < error).all()
    off = draws - draws.mean(1, keepdims=True)
    found = off.swapaxes(1, 2) @ off / n
    scale = np.sqrt(np.einsum("nii,njj->nij", covariance, covariance))
    # the variance of a product of two centred coordinates is at most that of their squares
    assert (np.abs(found - covariance) < 5 * np.sqrt(6 / n) * scale).all()


def test_components_are_drawn_by_their_weights(rng):
    law = sg.model.MixtureLaw([0.2, 0.8], [[-50.0], [50.0]], np.ones((2, 1)), 1.0)
    x, n = np.array([[0.0]]), 10_000
    low = (law.sample(x, n, rng=rng)[0, :, 0] < 0).sum()
    assert chisquare([low, n - low], n * np.exp(law.log_weights(x)[0])).pvalue > 1e-4


def test_one_component_is_gaussian(rng):
    law = sg.model.MixtureLaw([3.0], [[1.0, 0.0]], [[0.5, 2.0]], 0.3)
    x, y = rng.normal(size=(2, 6, 2))
    np.testing.assert_allclose(law.mean(x), [1, 0] + x * [0.5, 2], rtol=1e-12)
    normal = norm(law.mean(x), np.sqrt(0.3 * np.array([0.5, 2.0])))
    np.testing.assert_allclose(law.log_prob(x, y), normal.logpdf(y).sum(1), rtol=1e-12)


def test_distant_cells_have_a_law():
    law = random_law(2, "diagonal", np.random.default_rng(3), epsilon=1e-3)
    x = np.array([[1e3, -1e3]])
    assert np.isfinite(law.mean(x)).all()
    assert np.isfinite(law.log_prob(x, law.mean(x))).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epsilon": 0.0}, "`epsilon=0.0` must be a positive number"),
        ({"weights": [1.0]}, "shapes"),
        ({"weights": [1.0, -1.0]}, "`weights` must be positive"),
        ({"slopes": np.zeros((2, 2))}, "positive definite"),
        ({"slopes": [[1.0, np.nan]] * 2}, "`slopes` has values that are not finite"),
        ({"intercepts": [[0.0], [1.0]]}, "shapes"),
    ],
)
def test_impossible_laws(changed, message):
    right = {"weights": [1, 2], "intercepts": np.zeros((2, 2)), "slopes": np.ones((2, 2))}
    with pytest.raises(ValueError, match=message):
        sg.model.MixtureLaw(**{**right, "epsilon": 1.0, **changed})
