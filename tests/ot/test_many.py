"""Small problems solved together are solved as each alone."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import scgenot as sg
from scgenot.fit.coupled import couple
from scgenot.ot import Geodesic, Sinkhorn, euclidean, many
from scgenot.pair import Link, Pair
from truth.cells import random_pair

EXACT = Sinkhorn(dtype=torch.float64, tolerance=1e-10, device="cpu")
SIZES = [(60, 45), (12, 30), (60, 44), (2, 2), (59, 3), (100, 80), (90, 80), (60, 41)]


@pytest.fixture
def pairs() -> list[Pair]:
    """Uneven weights; two have the same source cells."""
    found = [random_pair(k, n=n, m=m) for k, (n, m) in enumerate(SIZES)]
    same = {name: getattr(found[0], name) for name in ("source", "source_weights")}
    return [*found[:-1], replace(found[-1], **same)]


@pytest.fixture
def few(monkeypatch):
    """Return how many problems each batch had."""
    sizes, solve = [], many.solve_together

    def counted(solver, problems):
        sizes.append(len(problems))
        return solve(solver, problems)

    monkeypatch.setattr(many, "solve_together", counted)
    return sizes


def together(solver: Sinkhorn, pairs: list[Pair]) -> list:
    """Return plans in the order of their pairs, each of which is solved once."""
    found = list(solver.solve_all(pairs))
    assert sorted(k for k, _ in found) == list(range(len(pairs)))
    return [plan for _, plan in sorted(found, key=lambda one: one[0])]


def check_same(solver: Sinkhorn, pairs: list[Pair], atol: float) -> None:
    """Plans, and what is reported of them, are those of each pair alone."""
    for plan, pair in zip(together(solver, pairs), pairs, strict=True):
        alone = solver(pair)
        torch.testing.assert_close(plan.rows(), alone.rows(), rtol=0, atol=atol)
        torch.testing.assert_close(plan.growth(), alone.growth(), rtol=0, atol=10 * atol)
        one, other = plan.diagnostics, alone.diagnostics
        assert (one.method, one.outcomes) == (other.method, other.outcomes)
        for name in ("epsilon", "epsilon_absolute", "mass", "effective_targets", "objective"):
            found = getattr(one, name)
            assert found == pytest.approx(getattr(other, name), rel=1e3 * atol), name
        assert one.marginal_error == pytest.approx(other.marginal_error, abs=1e4 * atol)
        assert abs(one.iterations - other.iterations) <= 2
        torch.testing.assert_close(plan.f, plan.potential())


@pytest.mark.medium
@pytest.mark.parametrize("tau", [(1.0, 1.0), (0.9, 0.8), (1.0, 0.9)])
@pytest.mark.parametrize("epsilon", [0.2, 0.01])
def test_plans_are_those_of_each_pair_alone(pairs, few, tau, epsilon):
    check_same(replace(EXACT, epsilon=epsilon, tau=tau), pairs, 1e-9)
    # more problems than are still open halfway: some are taken out
    assert sum(few) == len(pairs)
    assert max(few) >= 4


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_rough_plans_are_those_of_each_pair_alone(pairs, few, tolerance):
    """Each problem ends where it would alone, so that even rough plans are the same."""
    solver = replace(EXACT, tolerance=tolerance, epsilon=0.02)
    # two cells have one direction, done in a step: others are extrapolated from rounding
    pairs = [pair for pair in pairs if len(pair.target) > 2]
    check_same(solver, pairs, 1e-9)
    check_same(replace(solver, dtype=torch.float32), pairs, 1e-5)
    assert few


@pytest.mark.parametrize("cost", [euclidean, Geodesic(n_neighbors=5)])
def test_any_cost(few, cost):
    pairs = [random_pair(k, n=40 + k, m=50) for k in range(4)]
    check_same(replace(EXACT, cost=cost), pairs, 1e-9)
    assert few == [4]


def test_shared_features_and_an_absolute_epsilon(few):
    """Epsilons differ where they are relative, the way down to them where they are absolute."""
    pairs = [random_pair(k, n=40, m=50, shared=2) for k in range(3)]
    pairs.append(replace(pairs[0], source=2 * pairs[0].source, target=2 * pairs[0].target))
    check_same(EXACT, pairs, 1e-9)
    check_same(replace(EXACT, epsilon=0.2, relative=False), pairs, 1e-8)
    assert few == [4, 4]


def test_iterations_that_end_too_early(pairs, few):
    solver = replace(EXACT, max_iterations=3, epsilon=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_same(solver, pairs, 1e-8)
    assert few


@pytest.mark.medium
@pytest.mark.parametrize("epsilon", [1e-4, 1e-7])
def test_what_overflows_is_solved_alone(few, epsilon):
    """Beside problems that do not: these stay as they are."""
    pairs = [random_pair(k, n=40, m=40) for k in range(4)]
    wide = replace(pairs[0], source=pairs[0].source + np.arange(40)[:, None] ** 2)
    solver = replace(Sinkhorn(device="cpu"), epsilon=epsilon, max_iterations=50)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plans = together(solver, [wide, *pairs])
        n_together, alone = len(caught), [solver(pair) for pair in [wide, *pairs]]
    assert few == [5]
    for plan, one in zip(plans, alone, strict=True):
        assert torch.isfinite(plan.g).all()
        assert plan.diagnostics.converged == one.diagnostics.converged
    told = sorted(str(one.message).partition(" (")[0] for one in caught)
    assert told[::2] == told[1::2]
    assert n_together == len(caught) / 2 > 0


def test_problems_beside_one_that_overflows(pairs, few, monkeypatch):
    """One with costs that overflow on the way changes nothing for the others."""
    found = together(EXACT, pairs)
    of = many.Small.of

    def broken(solver, problem):
        small = of(solver, problem)
        return replace(small, costs=small.costs * torch.nan) if len(problem.x) == 100 else small

    monkeypatch.setattr(many.Small, "of", broken)
    for plan, before in zip(together(EXACT, pairs), found, strict=True):
        torch.testing.assert_close(plan.rows(), before.rows(), rtol=0, atol=1e-9)


@pytest.mark.medium
def test_what_is_not_small_or_plain_is_solved_alone(few, monkeypatch):
    pairs = [random_pair(k) for k in range(3)]
    weights = np.r_[0, np.ones(59)]
    together(EXACT, [replace(pair, source_weights=weights) for pair in pairs])
    for option in ({"epsilon": "auto"}, {"price": 1.0}, {"keep": 0.8}, {"memory_limit": 0}):
        together(replace(EXACT, tolerance=1e-4, **option), pairs)
    together(replace(EXACT, max_cells=50), [random_pair(k, weights=False) for k in range(3)])
    monkeypatch.setattr(many, "BATCH_ENTRIES", many.FEWEST * 60 * 45 - 1)
    together(EXACT, pairs)
    assert not few
    monkeypatch.setattr(many, "BATCH_ENTRIES", many.FEWEST * 60 * 45)
    together(EXACT, pairs * 4)
    assert few == [many.FEWEST, 12 - many.FEWEST]


def test_batches_are_of_about_one_size():
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 150, size=(200, 2))
    pairs = [Pair(np.ones((n, 1)), np.ones((m, 1))) for n, m in sizes]
    batches = list(many.batches(EXACT, pairs))
    assert sorted(k for batch in batches for k in batch) == list(range(200))
    for batch in batches:
        n, m = sizes[batch].T
        padded = len(batch) * n.max() * m.max()
        assert padded <= many.BATCH_ENTRIES
        assert padded - (n * m).sum() <= many.PADDING * many.BATCH_ENTRIES
    assert len(batches) < 20


def test_errors_are_those_of_a_pair_alone():
    pairs = [random_pair(k) for k in range(2)]
    constant = replace(pairs[0], source=np.ones((60, 3)), target=np.ones((45, 3)))
    with pytest.raises(ValueError, match="`cost` has mean 0"):
        list(EXACT.solve_all([*pairs, constant]))
    with pytest.raises(ValueError, match="`source` has 2 columns, `target` 3"):
        list(EXACT.solve_all([*pairs, random_pair(p=2)]))
    assert list(EXACT.solve_all([])) == []


class Backwards:
    """A solver of all pairs, last first, that warns of each."""

    def __call__(self, pair):
        raise AssertionError("solved alone")

    def solve_all(self, pairs):
        for k in reversed(range(len(pairs))):
            warnings.warn(f"{len(pairs)} pairs", UserWarning, stacklevel=2)
            yield k, EXACT(pairs[k])


def test_links_get_their_plans_and_warnings_their_names():
    pairs = [replace(random_pair(k, n=20 + k), name=f"pair {k}") for k in range(3)]
    links = [Link(pair) for pair in pairs]
    with pytest.warns(UserWarning, match="3 pairs This is of the pair pair 2; .*: pair 1; pair 0"):
        found = couple(links, Backwards(), progress=False)
    for plan, pair in zip((link.plan for link in found), pairs, strict=True):
        assert np.array_equal(plan.x, pair.source)


def test_a_screen_is_coupled_together(few):
    adata = sg.datasets.screen(40, drugs=("A", "B", "C"), doses=(1.0,))
    learner = sg.model.FlowMatching(steps=1)
    sg.tl.fit_perturbation(adata, "drug", "control", learner=learner, predict=False)
    assert few == [len(sg.get.fit(adata).links)]
