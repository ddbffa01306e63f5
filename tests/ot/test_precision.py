"""Couplings keep their precision, whatever a session allows for networks."""

import numpy as np
import pytest
import torch

from scgenot import Pair
from scgenot.ot import Sinkhorn
from scgenot.ot.precision import own_precision


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return Pair(rng.normal(size=(200, 50)), rng.normal(size=(150, 50)) + 0.5)


def test_autocast_does_not_reach_costs(pair):
    plan = Sinkhorn(0.05, device="cpu")(pair)
    expected, means = plan.rows(), plan.barycenter()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = plan.x @ plan.y.T
        assert rounded.dtype == torch.bfloat16  # a session that would round
        assert torch.equal(Sinkhorn(0.05, device="cpu")(pair).rows(), expected)
        assert torch.equal(plan.barycenter(), means)


def test_the_settings_of_the_session_come_back():
    try:
        torch.set_float32_matmul_precision("medium")
        with own_precision():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
