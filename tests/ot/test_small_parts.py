"""Parts of solvers whose faults no whole answer shows."""

from types import SimpleNamespace

import pytest
import torch

from scgenot.ot import Geodesic, cosine, euclidean, minibatch, squared_euclidean
from scgenot.ot.anderson import Extrapolation
from scgenot.ot.cost import against
from scgenot.ot.dual import Problem
from scgenot.ot.quadratic.cost import FusedCost, LiftedCost, QuadraticCost
from scgenot.ot.quadratic.descent import Descender
from scgenot.ot.quadratic.intra import FactoredIntra, Geometry


def test_a_mass_of_rounding_is_one(monkeypatch):
    for mass, expected in ((1 + 1e-9, 1.0), (1 - 1e-9, 1.0), (0.0, 1.0), (0.5, 0.5), (2.0, 2.0)):
        monkeypatch.setattr(minibatch, "describe", lambda plan, mass=mass: {"mass": mass})
        assert minibatch._mass(None) == expected


def test_a_cost_moves_by_what_potentials_do_not_take_up():
    """Offsets of rows and columns change potentials, and no plan."""
    cells = torch.arange(6.0, dtype=torch.float64)[:, None]
    descent = SimpleNamespace(features=SimpleNamespace(x=cells, y=2 * cells[:4]))

    def movement(change):
        return Descender._movement(descent, lambda x, y: 0 * (x + y.T), change)

    assert movement(lambda x, y: 3 + x + 0 * y.T) == pytest.approx(0, abs=1e-12)
    assert movement(lambda x, y: 3 + 0 * x + y.T) == pytest.approx(0, abs=1e-12)
    # centred both ways: (x - 2.5) (y - 3), of mean squares 35 / 12 and 5
    assert movement(lambda x, y: x * y.T) == pytest.approx((35 / 12 * 5) ** 0.5)


def test_extrapolation_solves_linear_iterations_in_as_many_steps_as_they_have_rates():
    """The last steps span all directions: what is left is rounding and the ridge."""
    rates = torch.tensor([0.999, 0.99, 0.9, 0.5, 0.0], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).double())[
        0
    ]
    end, at = torch.arange(5.0, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    extrapolate = Extrapolation(torch.ones(1, 5) / 5)
    for _ in range(10):
        change = turn @ ((1 - rates) * (turn.T @ (end - at)))
        at = at + change + extrapolate(change[None], [float(change.norm())])[0]
    assert float((at - end).norm()) < 1e-3 * float(end.norm())


def test_a_step_too_far_is_taken_back():
    extrapolate, change = Extrapolation(torch.ones(1, 3) / 3), torch.tensor([[1.0, 0.5, 0.2]])
    assert not extrapolate(change, [1.0]).any()
    beyond = extrapolate(0.9 * change, [0.9])
    # geometric: 9 more times what is left; not farther than the radius
    torch.testing.assert_close(beyond, 4 * change / change.max())
    worse = torch.tensor([[-3.0, 0.0, 1.0]])
    torch.testing.assert_close(extrapolate(worse, [3.0]), -(worse + beyond))
    assert not extrapolate(0.8 * change, [0.8]).any()
    assert extrapolate.radius == [2]
    # what says nothing of where to go leaves plain steps
    assert not extrapolate(0.8 * change, [0.8]).any()


def test_problems_are_extrapolated_one_by_one():
    """One of them goes too far, one does not change, one is taken out."""
    rng = torch.Generator().manual_seed(0)
    weights = torch.rand(4, 6, generator=rng)
    together, alone = Extrapolation(weights), [Extrapolation(row[None]) for row in weights]
    for k in range(12):
        if k == 8:
            kept = torch.tensor([0, 2, 3])
            together.take(kept)
            alone = [alone[i] for i in kept]
        n = len(alone)
        change, errors = torch.rand(n, 6, generator=rng), [0.9**k] * n
        change[1], errors[0] = 0.0, 5.0 if k == 4 else 0.9**k
        each = [one(row[None], [e]) for one, row, e in zip(alone, change, errors, strict=True)]
        torch.testing.assert_close(together(change, errors), torch.cat(each))


def cells(n, p, seed):
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quadratic_costs():
    intra = [FactoredIntra(Geometry(cells(1, 3, k)[0], unit=True), "sqeuclidean") for k in (0, 1)]
    inner = QuadraticCost(cells(5, 5, 2), cells(5, 5, 3), cells(5, 5, 4))
    fused = FusedCost(inner, squared_euclidean, 0.3, 2.0, 2)
    only_shared = FusedCost(inner, squared_euclidean, 1.0, 2.0, 2)
    return [LiftedCost(cost, *intra, 2) for cost in (fused, only_shared)]


@pytest.mark.parametrize(
    "cost",
    [
        *(squared_euclidean, euclidean, cosine, Geodesic().fit(cells(30, 5, 5), cells(20, 5, 6))),
        *quadratic_costs(),
        lambda x, y: x @ y.T,
    ],
)
def test_a_cost_to_fixed_cells_is_the_cost(cost):
    for x, y in ((cells(30, 5, 5), cells(20, 5, 6)), (cells(7, 5, 7), cells(20, 5, 8))):
        to_y = against(cost, y)
        torch.testing.assert_close(torch.cat([to_y(part) for part in x.split(4)]), cost(x, y))


def test_a_card_with_little_memory_streams(monkeypatch):
    """Seen through stand-ins: a tensor that says it is on a card, and the card's free memory."""

    class OnCard(list):
        is_cuda, device = True, "cuda"

        def element_size(self):
            return 4

    on_card = OnCard(range(1000))
    problem = Problem(on_card, on_card, None, None)
    for free, fits in ((8e6, True), (7.9e6, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 8e10))
        assert problem.fits() == fits
