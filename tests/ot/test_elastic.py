"""Elastic costs: the potential's gradient, the prox, and how sparse displacements are."""

import numpy as np
import pytest
import torch

import scgenot as sg
from scgenot.ot.store import plan_from_arrays, plan_to_arrays

KINDS = ("l1", "stvs")


def shifted(n=400, d=20, rng=0, sizes=(2.0, -3.0, 1.5)):
    """Two independent samples of a normal law, one shifted in three columns."""
    draw = np.random.default_rng(rng)
    shift = np.zeros(d)
    shift[: len(sizes)] = sizes
    return draw.normal(size=(n, d)), draw.normal(size=(n, d)) + shift, shift


def solved(source, target, cost, epsilon=0.05, **options):
    options = {"dtype": torch.float64, "device": "cpu", **options}
    return sg.ot.Sinkhorn(cost=cost, epsilon=epsilon, **options)(sg.Pair(source, target))


@pytest.mark.parametrize("kind", KINDS)
def test_slope_is_the_derivative_and_prox_is_its_inverse(kind):
    cost = sg.ot.elastic(0.7, kind=kind)
    z = torch.linspace(-3, 3, 41, dtype=torch.float64)[:, None].requires_grad_()
    (gradient,) = torch.autograd.grad(cost(z, torch.zeros_like(z[:1])).sum(), z)
    away = z[:, 0].abs() > 1e-9  # at 0 the cost has a kink
    torch.testing.assert_close(cost.slope(z)[away], gradient[away])
    torch.testing.assert_close(cost.prox(cost.slope(z)), z)
    # all slopes up to the strength are those of no displacement
    assert (cost.prox(torch.linspace(-0.7, 0.7, 15)) == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_prox_solves_its_problem(kind):
    cost = sg.ot.elastic(0.7, kind=kind)
    grid = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    for u in (-2.3, -0.6, 0.2, 0.9, 3.0):
        best = grid[((grid - u).square() / 2 + cost.penalty(grid)).argmin()]
        assert float(cost.prox(torch.tensor(u).double())) == pytest.approx(float(best), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_displacement_follows_the_gradient_of_the_potential(kind):
    source, target, _ = shifted(60, 3)
    cost = sg.ot.elastic(0.5, kind=kind)
    coupling = solved(source, target, cost)
    x = torch.tensor(source[:7]) + 0.01
    step, gradient = 1e-6, torch.empty_like(x)
    for k in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[k] = step
        ahead, behind = coupling.potential(x + shift), coupling.potential(x - shift)
        gradient[:, k] = (ahead - behind) / (2 * step)
    torch.testing.assert_close(coupling.displacement(x), -cost.prox(gradient), rtol=1e-5, atol=1e-6)


def test_of_the_squared_distance_it_is_the_barycenter_less_the_cell():
    source, target, _ = shifted(50, 4)
    coupling = solved(source, target, sg.ot.squared_euclidean)
    expected = coupling.barycenter() - torch.tensor(source)
    torch.testing.assert_close(coupling.displacement(), expected)
    torch.testing.assert_close(coupling.displacement(torch.arange(3)), expected[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_matches_each_cell_to_itself(kind):
    source, _, shift = shifted(80, 20)
    coupling = solved(source, source + shift, sg.ot.elastic(1.0, kind=kind), epsilon=1e-3)
    assert (coupling.rows().argmax(1) == torch.arange(80)).all()


# counts of another implementation on its own draws of the same law
@pytest.mark.parametrize(("strength", "expected"), [(1, 9.3), (4, 4.5), (10, 3.15)])
def test_displacements_are_as_sparse_as_known(strength, expected):
    source, target, _ = shifted()
    displacement = solved(source, target, sg.ot.elastic(float(strength))).displacement()
    assert float(displacement.count_nonzero(1).double().mean()) == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_coupling_is_the_same(kind):
    source, target, _ = shifted(40, 5)
    coupling = solved(source, target, sg.ot.elastic(0.5, kind=kind))
    again = plan_from_arrays(plan_to_arrays(coupling), source)
    torch.testing.assert_close(again.displacement(), coupling.displacement())
    assert again.cost == coupling.cost


def test_blocks_change_nothing(monkeypatch):
    from scgenot.ot import blocks

    source, target, _ = shifted(30, 5)
    cost, x, y = sg.ot.elastic(0.5), torch.tensor(source), torch.tensor(target)
    whole = cost(x, y)
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", 200)
    torch.testing.assert_close(cost(x, y), whole)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="`strength=0` must be positive"):
        sg.ot.elastic(0)
    with pytest.raises(TypeError, match="`strength='a'` must be"):
        sg.ot.elastic("a")
    with pytest.raises(ValueError, match="`kind='l2'` must be one of"):
        sg.ot.elastic(1.0, kind="l2")
    source, target, _ = shifted(20, 3)
    coupling = solved(source, target, sg.ot.cosine)
    with pytest.raises(sg.ot.UnsupportedPlan, match=r"`displacement` needs .* its cost is cosine"):
        coupling.displacement()


@pytest.mark.medium
def test_a_fit_takes_an_elastic_cost(tmp_path):
    adata = sg.datasets.branching(40)
    solver = sg.ot.Sinkhorn(cost=sg.ot.elastic(0.5))
    learner = sg.model.FlowMatching(steps=2, validation_fraction=0)
    sg.tl.fit_trajectory(adata, "time", solver=solver, learner=learner, progress=False)
    sg.tl.coupling(adata)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    links = sg.get.fit(adata).links
    assert links[0].plan(adata.obsm["X_pca"][:3]).cost == solver.cost
