"""Integrators on fields whose solution is known, in float64."""

import math

import pytest
import torch

from scgenot.flow import divergence, integrate, log_density

torch.manual_seed(0)
MATRIX = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / 2
OFFSET = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
POINTS = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def linear(t, z):
    return z @ MATRIX.T


def oscillating(t, z):
    """z(t) = z(0) exp(sin(5 t) / 5): depends on time."""
    return torch.cos(5 * t) * z


def solutions():
    yield linear, POINTS @ torch.linalg.matrix_exp(MATRIX).T
    yield oscillating, POINTS * math.exp(math.sin(5) / 5)


@pytest.mark.parametrize("case", [0, 1])
@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_order(method, order, case):
    field, exact = list(solutions())[case]
    errors = [
        (integrate(field, POINTS, method=method, n_steps=n) - exact).norm() for n in (100, 200)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("case", [0, 1])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_dopri5_keeps_its_tolerance(case, tolerance):
    field, exact = list(solutions())[case]
    found = integrate(field, POINTS, method="dopri5", rtol=tolerance, atol=tolerance)
    # the tolerance is per step; a dozen steps
    assert (found - exact).abs().max() < 20 * tolerance


@pytest.mark.medium
@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4", "dopri5"])
def test_backward_undoes_forward(method):
    there = integrate(oscillating, POINTS, method=method, n_steps=2000, rtol=1e-10, atol=1e-10)
    back = integrate(
        oscillating, there, t0=1.0, t1=0.0, method=method, n_steps=2000, rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(back, POINTS, rtol=0, atol=5e-3 if method == "euler" else 1e-6)


def test_dopri5_gives_up_with_a_clear_message():
    with pytest.raises(RuntimeError, match=r"'dopri5' stopped at t = .* after 10 steps"):
        integrate(
            lambda t, z: -1e4 * z, POINTS, method="dopri5", rtol=1e-8, atol=1e-8, max_steps=10
        )


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`method` is 'heun'"):
        integrate(linear, POINTS, method="heun")
    with pytest.raises(ValueError, match="at least one step"):
        integrate(linear, POINTS, n_steps=0)


def test_divergence_is_the_trace():
    v, trace = divergence(lambda t, z: t * torch.sin(z) @ MATRIX.T, torch.tensor(2.0), POINTS)
    torch.testing.assert_close(v, 2 * torch.sin(POINTS) @ MATRIX.T)
    torch.testing.assert_close(trace, 2 * torch.cos(POINTS) @ MATRIX.diagonal())


def test_estimated_divergence_is_unbiased():
    signs = (
        torch.randint(2, (20_000, 4), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    )
    _, trace = divergence(
        linear, torch.tensor(0.0), torch.zeros(20_000, 4, dtype=torch.float64), signs
    )
    assert abs(trace.mean() - MATRIX.trace()) < 5 * trace.std() / 20_000**0.5


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_log_density_of_an_affine_flow(method):
    """z_1 = e^M z_0 + M^-1 (e^M - I) o is Gaussian."""
    found = log_density(
        lambda t, z: z @ MATRIX.T + OFFSET, POINTS, method=method, n_steps=50, rtol=1e-9, atol=1e-9
    )
    exp = torch.linalg.matrix_exp(MATRIX)
    mean = torch.linalg.solve(MATRIX, (exp - torch.eye(4)) @ OFFSET)
    law = torch.distributions.MultivariateNormal(mean, exp @ exp.T)
    torch.testing.assert_close(found, law.log_prob(POINTS), rtol=0, atol=1e-6)
