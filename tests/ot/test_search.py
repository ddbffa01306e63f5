"""The search over starts finds the orientation where it is known, and says where it cannot be."""

from dataclasses import replace

import numpy as np
import pytest

from scgenot.metrics import foscttm
from scgenot.ot import GromovWasserstein
from scgenot.ot.confidence import Confidence
from scgenot.ot.quadratic.descent import Descent
from scgenot.ot.quadratic.search import Optimum, distinct
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
    assert foscttm(coupling.barycenter().numpy(), y) < 0.03
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
        foscttm(found.barycenter().numpy()[:-1], y)
        < 0.03
        < foscttm(single.barycenter().numpy()[:-1], y)
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
    assert foscttm(coupling.barycenter().numpy()[kept], y[kept]) < 0.03


class Plan:
    """A plan that sends each source cell to one target."""

    cost = None

    def __init__(self, torch, targets):
        self.a = torch.full((len(targets),), 1 / len(targets))
        self.targets = torch.tensor(targets)

    def apply(self, values):
        return values[self.targets] / len(self.targets)


def test_optima_are_grouped_by_where_they_send_the_cells():
    import torch

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


@pytest.mark.parametrize(
    ("gap", "agreement", "ambiguous"),
    [(0.2, 0.99, False), (0.01, 0.99, True), (0.2, 0.5, True), (np.inf, 1.0, False)],
)
def test_ambiguous_when_optima_are_near_or_subsets_disagree(gap, agreement, ambiguous):
    confidence = Confidence(40, 3, gap, agreement)
    assert confidence.ambiguous is ambiguous
    assert confidence.to_dict()["ambiguous"] is ambiguous
