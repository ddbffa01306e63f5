"""Couplings of minibatches.

Marginals, seeds, and how far they are from the plan of the populations.
"""

from functools import cache

import numpy as np
import pytest
import torch

from scgenot.ot import (
    FusedGromovWasserstein,
    Geodesic,
    GromovWasserstein,
    Minibatch,
    Sinkhorn,
    UnsupportedPlan,
)
from scgenot.ot.minibatch import draw_cells
from scgenot.pair import Pair
from truth.gaussians import GaussianProblem, random_covariance


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sinkhorn(**options):
    return Sinkhorn(device="cpu", **options)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    weights = rng.uniform(size=(2, 300))
    weights[:, :5] = 0
    return Pair(
        rng.normal(size=(300, 2)),
        rng.normal(size=(300, 2)),
        source_weights=weights[0],
        target_weights=weights[1],
    )


class TestDraws:
    def test_cells_come_up_their_expected_number_of_times(self):
        weights = torch.tensor([0.0, 0.1, 0.25, 0.65], dtype=torch.float64)
        counts = torch.stack(
            [draw_cells(weights, 10, seeded(k)).bincount(minlength=4) for k in range(400)]
        )
        assert set(counts[:, 2].tolist()) == {2, 3}
        assert (counts[:, :2] == torch.tensor([0, 1])).all()
        assert counts[:, 2].double().mean() == pytest.approx(2.5, abs=4 * 0.5 / 20)

    def test_equal_weights_draw_without_replacement(self):
        assert len(draw_cells(torch.full((50,), 0.02), 20, seeded()).unique()) == 20

    def test_only_ratios_of_weights_count(self):
        weights = torch.arange(1.0, 9.0, dtype=torch.float64)
        one, other = (draw_cells(w, 20, seeded()) for w in (weights / 36, weights * 64))
        assert torch.equal(one, other)

    def test_marginals(self, pair):
        n_pairs = 12_800
        drawn = Minibatch(sinkhorn(), 128)(pair).sample_pairs(n_pairs, generator=seeded())
        for cells, weights in zip(drawn, (pair.source_weights, pair.target_weights), strict=True):
            expected = n_pairs * weights
            found = np.bincount(cells.cpu().numpy(), minlength=300)
            assert (found[:5] == 0).all()
            assert (np.abs(found - expected) <= 5 * np.sqrt(expected)).all()
            assert found.sum() == n_pairs

    def test_same_seed_same_bits(self, pair):
        first, second, other = (
            torch.stack(Minibatch(sinkhorn(), 64)(pair).sample_pairs(200, generator=seeded(seed)))
            for seed in (1, 1, 2)
        )
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_number_of_pairs(self, pair):
        coupling = Minibatch(sinkhorn(), 64)(pair)
        for n_pairs in (1, 64, 65, 150):
            assert [len(cells) for cells in coupling.sample_pairs(n_pairs, generator=seeded())] == [
                n_pairs
            ] * 2

    def test_balanced_pairs_take_as_many_batches_as_they_fill(self, pair, monkeypatch):
        coupling, solved, solve = Minibatch(sinkhorn(), 64)(pair), [], Sinkhorn.solve_all
        monkeypatch.setattr(
            Sinkhorn, "solve_all", lambda self, pairs: solved.extend(pairs) or solve(self, pairs)
        )
        coupling.sample_pairs(128, generator=seeded())
        assert len(solved) == 2

    def test_one_batch_is_the_whole(self, pair):
        whole, batched = sinkhorn()(pair), Minibatch(sinkhorn(), 300)(pair)
        expected = torch.stack(whole.sample_pairs(5000, generator=seeded()))
        assert torch.equal(torch.stack(batched.sample_pairs(5000, generator=seeded())), expected)

    def test_a_small_side_is_in_every_batch(self):
        rng = np.random.default_rng(0)
        coupling = Minibatch(sinkhorn(), 80)(
            Pair(rng.normal(size=(40, 2)), rng.normal(size=(1000, 2)))
        )
        source, target = coupling.sample_pairs(800, generator=seeded())
        np.testing.assert_array_equal(source.bincount(), 20)
        assert len(target.unique()) > 400
        assert "40 x 80 cells a batch" in coupling.diagnostics.method


@cache
def gaussian_ratios(batch_size):
    """Of drawn pairs over the plan of the populations, which is known.

    Trace of Cov(x, y), variance of y given x.
    """
    rng = np.random.default_rng(0)
    a, b = random_covariance(10, rng), random_covariance(10, rng)
    problem = GaussianProblem(np.zeros(10), a, np.zeros(10), b, 0.05 * (np.trace(a) + np.trace(b)))
    x, y = problem.sample_source(8000, rng), problem.sample_target(8000, rng)
    coupling = Minibatch(sinkhorn(epsilon=problem.epsilon, relative=False), batch_size)(Pair(x, y))
    i, j = coupling.sample_pairs(8192, generator=seeded())
    x, y = x[i], y[j]
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]  # conditional means are linear
    return np.mean(x * y) * 10 / np.trace(problem.C), residual.var(0).sum() / np.trace(problem.S)


@pytest.mark.slow
def test_batches_blur_the_plan():
    """Their mixture lies between the plan of the populations and no coupling at all.

    Larger batches come closer.
    """
    small, large = gaussian_ratios(128), gaussian_ratios(1024)
    assert 0.75 < small[0] < 0.9 < large[0] < 1
    assert small[1] > 1.3 > 1.2 > large[1] > 1


class TestCoupling:
    def test_offers_populations_and_diagnostics(self, pair):
        coupling = Minibatch(sinkhorn(epsilon="auto"), 64)(pair)
        assert coupling.shape == (300, 300)
        found = coupling.diagnostics
        assert found.method == "minibatch sinkhorn, 64 x 64 cells a batch, figures of the first"
        assert found.converged
        assert found.mass == pytest.approx(1, abs=1e-4)
        # chosen on the first batch, and kept in units of the cost
        assert coupling.solver.epsilon == found.epsilon_absolute
        assert not coupling.solver.relative

    @pytest.mark.parametrize(
        "name",
        [
            "rows",
            "potential",
            "growth",
            "marginals",
            "barycenter",
            "sample",
            "to_sparse",
            "mass_blocks",
        ],
    )
    def test_says_what_to_use_instead(self, pair, name):
        coupling = Minibatch(sinkhorn(), 64)(pair)
        with pytest.raises(
            UnsupportedPlan,
            match=f"minibatch coupling offers no `{name}`.*`sample_pairs`.*`max_ce",
        ):
            getattr(coupling, name)
        with pytest.raises(AttributeError, match="no attribute 'colour'"):
            _ = coupling.colour

    def test_graph_costs_keep_epsilon_relative(self, pair):
        coupling = Minibatch(sinkhorn(cost=Geodesic()), 64)(pair)
        assert coupling.solver == sinkhorn(cost=Geodesic())
        assert len(coupling.sample_pairs(100, generator=seeded())[0]) == 100

    @pytest.mark.medium
    def test_fused_sees_shared_features(self, pair):
        rng = np.random.default_rng(0)
        shared = Pair(
            pair.source,
            rng.normal(size=(300, 3)),
            rng.normal(size=(300, 1)),
            rng.normal(size=(300, 1)),
        )
        coupling = Minibatch(FusedGromovWasserstein(device="cpu"), 64)(shared)
        assert coupling.first.x.shape == (64, 3)
        assert coupling.first.y.shape == (64, 4)
        _, target = coupling.sample_pairs(100, generator=seeded())
        assert target.max() < 300

    @pytest.mark.medium
    def test_quadratic_is_warned_about(self, pair):
        Minibatch(FusedGromovWasserstein(), 64)
        with pytest.warns(UserWarning, match="each batch selects its own flip or rotation"):
            solver = Minibatch(GromovWasserstein(n_starts=2, epsilon=0.05, device="cpu"), 64)
        coupling = solver(pair)
        assert len(coupling.sample_pairs(70, generator=seeded())[0]) == 70

    def test_batch_size(self):
        with pytest.raises(ValueError, match="`batch_size=1` must be an integer >= 2"):
            Minibatch(sinkhorn(), 1)
