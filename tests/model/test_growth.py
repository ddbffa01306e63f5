import numpy as np
import pytest
import torch

from scgenot.model import Genot, fit_growth
from scgenot.pair import Pair


def make(condition=None, n=400):
    rng = np.random.default_rng(0)
    pair = Pair(rng.normal(1, 2, (n, 3)), rng.normal(0, 1, (n + 50, 2)), condition=condition)
    model = Genot(3, 2, 0 if condition is None else len(condition))
    model.units.fit([pair])
    return model, pair


@pytest.mark.medium
def test_balanced_gives_one():
    model, pair = make()
    torch.testing.assert_close(model.growth(pair.source), torch.ones(400))
    fit_growth(model, [pair], [np.ones(400)], [np.ones(450)], steps=200)
    np.testing.assert_allclose(model.growth(pair.source), 1, atol=1e-3)
    np.testing.assert_allclose(model.target_growth(pair.target), 1, atol=1e-3)


@pytest.mark.slow
def test_a_known_growth_is_learned_in_relative_terms():
    model, pair = make()

    def truth(cells):  # from about .01 to 30: exponentials of what is not linear
        return np.exp(0.6 * cells[:, 0] + np.sin(cells[:, 1]) - 1)

    fit_growth(model, [pair], [truth(pair.source)], [truth(pair.target)], rng=0)
    new = np.random.default_rng(1).normal(1, 2, (1000, 3))
    found, expected = model.growth(new).cpu().numpy(), truth(new)
    relative = np.abs(np.log(found / expected))
    # 400 cells in three dimensions: the sine is learned from neighbours about half a unit away
    assert np.median(relative) < 0.1
    small = expected < np.quantile(expected, 0.2)
    assert np.median(relative[small]) < 0.15


@pytest.mark.medium
def test_growth_depends_on_the_condition():
    first, second = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    model, pair = make(first)
    other = Pair(pair.source, pair.target, condition=second)
    ratios = [np.full(400, 0.5), np.full(400, 2.0)]
    fit_growth(model, [pair, other], ratios, [np.ones(450)] * 2, steps=400)
    np.testing.assert_allclose(model.growth(pair.source, first), 0.5, rtol=0.05)
    np.testing.assert_allclose(model.growth(pair.source, second), 2.0, rtol=0.05)


@pytest.mark.medium
def test_the_same_seed_gives_the_same_bits_and_zero_mass_stays_finite():
    ratios = np.linspace(0, 2, 400)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model, pair = make()
        fit_growth(model, [pair], [ratios], [np.ones(450)], steps=50, rng=5)
        found.append(model.growth(pair.source))
    assert torch.equal(*found)
    assert (found[0] > 0).all()
    assert found[0].isfinite().all()


@pytest.mark.parametrize("bad", [-0.5, np.inf, np.nan])
def test_ratios_that_are_no_growth_are_refused(bad):
    model, pair = make()
    ratios = np.full(400, bad)
    with pytest.raises(ValueError, match="ratios of source cells must be finite and not negative"):
        fit_growth(model, [pair], [ratios], [np.ones(450)], steps=1)
