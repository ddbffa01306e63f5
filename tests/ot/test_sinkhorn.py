"""Laws of linear couplings, and other solvers' answers."""

import warnings
from dataclasses import replace

import numpy as np
import ot
import pytest
import torch

from scgenot.ot import Sinkhorn, cosine, coulomb, euclidean, squared_euclidean
from scgenot.ot.extension import subset_weights
from scgenot.pair import Pair
from truth.cells import random_pair
from truth.plans import check_balanced, check_same_plan, dense, divergence, marginal_divergence

EXACT = Sinkhorn(tolerance=1e-11, max_iterations=20_000, dtype=torch.float64)
COSTS = [squared_euclidean, euclidean, cosine, coulomb]


def arrays(pair):
    cost = squared_euclidean(torch.tensor(pair.source), torch.tensor(pair.target)).cpu().numpy()
    return pair.source_weights, pair.target_weights, cost


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("epsilon", [0.02, 0.5])
def test_marginals(cost, epsilon):
    check_balanced(replace(EXACT, cost=cost, epsilon=epsilon)(random_pair()), 1e-10)


def test_same_plan_and_value_as_pot():
    """Annealing and extrapolation change the way, not the end."""
    pair = random_pair()
    a, b, cost = arrays(pair)
    coupling = replace(EXACT, epsilon=0.3, relative=False)(pair)
    other = ot.sinkhorn(a, b, cost, 0.3, method="sinkhorn_log", numItermax=100_000, stopThr=1e-12)
    assert np.abs(dense(coupling) - other).sum() < 1e-9
    value = (cost * other).sum() + 0.3 * divergence(other, a, b)
    assert abs(coupling.diagnostics.objective - value) < 1e-8
    assert abs(coupling.diagnostics.cost - (cost * other).sum()) < 1e-8


@pytest.mark.parametrize("tau", [(0.9, 0.9), (0.5, 0.99), (1.0, 0.8), (0.8, 1.0)])
def test_unbalanced_plan_is_the_minimiser(tau):
    """First-order conditions, the value by brute force, and no perturbation is better."""
    pair = random_pair()
    a, b, cost = arrays(pair)
    eps = 0.5
    coupling = replace(EXACT, epsilon=eps, relative=False, tau=tau)(pair)

    def value(plan):
        total = (plan * cost).sum() + eps * divergence(plan, a, b)
        for t, marginal, weights in zip(tau, (plan.sum(1), plan.sum(0)), (a, b), strict=True):
            if t < 1:
                total += t / (1 - t) * eps * marginal_divergence(marginal, weights)
            else:
                assert np.abs(marginal - weights).sum() < 1e-9
        return total

    plan = dense(coupling)
    assert abs(coupling.diagnostics.objective - value(plan)) < 1e-8
    assert abs(coupling.diagnostics.mass - plan.sum()) < 1e-10
    rng = np.random.default_rng(0)
    for _ in range(5):
        one, other = rng.choice(len(a), 2, replace=False)
        best, second = plan[one].argmax(), plan[other].argsort()[-2]
        step = 0.1 * min(plan[one, best], plan[other, second])
        moved = plan.copy()
        moved[[one, other], [best, second]] -= step
        moved[[one, other], [second, best]] += step  # keeps the marginals
        assert value(moved) > value(plan)
    for source, target in zip(
        (coupling.f, coupling.g), (plan.sum(1) / a, plan.sum(0) / b), strict=True
    ):
        t = tau[0] if source is coupling.f else tau[1]
        assert np.allclose(target, np.exp(-source.cpu().numpy() * (1 - t) / t / eps), rtol=1e-9)


def test_tau_near_one_is_balanced():
    """The mass lost is of the order of cost / lambda = (1 - tau) cost / eps."""
    pair = random_pair()
    balanced = EXACT(pair)
    near = replace(EXACT, tau=(1 - 1e-7, 1 - 1e-7))(pair)
    check_same_plan(near, balanced, 1e-5)
    assert torch.equal(balanced.growth().cpu(), torch.ones(60, dtype=torch.float64))


def test_large_epsilon_gives_the_product():
    coupling = replace(EXACT, epsilon=1e5)(random_pair())
    # |P / ab - 1| is about the largest cost over epsilon
    assert np.allclose(dense(coupling), (coupling.a[:, None] * coupling.b).cpu(), rtol=1e-3)


def test_small_epsilon_gives_the_exact_plan():
    """The exact cost is missed by at most eps times the entropy, log of the number of cells."""
    pair = random_pair(n=40, m=40, weights=False)
    a, b, cost = arrays(pair)
    coupling = replace(EXACT, epsilon=5e-3, tolerance=1e-6)(pair)
    exact = ot.emd2(a, b, cost)
    gap = coupling.diagnostics.cost - exact
    assert -1e-6 < gap < coupling.epsilon * np.log(40)


def test_small_epsilon_sorts_in_one_dimension():
    """Exchanging neighbours one and two units apart costs 4.

    At epsilon .4 the two entries that do it have the product e^-10 of the two that do not, so that
    each cell leaves e^-5 to each of its two neighbours.
    """
    rng = np.random.default_rng(0)
    ranks = rng.permutation(30), rng.permutation(30)
    pair = Pair(ranks[0][:, None], 2.0 * ranks[1][:, None])
    rows = replace(EXACT, epsilon=0.4, relative=False, tolerance=1e-6)(pair).rows().cpu().numpy()
    assert np.array_equal(ranks[1][rows.argmax(1)], ranks[0])
    assert rows.max(1).min() > 1 - 2 * np.exp(-5)


def test_permuting_cells_permutes_the_plan():
    pair = random_pair()
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(60), rng.permutation(45)
    permuted = replace(
        pair,
        source=pair.source[rows],
        target=pair.target[columns],
        source_weights=pair.source_weights[rows],
        target_weights=pair.target_weights[columns],
    )
    assert np.abs(dense(EXACT(pair))[rows][:, columns] - dense(EXACT(permuted))).sum() < 1e-9


def test_scaling_cost_and_epsilon_together_changes_nothing():
    pair = random_pair()
    scaled = replace(pair, source=10 * pair.source, target=10 * pair.target)
    relative = EXACT(pair)
    check_same_plan(relative, EXACT(scaled), 1e-9)
    absolute = replace(EXACT, relative=False, epsilon=relative.epsilon)
    check_same_plan(relative, absolute(pair), 1e-9)
    check_same_plan(relative, replace(absolute, epsilon=100 * relative.epsilon)(scaled), 1e-9)
    assert absolute(pair).diagnostics.epsilon == pytest.approx(EXACT.epsilon)


@pytest.mark.parametrize("tau", [(1.0, 1.0), (0.9, 0.8)])
def test_streamed_equals_stored(tau):
    solver = replace(EXACT, tau=tau)
    one, other = solver(random_pair()), replace(solver, memory_limit=0)(random_pair())
    check_same_plan(one, other, 1e-9)
    assert one.diagnostics.objective == pytest.approx(other.diagnostics.objective, abs=1e-9)


def test_single_precision_is_close():
    """Costs of about 10 eps have rounding 1e-6 eps in float32.

    The tolerance 1e-4 is what remains.
    """
    one, other = EXACT(random_pair()), Sinkhorn(dtype=torch.float32)(random_pair())
    assert other.f.dtype == torch.float32
    check_same_plan(one, other, 1e-3)


@pytest.mark.parametrize("tau", [(1.0, 1.0), (0.9, 0.8)])
@pytest.mark.parametrize("memory_limit", [0, 2])
def test_a_start_on_few_cells_changes_the_way_not_the_end(tau, memory_limit, monkeypatch):
    solver = replace(EXACT, tau=tau, memory_limit=memory_limit)
    whole = solver(random_pair())
    monkeypatch.setattr("scgenot.ot.dual.WARM_CELLS", 20)
    check_same_plan(whole, solver(random_pair()), 1e-9)


@pytest.mark.parametrize("tau", [(1.0, 1.0), (0.99, 0.999)])
def test_masses_of_distant_clusters_take_tens_of_iterations(tau):
    """Plain iterations, whose slow directions they are, take some thousand."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(5, 10))
    x, y = (centres[rng.choice(5, 300, p=p)] for p in ([0.2] * 5, [0.3, 0.3, 0.2, 0.1, 0.1]))
    pair = Pair(x + 0.5 * rng.normal(size=x.shape), y + 0.5 * rng.normal(size=y.shape))
    found = Sinkhorn(tau=tau)(pair).diagnostics
    assert found.converged
    assert found.iterations < 150


def test_far_from_the_origin_in_single_precision():
    """Float32 resolves 1e-3 at 1e4, which moves costs by 1e-2 and rows by 1e-2 / eps."""
    pair = random_pair()
    far = replace(pair, source=pair.source + 1e4, target=pair.target + 1e4)
    check_same_plan(Sinkhorn()(pair), Sinkhorn()(far), 2e-2)


def test_subset_and_extend():
    """Solved on half of the cells.

    Rows are laws over all targets, and close to those of the full solve.
    """
    pair = random_pair(n=1200, m=1000, weights=False)
    full, part = EXACT(pair), replace(EXACT, max_cells=600)(pair)
    assert "solved on 600 x 600" in part.diagnostics.method
    assert part.shape == full.shape
    check = part.marginals()
    assert torch.allclose(check[0], part.a)  # f is made from g over all targets: rows are exact
    # columns are those of the subset's sampling error: g rests on 600 sources, each target on the
    # effective number of sources among them
    effective = 600 * part.diagnostics.effective_targets / 1000
    assert part.diagnostics.marginal_error < 2 / np.sqrt(effective)
    assert part.diagnostics.marginal_error == pytest.approx(
        float((check[1] - part.b).abs().sum()), abs=1e-6
    )
    error = (part.barycenter() - full.barycenter()).square().sum(1).mean().sqrt()
    spread = full.y.var(0).sum().sqrt()
    assert error < spread / np.sqrt(effective)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_subset_has_the_masses_of_far_clusters(dtype):
    """Poststratified: a random subset alone would have them up to its sampling error, .05."""
    rng = torch.Generator().manual_seed(0)
    cluster = torch.randint(3, (900,), generator=rng)
    x = torch.randn(900, 4, generator=rng, dtype=dtype)
    x[:, 0] += 100 * cluster
    weights = torch.rand(900, generator=rng, dtype=dtype)
    weights[::7] = 0
    weights /= weights.sum()
    cells = weights.nonzero()[:, 0][torch.randperm(771, generator=rng)[:100]]
    found = subset_weights(x, weights, cells)
    assert (found > 0).all()
    expected = cluster.bincount(weights.double(), 3)
    torch.testing.assert_close(cluster[cells].bincount(found, 3), expected, rtol=1e-6, atol=0)
    # of all cells they are the weights
    every = weights.nonzero()[:, 0]
    torch.testing.assert_close(subset_weights(x, weights, every).to(dtype), weights[every])


@pytest.mark.medium
@pytest.mark.parametrize("tau", [(1.0, 1.0), (0.9, 0.8)])
@pytest.mark.parametrize("streamed", [False, True])
def test_steps_on_all_cells_mend_an_extension(tau, streamed):
    """Errors are those of the plan that is handed out; with many steps it is the whole solve's."""
    # relative to the mean cost, which is that of a subset, epsilon would differ
    solver = replace(EXACT, epsilon=0.4, relative=False, tau=tau)
    solver = replace(solver, memory_limit=0 if streamed else 2)
    pair = random_pair(n=600, m=500)
    whole, errors = solver(pair), []
    for refine in (0, 1, 3, 300):
        part = replace(solver, max_cells=150, refine=refine)(pair)
        errors.append(part.diagnostics.marginal_error)
        implied = (
            part.b
            if tau[1] == 1
            else part.b * torch.exp(-(1 - tau[1]) / tau[1] * part.g / part.epsilon)
        )
        true = float((part.marginals()[1] - implied).abs().sum())
        assert errors[-1] == pytest.approx(true, rel=1e-3, abs=1e-8)
    assert errors == sorted(errors, reverse=True)
    assert part.diagnostics.converged
    assert "solved on 150 x 150 cells" in part.diagnostics.method
    assert torch.allclose(part.rows(), whole.rows(), atol=1e-6)


def test_cells_without_weight_are_extended_to():
    pair = random_pair(n=300, m=300)
    a, b = pair.source_weights.copy(), pair.target_weights.copy()
    a[::3], b[::5] = 0, 0
    pair = replace(pair, source_weights=a, target_weights=b)
    solver = replace(EXACT, epsilon=0.4, relative=False)
    part = replace(solver, max_cells=100, refine=300)(pair)
    assert torch.isfinite(part.g).all()
    assert torch.allclose(part.rows(), solver(pair).rows(), atol=1e-6)


@pytest.mark.medium
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("epsilon", [1e-4, 1e-6, 1e-9])
def test_tiny_epsilon_is_finite_and_warns(epsilon, dtype):
    with pytest.warns(UserWarning, match="did not reach its tolerance"):
        coupling = Sinkhorn(epsilon=epsilon, max_iterations=100, dtype=dtype)(
            random_pair(n=200, m=150)
        )
    assert not coupling.diagnostics.converged
    assert torch.isfinite(coupling.f).all()
    assert torch.isfinite(coupling.g).all()
    assert torch.isfinite(coupling.rows()).all()
    source, target = coupling.sample_pairs(1000, generator=torch.Generator().manual_seed(0))
    assert len(source.unique()) == 200
    assert len(target.unique()) > 50


def test_clusters_far_apart_at_small_epsilon_converge():
    """Mass has to move between clusters whose kernel entries underflow."""
    rng = np.random.default_rng(0)
    centres = 20 * rng.normal(size=(4, 10))
    x, y = (
        centres[rng.choice(4, 200, p=p)] + 0.3 * rng.normal(size=(200, 10))
        for p in ([0.25] * 4, [0.4, 0.3, 0.2, 0.1])
    )
    pair = replace(random_pair(weights=False, n=200, m=200), source=x, target=y)
    coupling = Sinkhorn(epsilon=0.002)(pair)
    check_balanced(coupling, 1e-3)


@pytest.mark.parametrize("memory_limit", [0, 2])
def test_cells_without_weight_take_no_mass_but_have_rows(memory_limit):
    pair = random_pair()
    a, b = pair.source_weights.copy(), pair.target_weights.copy()
    a[:10], b[:5] = 0, 0
    coupling = replace(EXACT, memory_limit=memory_limit)(
        replace(pair, source_weights=a, target_weights=b)
    )
    plan = dense(coupling)
    assert plan[:10].sum() == plan[:, :5].sum() == 0
    check_balanced(coupling, 1e-10)
    assert np.allclose(coupling.rows().sum(1).cpu(), 1)
    # epsilon is relative to the mean cost over all cells here, and over the kept ones there
    kept = replace(EXACT, relative=False, epsilon=coupling.epsilon)(
        replace(
            pair,
            source=pair.source[10:],
            target=pair.target[5:],
            source_weights=a[10:],
            target_weights=b[5:],
        )
    )
    assert np.abs(plan[10:, 5:] - dense(kept)).sum() < 1e-9


def test_a_duplicate_cell_shares_its_law():
    pair = random_pair()
    twice = replace(
        pair,
        source=np.concatenate([pair.source, pair.source[:1]]),
        source_weights=np.append(pair.source_weights, 0.01),
    )
    coupling = EXACT(twice)
    rows = coupling.rows()
    assert torch.allclose(rows[0], rows[-1])
    assert float(coupling.f[0]) == pytest.approx(float(coupling.f[-1]))


def test_same_seed_same_bits():
    one, other = (replace(EXACT, max_cells=30)(random_pair()) for _ in range(2))
    assert torch.equal(one.g, other.g)
    assert not torch.equal(one.g, replace(EXACT, max_cells=30, rng=1)(random_pair()).g)


def test_automatic_epsilon_of_few_cells_is_not_called_blurred():
    x = np.random.default_rng(0).normal(size=(60, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        coupling = Sinkhorn(epsilon="auto")(Pair(x, x + 1))
    assert 4 <= coupling.diagnostics.effective_targets <= 8


@pytest.mark.medium
def test_automatic_epsilon_is_the_smallest_with_four_targets():
    pair = random_pair(n=200, m=200)
    targets = {
        e: replace(EXACT, epsilon=e)(pair).diagnostics.effective_targets
        for e in (0.01, 0.02, 0.05, 0.1, 0.2)
    }
    chosen = replace(EXACT, epsilon="auto")(pair)
    assert chosen.diagnostics.epsilon == pytest.approx(
        min(e for e, number in targets.items() if number >= 4)
    )
    absolute = replace(EXACT, epsilon="auto", relative=False)(pair)
    check_same_plan(chosen, absolute, 1e-9)


def test_what_a_cost_returns_is_checked():
    with pytest.raises(TypeError, match="`cost` returned ndarray: it must return a tensor"):
        Sinkhorn(cost=lambda x, y: np.ones((len(x), len(y))))(random_pair())
    with pytest.raises(ValueError, match="`cost` returned a tensor on meta, the cells are on"):
        Sinkhorn(cost=lambda x, y: torch.ones(len(x), len(y), device="meta"))(random_pair())


def test_a_cost_may_return_a_stored_matrix():
    """It is not overwritten."""
    pair = random_pair()
    stored = squared_euclidean(torch.tensor(pair.source), torch.tensor(pair.target))
    before = stored.clone()
    coupling = replace(EXACT, cost=lambda x, y: stored, device="cpu")(pair)
    coupling.rows()
    assert torch.equal(stored, before)
    check_same_plan(coupling, EXACT(pair), 1e-9)
