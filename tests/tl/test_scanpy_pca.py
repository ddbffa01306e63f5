"""A PCA that Scanpy made decodes, projects and is compared while its cells tell the means."""

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData

from scgenot.cells.embedding import ScanpyPCA, embedding_of, place
from scgenot.tl import embed


def cells(n=40, p=12) -> AnnData:
    rng = np.random.default_rng(0)
    adata = AnnData((rng.gamma(2.0, size=(n, 3)) @ rng.gamma(1.0, size=(3, p))).astype(np.float32))
    adata.var["highly_variable"] = np.arange(p) % 4 != 0
    return adata


@pytest.mark.parametrize("key_added", [None, "X_own"])
def test_it_is_the_inverse_of_a_full_pca(key_added):
    adata, rep = cells(), key_added or "X_pca"
    sc.pp.pca(adata, n_comps=8, mask_var="highly_variable", key_added=key_added)
    embedding = embedding_of(adata, rep)
    genes = adata.var_names[adata.var["highly_variable"]]
    found = embedding.decode(adata.obsm[rep])
    # three factors: eight components leave nothing out
    assert list(found) == list(genes)
    np.testing.assert_allclose(found, adata[:, genes].X, atol=1e-4)
    one = embedding.decode(adata.obsm[rep], [genes[2]])
    np.testing.assert_allclose(one, found[[genes[2]]], rtol=1e-12)
    assert embedding.nonnegative
    np.testing.assert_allclose(embedding.project(adata), adata.obsm[rep], atol=1e-4)


def test_new_cells_are_placed_in_it():
    adata = cells()
    sc.pp.pca(adata, n_comps=3)
    new = AnnData(adata.X[:10, ::-1].copy(), var=adata.var[[]].iloc[::-1])
    np.testing.assert_allclose(place(new, adata, "X_pca"), adata.obsm["X_pca"][:10], atol=1e-3)


def test_a_layer():
    adata = cells()
    adata.layers["log"], adata.X = np.log1p(adata.X), np.zeros(adata.shape, np.float32)
    sc.pp.pca(adata, n_comps=8, layer="log", mask_var=None)
    found = embedding_of(adata, "X_pca").decode(adata.obsm["X_pca"])
    np.testing.assert_allclose(found, adata.layers["log"], atol=0.05)


def test_it_is_refused_where_the_cells_are_not_those_of_the_pca():
    adata = cells()
    sc.pp.pca(adata, n_comps=8)
    part = embedding_of(adata[:20].copy(), "X_pca")
    with pytest.raises(ValueError, match=r"'pca' was made by `sc.pp.pca`.*`sg.tl.embed`"):
        part.decode(np.zeros((1, 8)))
    assert part.holds(adata, adata.obsm["X_pca"]) is None
    assert embedding_of(adata, "X_other") is None
    adata.X = np.log1p(adata.X)
    with pytest.raises(ValueError, match="does not store means"):
        embedding_of(adata, "X_pca").decode(np.zeros((1, 8)))
    del adata.varm["PCs"]
    assert embedding_of(adata, "X_pca") is None


@pytest.mark.parametrize("key_added", [None, "X_own"])
def test_cells_that_were_split_off_tell_the_means(key_added):
    adata, rep = cells(), key_added or "X_pca"
    sc.pp.pca(adata, n_comps=8, key_added=key_added)
    part = adata[:20].copy()
    without = embedding_of(part, rep)
    assert without.offset is None
    # three factors: eight components leave nothing out but float32
    found = without.with_means_of(part, rep)
    np.testing.assert_allclose(found.decode(part.obsm[rep]), part[:, found.features].X, atol=1e-3)
    np.testing.assert_allclose(
        found.decode(adata.obsm[rep][20:]), adata[20:, found.features].X, atol=1e-3
    )
    # of few components the mean of the fitted cells is still their own
    sc.pp.pca(adata, n_comps=1, key_added=key_added)
    part = adata[:20].copy()
    found = embedding_of(part, rep).with_means_of(part, rep)
    np.testing.assert_allclose(
        found.decode(part.obsm[rep]).mean(), part[:, found.features].X.mean(0), rtol=1e-4
    )
    part.X = np.log1p(part.X)
    assert embedding_of(part, rep).with_means_of(part, rep).offset is None
    part.X = None
    assert embedding_of(part, rep).with_means_of(part, rep).offset is None


def test_components_of_other_genes_are_another_embedding():
    adata = cells()
    sc.pp.pca(adata, n_comps=3, mask_var=None)
    first = embedding_of(adata, "X_pca")
    assert isinstance(first, ScanpyPCA)
    assert first.same_as(embedding_of(adata[:20].copy(), "X_pca"))
    assert first.digest() == embedding_of(adata[:20].copy(), "X_pca").digest()
    sc.pp.pca(adata, n_comps=3, mask_var="highly_variable")
    second = embedding_of(adata, "X_pca")
    assert first.same_as(second) is False
    assert second.same_as(first) is False
    assert first.digest() != second.digest()
    sc.pp.log1p(adata)
    embed(adata)
    assert not isinstance(embedding_of(adata, "X_pca"), ScanpyPCA)
