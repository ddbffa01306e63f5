"""Couplings against closed forms (docs/math.md) on quadrature grids.

Errors are the solver's, not those of sampling.
"""

import numpy as np
import pytest
import torch

from scgenot.ot import GromovWasserstein, Sinkhorn, squared_euclidean
from scgenot.pair import Pair
from truth.gaussians import matrix_power, random_problem
from truth.grids import normal_grid, quadrature_error, tensor_grid
from truth.inner_gromov import InnerGromov
from truth.mixtures import MixturePlan
from truth.plans import check_balanced, dense
from truth.unbalanced import MASSES, UnbalancedGaussians

# marginal error to which the linear problems are solved
TOLERANCE = 1e-11


def solve(x, y, a, b, *, epsilon, **options):
    solver = Sinkhorn(
        epsilon=epsilon, relative=False, tolerance=TOLERANCE, dtype=torch.float64, **options
    )
    coupling = solver(Pair(x, y, source_weights=a, target_weights=b))
    assert coupling.diagnostics.converged
    return coupling


@pytest.mark.parametrize("seed", range(3))
def test_balanced_gaussians(seed):
    """Conditional means and covariances.

    Cross-covariance and value of a random problem in two dimensions.
    """
    truth = random_problem(2, np.random.default_rng(seed), relative_epsilon=0.5)
    n, width = 33, 6.0
    x, a = tensor_grid(truth.a, matrix_power(truth.A, 0.5), n, width)
    y, b = tensor_grid(truth.b, matrix_power(truth.B, 0.5), n, width)
    coupling = solve(x, y, a, b, epsilon=truth.epsilon)

    # the narrowest direction of the conditional law, in units of the grid, bounds the quadrature;
    # the rest is the tail beyond six standard deviations, times squared distances up to (12 sd)^2
    narrowest = np.linalg.eigvalsh(np.linalg.solve(truth.B, truth.S)).min()
    bound = 144 * (quadrature_error(narrowest, n, width) + TOLERANCE)
    assert bound < 1e-4
    mean = coupling.barycenter().cpu().numpy()
    inner = a > 1e-6  # conditional laws of the outermost cells leave the grid
    assert np.abs(mean - truth.mean(x))[inner].max() < 1e-3
    assert (a @ np.abs(mean - truth.mean(x))).max() < bound
    plan = dense(coupling)
    centred = plan @ (y - truth.b)
    assert np.abs((x - truth.a).T @ centred - truth.C).max() < bound
    second = np.einsum("ij,jk,jl->kl", plan, y - truth.b, y - truth.b)
    slope_part = truth.slope @ truth.A @ truth.slope.T
    assert np.abs(second - slope_part - truth.S).max() < bound
    assert abs(coupling.diagnostics.objective - truth.value) < bound * truth.value
    # the closed form's own identity, S = (eps / 2) C' A^-1
    assert np.allclose(truth.S, truth.epsilon / 2 * truth.slope, atol=1e-12)


def test_balanced_gaussians_in_one_dimension_to_many_digits():
    truth = random_problem(1, np.random.default_rng(0), relative_epsilon=0.1)
    x, a = normal_grid(truth.a[0], truth.A[0, 0], 400, 7.5)
    y, b = normal_grid(truth.b[0], truth.B[0, 0], 401, 7.5)
    coupling = solve(x, y, a, b, epsilon=truth.epsilon)
    # tails beyond 7.5 sd hold 6e-14 of the mass at squared distances below 1e3, and TOLERANCE
    bound = 1e-9
    assert abs(coupling.diagnostics.objective - truth.value) < bound
    # any cell, not only those of the grid
    new = truth.a + np.sqrt(truth.A[0]) * np.linspace(-3, 3, 7)[:, None]
    rows = coupling.rows(torch.tensor(new)).cpu().numpy()
    mean = rows @ y
    assert (
        np.abs(mean - truth.mean(new)).max() < 1e-7
    )  # potentials at the cells next to |x| = 3 sd: TOLERANCE / a_i
    assert np.abs((rows * (y.T - mean) ** 2).sum(1) - truth.S[0, 0]).max() < 1e-7


@pytest.mark.parametrize(("s", "g"), list(MASSES))
def test_unbalanced_gaussians(s, g):
    """Mass, moments, value and growth; seen and unseen cells."""
    truth = UnbalancedGaussians(s, g)
    x, a = normal_grid(truth.a, truth.A, 300, 8.0)
    y, b = normal_grid(truth.b, truth.B, 301, 8.0)
    coupling = solve(x, y, a, b, epsilon=truth.epsilon, tau=(truth.tau, truth.tau))

    mass = coupling.diagnostics.mass
    assert abs(mass - MASSES[s, g]) < 1e-6  # the digits that the fixture has
    plan = dense(coupling) / mass
    means = plan.sum(1) @ x[:, 0], plan.sum(0) @ y[:, 0]
    assert np.allclose(means, truth.means, atol=1e-8)
    dx, dy = x[:, 0] - means[0], y[:, 0] - means[1]
    cross = dx @ plan @ dy
    covariance = [[plan.sum(1) @ dx**2, cross], [cross, plan.sum(0) @ dy**2]]
    assert np.allclose(covariance, truth.covariance, atol=1e-8)
    assert abs(coupling.diagnostics.objective - truth.objective(mass)) < 1e-8

    inner = np.abs(x[:, 0]) < 4.5 * np.sqrt(
        truth.A
    )  # further out, conditional laws come near the ends of the grid
    assert np.allclose(
        coupling.growth().cpu().numpy()[inner], truth.growth(x[inner, 0], mass), rtol=1e-6
    )
    assert np.allclose(
        plan.sum(1)[inner] * mass / a[inner], truth.growth(x[inner, 0], mass), rtol=1e-6
    )
    new = np.linspace(-3, 3, 11)[:, None] + 0.01
    assert np.allclose(
        coupling.growth(torch.tensor(new)).cpu().numpy(), truth.growth(new[:, 0], mass), rtol=1e-6
    )


def test_growth_is_one_when_balanced():
    x, a = normal_grid(0, 1.5, 100, 5.0)
    y, b = normal_grid(1, 0.7, 100, 5.0)
    growth = solve(x, y, a, b, epsilon=0.5).growth()
    assert torch.equal(growth, torch.ones_like(growth))


@pytest.mark.parametrize("epsilon", [1.0, 3.6])
def test_inner_product_gromov(epsilon):
    """Both axes are matched at epsilon 1.

    At 3.6 the second lies under the threshold and is independent.
    """
    truth = InnerGromov(np.array([2.0, 1.0]), np.array([1.5, 0.8]), epsilon)
    (x, a), (y, b) = (
        tensor_grid(np.zeros(2), np.diag(np.sqrt(v)), 23, 5.0) for v in (truth.source, truth.target)
    )
    solver = GromovWasserstein(
        epsilon=epsilon,
        intra_cost="inner",
        geometry="centred",
        relative=False,
        n_starts=1,
        dtype=torch.float64,
    )
    coupling = solver(Pair(x, y, source_weights=a, target_weights=b))

    cross = np.abs(x.T @ dense(coupling) @ y)
    # the cross-covariance stops moving by 1e-3 of itself a step; 5 % is what is promised
    assert np.abs(np.diag(cross) - truth.cross).max() < 0.05 * truth.cross[0]
    assert np.abs(cross - np.diag(np.diag(cross))).max() < 0.01
    rows, mean = coupling.rows().cpu().numpy(), coupling.barycenter().cpu().numpy()
    variance = a @ (rows @ y**2 - mean**2)
    assert np.abs(variance / truth.conditional_variance - 1).max() < 0.05


def test_mixture_target():
    """Every conditional law is the known mixture: two modes, with weights that depend on x."""
    truth = MixturePlan(
        np.array([0.5, 0.5]), np.array([-2.0, 2.0]), np.array([0.3, 0.6]), epsilon=0.5
    )
    x = np.linspace(-1.5, 1.5, 40)
    y = np.linspace(-9, 9, 500)
    step = y[1] - y[0]
    law = truth.density(x, y) * step
    coupling = solve(
        x[:, None],
        y[:, None],
        None,
        law.mean(0),
        epsilon=truth.epsilon,
        cost=lambda x, y: squared_euclidean(x, y) / 2,
    )
    check_balanced(coupling, 1e-9)
    assert np.abs(coupling.rows().cpu().numpy() - law).sum(1).max() < 1e-8
    new = np.array([-0.777, 0.123])
    assert (
        np.abs(
            coupling.rows(torch.tensor(new[:, None])).cpu().numpy() - truth.density(new, y) * step
        )
        .sum(1)
        .max()
        < 1e-8
    )
