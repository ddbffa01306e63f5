"""Entropic transport of many populations at once against that of one pair in double precision."""

from functools import partial

import numpy as np
import pytest
import torch

from scgenot import ot
from scgenot.population import sinkhorn


def clouds(sizes, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(rng.normal(), rng.uniform(0.5, 2), size=(n, d)) for n in sizes]


@pytest.mark.parametrize("epsilon", [0.3, 3.0])
@pytest.mark.parametrize("sizes", [(40, 30, 50, 45), (1, 2, 60, 7)])
def test_divergences_of_pairs(sizes, epsilon):
    given = clouds(sizes)
    found = sinkhorn.divergences(given, epsilon=epsilon)
    for i, x in enumerate(map(torch.tensor, given)):
        for j, y in enumerate(map(torch.tensor, given)):
            expected = float(ot.sinkhorn_divergence(x, y, epsilon=epsilon, scale=1.0))
            # marginals are met to 1e-3, and the value to its square
            assert abs(found[i, j] - expected) < 1e-4 * max(1, epsilon) * (1 + expected)
    assert np.array_equal(found, found.T)
    assert not np.diag(found).any()


def test_a_shift_costs_its_square():
    x = clouds([80])[0]
    found = sinkhorn.divergences([x, x + 3, x[::-1]], epsilon=0.5)
    np.testing.assert_allclose(found[0], [0, 27, 0], atol=1e-4)


def test_small_batches_are_the_same(monkeypatch):
    given = clouds((40, 30, 50, 45, 3))
    whole = sinkhorn.divergences(given, epsilon=1.0)
    monkeypatch.setattr(sinkhorn, "BLOCK", 3000)
    np.testing.assert_allclose(sinkhorn.divergences(given, epsilon=1.0), whole, atol=1e-4)


def test_outliers_do_not_underflow():
    given = clouds((60, 50, 40))
    given[0][0] += 300
    found = sinkhorn.divergences(given, epsilon=1.0)
    expected = ot.sinkhorn_divergence(*map(torch.tensor, given[:2]), epsilon=1.0, scale=1.0)
    assert abs(found[0, 1] - float(expected)) < 1e-3 * float(expected)


def test_what_does_not_converge_is_said(monkeypatch):
    few = partial(sinkhorn.Settings, max_iterations=3)
    monkeypatch.setattr(sinkhorn, "Settings", few)
    with pytest.warns(UserWarning, match="did not converge.*Raise `epsilon`"):
        sinkhorn.divergences(clouds((40, 40)), epsilon=0.001)
