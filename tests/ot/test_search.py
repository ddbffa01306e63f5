"""The search over starts finds the orientation where it is known, and says where it cannot be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scgenot.metrics import foscttm
from scgenot.ot import ClearestMatch, GromovWasserstein, Sinkhorn, euclidean, squared_euclidean
from scgenot.ot.confidence import Confidence
from scgenot.ot.quadratic.descent import Descent
from scgenot.ot.quadratic.intra import fit_intra
from scgenot.ot.quadratic.problem import FEW_CELLS
from scgenot.ot.quadratic.search import Optimum, distinct, judge, leaders
from scgenot.ot.quadratic.starts import principal_starts
from scgenot.pair import Pair
from truth.cells import lopsided, rotation

SOLVER = GromovWasserstein(epsilon=0.01, geometry="centred", n_starts=12, search_cells=100)


def embedded(x: np.ndarray, dim: int, rng: np.random.Generator) -> np.ndarray:
    """The same cells turned, mirrored and shifted in a space of another dimension.

    Distances are kept.
    """
    return x @ rotation(dim, rng)[: x.shape[1]] + rng.normal(size=dim)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))]
)
def test_finds_a_rotated_and_mirrored_copy(seed):
    """In five dimensions instead of three, its cells in another order."""
    rng = np.random.default_rng(seed)
    x = lopsided(120, rng)
    order = rng.permutation(120)
    y = embedded(x, 5, rng)
    coupling = SOLVER(Pair(x, y[order]))
    # barycenters average over the few neighbours that epsilon blurs, out of 120 cells
    assert foscttm(coupling.barycenter().cpu().numpy(), y) < 0.03
    assert coupling.confidence.n_starts == 12
    assert coupling.confidence.n_best >= 1
    assert not coupling.confidence.ambiguous


@pytest.mark.slow
def test_one_start_may_miss_what_the_search_finds():
    """The first start turns all axes to their longer tails.

    One outlier far out on the other side misleads it.
    """
    rng = np.random.default_rng(0)
    x = lopsided(120, rng)
    side = np.sign(((x - x.mean(0)) ** 3).mean(0)[0])
    y = embedded(x, 3, rng)
    pair = Pair(np.vstack([x, x.mean(0) - [60 * side, 0, 0]]), np.vstack([y, y.mean(0)]))
    single, found = (replace(SOLVER, n_starts=k)(pair) for k in (1, 8))
    assert single.confidence is None
    assert found.diagnostics.objective < single.diagnostics.objective
    assert (
        foscttm(found.barycenter().cpu().numpy()[:-1], y)
        < 0.03
        < foscttm(single.barycenter().cpu().numpy()[:-1], y)
    )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("n", [80, pytest.param(400, marks=pytest.mark.slow)])
def test_mirror_symmetric_clusters_are_ambiguous(n, seed):
    """Two equal clusters.

    Which is which cannot be told, and both answers have the same objective.
    """
    rng = np.random.default_rng(seed)
    half = np.array([3.0, 0.0]) + rng.normal(size=(n, 2)) * 0.3
    x = np.concatenate([half, half * [-1, 1]])
    coupling = replace(SOLVER, n_starts=8, epsilon=0.01, search_cells=200)(
        Pair(x, embedded(x, 3, rng))
    )
    assert coupling.confidence.ambiguous
    assert coupling.confidence.gap < 0.01


@pytest.mark.medium
def test_cells_without_weight_do_not_disturb_the_search():
    rng = np.random.default_rng(0)
    x = lopsided(120, rng)
    y = embedded(x, 4, rng)
    weights = np.ones(120)
    weights[::10] = 0
    solver = replace(SOLVER, n_starts=6)
    coupling = solver(Pair(x, y, source_weights=weights, target_weights=weights))
    assert not np.isnan([coupling.confidence.gap, coupling.confidence.agreement]).any()
    assert coupling.confidence.n_best >= 1
    kept = weights > 0
    assert foscttm(coupling.barycenter().cpu().numpy()[kept], y[kept]) < 0.03


class Plan:
    """A plan that sends each source cell to one target."""

    cost = None

    def __init__(self, torch, targets):
        self.a = torch.full((len(targets),), 1 / len(targets))
        self.targets = torch.tensor(targets)

    def apply(self, values):
        return values[self.targets] / len(self.targets)


def test_optima_are_grouped_by_where_they_send_the_cells():
    features = torch.tensor([[0.0], [1.0], [2.0], [3.0]])

    def optimum(objective, targets):
        solution = type("Solution", (), {"plan": Plan(torch, targets)})
        return Optimum.of(Descent(solution, objective, stationary=True), features)

    same, near, other = (
        optimum(2.0, [0, 1, 2, 3]),
        optimum(1.0, [0, 1, 3, 3]),
        optimum(3.0, [3, 2, 1, 0]),
    )
    assert same.correlation(other) == pytest.approx(-1)
    groups = distinct([other, same, near])
    assert [[o.objective for o in group] for group in groups] == [[1.0, 2.0], [3.0]]
    # the best is looked at again, also where it is perfect
    assert [o.objective for o in leaders([optimum(0.0, [0, 1, 2, 3])])] == [0.0]


@pytest.mark.parametrize(
    ("gap", "margin", "agreement", "ambiguous"),
    [
        (0.2, 0.2, 0.99, False),
        (0.01, 0.2, 0.99, True),
        (0.1, 0.1, 0.99, True),
        (0.2, 0.2, 0.4, True),
        (0.2, 0.2, 0.6, False),
        (np.inf, np.inf, 1.0, False),
    ],
)
def test_ambiguous_when_optima_are_near_or_subsets_disagree(gap, margin, agreement, ambiguous):
    confidence = Confidence(40, 3, gap, agreement, margin)
    assert confidence.ambiguous is ambiguous
    assert confidence.to_dict()["ambiguous"] is ambiguous


def test_an_opposite_answer_must_be_worse_by_more_than_a_similar_one():
    best, similar, opposite = optima((1.0, 1.0), (1.06, 0.6), (1.2, -1.0))
    _, found = judge(40, [best], [best, similar], [opposite, best])
    assert found.gap == pytest.approx(0.06)
    # .06 / .4 and .2 / 2: the opposite answer is nearer, for what it would cost
    assert found.margin == pytest.approx(0.1)
    # the second search prefers another one on its few cells, but not on those that all share
    assert found.agreement == pytest.approx(1.0)
    assert found.n_best == 1


def test_subsets_disagree_when_only_one_search_finds_the_best():
    best, similar = optima((1.0, 1.0), (1.5, 0.6))
    _, found = judge(40, [best], [best], [similar])
    assert found.agreement == pytest.approx(0.6)
    assert found.margin == pytest.approx(0.5 / 0.4)


def test_the_only_answer_has_no_gap():
    (best,) = optima((1.0, 1.0))
    _, found = judge(40, [best], [best], [best])
    assert found.gap == found.margin == np.inf


def optima(*of: tuple[float, float]) -> list[Optimum]:
    """Optima of given objectives and correlations with the direction (1, 0)."""
    return [
        Optimum(objective, None, torch.tensor([[r, (1 - r * r) ** 0.5]], dtype=torch.float64))
        for objective, r in of
    ]


def test_the_search_looks_at_search_cells():
    seen = set()

    def recorded(x, y):
        seen.add(len(x))
        return squared_euclidean(x, y)

    rng = np.random.default_rng(0)
    pair = Pair(lopsided(90, rng), lopsided(90, rng))
    GromovWasserstein(epsilon=0.5, intra_cost=recorded, n_starts=2, search_cells=15)(pair)
    assert {15, 60, 90} <= seen
    assert not {16, 72} & seen


def test_starts_are_more_than_the_flips_of_two_axes():
    cells = torch.as_tensor(np.random.default_rng(0).normal(size=(50, 2)))
    weights = torch.full((50,), 0.02, dtype=torch.float64)
    geometry = fit_intra(
        "sqeuclidean", cells, weights, geometry="centred", scaled=True, max_dense_cells=100
    ).geometry
    starts = principal_starts(cells, cells, geometry, geometry, n_starts=12, rng=0)
    crosses = torch.stack([start.cross.flatten() for start in starts])
    assert len(crosses.unique(dim=0)) > 4


def test_the_default_epsilon_tells_cells_apart():
    x = lopsided(100, np.random.default_rng(0))
    found = GromovWasserstein(n_starts=1)(Pair(x, x)).diagnostics
    assert found.converged
    assert found.effective_targets < 10


@pytest.mark.medium
def test_a_search_on_more_cells_than_tell_starts_apart_takes_a_function():
    """It is the search with the same cost by name; a function has features of the cells at hand."""
    rng = np.random.default_rng(0)
    kind = rng.integers(4, size=(2, 450))
    x = np.eye(4)[kind[0]] * [3, 4, 5, 6] + rng.normal(size=(450, 4))
    y = np.eye(4)[kind[1]] * [3, 4, 5, 6] + rng.normal(size=(450, 4))
    options = {"n_starts": 4, "geometry": "centred", "dtype": torch.float64, "device": "cpu"}
    found = [
        GromovWasserstein(intra_cost=cost, **options)(Pair(x, y)).barycenter()
        for cost in ("sqeuclidean", squared_euclidean)
    ]
    assert len(x) * 0.8 > FEW_CELLS
    torch.testing.assert_close(*found, rtol=0, atol=1e-3)


class TestClearestMatch:
    """Of two costs the one whose next solution is worse by more."""

    SOLVERS = (replace(SOLVER, n_starts=6), replace(SOLVER, n_starts=6, intra_cost=euclidean))

    @pytest.mark.medium
    def test_the_largest_margin_is_kept(self):
        rng = np.random.default_rng(0)
        z = lopsided(150, rng)
        pair = Pair(embedded(z, 5, rng), embedded(z, 4, rng))
        each = [solver(pair) for solver in self.SOLVERS]
        best = max(each, key=lambda coupling: coupling.confidence.margin)
        for order in (self.SOLVERS, self.SOLVERS[::-1]):
            found = ClearestMatch(order)(pair)
            assert found.confidence == best.confidence
            torch.testing.assert_close(found.barycenter(), best.barycenter())

    @pytest.mark.parametrize(
        ("solvers", "error", "match"),
        [
            ([SOLVER], ValueError, "1 entries"),
            ([SOLVER, Sinkhorn()], TypeError, "`solvers"),
            ([SOLVER, replace(SOLVER, n_starts=1)], ValueError, "n_starts=1"),
            ([SOLVER, replace(SOLVER, epsilon=0.02)], ValueError, r"epsilons \[0.01, 0.02\]"),
            ("both", TypeError, "`solvers"),
        ],
    )
    def test_wrong_solvers(self, solvers, error, match):
        with pytest.raises(error, match=match):
            ClearestMatch(solvers)
