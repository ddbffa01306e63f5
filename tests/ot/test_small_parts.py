"""Parts of solvers whose faults no whole answer shows."""

from types import SimpleNamespace

import pytest
import torch

from scgenot.ot import minibatch
from scgenot.ot.quadratic.descent import Descender


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
