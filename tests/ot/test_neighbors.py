"""Matching among neighbours: shares that are known, and what a plan of them is."""

import numpy as np
import pytest

import scgenot as sg


def line(start, stop, n):
    """Evenly spaced cells on a line, off the ends."""
    return (start + (np.arange(n) + 0.5) / n * (stop - start))[:, None]


def test_shares_are_ratios_of_densities():
    """Uniform source on [0, 3]; two thirds of the targets on [0, 1], a third on [1, 2]."""
    pair = sg.Pair(line(0, 3, 3000), np.concatenate([line(0, 1, 1000), line(1, 2, 500)]))
    plan = sg.ot.Neighbors(n_neighbors=40)(pair)
    kept, received = (part.cpu().numpy() for part in plan.kept())
    x, y = pair.source[:, 0], pair.target[:, 0]
    inner = lambda z, low, high: (z > low + 0.1) & (z < high - 0.1)  # noqa: E731
    # densities of targets over sources: 2, 1, 0; counts of about 20 cells are off by one
    for (low, high), share in {(0, 1): 1.0, (1, 2): 1.0, (2, 3): 0.0}.items():
        assert kept[inner(x, low, high)] == pytest.approx(share, abs=0.06)
    assert received[inner(y, 0, 1)] == pytest.approx(0.5, abs=0.05)
    assert received[inner(y, 1, 2)] == pytest.approx(1.0, abs=0.06)
    half = sg.Pair(line(0, 2, 2000), np.concatenate([line(0, 1, 300), line(1, 2, 900)]))
    kept = sg.ot.Neighbors(n_neighbors=40)(half).kept()[0].cpu().numpy()
    assert kept[inner(half.source[:, 0], 0, 1)] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("sizes", [(600, 600), (100, 2000), (2000, 100)])
def test_equal_populations_keep_half_or_more_of_nearly_every_cell(sizes):
    """However many cells each side has."""
    rng = np.random.default_rng(0)
    pair = sg.Pair(*(rng.normal(size=(n, 5)) for n in sizes))
    kept = sg.ot.Neighbors()(pair).kept()[0].cpu().numpy()
    # about 15 cells of the smaller side are counted: under half is three standard errors off
    assert (kept < 0.5).mean() < 0.05
    assert np.median(kept) > 0.85


def test_rows_are_the_shares_and_weights_count():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(80, 2)), rng.normal(size=(60, 2)) + 0.5
    a, b = rng.uniform(0.5, 2, 80), rng.uniform(0.5, 2, 60)
    pair = sg.Pair(x, y, source_weights=a, target_weights=b)
    plan = sg.ot.Neighbors(n_neighbors=10)(pair)
    kept = plan.kept()[0].cpu().numpy()
    np.testing.assert_allclose(plan.growth().cpu().numpy(), kept, atol=1e-6)
    np.testing.assert_allclose(
        plan.marginals()[0].cpu().numpy(), pair.source_weights * kept, atol=1e-8
    )
    assert not plan.is_balanced
    # by hand for one cell: the nearest until they hold the mass of 10 of 60
    i, held = 7, 0.0
    away = np.linalg.norm(np.concatenate([x, y]) - x[i], axis=1)
    away[i] = np.inf
    inside = []
    for j in np.argsort(away):
        if held >= 10 / 60 - 1e-9:
            break
        inside.append(j)
        held += 1 / 80 if j < 80 else 1 / 60
    inside = np.array(inside)
    others = pair.source_weights[inside[inside < 80]].sum() / (1 - pair.source_weights[i])
    targets = inside[inside >= 80] - 80
    assert kept[i] == pytest.approx(min(1, pair.target_weights[targets].sum() / others), abs=1e-5)
    row = plan.rows([i])[0].cpu().numpy()
    expected = np.zeros(60)
    expected[targets] = pair.target_weights[targets] / pair.target_weights[targets].sum()
    np.testing.assert_allclose(row, expected, atol=1e-6)


def test_a_missing_kind_keeps_nothing_and_two_cells_a_side_do():
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=(50, 3)), rng.normal(size=(50, 3)) + 30])
    kept = (
        sg.ot.Neighbors(n_neighbors=10)(sg.Pair(x, rng.normal(size=(70, 3))))
        .kept()[0]
        .cpu()
        .numpy()
    )
    assert (kept[50:] == 0).all()
    assert (kept[:50] > 0.5).all()
    few = sg.Pair(rng.normal(size=(2, 3)), rng.normal(size=(2, 3)))
    assert np.isfinite(sg.ot.Neighbors()(few).kept()[0].cpu().numpy()).all()


def test_bad_input():
    with pytest.raises(ValueError, match="`n_neighbors=1` must be an integer >= 2"):
        sg.ot.Neighbors(n_neighbors=1)
    with pytest.raises(TypeError, match="n_neighbors"):
        sg.ot.Neighbors(n_neighbors=2.5)
    with pytest.raises(ValueError, match="neighbors need both in the same space"):
        sg.ot.Neighbors()(sg.Pair(np.zeros((5, 2)), np.zeros((5, 3))))
