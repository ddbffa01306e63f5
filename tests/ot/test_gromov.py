"""Quadratic and fused couplings: brute force on tiny problems, laws, and limits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scgenot.ot import (
    FusedGromovWasserstein,
    GromovWasserstein,
    Sinkhorn,
    euclidean,
    squared_euclidean,
)
from scgenot.ot.dual import Problem
from scgenot.ot.quadratic.cost import Lineariser
from scgenot.ot.quadratic.descent import Descender
from scgenot.ot.quadratic.intra import fit_intra
from scgenot.ot.quadratic.starts import principal_starts
from scgenot.pair import Pair
from truth.cells import lopsided, random_pair, rotation
from truth.plans import (
    check_balanced,
    check_same_plan,
    dense,
    distortion,
    divergence,
    marginal_divergence,
)

EXACT = GromovWasserstein(
    epsilon=0.05, n_starts=1, max_outer=200, tolerance=1e-10, dtype=torch.float64
)
FUSED = FusedGromovWasserstein(epsilon=0.05, max_outer=200, tolerance=1e-10, dtype=torch.float64)
# steps end when the cost moves by less than .01 epsilon, which rows change by, and contract from
# there: two descents to the same optimum agree to about that
SAME = 1e-2


def intra(cells, weights, cost="sqeuclidean", geometry="unit"):
    """Cost within a population in the solver's units, by its definition."""
    rows = cells if geometry == "raw" else cells - weights @ cells
    if geometry == "unit":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distances = ((rows[:, None] - rows) ** 2).sum(2)
    if cost == "inner":
        return rows @ rows.T / (weights @ ((rows - weights @ rows) ** 2).sum(1))
    distances = distances if cost == "sqeuclidean" else np.sqrt(distances)
    return distances / (weights @ distances @ weights)


@pytest.fixture
def tiny():
    return random_pair(n=14, m=11, p=3, q=2)


@pytest.mark.medium
@pytest.mark.parametrize("cost", ["sqeuclidean", "inner", "euclidean"])
@pytest.mark.parametrize("geometry", ["unit", "centred", "raw"])
def test_objective_is_the_sum_over_quadruples(tiny, cost, geometry):
    solver = replace(
        EXACT, geometry=geometry, intra_cost=euclidean if cost == "euclidean" else cost
    )
    coupling = solver(tiny)
    a, b, plan = tiny.source_weights, tiny.target_weights, dense(coupling)
    sides = (intra(x, w, cost, geometry) for x, w in ((tiny.source, a), (tiny.target, b)))
    expected = distortion(plan, *sides) + 0.05 * divergence(plan, a, b)
    # `euclidean` takes the root of differences of squares: distances near 0 are off by the root of
    # the rounding
    assert coupling.diagnostics.objective == pytest.approx(
        expected, abs=1e-6 if cost == "euclidean" else 1e-9
    )


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_fused_objective_is_the_weighted_sum(alpha):
    pair = random_pair(n=14, m=11, shared=2)
    coupling = replace(FUSED, alpha=alpha)(pair)
    a, b, plan = pair.source_weights, pair.target_weights, dense(coupling)
    linear = ((pair.source_shared[:, None] - pair.target_shared) ** 2).sum(2)
    quadratic = distortion(plan, intra(pair.source, a), intra(pair.target, b))
    total = alpha * (plan * linear).sum() / linear.mean() + (1 - alpha) * quadratic
    assert coupling.diagnostics.objective == pytest.approx(
        total + 0.05 * divergence(plan, a, b), abs=1e-9
    )


def test_unbalanced_objective_has_the_penalties(tiny):
    tau = (0.9, 0.8)
    coupling = replace(EXACT, tau=tau)(tiny)
    a, b, plan = tiny.source_weights, tiny.target_weights, dense(coupling)
    total = distortion(plan, intra(tiny.source, a), intra(tiny.target, b)) + 0.05 * divergence(
        plan, a, b
    )
    for t, marginal, weights in zip(tau, (plan.sum(1), plan.sum(0)), (a, b), strict=True):
        total += t / (1 - t) * 0.05 * marginal_divergence(marginal, weights)
    assert coupling.diagnostics.objective == pytest.approx(total, abs=1e-9)
    assert coupling.diagnostics.mass == pytest.approx(plan.sum())


class AnyPlan:
    """A plan that need not be the solution of anything."""

    def __init__(self, plan):
        self.plan = plan

    def apply(self, values):
        return self.plan @ values

    def apply_transposed(self, values):
        return self.plan.T @ values


@pytest.mark.parametrize("cost", ["sqeuclidean", "inner", euclidean])
def test_linearised_cost_is_the_gradient_of_the_distortion(tiny, cost):
    """By automatic differentiation of the sum over quadruples, at a plan of any marginals."""
    plan = torch.rand(
        14, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    cells = [torch.tensor(side) for side in (tiny.source, tiny.target)]
    weights = [torch.tensor(side) for side in (tiny.source_weights, tiny.target_weights)]
    source, target = (
        fit_intra(cost, x, w, geometry="centred", scaled=True, max_dense_cells=100)
        for x, w in zip(cells, weights, strict=True)
    )
    lineariser = Lineariser(source, target, *cells)
    found = lineariser(AnyPlan(plan.detach()))
    matrices = [
        side.left(x) @ side.right(x).T for side, x in zip((source, target), cells, strict=True)
    ]
    value = distortion(plan, *matrices)
    value.backward()
    assert found.distortion == pytest.approx(value.item(), rel=1e-12)
    assert torch.allclose(found.cost(lineariser.u_x, lineariser.u_y), plan.grad, rtol=1e-10)


@pytest.mark.medium
def test_factored_equals_dense():
    pair = random_pair()
    one, other = EXACT(pair), replace(EXACT, intra_cost=squared_euclidean)(pair)
    check_same_plan(one, other, SAME)
    # the objective is stationary: it errs by the square of what the plan errs by
    assert one.diagnostics.objective == pytest.approx(other.diagnostics.objective, abs=1e-4)
    mixed = replace(EXACT, intra_cost=("sqeuclidean", squared_euclidean))(pair)
    check_same_plan(one, mixed, SAME)


@pytest.mark.medium
@pytest.mark.parametrize("memory_limit", [0, 2])
def test_marginals(memory_limit):
    check_balanced(replace(EXACT, memory_limit=memory_limit)(random_pair()), 1e-9)


@pytest.mark.medium
def test_rotations_and_shifts_of_either_side_change_nothing():
    """Starts follow the principal axes, so that even a single one ends at the same plan."""
    pair = random_pair()
    rng = np.random.default_rng(0)
    turned = replace(
        pair, source=pair.source @ rotation(3, rng) + 5, target=pair.target @ rotation(3, rng) - 3
    )
    for solver in (EXACT, replace(EXACT, n_starts=3)):
        one, other = solver(pair), solver(turned)
        assert one.diagnostics.objective == pytest.approx(other.diagnostics.objective, abs=1e-4)
        assert np.abs(dense(one) - dense(other)).sum() < SAME


@pytest.mark.medium
def test_scaling_either_side_changes_nothing():
    pair = random_pair()
    scaled = replace(pair, source=7 * pair.source, target=pair.target / 5)
    for geometry in ("unit", "centred"):
        solver = replace(EXACT, geometry=geometry)
        assert np.abs(dense(solver(pair)) - dense(solver(scaled))).sum() < SAME


@pytest.mark.slow
def test_absolute_units_are_relative_ones_rescaled():
    """With both sides times 3 the distortion is 3^4 of what it was, and so is epsilon."""
    pair = random_pair()
    scaled = replace(pair, source=3 * pair.source, target=3 * pair.target)
    solver = replace(EXACT, relative=False, geometry="centred", epsilon=2.0)
    one, other = solver(pair), replace(solver, epsilon=162.0)(scaled)
    assert other.diagnostics.objective == pytest.approx(81 * one.diagnostics.objective, rel=1e-4)
    assert np.abs(dense(one) - dense(other)).sum() < SAME


def test_the_way_to_the_optimum_does_not_depend_on_the_units():
    """After one linearisation too: a start is as strong as the cost that it stands for."""
    pair = random_pair()
    scaled = replace(pair, source=3 * pair.source, target=3 * pair.target)
    solver = replace(EXACT, relative=False, geometry="centred", epsilon=20.0, max_outer=1)
    one, other = solver(pair), replace(solver, epsilon=1620.0)(scaled)
    assert not one.diagnostics.converged
    np.testing.assert_allclose(dense(other), dense(one), rtol=1e-5, atol=1e-12)


@pytest.mark.medium
def test_descent_never_raises_the_objective():
    """Balanced, squared Euclidean distances.

    The distortion is concave on couplings, so that each step descends.
    """
    pair = random_pair()
    x, y, a, b = (
        torch.tensor(v)
        for v in (pair.source, pair.target, pair.source_weights, pair.target_weights)
    )
    problem = Problem(x, y, a, b)
    sides = [
        fit_intra("sqeuclidean", c, w, geometry="unit", scaled=True, max_dense_cells=0)
        for c, w in ((x, a), (y, b))
    ]
    start = principal_starts(x, y, *(side.geometry for side in sides), n_starts=2, rng=0)[1]
    values = []
    for steps in range(1, 12):
        descender = Descender(
            problem, *sides, None, max_outer=steps, max_iterations=20_000, tolerance=1e-12
        )
        values.append(descender.run(start, [0.02]).objective)
    # inner iterations stop at a marginal error of 1e-3, in units of costs of mean 1
    assert (np.diff(values) < 1e-4).all()
    assert values[-1] < values[0]


@pytest.mark.medium
def test_fused_ends_are_the_two_parts():
    pair = random_pair(shared=2)
    shared = replace(
        pair,
        source=pair.source_shared,
        target=pair.target_shared,
        source_shared=None,
        target_shared=None,
    )
    linear = Sinkhorn(epsilon=0.05, tolerance=1e-10, dtype=torch.float64)(shared)
    assert np.abs(dense(replace(FUSED, alpha=1.0)(pair)) - dense(linear)).sum() < 1e-8
    assert np.abs(dense(replace(FUSED, alpha=0.0)(pair)) - dense(EXACT(pair))).sum() < SAME


def test_a_cost_of_shared_features_is_fitted_to_all_cells():
    seen, pair = [], random_pair(shared=2)

    class Fitted:
        def fit(self, x, y):
            seen.append((x, y))
            return squared_euclidean

    replace(FUSED, cost=Fitted())(pair)
    ((x, y),) = seen
    np.testing.assert_array_equal(x.cpu(), pair.source_shared)
    np.testing.assert_array_equal(y.cpu(), pair.target_shared)


def test_shared_features_give_the_orientation():
    """One noisy shared feature tells a mirror-symmetric source from its mirror image."""
    rng = np.random.default_rng(0)
    x = np.concatenate([half + rng.normal(size=(40, 2)) * 0.3 for half in ([-2, 0], [2, 0])])
    y = x @ rotation(2, rng)
    shared = x[:, :1] + 0.5 * rng.normal(size=(80, 1))
    pair = Pair(x, y, shared, shared)
    rows = replace(FUSED, geometry="centred")(pair).rows().cpu().numpy()
    same_half = (x[:, 0] > 0)[:, None] == (x[:, 0] > 0)
    assert (rows * same_half).sum(1).mean() > 0.99


@pytest.mark.parametrize("tau", [(0.9, 0.9), (1.0, 0.9), (0.8, 1.0)])
def test_unbalanced_loses_mass_only_where_it_may(tau):
    coupling = replace(EXACT, tau=tau)(random_pair())
    assert coupling.diagnostics.converged
    plan = dense(coupling)
    assert (
        0 < plan.sum() < 1 + 1e-6 if min(tau) < 1 and max(tau) < 1 else abs(plan.sum() - 1) < 1e-6
    )
    if tau[0] == 1:
        assert np.abs(plan.sum(1) - coupling.a.cpu().numpy()).sum() < 1e-8
    if tau[1] == 1:
        assert np.abs(plan.sum(0) - coupling.b.cpu().numpy()).sum() < 1e-6


@pytest.mark.medium
def test_tau_near_one_is_balanced():
    near = replace(EXACT, tau=(1 - 1e-7, 1 - 1e-7))(random_pair())
    check_same_plan(near, EXACT(random_pair()), SAME)


@pytest.mark.medium
def test_single_precision_is_close():
    check_same_plan(
        replace(EXACT, dtype=torch.float32, tolerance=1e-5)(random_pair()),
        EXACT(random_pair()),
        SAME,
    )


@pytest.mark.medium
def test_far_from_the_origin_in_single_precision():
    """Cells at 1e4 have resolution 1e-3 in float32, of a spread of 1.

    Rows move by a few times that over epsilon.
    """
    rng = np.random.default_rng(0)
    pair = Pair(lopsided(80, rng), lopsided(70, rng))  # one clear optimum
    far = replace(pair, source=pair.source + 1e4, target=pair.target - 1e4)
    solver = replace(EXACT, dtype=torch.float32, tolerance=1e-5)
    for geometry in ("unit", "centred", "raw"):
        one, other = (replace(solver, geometry=geometry)(p) for p in (pair, far))
        assert np.abs(dense(one) - dense(other)).sum() < 5e-3 / 0.05


def test_subset_and_extend():
    pair = random_pair(n=600, m=500, weights=False)
    coupling = replace(EXACT, max_cells=300)(pair)
    assert coupling.shape == (600, 500)
    assert "solved on 300 x 300" in coupling.diagnostics.method
    # columns rest on 300 sources, each target on the effective number of them
    effective = 300 * coupling.diagnostics.effective_targets / 500
    assert coupling.diagnostics.marginal_error < 2 / np.sqrt(effective)


@pytest.mark.slow
def test_automatic_epsilon_is_the_smallest_with_four_targets():
    pair = random_pair(n=60, m=60)
    values = (0.002, 0.005, 0.01, 0.02, 0.05)
    solver = GromovWasserstein(n_starts=1)
    targets = {e: replace(solver, epsilon=e)(pair).diagnostics.effective_targets for e in values}
    chosen = replace(solver, epsilon="auto")(pair).diagnostics.epsilon
    assert chosen == min((e for e in values if targets[e] >= 4), default=0.05)


@pytest.mark.slow
def test_automatic_epsilon_with_a_dense_cost_and_many_cells():
    """Candidates are tried on a subset, whose costs within have to be those of the subset too."""
    pair = random_pair(n=2100, m=50)
    coupling = GromovWasserstein(
        epsilon="auto", intra_cost=squared_euclidean, n_starts=1, max_outer=2
    )(pair)
    assert coupling.shape == (2100, 50)


@pytest.mark.medium
def test_same_seed_same_bits():
    solver = GromovWasserstein(epsilon=0.05, n_starts=2)
    assert torch.equal(solver(random_pair()).g, solver(random_pair()).g)
