"""Representations out of AnnData: what is read, and what is said when it cannot be."""

import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

from scgenot.cells import read
from scgenot.cells.read import check_unique, check_writable, copy_of, dense, matrix, representation


@pytest.fixture
def adata():
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0, (8, 5)).astype(np.float32)
    adata = AnnData(sparse.csr_matrix(counts), layers={"raw": counts + 1})
    adata.obsm["X_pca"] = rng.normal(size=(8, 3)).astype(np.float32)
    adata.obsm["X_lsi"] = rng.normal(size=(8, 2))
    return adata


def test_named(adata):
    np.testing.assert_array_equal(representation(adata, "X_lsi"), adata.obsm["X_lsi"])


def test_none_takes_the_first_usual_one(adata):
    np.testing.assert_array_equal(representation(adata), adata.obsm["X_pca"])
    del adata.obsm["X_pca"]
    np.testing.assert_array_equal(representation(adata), adata.obsm["X_lsi"])


def test_none_there(adata):
    adata.obsm.clear()
    with pytest.raises(KeyError, match=r"`rna` has none of .*sg\.tl\.embed\(rna\)"):
        representation(adata, name="rna")


def test_missing_key_lists_the_others(adata):
    with pytest.raises(KeyError, match=r"use_rep='X_umap'.*`rna`; found \['X_pca', 'X_lsi'\]"):
        representation(adata, "X_umap", name="rna")


def test_x_and_layer(adata):
    np.testing.assert_array_equal(representation(adata, "X"), adata.X.toarray())
    np.testing.assert_array_equal(representation(adata, layer="raw"), adata.layers["raw"])
    np.testing.assert_array_equal(representation(adata, "X", layer="raw"), adata.layers["raw"])


def test_layer_errors(adata):
    with pytest.raises(ValueError, match="exclude each other"):
        representation(adata, "X_pca", layer="raw")
    with pytest.raises(KeyError, match=r"layer='counts'.*found \['raw'\]"):
        representation(adata, layer="counts")
    with pytest.raises(ValueError, match="has no X"):
        representation(AnnData(obs=pd.DataFrame(index=["a", "b"])), "X")


def test_precision_is_kept_and_integers_become_floats(adata):
    assert representation(adata, "X_pca").dtype == np.float32
    assert representation(adata, "X_lsi").dtype == np.float64
    adata.obsm["counts"] = np.arange(16).reshape(8, 2)
    assert representation(adata, "counts").dtype == np.float64


@pytest.mark.parametrize(
    "convert", [sparse.csr_matrix, sparse.csc_array, lambda x: pd.DataFrame(x, columns=list("ab"))]
)
def test_sparse_and_data_frames(adata, convert):
    values = adata.obsm["X_lsi"]
    if not sparse.issparse(stored := convert(values)):
        stored.index = adata.obs_names
    adata.obsm["stored"] = stored
    np.testing.assert_array_equal(representation(adata, "stored"), values)


STORED = {
    "float16": lambda x: x.astype(np.float16),
    "extended": lambda x: x.astype(np.longdouble),
    "big-endian": lambda x: x.astype(">f4"),
    "int8": lambda x: x.astype(np.int8),
    "bool": lambda x: x > 0,
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "column order": np.asfortranarray,
    "every second": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "masked": np.ma.masked_array,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "csr array": sparse.csr_array,
    "csc array": sparse.csc_array,
    "coo": sparse.coo_matrix,
    "frame": pd.DataFrame,
    "nullable frame": lambda x: pd.DataFrame(x).convert_dtypes(),
    "Float32 frame": lambda x: pd.DataFrame(x).astype("Float32"),
    "mixed frame": lambda x: pd.DataFrame(x).astype({0: "Int64", 1: "float32", 2: "boolean"}),
    "sparse frame": lambda x: pd.DataFrame(x).astype(pd.SparseDtype(np.float32, 0)),
}


@pytest.mark.parametrize("kind", STORED)
def test_one_array_whatever_was_stored(kind):
    values = np.random.default_rng(0).integers(0, 2, (6, 3)).astype(np.float64)
    stored = STORED[kind](values)
    found = dense(stored, "values")
    np.testing.assert_array_equal(found, values)
    assert type(found) is np.ndarray
    assert found.dtype in (np.float32, np.float64)
    assert found.dtype.isnative
    assert found.flags.c_contiguous
    assert found.flags.writeable
    if kind == "coo":  # AnnData holds none
        return
    if isinstance(stored, pd.DataFrame):
        stored = stored.set_axis([f"c{i}" for i in range(6)])
    adata = AnnData(obs=pd.DataFrame(index=[f"c{i}" for i in range(6)]))
    adata.obsm["X_e"] = stored
    for cells in (adata, adata[:]):
        np.testing.assert_array_equal(representation(cells, "X_e"), values)


def test_read_only_and_memory_mapped(tmp_path):
    np.save(tmp_path / "values.npy", np.arange(6.0).reshape(3, 2))
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    found = dense(mapped, "values")
    assert found.flags.writeable
    np.testing.assert_array_equal(found, mapped)


def test_missing_values_of_nullable_and_masked_ones_are_named():
    adata = AnnData(obs=pd.DataFrame(index=list("abc")))
    frame = pd.DataFrame({"x": [1, None, 3], "y": [1, 2, 4]}, index=list("abc"))
    adata.obsm["nullable"] = frame.convert_dtypes()
    adata.obsm["masked"] = np.ma.masked_equal([[1, 2], [9, 2], [3, 4]], 9)
    for key in ("nullable", "masked"):
        with pytest.raises(ValueError, match=r"in 1 of 3 cells \(b\)"):
            representation(adata, key)


def test_entries_stored_twice_are_summed():
    twice = sparse.csr_matrix(([1.0, 2.0, 5.0], [0, 0, 1], [0, 2, 3]), shape=(2, 2))
    adata = AnnData(twice.copy())
    found = matrix(adata)
    assert found.nnz == 2
    np.testing.assert_array_equal(found.toarray(), [[3, 0], [0, 5]])
    assert adata.X.nnz == 3  # the cells are as they were


def test_view(adata):
    view = adata[[1, 3, 5]]
    for rep in ("X", "X_pca"):
        np.testing.assert_array_equal(
            representation(view, rep), representation(adata, rep)[[1, 3, 5]]
        )
    assert view.is_view


@pytest.mark.parametrize("dense", [False, True])
def test_backed(adata, tmp_path, dense):
    if dense:
        adata.X = adata.X.toarray()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for rep in ("X", "X_pca"):
        np.testing.assert_array_equal(representation(backed, rep), representation(adata, rep))
        np.testing.assert_array_equal(
            representation(backed[2:6], rep), representation(adata, rep)[2:6]
        )
    np.testing.assert_array_equal(representation(backed, layer="raw"), adata.layers["raw"])
    backed.file.close()


def test_matrix_is_csr_or_dense(adata):
    adata.X = adata.X.tocsc()
    assert matrix(adata).format == "csr"
    assert isinstance(matrix(adata, "raw"), np.ndarray)


def test_too_large_to_densify(adata, monkeypatch):
    monkeypatch.setattr(read, "MAX_DENSE", 39)
    with pytest.raises(ValueError, match=r"X of `adata` is sparse, 8 x 5.*sg\.tl\.embed"):
        representation(adata, "X")


def test_not_finite_says_where(adata):
    adata.obsm["X_pca"][[2, 4], 0] = np.nan, np.inf
    with pytest.raises(
        ValueError, match=r"obsm\['X_pca'\] of `adata` has NaN .* 2 of 8 cells \(2, 4\)"
    ):
        representation(adata)


def test_unfit_shapes_and_types(adata):
    adata.obsm["cube"] = np.ones((8, 2, 2))
    adata.obsm["words"] = pd.DataFrame({"a": list("abcdefgh")}, index=adata.obs_names)
    adata.obsm["empty"] = np.ones((8, 0))
    for key, found in (("cube", "8, 2, 2"), ("words", "object"), ("empty", "8, 0")):
        with pytest.raises(ValueError, match=found):
            representation(adata, key)
    with pytest.raises(ValueError, match=r"\(1, 3\): at least 2 cells"):
        representation(adata[:1])


def test_constant_columns(adata, caplog):
    adata.obsm["X_pca"][:, 1] = 7
    with caplog.at_level(logging.WARNING, logger="scgenot"):
        representation(adata)
    assert "1 of 3 columns that are the same in all cells" in caplog.text
    adata.obsm["X_pca"][:] = 7
    with pytest.raises(ValueError, match="the same in all 8 cells"):
        representation(adata)


def test_duplicated_names_warn(adata):
    adata.obs_names = ["a"] * 8
    with pytest.warns(UserWarning, match="obs names of `rna` are not unique"):
        assert representation(adata, name="rna").shape == (8, 3)


def test_unique_names(adata):
    check_unique(adata, "obs")
    adata.var_names = ["a"] * 5
    with pytest.raises(ValueError, match=r"var names of `rna`.*`rna.var_names_make_unique\(\)`"):
        check_unique(adata, "var", "rna")


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_backed_files_are_told_before_the_work(adata, tmp_path, mode):
    check_writable(adata)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = read_h5ad(tmp_path / "cells.h5ad", backed=mode)
    with pytest.warns(UserWarning, match=r"`rna` is backed by 'cells.h5ad': results are kept in"):
        check_writable(backed, name="rna")
    with pytest.raises(ValueError, match=r"view of a backed file.*`adata.to_memory\(\)`"):
        check_writable(backed[:3])
    check_writable(backed[:3], copy=True)
    for cells, n in ((backed, 8), (backed[:3], 3)):
        copied = copy_of(cells)
        assert not copied.isbacked
        assert not copied.is_view
        assert copied.n_obs == n
    assert copy_of(adata).obsm["X_pca"] is not adata.obsm["X_pca"]
    # what the warning says is so: results are in memory only, until they are written
    backed.obsm["X_new"] = np.ones((8, 2))
    backed.file.close()
    assert "X_new" not in read_h5ad(tmp_path / "cells.h5ad").obsm
    backed.write()
    again = read_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(again.obsm["X_new"], backed.obsm["X_new"])
    np.testing.assert_array_equal(again.X.toarray(), adata.X.toarray())
    backed.file.close()


def test_mudata_and_others_are_refused():
    class MuData:
        mod = {"rna": None, "atac": None}  # noqa: RUF012

    with pytest.raises(TypeError, match=r"`cells` is a MuData .* such as `cells\['rna'\]`"):
        representation(MuData(), name="cells")
    with pytest.raises(TypeError, match="`adata` must be an AnnData; found ndarray"):
        representation(np.ones((3, 2)))
