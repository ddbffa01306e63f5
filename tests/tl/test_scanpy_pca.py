import numpy as np
import scanpy as sc
from anndata import AnnData

from scgenot.cells.embedding.scanpy_pca import scanpy_decoder


def cells(n=40, p=12) -> AnnData:
    rng = np.random.default_rng(0)
    adata = AnnData((rng.gamma(2.0, size=(n, 3)) @ rng.gamma(1.0, size=(3, p))).astype(np.float32))
    adata.var["highly_variable"] = np.arange(p) % 4 != 0
    return adata


def test_it_is_the_inverse_of_a_full_pca():
    adata = cells()
    sc.pp.pca(adata, n_comps=8, mask_var="highly_variable")
    decode = scanpy_decoder(adata, "X_pca")
    genes = adata.var_names[adata.var["highly_variable"]]
    found = decode(adata.obsm["X_pca"])
    # three factors: eight components leave nothing out
    assert list(found) == list(genes)
    np.testing.assert_allclose(found, adata[:, genes].X, atol=1e-4)


def test_it_is_refused_where_the_cells_are_not_those_of_the_pca():
    adata = cells()
    sc.pp.pca(adata, n_comps=8)
    assert scanpy_decoder(adata[:20].copy(), "X_pca") is None
    assert scanpy_decoder(adata, "X_other") is None
    adata.X = np.log1p(adata.X)
    assert scanpy_decoder(adata, "X_pca") is None
    del adata.varm["PCs"]
    assert scanpy_decoder(adata, "X_pca") is None
