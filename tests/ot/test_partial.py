"""Partial couplings: laws of methods.md 3, and the answers of another solver."""

import warnings
from dataclasses import replace

import numpy as np
import ot
import pytest
import torch

from scgenot.ot import (
    FusedGromovWasserstein,
    GromovWasserstein,
    Minibatch,
    Sinkhorn,
    mean_cost,
    squared_euclidean,
)
from scgenot.ot.partial import level
from scgenot.ot.store import plan_from_arrays, plan_to_arrays
from scgenot.pair import Pair
from truth.cells import random_pair
from truth.plans import check_frequencies, check_same_plan, dense, divergence

EXACT = Sinkhorn(tolerance=1e-12, max_iterations=20_000, dtype=torch.float64, epsilon=0.05)
PRICES = [0.1, 0.3, 0.5, 1.0]


def cells(n=50, m=50, *, uniform=True, seed=0):
    rng = np.random.default_rng(seed)
    weights = (
        {}
        if uniform
        else {
            f"{side}_weights": rng.uniform(0.2, 2, k) for side, k in (("source", n), ("target", m))
        }
    )
    return Pair(rng.normal(size=(n, 3)), rng.normal([1.0, 0, 0], size=(m, 3)), **weights)


def pot_plan(pair, mass, epsilon):
    """POT's entropy has no reference measure: a cost less `eps log(a b')` makes it a b'."""
    a, b = pair.source_weights, pair.target_weights
    cost = squared_euclidean(torch.tensor(pair.source), torch.tensor(pair.target)).cpu().numpy()
    cost = cost - epsilon * np.log(np.outer(a, b))
    return ot.partial.entropic_partial_wasserstein(
        a, b, cost, epsilon, m=mass, numItermax=200_000, stopThr=1e-15
    )


def quiet(solver, pair):
    """Solve, and expect the warning where the law is tested on a plan that keeps no cell."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Less than half of the mass of each")
        return solver(pair)


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("price", PRICES)
def test_a_price_gives_the_plan_of_that_mass_of_pot(price, uniform):
    pair = cells(uniform=uniform)
    coupling = quiet(replace(EXACT, price=price, relative=False, epsilon=0.3), pair)
    found = coupling.diagnostics
    assert found.converged
    assert 0 < found.mass < 1
    assert np.abs(dense(coupling) - pot_plan(pair, found.mass, 0.3)).sum() < 2e-6


@pytest.mark.medium
@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("keep", [0.05, 0.5, 0.9])
def test_a_share_gives_the_plan_of_pot_and_a_price_that_gives_it_back(keep, uniform):
    pair = cells(uniform=uniform)
    coupling = quiet(replace(EXACT, keep=keep, relative=False, epsilon=0.3), pair)
    assert abs(coupling.diagnostics.mass - keep) < 1e-9
    plan = dense(coupling)
    assert np.abs(plan - pot_plan(pair, keep, 0.3)).sum() < 2e-6
    assert (plan.sum(1) <= coupling.a.cpu().numpy() * (1 + 1e-9)).all()
    assert (plan.sum(0) <= coupling.b.cpu().numpy() * (1 + 1e-9)).all()
    assert float(coupling.f.max()) <= coupling.price + 1e-12
    assert float(coupling.g.max()) <= coupling.price + 1e-12
    priced = quiet(replace(EXACT, price=coupling.price, relative=False, epsilon=0.3), pair)
    assert np.abs(dense(priced) - plan).sum() < 1e-7


def test_a_price_is_in_units_of_the_mean_cost():
    pair = cells()
    scale = mean_cost(squared_euclidean, torch.tensor(pair.source), torch.tensor(pair.target))
    relative = replace(EXACT, price=0.2)(pair)
    absolute = replace(EXACT, price=0.2 * scale, epsilon=0.05 * scale, relative=False)(pair)
    check_same_plan(relative, absolute, 1e-9)
    again = replace(EXACT, price=0.2).with_epsilon_of(relative.diagnostics)(pair)
    check_same_plan(relative, again, 1e-9)


@pytest.mark.parametrize("limit", [{"price": 0.2}, {"keep": 0.6}])
def test_growth_is_the_balanced_update_cut_at_the_price(limit):
    pair = cells(uniform=False)
    coupling = replace(EXACT, **limit)(pair)
    log_sums = ((coupling.g - coupling.cost(coupling.x, coupling.y)) / coupling.epsilon).exp()
    balanced = -coupling.epsilon * (log_sums @ coupling.b).log()
    growth = ((coupling.price - balanced) / coupling.epsilon).exp().clamp(max=1)
    plan = dense(coupling)
    assert torch.allclose(coupling.growth(), growth, rtol=1e-9)
    assert np.allclose(plan.sum(1) / pair.source_weights, growth.cpu(), rtol=1e-9)
    assert torch.allclose(coupling.potential(), coupling.f)
    assert torch.allclose(coupling.marginals()[0].cpu(), torch.tensor(plan.sum(1)))
    assert torch.allclose(coupling.marginals()[1].cpu(), torch.tensor(plan.sum(0)))
    kept = [side.cpu() for side in coupling.kept()]
    assert np.allclose(kept[0], growth.cpu())
    assert np.allclose(kept[1], plan.sum(0) / pair.target_weights)
    found = coupling.diagnostics
    cost = (coupling.cost(coupling.x, coupling.y).cpu().numpy() * plan).sum()
    value = cost + coupling.epsilon * divergence(plan, pair.source_weights, pair.target_weights)
    assert abs(found.objective - value) < 1e-8


def test_cells_far_from_everything_are_left_and_new_ones_too():
    pair = cells()
    source = pair.source.copy()
    source[7] += 50
    coupling = replace(EXACT, price=0.3)(replace(pair, source=source))
    assert float(coupling.growth()[7]) < 1e-12
    new = torch.tensor(source[[7, 3]])
    assert torch.allclose(coupling.growth(new), coupling.growth()[[7, 3]])
    assert torch.allclose(coupling.potential(new), coupling.f[[7, 3]])
    assert abs(float(coupling.rows(new).sum()) - 2) < 1e-9


def test_pairs_are_drawn_in_the_proportions_of_the_plan():
    coupling = replace(EXACT, price=0.2)(cells(12, 10, uniform=False))
    i, j = coupling.sample_pairs(40_000, generator=torch.Generator().manual_seed(0))
    counts = np.zeros(coupling.shape)
    np.add.at(counts, (i.cpu().numpy(), j.cpu().numpy()), 1)
    check_frequencies(counts.ravel(), dense(coupling).ravel())


@pytest.mark.parametrize("limit", [{"price": 0.2}, {"keep": 0.6}])
def test_block_by_block_is_the_same_plan(limit):
    pair = cells(40, 60, uniform=False)
    held, streamed = (replace(EXACT, memory_limit=g, **limit)(pair) for g in (2.0, 0.0))
    check_same_plan(held, streamed, 1e-9)
    single = replace(EXACT, dtype=torch.float32, tolerance=1e-4, **limit)(pair)
    assert np.abs(dense(single) - dense(held)).sum() < 2e-3
    assert single.diagnostics.converged


@pytest.mark.medium
def test_all_kept_is_the_balanced_plan():
    pair = random_pair()
    balanced = EXACT(pair)
    whole = replace(EXACT, keep=1)(pair)
    check_same_plan(balanced, whole, 1e-12)
    assert balanced.kept() is None
    assert whole.kept() is None
    check_same_plan(balanced, replace(EXACT, price=50.0)(pair), 1e-9)


def test_a_far_cell_does_not_lift_what_a_subset_leaves():
    """Extended to all cells, the plan of a subset leaves about the same share."""
    pair = cells(600, 600)
    whole = replace(EXACT, keep=0.5, tolerance=1e-6)(pair)
    part = replace(EXACT, keep=0.5, tolerance=1e-6, max_cells=300)(pair)
    # a share of half of 300 cells, drawn from 600, on both sides
    assert abs(part.diagnostics.mass - 0.5) < 4 * np.sqrt(2 * 0.25 / 300 / 2)
    assert part.price == pytest.approx(whole.price, rel=0.2)


def test_what_is_stored_gives_the_same_plan():
    pair = cells(uniform=False)
    coupling = replace(EXACT, keep=0.5, device="cpu")(pair)
    again = plan_from_arrays(plan_to_arrays(coupling), pair.source, None, pair.source_weights)
    check_same_plan(coupling, again, 1e-12)
    assert torch.allclose(coupling.growth().cpu(), again.growth())


def test_minibatches_leave_cells_too():
    pair = cells(200, 200)
    source = pair.source.copy()
    source[:50] += 50
    solver = Minibatch(Sinkhorn(price=0.2), batch_size=64)
    i, _ = solver(replace(pair, source=source)).sample_pairs(
        2000, generator=torch.Generator().manual_seed(0)
    )
    assert (i >= 50).all()


def test_level_by_brute_force():
    rng = np.random.default_rng(0)
    h, a = torch.tensor(rng.normal(size=30)), torch.tensor(rng.dirichlet(np.ones(30)))
    for keep in (0.01, 0.3, 0.99):
        cap = level(h, a, keep, 0.1)
        assert abs(float(a @ ((cap - h) / 0.1).exp().clamp(max=1)) - keep) < 1e-12
    h, a = 1000 * torch.arange(8.0).double(), torch.full((8,), 0.125).double()
    assert level(h, a, 0.75, 0.1) == pytest.approx(5000)
    with pytest.raises(FloatingPointError):
        level(torch.full((8,), torch.inf).double(), a, 0.75, 0.1)


def two_clusters(rng, n, with_both):
    """Points of one curved cloud, and of another far from it that only one side has."""
    t = rng.uniform(0, 2, n)
    one = np.column_stack([np.cos(t), np.sin(t), 0.3 * t]) + 0.02 * rng.normal(size=(n, 3))
    other = np.array([4.0, 0, 0]) + 0.3 * rng.normal(size=(n // 3, 3))
    return np.concatenate([one, other]) if with_both else one


@pytest.mark.medium
@pytest.mark.parametrize("fused", [False, True])
def test_quadratic_couplings_keep_a_share(fused):
    rng = np.random.default_rng(0)
    x, y = two_clusters(rng, 60, True), two_clusters(rng, 60, False)
    # in one unit: the mean distance within a side depends on what the other lacks
    options = {"geometry": "raw", "relative": False, "dtype": torch.float64, "n_starts": 4}
    kind, shared = GromovWasserstein, {}
    if fused:
        kind, shared = FusedGromovWasserstein, {"source_shared": x, "target_shared": y}
    coupling = kind(epsilon=0.01, keep=0.75, **options)(Pair(x, y @ ROTATION, **shared))
    plan = dense(coupling)
    assert abs(plan.sum() - 0.75) < 1e-6
    assert coupling.diagnostics.converged
    assert (plan.sum(1) <= coupling.a.cpu().numpy() * (1 + 1e-6)).all()
    # the columns up to the tolerance of the solver
    assert (plan.sum(0) - coupling.b.cpu().numpy()).clip(min=0).sum() < 2e-4
    growth = coupling.growth().cpu().numpy()
    assert growth[:60].mean() > 0.95
    assert growth[60:].mean() < 0.2
    whole = kind(epsilon=0.01, keep=1.0, **options)(Pair(x, y @ ROTATION, **shared))
    same = kind(epsilon=0.01, **options)(Pair(x, y @ ROTATION, **shared))
    check_same_plan(whole, same, 1e-12)


ROTATION = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"price": 0}, ValueError, "`price=0` must be positive"),
        ({"price": -1.0}, ValueError, "`price=-1.0` must be positive"),
        ({"price": float("nan")}, ValueError, "`price=nan`"),
        ({"price": "auto"}, TypeError, "price"),
        ({"price": True}, TypeError, "price"),
        ({"keep": 0}, ValueError, "`keep=0` must be above 0 and at most 1"),
        ({"keep": 1.2}, ValueError, "`keep=1.2` must be above 0 and at most 1"),
        ({"keep": 0.5, "price": 0.2}, ValueError, "`price` and `keep`"),
        ({"keep": 0.5, "tau": (0.9, 1.0)}, ValueError, "`tau"),
    ],
)
def test_wrong_options_are_named(options, error, text):
    with pytest.raises(error, match=text.replace("(", r"\(").split("`tau")[0] or "tau"):
        Sinkhorn(**options)


def test_quadratic_solvers_take_no_price():
    with pytest.raises(TypeError, match="price"):
        GromovWasserstein(price=0.2)
    with pytest.raises(ValueError, match="keep"):
        GromovWasserstein(keep=0)


def test_a_price_at_which_nothing_is_matched_is_refused():
    pair = cells()
    with pytest.raises(ValueError, match=r"`price=0\.001` is so low that nothing is matched"):
        Sinkhorn(price=1e-3)(replace(pair, target=pair.target + 30))


@pytest.mark.parametrize("limit", [{"price": 0.1, "relative": False}, {"keep": 0.1}])
def test_a_plan_that_keeps_no_cell_by_half_warns(limit):
    with pytest.warns(UserWarning, match="Less than half of the mass of each source cell"):
        coupling = Sinkhorn(epsilon=0.3, **limit)(cells())
    assert "unmatched" in coupling.diagnostics.to_dict()["outcome"]
