"""Cells that are not in memory give what they give in memory."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scgenot as sg
from scgenot.cells import lazy
from scgenot.cells.lazy import in_memory, readable, row_blocks
from scgenot.cells.read import matrix_blocks

N, G = 300, 40
QUICK = sg.model.FlowMatching(steps=2)
FORMATS = {"dense": np.asarray, "CSR": sparse.csr_matrix, "CSC": sparse.csc_matrix}
KINDS = ("backed", "lazy h5ad", "lazy zarr")


def cells(kind="dense"):
    """Log-normalised counts of two times, with three strong components."""
    rng = np.random.default_rng(0)
    rate = np.exp(0.5 * rng.normal(size=(N, 3)) @ rng.normal(size=(3, G)))
    x = np.log1p(rng.poisson(rate)).astype(np.float32)
    x[:, 7] = 0
    obs = pd.DataFrame({"day": np.arange(N) % 2}, index=[f"c{i}" for i in range(N)])
    adata = ad.AnnData(
        FORMATS[kind](x), obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(G)])
    )
    adata.layers["counts"] = FORMATS[kind](np.expm1(x).round())
    adata.var["used"] = np.arange(G) % 4 > 0
    return adata


@pytest.fixture(params=KINDS)
def opened(request, tmp_path, monkeypatch):
    """A function that puts cells into a file and opens it without reading it."""
    monkeypatch.setattr(lazy, "MAX_VALUES", 50 * G)
    files = []

    def put(adata):
        path = tmp_path / f"{len(files)}.{'zarr' if 'zarr' in request.param else 'h5ad'}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats to come
            adata.write_zarr(path) if "zarr" in request.param else adata.write_h5ad(path)
            if request.param == "backed":
                files.append(ad.read_h5ad(path, backed="r"))
            else:
                pytest.importorskip("xarray")
                pytest.importorskip("dask")
                found = ad.experimental.read_lazy(path)
                if getattr(found.X._meta, "format", "csr") == "csr":  # chunks that are small
                    found.X = found.X.rechunk((20, G))
                files.append(found)
        return files[-1]

    yield put
    for one in files:
        if getattr(one, "file", None) is not None and one.file.is_open:
            one.file.close()


def quietly(verb, *args, **options):
    """Call a verb; of a backed file it warns that the file stays as it is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`adata` is backed by", UserWarning)
        return verb(*args, **options)


@pytest.mark.medium
@pytest.mark.parametrize("kind", FORMATS)
def test_blocks_are_the_matrix(opened, kind):
    adata = cells(kind)
    found = opened(adata)
    blocks = list(matrix_blocks(readable(found)))
    whole = [
        np.asarray(block.todense() if sparse.issparse(block) else block) for _, block in blocks
    ]
    expected = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    np.testing.assert_array_equal(np.concatenate(whole), expected)
    assert [rows.stop for rows, _ in blocks][-1] == N
    assert not in_memory(found.X)
    if kind != "CSC":
        assert len(blocks) > 1


def test_what_is_in_memory_is_one_block():
    for kind in FORMATS:
        assert list(row_blocks(cells(kind).X, 10**12)) == [slice(0, N)]


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["dense", "CSR"])
@pytest.mark.parametrize("adjust", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_components_of_blocks_are_those_in_memory(opened, monkeypatch, kind, adjust, scale):
    adata = cells(kind)
    options = {"n_components": 3, "mask_var": "used", "adjust": adjust, "scale": scale}
    found = opened(adata)
    sg.tl.embed(adata, **options)
    monkeypatch.setattr("scgenot.cells.embedding.streamed.MAX_AT_ONCE", 0)
    quietly(sg.tl.embed, found, **options)
    size = np.abs(adata.obsm["X_pca"]).max()
    np.testing.assert_allclose(found.obsm["X_pca"], adata.obsm["X_pca"], atol=1e-5 * size)
    for name in ("variance", "variance_ratio", "shrinkage"):
        if name in adata.uns["pca"]:
            np.testing.assert_allclose(found.uns["pca"][name], adata.uns["pca"][name], rtol=1e-4)
    for name in ("loadings", "offset", "scale"):
        if name in adata.uns["pca"]["embedding"]:
            expected = adata.uns["pca"]["embedding"][name]
            np.testing.assert_allclose(found.uns["pca"]["embedding"][name], expected, atol=1e-5)
    assert found.uns["pca"]["values"] == pytest.approx(adata.uns["pca"]["values"])
    assert found.obsm["X_pca"].dtype == adata.obsm["X_pca"].dtype


@pytest.mark.medium
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("method", ["pca", "lsi", "clr"])
def test_embed_and_project(opened, kind, method):
    adata = cells(kind)
    options = {"method": method, "layer": None if method == "pca" else "counts"}
    options |= {"n_components": 3, "mask_var": "used"}
    other, found = opened(adata[:150].copy()), opened(adata)
    sg.tl.embed(adata, **options)
    quietly(sg.tl.embed, found, **options)
    expected = adata.obsm[f"X_{method}"]
    np.testing.assert_allclose(found.obsm[f"X_{method}"], expected, atol=1e-5)
    genes = sg.tl.decode(found.obsm[f"X_{method}"], found, key=method)
    np.testing.assert_allclose(genes, sg.tl.decode(expected, adata, key=method), atol=1e-5)
    in_memory_too = adata[:150].copy()
    sg.tl.project(in_memory_too, adata, key=method)
    quietly(sg.tl.project, other, found, key=method)
    projected = in_memory_too.obsm[f"X_{method}"]
    np.testing.assert_allclose(other.obsm[f"X_{method}"], projected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "CSR"])
def test_predict_and_simulate(opened, kind, tmp_path):
    adata = cells(kind)
    fresh, placed = adata.copy(), adata.copy()
    sg.tl.embed(adata, n_components=3, mask_var="used")
    sg.tl.fit_trajectory(adata, "day", learner=QUICK, predict=False, progress=False)
    sg.tl.project(placed, adata)
    sg.tl.predict(placed, model=adata, n_samples=4, progress=False)
    lazily, fitted = opened(fresh), opened(adata)
    options = {"n_samples": 4, "progress": False}
    quietly(sg.tl.predict, lazily, model=fitted, **options)
    names = "X_genot", "X_genot_mean"
    for name in names:
        np.testing.assert_allclose(lazily.obsm[name], placed.obsm[name], atol=1e-5)
    np.testing.assert_allclose(
        lazily.obs["genot_uncertainty"], placed.obs["genot_uncertainty"], atol=1e-5
    )
    sg.tl.predict(lazily, model=fitted, out=tmp_path / "cells.zarr", **options)
    found = ad.read_zarr(tmp_path / "cells.zarr")
    for name in names:
        np.testing.assert_allclose(found.obsm[name], placed.obsm[name], atol=1e-5)
    expected = sg.tl.simulate(fresh, model=adata, progress=False)
    for model in (adata, fitted):
        simulated = sg.tl.simulate(lazily, model=model, progress=False)
        np.testing.assert_allclose(simulated.X, expected.X, atol=1e-5)
        assert list(simulated.obs["source_cell"]) == list(expected.obs["source_cell"])
    # the cells that were fitted, in their file
    expected = sg.tl.simulate(adata, progress=False)
    np.testing.assert_allclose(sg.tl.simulate(fitted, progress=False).X, expected.X, atol=1e-5)


@pytest.mark.medium
def test_values_that_are_not_finite(opened):
    adata = cells()
    adata.X[123, 5] = np.nan
    with pytest.raises(ValueError, match="X of `adata` has 1 NaN or infinite values"):
        quietly(sg.tl.embed, opened(adata), mask_var=None)


@pytest.mark.medium
def test_counts_where_logarithms_were(opened):
    adata = cells()
    sg.tl.embed(adata, mask_var=None)
    with pytest.raises(ValueError, match="holds whole numbers"):
        quietly(sg.tl.project, opened(adata), adata, layer="counts")


@pytest.mark.medium
def test_verbs_that_need_memory_say_so(opened):
    found = opened(cells())
    if not found.isbacked:
        with pytest.raises(TypeError, match=r"was read lazily.*`adata.to_memory\(\)`"):
            sg.tl.fit_trajectory(found, "day")
