"""Losses of batches: values as by the divergence, gradients as by finite differences."""

import numpy as np
import pytest
import torch

import scgenot as sg
from scgenot.ot.cost import squared_euclidean
from scgenot.ot.losses import divergence_loss, gap_loss, transport_loss

EXACT = {"max_iterations": 10_000, "tolerance": 1e-12}


def cells(n, d, rng, shift=0.0):
    return torch.tensor(np.random.default_rng(rng).normal(size=(n, d)) + shift)


def test_the_divergence_is_that_of_the_package():
    x, y = cells(30, 3, 0), cells(40, 3, 1, 1.0)
    found = divergence_loss((x, x), (y, y), 0.5, **EXACT)
    found -= transport_loss(squared_euclidean, y, y, 0.5, **EXACT) / 2
    expected = sg.ot.sinkhorn_divergence(x, y, epsilon=0.5, scale=1.0, tolerance=1e-12)
    assert float(found) == pytest.approx(float(expected), rel=1e-8)


@pytest.mark.medium
def test_the_right_spread_is_where_the_gradient_is_0():
    draw, gradients = torch.Generator().manual_seed(0), []
    for _ in range(150):
        x, u, y, v = torch.randn(4, 20, 5, generator=draw, dtype=torch.float64)
        scale = torch.ones((), dtype=torch.float64, requires_grad=True)
        plain = transport_loss(squared_euclidean, scale * x, y, 0.5)
        plain = plain - transport_loss(squared_euclidean, scale * x, scale * x, 0.5) / 2
        two = divergence_loss((scale * x, scale * u), (y, v), 0.5)
        gradients.append([float(torch.autograd.grad(loss, scale)[0]) for loss in (plain, two)])
    mean, error = np.mean(gradients, 0), np.std(gradients, 0) / np.sqrt(len(gradients))
    assert abs(mean[1]) < 3 * error[1]
    assert mean[0] > 10 * error[0]  # one sample shrinks what is right


@pytest.mark.medium
@pytest.mark.parametrize("loss", ["divergence", "gap", "gap of an elastic cost"])
def test_gradients_are_those_of_finite_differences(loss):
    x, y = cells(12, 2, 0), cells(15, 2, 1, 0.5)
    fixed = cells(12, 2, 3)

    def value(x):
        if loss == "divergence":
            return divergence_loss((x, fixed), (y, y - 1), 0.3, **EXACT)
        cost = squared_euclidean if loss == "gap" else sg.ot.elastic(0.3, kind="stvs")
        return gap_loss(cost, fixed, x, 0.3, **EXACT)

    at = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(at), at)
    for i, k in ((0, 0), (5, 1), (11, 0)):
        step = torch.zeros_like(x)
        step[i, k] = 1e-5
        slope = (value(x + step) - value(x - step)) / 2e-5
        assert float(gradient[i, k]) == pytest.approx(float(slope), rel=1e-4, abs=1e-8)


@pytest.mark.medium
@pytest.mark.parametrize("epsilon", [0.1, 10.0])
def test_the_gap_of_a_shift_is_its_entropy(epsilon):
    # the identity and a shift have the plan of the cells with themselves, whose cost is W(x, x)
    x = cells(25, 2, 0)
    within = transport_loss(squared_euclidean, x, x, epsilon, **EXACT)
    for shift in (0.0, 1.5):
        gap = gap_loss(squared_euclidean, x, x + shift, epsilon, **EXACT)
        assert float(gap) == pytest.approx(-float(within), rel=1e-6)


def test_a_distance_at_its_kink_has_no_gradient():
    x = cells(8, 2, 0)
    mapped = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(gap_loss(sg.ot.euclidean, x, mapped, 0.1), mapped)
    assert gradient.isfinite().all()
