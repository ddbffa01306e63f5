"""Scores of the cells that made the components: exact without each cell, and as new cells have."""

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

import scgenot as sg
from scgenot.cells.embedding.features import inverse_frequency, tfidf


def without_each(values, components, k, *, centred):
    """What the components of all other cells give each cell, projected onto those of all."""
    out = np.empty((len(values), k))
    mean = values.mean(0) * centred
    for i, cell in enumerate(values):
        others = np.delete(values, i, axis=0)
        theirs = others.mean(0) * centred
        w = np.linalg.svd(others - theirs, full_matrices=False)[2][:k].T
        out[i] = (cell - theirs) @ w @ (w.T @ components) + (theirs - mean) @ components
    return out


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_pca_without_each_cell(kind):
    values = np.random.default_rng(0).gamma(1.0, size=(22, 60)) * np.linspace(0.3, 2, 60)
    adata = AnnData(kind(values))
    sg.tl.embed(adata, n_components=6)  # all components of 22 cells are known
    expected = without_each(values, adata.varm["PCs"], 6, centred=True)
    np.testing.assert_allclose(adata.obsm["X_pca"], expected, atol=1e-6)


def test_scaled_features():
    values = np.random.default_rng(1).gamma(1.0, size=(22, 60)) * np.linspace(0.3, 2, 60)
    adata = AnnData(values)
    sg.tl.embed(adata, n_components=6, scale=True)
    scaled = (values - values.mean(0)) / values.std(0, ddof=1)
    expected = without_each(scaled, adata.varm["PCs"], 6, centred=True)
    np.testing.assert_allclose(adata.obsm["X_pca"], expected, atol=1e-6)


def test_lsi_without_each_cell():
    counts = np.random.default_rng(2).poisson(1.5, size=(22, 70)).astype(float)
    adata = AnnData(counts)
    sg.tl.embed(adata, method="lsi", n_components=6)
    values = tfidf(counts, inverse_frequency(counts), "counts")
    components = np.linalg.svd(values, full_matrices=False)[2][:6].T
    expected = without_each(values, components, 6, centred=False)
    kept = np.delete(np.arange(6), adata.uns["lsi"]["dropped"])
    signs = np.sign((components[:, kept] * adata.varm["lsi_loadings"]).sum(0))
    np.testing.assert_allclose(adata.obsm["X_lsi"], expected[:, kept] * signs, atol=1e-6)


def test_components_of_log_ratios():
    counts = np.random.default_rng(3).poisson(5, size=(15, 20)).astype(float)
    adata = AnnData(counts)
    sg.tl.embed(adata, method="clr", n_components=4)
    values = np.log1p(counts) - np.log1p(counts).mean(1, keepdims=True)
    expected = without_each(values, adata.varm["clr_loadings"], 4, centred=True)
    np.testing.assert_allclose(adata.obsm["X_clr"], expected, atol=1e-6)


@pytest.mark.slow
def test_variance_is_that_of_new_cells():
    """Spiked covariance: 1.23, 1.37 and 1.76 without adjustment (Lee, Zou and Wright 2010).

    The mean of 8 repeats; a ratio of two variances of 400 and 4,000 normal numbers has a standard
    deviation of sqrt(2 / 400 + 2 / 4000), here .026: three of these and the second order in 1 / n
    stay below .1.
    """
    deviations = np.ones(1000)
    deviations[:3] = np.sqrt([30, 15, 8])
    ratios, raw, shrinkage = [], [], []
    for seed in range(8):
        cells = np.random.default_rng(seed).normal(size=(4400, 1000)) * deviations
        fitted, new = AnnData(cells[:400]), AnnData(cells[400:])
        sg.tl.embed(fitted, n_components=3)
        sg.tl.project(new, fitted)
        variance = new.obsm["X_pca"].var(0)
        ratios.append(fitted.obsm["X_pca"].var(0) / variance)
        shrinkage.append(fitted.uns["pca"]["shrinkage"])
        sg.tl.embed(fitted, n_components=3, adjust=False)
        raw.append(fitted.obsm["X_pca"].var(0) / variance)
    assert np.abs(np.mean(ratios, axis=0) - 1).max() < 0.1
    assert (np.mean(raw, axis=0) > [1.1, 1.25, 1.6]).all()
    # closed form: (l - 1) / (l + p / n - 1) for a spike of variance l
    expected = np.array([29 / 31.5, 14 / 16.5, 7 / 9.5])
    np.testing.assert_allclose(np.mean(shrinkage, axis=0), expected, atol=0.03)


def test_all_components_are_a_rotation_and_stay():
    values = np.random.default_rng(0).normal(size=(50, 8))
    adata, plain = AnnData(values), AnnData(values)
    sg.tl.embed(adata, n_components=8)
    sg.tl.embed(plain, n_components=8, adjust=False)
    np.testing.assert_allclose(adata.obsm["X_pca"], plain.obsm["X_pca"], atol=1e-7)
    np.testing.assert_allclose(adata.uns["pca"]["shrinkage"], 1)


def test_many_cells_and_components_not_computed():
    """What lies beyond the components computed is taken for one eigenvalue: within 2 %."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(80, 160)) + 3 * rng.normal(size=(80, 4)) @ rng.normal(size=(4, 160))
    adata = AnnData(values)
    sg.tl.embed(adata, n_components=4)
    expected = without_each(values, adata.varm["PCs"], 4, centred=True)
    np.testing.assert_allclose(adata.obsm["X_pca"].std(0), expected.std(0), rtol=0.02)


def test_cells_few_alike_or_in_the_mean_stay_finite():
    for values in (
        np.array([[0.0, 1, 2], [3, 1, 0]]),
        np.repeat(np.array([[0.0, 1, 2], [3, 1, 0]]), 5, axis=0),
        np.array([[1.0, 0, 0], [-1, 0, 0], [0, 0, 0], [0, 2, 0], [0, -2, 0]]),
    ):
        adata = AnnData(values)
        sg.tl.embed(adata, mask_var=None)
        assert np.isfinite(adata.obsm["X_pca"]).all()
        assert np.isfinite(adata.uns["pca"]["shrinkage"]).all()


def test_very_many_cells_keep_plain_scores(monkeypatch):
    monkeypatch.setattr("scgenot.cells.embedding.embedding.MOST_CELLS", 40)
    values = np.random.default_rng(0).normal(size=(41, 60))
    adata, plain = AnnData(values), AnnData(values)
    sg.tl.embed(adata, n_components=5)
    sg.tl.embed(plain, n_components=5, adjust=False)
    np.testing.assert_array_equal(adata.obsm["X_pca"], plain.obsm["X_pca"])
    assert "shrinkage" not in adata.uns["pca"]
    assert not adata.uns["pca"]["params"]["adjust"]
