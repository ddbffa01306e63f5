"""Populations out of AnnData, whatever their labels and cells are stored as."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

from scgenot.cells.populations import read_populations


@pytest.fixture
def adata():
    rng = np.random.default_rng(0)
    labels = ["b", "a", "b", "c", "a", "b"]
    obs = pd.DataFrame(
        {
            "sample": labels,
            "drug": ["x", "y", "x", None, "y", "x"],
            "age": [3.0, 4, 3, 5, 4, 3],
            "type": list("uvuuuv"),
        },
        index=[f"cell{k}" for k in range(6)],
    )
    x = rng.normal(size=(6, 5)).astype(np.float32)
    return AnnData(x, obs=obs, obsm={"X_pca": x[:, :3].astype(float)})


def test_cells_and_columns(adata):
    found = read_populations(adata, "sample")
    assert found.names == ["a", "b", "c"] == list(found.labels)
    assert [rows.tolist() for rows in found.rows] == [[1, 4], [0, 2, 5], [3]]
    assert found.sizes.tolist() == [2, 3, 1]
    assert len(found) == 3
    assert list(found.obs) == ["drug", "age", "n_cells"]
    assert found.obs["age"].tolist() == [4, 3, 5]
    assert pd.isna(found.obs.loc["c", "drug"])
    np.testing.assert_array_equal(found[1], adata.obsm["X_pca"][[0, 2, 5]])
    assert [len(cells) for cells in found] == [2, 3, 1]
    some = found.select([2, 0])
    assert some.names == ["c", "a"]
    assert some.rows[1].tolist() == [1, 4]
    assert some.obs["n_cells"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([10, 2, 10, 3, 2, 10], ["2", "3", "10"]),
        ([1.5, 2, 1.5, 3, 2, 1.5], ["1.5", "2", "3"]),
        ([True, False, True, True, False, True], ["False", "True"]),
        (pd.Categorical(list("babcab"), categories=list("zcba")), ["c", "b", "a"]),
        (pd.array([1, 2, 1, 3, 2, 1], dtype="Int64"), ["1", "2", "3"]),
        (["1", 1, "2", "2", 2, 1], ["1", "2"]),
    ],
)
def test_labels_of_any_type(adata, labels, expected):
    adata.obs["sample"] = labels
    assert read_populations(adata, "sample").names == expected


def test_missing_labels_are_left_out(adata):
    adata.obs["sample"] = ["b", "a", None, "c", np.nan, "b"]
    with pytest.warns(UserWarning, match="missing for 2 of 6 cells of `adata`: they are ignored"):
        found = read_populations(adata, "sample")
    assert [rows.tolist() for rows in found.rows] == [[1], [0, 5], [3]]


def test_views_files_and_sparse_matrices(adata, tmp_path):
    expected = read_populations(adata, "sample", use_rep="X")
    stored = adata.copy()
    stored.X = sparse.csr_matrix(stored.X)
    stored.write_h5ad(tmp_path / "cells.h5ad")
    for other in (stored, read_h5ad(tmp_path / "cells.h5ad", backed="r")):
        found = read_populations(other, "sample", use_rep="X")
        np.testing.assert_array_equal(found.cells, expected.cells)
    view = read_populations(adata[adata.obs["sample"] != "c"], "sample")
    assert view.names == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({}, {"population_key": "patient"}, KeyError, "`population_key='patient'` is not in obs"),
        ({"sample": "a"}, {}, ValueError, r"1 population\(s\) in `adata`: a; at least 2"),
        ({"sample": np.nan}, {}, ValueError, r"0 population\(s\)"),
        (
            {},
            {"constant": ["type"]},
            ValueError,
            "`condition='type'` varies within the population 'a'.*u, v",
        ),
        (
            {},
            {"constant": ["drug"]},
            ValueError,
            "`condition='drug'` is missing for 1 of 1 cells.*'c'",
        ),
        ({}, {"constant": ["dose"]}, KeyError, "`condition='dose'` is not in obs"),
        ({}, {"use_rep": "X_umap"}, KeyError, "`use_rep='X_umap'` is not in obsm"),
    ],
)
def test_errors_say_what_was_found(adata, change, options, error, message):
    for column, value in change.items():
        adata.obs[column] = value
    with pytest.raises(error, match=message):
        read_populations(adata, **{"population_key": "sample", **options})


def test_cells_that_are_not_finite_are_refused(adata):
    adata.obsm["X_pca"][2, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite values in 1 of 6 cells"):
        read_populations(adata, "sample")
