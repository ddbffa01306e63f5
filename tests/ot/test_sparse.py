"""Sparse plans: laws of a plan with few targets, and the answers of another solver."""

from dataclasses import replace

import numpy as np
import ot
import pytest
import torch

import scgenot as sg
from scgenot.ot import SparseOT, squared_euclidean
from scgenot.ot.store import plan_from_arrays, plan_to_arrays
from scgenot.pair import Pair
from truth.cells import random_pair

EXACT = SparseOT(max_targets=60, tolerance=1e-6, max_iterations=5000)


def problem(n=60, seed=0):
    """Two populations of one size, their weights and costs."""
    rng = np.random.default_rng(seed)
    pair = Pair(rng.normal(size=(n, 5)), rng.normal(size=(n, 5)) + 0.5)
    cost = squared_euclidean(torch.tensor(pair.source), torch.tensor(pair.target)).cpu().numpy()
    return pair, pair.source_weights, pair.target_weights, cost


# of POT's own call of SciPy
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Unknown solver options:scipy.optimize.OptimizeWarning")
def test_as_many_targets_as_cells_is_the_quadratic_regularisation_of_pot():
    pair, a, b, cost = problem()
    gamma = 0.05 * cost.mean() * len(a)
    plan = replace(EXACT, gamma=gamma, relative=False)(pair)
    other = ot.smooth.smooth_ot_semi_dual(
        a, b, cost, gamma, reg_type="l2", numItermax=20_000, stopThr=1e-14
    )
    value = (other * cost).sum() + gamma / 2 * (other**2).sum()
    assert abs(plan.diagnostics.objective - value) < 1e-6
    assert np.abs(plan.mass.toarray() - other).sum() < 1e-4  # the other's columns are off by 1e-6
    relative = replace(EXACT, gamma=0.05)(pair)
    assert np.abs((relative.mass - plan.mass).toarray()).sum() < 1e-5
    assert plan.diagnostics.converged
    assert relative.diagnostics.epsilon == pytest.approx(0.05)


def test_one_target_is_near_exact_transport():
    pair, a, b, cost = problem()
    plan = replace(EXACT, max_targets=1, gamma=0.05, tolerance=1e-6)(pair)
    gamma = plan.diagnostics.epsilon_absolute
    exact = ot.emd2(a, b, cost)
    assert abs(plan.diagnostics.objective - gamma / 2 * (a**2).sum() - exact) < 1e-3
    assert abs(plan.diagnostics.cost - exact) < 1e-3
    assert (np.diff(plan.mass.indptr) <= 1).all()


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_rows_are_exact_and_short_and_the_columns_are_reported(k):
    pair = random_pair()
    solver = SparseOT(max_targets=k, max_iterations=100)
    if k > 3:
        plan = solver(pair)
    else:
        with pytest.warns(UserWarning, match="column sums have an error of"):
            plan = solver(pair)
    assert (np.diff(plan.mass.indptr) <= k).all()
    assert np.allclose(np.asarray(plan.mass.sum(1)).ravel(), pair.source_weights)
    column_error = np.abs(np.asarray(plan.mass.sum(0)).ravel() - pair.target_weights).sum()
    assert plan.diagnostics.marginal_error == pytest.approx(column_error)
    assert plan.diagnostics.converged == (column_error <= 1e-3)


def test_the_dual_is_below_every_plan_and_its_slope_is_the_column_error():
    pair, _, b, cost = problem()
    wide, narrow = (replace(EXACT, max_targets=k, max_iterations=300) for k in (60, 3))
    wide = wide(pair)
    with pytest.warns(UserWarning, match="column sums have an error of"):
        narrow = narrow(pair)
    # fewer targets allow fewer plans
    assert narrow.diagnostics.objective > wide.diagnostics.objective - 1e-9
    assert (wide.mass.toarray() * cost).sum() == pytest.approx(wide.diagnostics.cost)
    assert np.allclose(wide.mass.sum(axis=0), b, atol=1e-6)


def test_block_by_block_and_weights():
    pair = random_pair()
    held, streamed = (
        SparseOT(max_targets=20, memory_limit=limit, tolerance=1e-6)(pair) for limit in (2.0, 0.0)
    )
    assert np.abs((held.mass - streamed.mass).toarray()).sum() < 1e-5
    no_weight = pair.source_weights.copy()
    no_weight[:5] = 0
    plan = SparseOT(max_targets=20)(replace(pair, source_weights=no_weight))
    assert np.allclose(plan.growth()[5:], 1)
    assert np.allclose(plan.mass[:5].sum(), 0)


def test_it_is_stored_sparse():
    pair = random_pair()
    plan = SparseOT(max_targets=20)(pair)
    arrays = plan_to_arrays(plan)
    assert arrays["kind"] == "sparse"
    again = plan_from_arrays(arrays, pair.source, None, pair.source_weights)
    assert np.abs((again.mass - plan.mass).toarray()).sum() == 0


@pytest.mark.medium
def test_it_is_a_solver_of_the_verbs(tmp_path):
    import anndata as ad

    cells = sg.datasets.branching(60)
    learner = sg.model.FlowMatching(steps=10, batch_size=64, validation_every=5)
    sg.tl.fit_trajectory(
        cells, "time", solver=SparseOT(max_targets=8), learner=learner, progress=False
    )
    cells.write_h5ad(tmp_path / "cells.h5ad")
    cells = ad.read_h5ad(tmp_path / "cells.h5ad")
    times = sorted(cells.obs["time"].unique())
    cells.obs["kind"] = np.where(cells.obs["fate_A"] > 0.5, "A", "B")
    sg.tl.coupling(cells)
    assert np.diff(cells.obsp["genot_coupling"].indptr).max() <= 8
    table = sg.tl.cell_transition(cells, "kind", "kind", start=times[-2], end=times[-1])
    assert np.allclose(table.sum(axis=1), 1)
    assert "unassigned" not in table
    sg.tl.annotate(cells, "kind", start=times[0], end=times[1])
    sg.tl.push(cells, cells.obs["time"] == times[0])
    sg.tl.pull(cells, cells.obs["time"] == times[-1])
    sg.tl.fate(cells, "kind")
    sg.tl.velocity(cells)
    sg.tl.evaluate(cells, held_out=cells, in_sample=True, n_resamples=2)
    query, reference = (cells[cells.obs["time"] == time].copy() for time in times[-2:])
    query.obsm["X_pca"], reference.obsm["X_pca"] = query.X, reference.X
    sg.tl.transfer(query, reference, "kind", solver=SparseOT(max_targets=20))
    shares = query.obsm["genot_transferred_kind"]
    assert np.allclose(shares.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_targets": 0}, ValueError, "`max_targets=0` must be an integer >= 1"),
        ({"max_targets": 2.5}, TypeError, "max_targets"),
        ({"gamma": 0}, ValueError, "`gamma=0` must be positive"),
        ({"gamma": "auto"}, TypeError, "gamma"),
        ({"tolerance": -1}, ValueError, "tolerance"),
        ({"max_iterations": 0}, ValueError, "max_iterations"),
    ],
)
def test_wrong_options_are_named(options, error, text):
    with pytest.raises(error, match=text):
        SparseOT(**options)


def test_two_spaces_are_refused():
    with pytest.raises(ValueError, match="cells in one space"):
        SparseOT()(random_pair(p=3, q=4))
