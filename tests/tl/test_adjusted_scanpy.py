"""Fits in components that Scanpy made read adjusted scores, beside Scanpy's own."""

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import scgenot as sg

QUICK = sg.model.FlowMatching(steps=3, validation_fraction=0)
OPTIONS = {"learner": QUICK, "progress": False}


def cells(seed=0) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    mean = rng.gamma(2.0, size=(90, 3)) @ rng.gamma(1.0, size=(3, 40))
    adata = ad.AnnData(np.log1p(rng.poisson(mean)).astype(np.float32))
    adata.obs["day"] = np.repeat([0, 1, 2], 30)
    adata.obs["drug"] = np.repeat(["DMSO", "A", "B"], 30)
    return adata


@pytest.fixture
def scanpy_cells() -> ad.AnnData:
    adata = cells()
    sc.pp.pca(adata, n_comps=5)
    return adata


def fit(adata, task="trajectory", **options):
    if task == "trajectory":
        return sg.tl.fit_trajectory(adata, "day", **OPTIONS | options)
    return sg.tl.fit_perturbation(adata, "drug", "DMSO", **OPTIONS | options)


@pytest.mark.parametrize("task", ["trajectory", "perturbation"])
def test_the_fit_reads_what_embed_gives(scanpy_cells, task):
    theirs, ours = scanpy_cells.obsm["X_pca"].copy(), cells()
    sg.tl.embed(ours, n_components=5)
    fit(scanpy_cells, task)
    found = scanpy_cells.obsm["X_pca_adjusted"]
    signs = np.sign((theirs * ours.obsm["X_pca"]).sum(0))
    np.testing.assert_allclose(found, ours.obsm["X_pca"] * signs, atol=1e-4)
    np.testing.assert_array_equal(scanpy_cells.obsm["X_pca"], theirs)
    np.testing.assert_allclose(
        scanpy_cells.uns["pca_adjusted"]["shrinkage"], ours.uns["pca"]["shrinkage"], atol=1e-4
    )
    read = sg.get.fit(scanpy_cells)
    np.testing.assert_array_equal(read.cells(scanpy_cells), found)
    np.testing.assert_array_equal(read.cells(scanpy_cells[:20].copy()), found[:20])
    assert read.params["use_rep"] == "X_pca"
    assert read.params["adjust"]


@pytest.mark.medium
def test_new_cells_are_projected_and_those_of_the_file_are_known(scanpy_cells, tmp_path):
    fit(scanpy_cells)
    new = cells(1)
    pca = scanpy_cells.varm["PCs"]
    expected = (new.X - scanpy_cells.X.mean(0)) @ pca
    np.testing.assert_allclose(sg.get.fit(scanpy_cells).cells(new), expected, atol=1e-3)
    scanpy_cells.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    first, second = (sg.tl.predict(adata, copy=True) for adata in (scanpy_cells, again))
    np.testing.assert_array_equal(first.obsm["X_genot"], second.obsm["X_genot"])


@pytest.mark.medium
def test_all_verbs_go_on(scanpy_cells):
    fit(scanpy_cells)
    sg.tl.coupling(scanpy_cells)
    sg.tl.velocity(scanpy_cells)
    between = sg.tl.interpolate(scanpy_cells, 0.5, n_cells=20)
    assert between.obsm["X_pca"].shape == (20, 5)
    assert "X_pca_adjusted" not in between.obsm
    sg.pl.trajectory(scanpy_cells, basis="X_pca")


def test_adjust_false_reads_scanpys(scanpy_cells):
    before = set(scanpy_cells.obsm)
    fit(scanpy_cells, adjust=False, predict=False)
    assert set(scanpy_cells.obsm) == before
    np.testing.assert_array_equal(
        sg.get.fit(scanpy_cells).cells(scanpy_cells), scanpy_cells.obsm["X_pca"]
    )
    fit(scanpy_cells, key_added="other")
    np.testing.assert_array_equal(  # each fit reads its own
        sg.get.fit(scanpy_cells).cells(scanpy_cells), scanpy_cells.obsm["X_pca"]
    )
    assert not sg.get.fit(scanpy_cells).params["adjust"]


@pytest.mark.parametrize("why", ["other features", "own embedding", "part of the cells", "layer"])
def test_without_the_features_all_is_as_it_was(scanpy_cells, why):
    if why == "other features":
        scanpy_cells.X = scanpy_cells.X[::-1].copy()
    elif why == "own embedding":
        sg.tl.embed(scanpy_cells, n_components=5)
    elif why == "part of the cells":
        scanpy_cells = scanpy_cells[::2].copy()
    else:
        scanpy_cells.layers["log"] = scanpy_cells.X
    fit(scanpy_cells, predict=False, layer="log" if why == "layer" else None)
    assert "X_pca_adjusted" not in scanpy_cells.obsm
    assert not sg.get.fit(scanpy_cells).params["adjust"]


@pytest.mark.medium
def test_new_components_replace_adjusted_scores(scanpy_cells):
    fit(scanpy_cells)
    first = scanpy_cells.obsm["X_pca_adjusted"].copy()
    fit(scanpy_cells)
    np.testing.assert_array_equal(scanpy_cells.obsm["X_pca_adjusted"], first)
    sc.pp.pca(scanpy_cells, n_comps=4)
    with pytest.raises(ValueError, match="has changed since the fit"):
        sg.tl.predict(scanpy_cells)
    fit(scanpy_cells)
    assert scanpy_cells.obsm["X_pca_adjusted"].shape == (90, 4)
    sg.tl.embed(scanpy_cells, n_components=4)
    fit(scanpy_cells)
    assert "X_pca_adjusted" not in scanpy_cells.obsm
    assert "pca_adjusted" not in scanpy_cells.uns


def test_a_failure_and_a_copy_leave_the_cells_alone(scanpy_cells):
    def fails(pair):
        raise RuntimeError("no solution")

    before = set(scanpy_cells.obsm), set(scanpy_cells.uns)
    with pytest.raises(RuntimeError, match="no solution"):
        fit(scanpy_cells, solver=fails)
    assert (set(scanpy_cells.obsm), set(scanpy_cells.uns)) == before
    copied = fit(scanpy_cells, copy=True)
    assert (set(scanpy_cells.obsm), set(scanpy_cells.uns)) == before
    assert "X_pca_adjusted" in copied.obsm


def test_few_features_of_a_sparse_matrix():
    """All components are then computed, which iterative solvers cannot."""
    adata = cells()[:, :12].copy()
    adata.X = sparse.csr_matrix(adata.X)
    sc.pp.pca(adata, n_comps=5)
    fit(adata, predict=False)
    assert adata.obsm["X_pca_adjusted"].shape == (90, 5)
