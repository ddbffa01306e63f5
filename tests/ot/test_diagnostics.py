"""What is reported is that of the plan handed out; inputs that overflow are solved or named."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from scgenot._outcome import Outcome
from scgenot.ot import (
    Coupling,
    Diagnostics,
    FusedGromovWasserstein,
    GromovWasserstein,
    Minibatch,
    NotSolved,
    Sinkhorn,
    coulomb,
    euclidean,
    mean_cost,
    sinkhorn_divergence,
    squared_euclidean,
)
from scgenot.ot.quadratic.descent import Descender
from scgenot.pair import Pair
from truth.cells import random_pair
from truth.plans import dense, divergence

GROMOV = GromovWasserstein(epsilon=0.05, n_starts=2)
SOLVERS = {
    "linear": Sinkhorn(),
    "unbalanced": Sinkhorn(tau=(0.9, 0.6)),
    "interrupted": Sinkhorn(epsilon=0.005, max_iterations=3),
    "interrupted, unbalanced": Sinkhorn(epsilon=0.01, tau=(0.5, 0.5), max_iterations=2),
    "streamed": Sinkhorn(memory_limit=0),
    "extended": Sinkhorn(max_cells=50),
    "extended, unbalanced": Sinkhorn(max_cells=50, tau=(0.8, 0.9)),
    "quadratic": GROMOV,
    "quadratic, unbalanced": replace(GROMOV, tau=(0.9, 0.8)),
    "quadratic, extended": replace(GROMOV, max_cells=50),
    "quadratic, dense": replace(GROMOV, intra_cost=euclidean),
    "fused": FusedGromovWasserstein(epsilon=0.05),
    "fused, extended": FusedGromovWasserstein(epsilon=0.05, max_cells=50),
}


def implied(weights, potential, tau, epsilon):
    """Marginal that a potential implies."""
    return weights * np.exp(-potential / epsilon * (1 - tau) / tau)


@pytest.mark.medium
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SOLVERS)
def test_figures_are_those_of_the_plan_handed_out(name, dtype):
    pair = random_pair(n=90, m=80, shared=2 * ("fused" in name))
    coupling = replace(SOLVERS[name], dtype=dtype)(pair)
    found, plan = coupling.diagnostics, dense(coupling).astype(float)
    a, b, f, g = (getattr(coupling, k).double().cpu().numpy() for k in "abfg")
    # potentials of hundreds of epsilons, rounded
    near = 1e-9 if dtype == torch.float64 else 3e-4
    source = implied(a, f, coupling.tau[0], coupling.epsilon)
    target = implied(b, g, coupling.tau[1], coupling.epsilon)
    error = np.abs(plan.sum(1) - source).sum() + np.abs(plan.sum(0) - target).sum()
    assert found.marginal_error == pytest.approx(error, rel=0.02, abs=near)
    assert found.mass == pytest.approx(plan.sum(), rel=near)
    cost = coupling.cost(coupling.x, coupling.y).double().cpu().numpy()
    assert found.cost == pytest.approx((plan * cost).sum() / plan.sum(), rel=near)
    if set(coupling.tau) == {1} and "quadratic" not in name and "fused" not in name:
        value = (plan * cost).sum() + coupling.epsilon * divergence(plan, a, b)
        assert found.objective == pytest.approx(value, rel=near)
    assert found.converged == (Outcome.CONVERGED in found.outcomes)
    if "extended" in name:
        assert not found.converged
        assert Outcome.EXTENDED in found.outcomes


@pytest.mark.medium
def test_objective_of_an_extended_quadratic_coupling():
    """It is that of all cells; dense costs are known of the subset alone."""
    whole = replace(GROMOV, dtype=torch.float64)
    pair = random_pair(n=90, m=80)
    value = whole(pair).diagnostics.objective
    part = replace(whole, max_cells=70)(pair).diagnostics.objective
    assert value < part < 1.2 * value
    dense_part = replace(whole, max_cells=70, intra_cost=euclidean)(pair)
    assert np.isnan(dense_part.diagnostics.objective)


@pytest.mark.medium
def test_error_claimed_is_the_error_found():
    """Potentials of a broken cell are huge: masses must not follow from their difference."""
    pair = random_pair(weights=False)
    source = pair.source.copy()
    source[7] = 1e6
    for solver in (Sinkhorn(epsilon=0.01), replace(GROMOV, epsilon=0.01)):
        coupling = solver(replace(pair, source=source))
        u, v = coupling.marginals()
        found = float((u - coupling.a).abs().sum() + (v - coupling.b).abs().sum())
        assert coupling.diagnostics.marginal_error == pytest.approx(found, abs=1e-5)
        assert float(u.sum()) == pytest.approx(1, abs=1e-5)


class TestOutcomes:
    def test_converged(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            found = Sinkhorn(epsilon=0.02)(random_pair()).diagnostics
        assert found.outcomes == (Outcome.CONVERGED,)
        assert found.to_dict()["outcome"] == "converged"

    def test_not_converged_is_warned_about_once_at_the_users_line(self):
        with pytest.warns(UserWarning, match="did not reach its tolerance") as caught:
            found = Sinkhorn(epsilon=1e-5, max_iterations=10)(random_pair()).diagnostics
        assert [w.filename for w in caught] == [__file__]
        assert found.outcomes == (Outcome.NOT_CONVERGED,)
        assert not found.converged

    def test_blurred_at_any_epsilon(self):
        pair = random_pair(n=200, m=200)
        with pytest.warns(UserWarning, match="many effective targets"):
            found = Sinkhorn(epsilon=0.2)(pair).diagnostics
        assert found.outcomes == (Outcome.BLURRED, Outcome.CONVERGED)
        assert found.to_dict()["outcome"] == "blurred, converged"
        assert Sinkhorn(epsilon=0.5)(random_pair()).diagnostics.outcomes == (Outcome.CONVERGED,)

    def test_collapsed(self):
        with pytest.warns(UserWarning, match="product of the marginals"):
            found = Sinkhorn(epsilon=1e4)(random_pair(n=100, m=100)).diagnostics
        assert found.outcomes[0] is Outcome.COLLAPSED
        with pytest.warns(UserWarning, match="mass was lost"):
            found = Sinkhorn(epsilon=0.01, tau=(0.2, 0.2))(random_pair()).diagnostics
        assert found.outcomes[0] is Outcome.COLLAPSED

    @pytest.mark.medium
    def test_ambiguous(self):
        half = np.array([3.0, 0.0]) + np.random.default_rng(0).normal(size=(40, 2)) * 0.3
        x = np.concatenate([half, half * [-1, 1]])
        coupling = GromovWasserstein(geometry="centred", n_starts=8)(Pair(x, x @ [[0, 1], [1, 0]]))
        assert coupling.confidence.ambiguous
        assert Outcome.AMBIGUOUS in coupling.diagnostics.outcomes

    def test_diagnostics_made_by_hand(self):
        found = Diagnostics("mine", 0.1, 0.1, 0.0, 3, converged=False)
        assert found.to_dict()["outcome"] == "not converged"


class TestWithoutWeight:
    @pytest.mark.medium
    @pytest.mark.parametrize("epsilon", [1e-3, 0.05])
    @pytest.mark.parametrize(
        "solver",
        [
            Sinkhorn(),
            Sinkhorn(memory_limit=0),
            Sinkhorn(tau=(0.9, 0.9)),
            Sinkhorn(max_cells=20),
            GromovWasserstein(n_starts=2, max_outer=2),
            GromovWasserstein(n_starts=1, max_outer=2, intra_cost=squared_euclidean),
            FusedGromovWasserstein(),
        ],
    )
    def test_cells_drop_out_and_come_back(self, solver, epsilon):
        """The plan is that of the other cells, at any epsilon; the cells have rows and no mass."""
        pair = random_pair(n=50, m=50, shared=2 * isinstance(solver, FusedGromovWasserstein))
        a, b = pair.source_weights.copy(), pair.target_weights.copy()
        a[:20], b[-30:] = 0, 0
        solver = replace(solver, epsilon=epsilon)
        coupling = solver(replace(pair, source_weights=a, target_weights=b))
        sides = {
            "source": pair.source[20:],
            "target": pair.target[:20],
            "source_weights": a[20:],
            "target_weights": b[:20],
        }
        if pair.source_shared is not None:
            sides |= {
                "source_shared": pair.source_shared[20:],
                "target_shared": pair.target_shared[:20],
            }
        kept = solver(Pair(**sides))
        mass = torch.cat([block for _, block in coupling.mass_blocks()])
        assert torch.isfinite(coupling.rows()).all()
        assert torch.isfinite(coupling.f).all()
        assert torch.isfinite(coupling.g).all()
        assert float(mass[:20].sum()) == float(mass[:, 20:].sum()) == 0
        if solver.max_cells > 50:
            assert torch.equal(coupling.g[:20], kept.g)
            assert coupling.diagnostics == kept.diagnostics
        source, target = coupling.sample_pairs(500, generator=torch.Generator().manual_seed(0))
        assert source.min() >= 20
        assert target.max() < 20

    def test_weights_that_underflow(self):
        a = np.ones(60)
        a[:5] = 1e-60
        coupling = Sinkhorn()(replace(random_pair(), source_weights=a))
        assert coupling.diagnostics.converged
        assert float(coupling.marginals()[0][:5].sum()) == 0


@pytest.mark.medium
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory_limit", [0, 2])
@pytest.mark.parametrize("tau", [0.9, 0.99, 0.999, 1 - 1e-6])
def test_tau_near_one_at_a_small_epsilon(tau, memory_limit, dtype):
    rng = np.random.default_rng(0)
    pair = Pair(rng.normal(size=(50, 4)), rng.normal(size=(50, 4)) * 1.3 + 0.5)
    solver = Sinkhorn(1e-4, tau=(tau, tau), memory_limit=memory_limit, dtype=dtype)
    if memory_limit == 0:
        solver = replace(solver, max_iterations=50)
    found = solver(pair).diagnostics
    assert 0 < found.mass < 1 + 1e-3
    # nearer to 1 the mass is found slowly, and that is said
    assert found.converged or memory_limit == 0 or tau > 0.999


class TestSearch:
    @pytest.mark.medium
    def test_starts_that_fail_are_skipped(self, monkeypatch):
        run, count = Descender.run, iter(range(1000))

        def failing(self, *args):
            descent = run(self, *args)
            bad = next(count) % 2 == 0
            return replace(descent, objective=float("nan")) if bad else descent

        monkeypatch.setattr(Descender, "run", failing)
        coupling = replace(GROMOV, n_starts=4)(random_pair())
        assert coupling.confidence.n_starts == 4  # tried, though some failed
        assert np.isfinite(coupling.diagnostics.objective)
        assert np.isfinite(coupling.confidence.agreement)

    def test_all_starts_fail(self, monkeypatch):
        run = Descender.run
        monkeypatch.setattr(
            Descender, "run", lambda *args: replace(run(*args), objective=float("nan"))
        )
        with pytest.raises(NotSolved, match=r"Every start of the search failed: `epsilon`=0\.05"):
            GROMOV(random_pair())

    def test_automatic_epsilon_skips_what_overflows(self, monkeypatch):
        solve = Sinkhorn._solve

        def failing(self, cost, problem, epsilon, scale):
            if epsilon < 0.05:
                raise NotSolved
            return solve(self, cost, problem, epsilon, scale)

        monkeypatch.setattr(Sinkhorn, "_solve", failing)
        coupling = Sinkhorn(epsilon="auto")(random_pair())
        assert coupling.diagnostics.epsilon == pytest.approx(0.05)


class TestBrokenCell:
    """One cell at 1e6 changes its own row alone."""

    @staticmethod
    def broken(pair, side):
        cells = getattr(pair, side).copy()
        cells[7] = 1e6
        return replace(pair, **{side: cells})

    @pytest.mark.parametrize("side", ["source", "target"])
    @pytest.mark.parametrize("cost", [squared_euclidean, euclidean, coulomb])
    def test_unit_of_a_linear_cost(self, cost, side):
        clean = random_pair(weights=False)
        cells = [torch.tensor(c) for c in (clean.source, clean.target)]
        bad = self.broken(clean, side)
        found = mean_cost(cost, torch.tensor(bad.source), torch.tensor(bad.target))
        assert found == pytest.approx(mean_cost(cost, *cells), rel=0.1)
        coupling = Sinkhorn(epsilon=0.01, cost=cost)(bad)
        expected = Sinkhorn(epsilon=0.01, cost=cost)(clean).diagnostics.effective_targets
        assert coupling.diagnostics.effective_targets == pytest.approx(expected, rel=0.3)

    @pytest.mark.medium
    @pytest.mark.parametrize("geometry", ["unit", "centred", "raw"])
    def test_unit_of_a_quadratic_cost(self, geometry):
        clean = random_pair(weights=False)
        solver = GromovWasserstein(epsilon=0.02, n_starts=2, geometry=geometry)
        found = solver(self.broken(clean, "source")).diagnostics
        assert found.effective_targets < 2 * solver(clean).diagnostics.effective_targets

    def test_scale_of_the_divergence(self):
        pair = random_pair(weights=False)
        x, y = torch.tensor(pair.source), torch.tensor(pair.target)
        broken = y.clone()
        broken[3] = 1e3
        scale = 2 * float(y[torch.arange(45) != 3].var(0, correction=0).sum())
        one, other = sinkhorn_divergence(x, broken), sinkhorn_divergence(x, broken, scale=scale)
        assert one == pytest.approx(float(other), rel=1e-6)

    @pytest.mark.parametrize("cost", [squared_euclidean, euclidean, coulomb])
    def test_clean_cells_have_the_plain_mean(self, cost):
        """A far population of a tenth of the cells is no broken cell."""
        rng = np.random.default_rng(0)
        x = torch.tensor(np.r_[rng.normal(size=(90, 3)), rng.normal(100, 1, size=(10, 3))])
        y = torch.tensor(rng.normal(size=(80, 3)))
        assert mean_cost(cost, x, y) == pytest.approx(float(cost(x, y).mean()), rel=1e-12)

    def test_mostly_identical_cells(self):
        x = torch.zeros(50, 2)
        x[0] = 1.0
        assert mean_cost(squared_euclidean, x, x) == pytest.approx(2 * 49 / 1250 * 1.0)

    def test_a_cost_of_some_rows_is_that_of_all(self):
        x, y = (torch.tensor(c) for c in (random_pair().source, random_pair().target))
        assert torch.allclose(coulomb(x[3:5], y), coulomb(x, y)[3:5])
        assert coulomb(y[:1], y[:1].expand(5, -1)).isfinite().all()


class TestMinibatch:
    @pytest.mark.slow
    def test_batches_count_by_their_mass(self):
        """Drawn pairs have the law of the mixture of the batches' plans, not of their shapes."""
        rng = np.random.default_rng(0)
        near, far = rng.normal(0, 0.2, size=(100, 1)), rng.normal(2, 0.2, size=(900, 1))
        pair = Pair(np.r_[near, far], rng.normal(0, 0.3, size=(1000, 1)))
        solver = Sinkhorn(epsilon=0.05, tau=(0.6, 0.6), dtype=torch.float64)
        coupling = Minibatch(solver, batch_size=16)(pair)
        batches = np.array([self.masses(coupling, seed) for seed in range(200)])
        expected = batches[:, 0].sum() / batches[:, 1].sum()
        unweighted = (batches[:, 0] / batches[:, 1]).mean()
        drawn = coupling.sample_pairs(16 * 200, generator=torch.Generator().manual_seed(1))[0]
        share = float((drawn < 100).double().mean())
        assert abs(share - expected) < 0.04 < abs(unweighted - expected)
        few = [
            coupling.sample_pairs(16, generator=torch.Generator().manual_seed(k))[0]
            for k in range(30)
        ]
        assert abs(float((torch.cat(few) < 100).double().mean()) - expected) < 0.08

    @staticmethod
    def masses(coupling, seed):
        """Mass of the near cells, and of all, in one batch."""
        from scgenot.ot.minibatch import Subset

        batch = Subset.draw(coupling.pair, 16, torch.Generator().manual_seed(seed))
        sent = coupling.solver(batch.pair).marginals()[0]
        return float(sent[batch.source < 100].sum()), float(sent.sum())

    def test_any_solver(self):
        class Plain:
            def __init__(self, pair):
                self.sizes = len(pair.source), len(pair.target)

            def sample_pairs(self, n_pairs, *, generator):
                return tuple(
                    torch.randint(0, k, (n_pairs,), generator=generator) for k in self.sizes
                )

        coupling = Minibatch(Plain, 20)(random_pair())
        drawn = coupling.sample_pairs(70, generator=torch.Generator().manual_seed(0))
        assert [len(side) for side in drawn] == [70, 70]
        assert coupling.diagnostics is None

    def test_a_bare_coupling(self):
        def solver(pair):
            return replace(Sinkhorn()(pair), diagnostics=None)

        coupling = Minibatch(solver, 20)(random_pair())
        assert len(coupling.sample_pairs(70, generator=torch.Generator().manual_seed(0))[0]) == 70
        assert isinstance(coupling.first, Coupling)

    def test_warns_of_the_first_batch_alone(self):
        with pytest.warns(UserWarning, match="did not reach") as caught:
            coupling = Minibatch(Sinkhorn(max_iterations=1, tolerance=1e-9), 20)(random_pair())
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            coupling.sample_pairs(50, generator=torch.Generator().manual_seed(0))
