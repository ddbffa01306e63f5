"""The truth is true: identities of the closed forms, in float64."""

import numpy as np
import pytest

from truth.gaussians import matrix_power, random_covariance, random_problem
from truth.laws import bures_wasserstein, cbw_uvp, cbw_uvp_floor


@pytest.fixture(params=[1, 4, 10])
def problem(request):
    return random_problem(request.param, np.random.default_rng(request.param))


def test_two_forms_of_the_conditional_covariance(problem):
    np.testing.assert_allclose(problem.S, problem.s * problem.slope, atol=1e-10)
    assert np.linalg.eigvalsh(problem.S).min() > 0


def test_the_density_has_the_form_of_a_coupling(problem):
    """P = exp(u(x) + v(y) + 2 x.y / epsilon).

    The cross block of the joint precision is -2 / epsilon times identity.
    """
    joint = np.block([[problem.A, problem.C], [problem.C.T, problem.B]])
    cross = np.linalg.inv(joint)[: problem.dim, problem.dim :]
    np.testing.assert_allclose(cross, -2 / problem.epsilon * np.eye(problem.dim), atol=1e-8)


def test_value_is_cost_plus_entropy(problem):
    shift = problem.a - problem.b
    cost = shift @ shift + np.trace(problem.A) + np.trace(problem.B) - 2 * np.trace(problem.C)
    mutual_information = (np.linalg.slogdet(problem.B)[1] - np.linalg.slogdet(problem.S)[1]) / 2
    assert problem.value == pytest.approx(cost + problem.epsilon * mutual_information, rel=1e-10)


def test_samples_have_the_moments(problem):
    rng, n = np.random.default_rng(0), 20_000
    x = problem.sample_source(n, rng)
    y = problem.sample_conditional(x, 1, rng)[:, 0]
    # a sample covariance is off by at most a few (|S|^2 / n)^.5 an entry
    np.testing.assert_allclose(
        np.cov(x.T).reshape(problem.A.shape), problem.A, atol=6 * problem.A.max() * (2 / n) ** 0.5
    )
    np.testing.assert_allclose(
        np.cov(y.T).reshape(problem.B.shape), problem.B, atol=6 * problem.B.max() * (2 / n) ** 0.5
    )
    # E[-log p] is the entropy of the conditional law
    entropy = (np.linalg.slogdet(2 * np.pi * problem.S)[1] + problem.dim) / 2
    assert -problem.log_prob(x, y).mean() == pytest.approx(
        entropy, abs=6 * (problem.dim / 2 / n) ** 0.5
    )


def test_bures_wasserstein_of_commuting_covariances():
    rng = np.random.default_rng(0)
    covariance = random_covariance(4, rng)
    mean = rng.standard_normal((2, 4))
    found = bures_wasserstein(mean, np.stack([covariance, 4 * covariance]), 0 * mean, covariance)
    # |S1^.5 - S2^.5|^2 in Frobenius norm
    between = [0, np.trace(covariance)]
    np.testing.assert_allclose(found, (mean**2).sum(1) + between, atol=1e-10)


def test_cbw_uvp_sees_a_shift_and_a_lack_of_spread():
    problem, rng = random_problem(4, np.random.default_rng(0)), np.random.default_rng(1)
    x = problem.sample_source(50, rng)
    floor = cbw_uvp_floor(problem, x, 500, rng)
    samples = problem.sample_conditional(x, 500, rng)
    # the mean is off by the sampling error's |S| / n, the covariance by its known share
    assert 0 < floor < 100 * 2 * 2 * 4 * np.trace(problem.S) / 500 / np.trace(problem.B)
    shifted = cbw_uvp(problem, x, samples + 0.5)
    assert shifted - floor == pytest.approx(200 * 4 * 0.25 / np.trace(problem.B), rel=0.05)
    collapsed = cbw_uvp(problem, x, np.repeat(problem.mean(x)[:, None], 10, 1))
    assert collapsed == pytest.approx(200 * np.trace(problem.S) / np.trace(problem.B), rel=1e-6)


def test_matrix_power():
    covariance = random_covariance(5, np.random.default_rng(0))
    np.testing.assert_allclose(
        matrix_power(covariance, 0.5) @ matrix_power(covariance, -0.5), np.eye(5), atol=1e-10
    )
