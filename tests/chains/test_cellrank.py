"""Couplings of a time course go to CellRank, whose fates agree with ours."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc

import scgenot as sg

cr = pytest.importorskip("cellrank")
pytestmark = pytest.mark.filterwarnings("ignore")  # what neighbors warn of is theirs


@pytest.fixture
def cells():
    adata = sg.datasets.branching(100)
    adata.obs["time"] = adata.obs["time"].astype("category")  # CellRank wants categories
    learner = sg.model.FlowMatching(steps=20)
    sg.tl.fit_trajectory(adata, "time", learner=learner, predict=False, progress=False)
    sg.tl.coupling(adata)
    sc.pp.neighbors(adata, use_rep="X_pca")
    return adata


def test_couplings_make_a_kernel_whose_rows_sum_to_one(cells):
    kernel = cr.kernels.RealTimeKernel(cells, time_key="time", couplings=sg.get.couplings(cells))
    kernel.compute_transition_matrix(self_transitions="uniform", threshold=None)
    rows = np.asarray(kernel.transition_matrix.sum(1)).ravel()
    np.testing.assert_allclose(rows, 1, rtol=1e-6)


def test_fates_of_cellrank_are_ours(cells):
    kernel = cr.kernels.RealTimeKernel(cells, time_key="time", couplings=sg.get.couplings(cells))
    kernel.compute_transition_matrix(self_transitions="uniform", threshold=None)
    last = cells.obs["time"].astype(float) == 2
    ends = cells.obs["branch"].astype(str).where(last & cells.obs["branch"].isin(["A", "B"]))
    estimator = cr.estimators.GPCCA(kernel)
    estimator.set_terminal_states(ends.astype("category"))
    estimator.compute_fate_probabilities(use_petsc=False, show_progress_bar=False)
    found = estimator.fate_probabilities
    theirs = pd.DataFrame(found.X, index=cells.obs_names, columns=list(found.names))
    # theirs are of a walk that goes on until it ends, ours of the lineage: both without growth
    sg.tl.fate(cells, "branch", terminal=["A", "B"])
    early = cells.obs["time"].astype(float) < 2
    ours = cells.obsm["genot_fate"].loc[early, "A"]
    assert np.corrcoef(ours, theirs.loc[early, "A"])[0, 1] > 0.9
