"""Integrators: the noise on the way leaves the law as it is."""

import math

import numpy as np
import pytest
import torch

from scgenot.flow import ODE, SDE, integrate, log_density
from truth.gaussians import OptimalField

S = np.array([[0.6, 0.35], [0.35, 1.2]])
MEAN = torch.tensor([1.0, -2.0], dtype=torch.float64)
N = 200_000


def velocity(t, z):
    field = OptimalField(np.zeros((2, 1)), MEAN.cpu().numpy(), S)
    return field(t.expand(len(z)), z, z.new_zeros(len(z), 1))


@pytest.fixture
def noise():
    return torch.randn(N, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.medium
@pytest.mark.parametrize("size", [0.0, 0.5, 2.0])
def test_noise_keeps_mean_and_covariance(size, noise):
    found = SDE(noise=size, steps=50)(velocity, noise, generator=torch.Generator().manual_seed(1))
    variance = torch.tensor(np.diag(S).copy())
    assert ((found.mean(0) - MEAN).abs() < 4 * (variance / N).sqrt()).all()
    # Var(s_ij) = (S_ii S_jj + S_ij^2) / n, and steps of second order
    error = np.sqrt((np.outer(np.diag(S), np.diag(S)) + S**2) / N)
    assert (np.abs(np.cov(found.T) - S) < 4 * error + 1e-3).all()


def test_the_error_of_the_steps_is_of_second_order():
    """A linear drift has moments that follow the steps exactly; no draws are needed."""

    def variance(steps: int, size: float = 2.0) -> float:
        # one dimension, conditional variance .3: v = gain(t) z around a mean of 0
        def rate(t):
            gain = (t * 0.3 - (1 - t)) / ((1 - t) ** 2 + t**2 * 0.3)
            return gain + size * (t * gain - 1)

        found, h = 1.0, 1 / steps
        for k in range(steps):
            t = k * h
            kick = size * ((1 - t) ** 2 - (1 - t - h) ** 2)
            slope = 1 + h / 2 * (rate(t) + rate(t + h) * (1 + h * rate(t)))
            found = slope**2 * found + (1 + h / 2 * rate(t + h)) ** 2 * kick
        return found

    errors = [abs(variance(steps) - 0.3) for steps in (50, 100)]
    assert errors[0] / errors[1] > 3.5
    assert errors[0] < 1e-3


def test_no_noise_is_the_ode(noise):
    generator = torch.Generator()
    found = SDE(noise=0.0, steps=200)(velocity, noise[:50], generator=generator)
    exact = ODE("rk4", steps=100)(velocity, noise[:50])
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)


def test_an_ode_is_integrate(noise):
    found = ODE("rk4", steps=7)(velocity, noise[:9], t0=1.0, t1=0.0)
    same = integrate(velocity, noise[:9], t0=1.0, t1=0.0, method="rk4", n_steps=7)
    torch.testing.assert_close(found, same, rtol=0, atol=0)
    density = ODE("rk4", steps=7).log_density(velocity, noise[:9])
    same = log_density(velocity, noise[:9], method="rk4", n_steps=7)
    torch.testing.assert_close(density, same, rtol=0, atol=0)


def test_the_same_seed_gives_the_same_bits(noise):
    draws = [
        SDE(steps=3)(velocity, noise[:20], generator=torch.Generator().manual_seed(k))
        for k in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(
    ("make", "options", "kind"),
    [
        (ODE, {"method": "heun"}, ValueError),
        (ODE, {"steps": 0}, ValueError),
        (ODE, {"steps": 2.5}, TypeError),
        (ODE, {"rtol": 0.0}, ValueError),
        (SDE, {"noise": -1.0}, ValueError),
        (SDE, {"noise": math.inf}, ValueError),
        (SDE, {"noise": "a"}, TypeError),
        (SDE, {"steps": 0}, ValueError),
    ],
)
def test_options(make, options, kind):
    with pytest.raises(kind, match=f"`{next(iter(options))}"):
        make(**options)
