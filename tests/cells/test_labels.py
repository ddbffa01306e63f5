"""Labels as their column holds them, for cells that were made up too."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, concat, read_h5ad

from scgenot.cells.keys import Keys
from scgenot.cells.labels import as_text, like_column, made_obs


def cells(**columns) -> AnnData:
    obs = pd.DataFrame(columns)
    obs.index = [f"c{i}" for i in range(len(obs))]
    return AnnData(np.zeros((len(obs), 2), dtype=np.float32), obs=obs)


def ordered(labels) -> pd.Categorical:
    return pd.Categorical(labels, categories=list(dict.fromkeys(labels)), ordered=True)


def test_whole_numbers_read_the_same_from_any_type():
    for column in ([1, 2], [1.0, 2.0], ["1", "2"], pd.array([1, 2], dtype="Int64")):
        for stored in (pd.Series(column), pd.Series(column, dtype="category")):
            assert as_text(stored).tolist() == ["1", "2"]
    assert as_text(np.float32([0.7, np.nan])).tolist() == ["0.7", None]
    assert as_text([True, False]).tolist() == ["True", "False"]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (np.array([5, 11], dtype="int32"), ["11", 8.0, 5], [11, 8, 5]),
        (np.array([5, 11], dtype="int8"), [300], [300]),
        ([5, 11], [8.5, 11], [8.5, 11.0]),
        (np.float32([0.7, 2]), [0.7, "2", 8], [0.7, 2, 8]),
        ([True, False], ["True", False], [True, False]),
        (pd.array([True, None], dtype="boolean"), ["True"], [True]),
        (pd.array([5, 11], dtype="Int64"), ["11", 8.0], [11, 8]),
        (pd.array(["a", "b"], dtype="string"), ["b", "c", 3], ["b", "c", "3"]),
        (["a", "b"], ["b", "c"], ["b", "c"]),
        (pd.Categorical([5.0, 11.0]), [11, "5", 8], [11.0, 5.0, 8.0]),
        (pd.Categorical([5, 11]), [11.0, 8], [11, 8]),
        (pd.Categorical([5, 11]), [8.5, 5], [8.5, 5]),
        (pd.Categorical([True, False]), ["False"], [False]),
        (pd.Categorical(["a", "b"]), ["b", "c"], ["b", "c"]),
        (ordered(["b", "a"]), ["a", "c", "b"], ["a", "c", "b"]),
        (ordered([5.0, 11.0]), [11, 5], [11, 5]),
        (ordered([5, 11]), [8, 5], [8, 5]),
        (pd.Categorical(pd.array([5, 11], dtype="Int64")), [11, 8], [11, 8]),
    ],
)
def test_values_are_as_in_their_column(column, values, expected, tmp_path):
    measured = cells(x=column)
    made = cells(x=like_column(values, measured.obs["x"]))
    if measured.obs["x"].dtype.kind == "f":
        np.testing.assert_allclose(made.obs["x"], expected, rtol=1e-6)
    else:
        assert made.obs["x"].tolist() == expected
    both = concat({"measured": measured, "made": made}, label="o", index_unique="-")
    for position, adata in enumerate((made, both)):
        if measured.obs["x"].dtype == "string":
            continue  # AnnData writes such columns on request only
        adata.write_h5ad(tmp_path / f"{position}.h5ad")
        again = read_h5ad(tmp_path / f"{position}.h5ad").obs["x"]
        assert as_text(again).tolist() == as_text(adata.obs["x"]).tolist()
    # one label for one thing
    found = both.obs["x"].dropna()
    assert found.nunique() == len(set(as_text(found)))


@pytest.mark.parametrize(
    "column",
    [
        [5, 11],
        np.float32([5, 11]),
        [True, False],
        pd.array([5, 11], dtype="Int64"),
        pd.array([5, 11], dtype="Float64"),
        pd.array([True, False], dtype="boolean"),
        pd.array(["a", "b"], dtype="string"),
        pd.Categorical([5.0, 11.0]),
        pd.Categorical([True, False]),
        ordered(["b", "a"]),
        ordered([11, 5]),
        pd.to_datetime(["2024-01-01", "2024-01-02"]),
    ],
)
def test_known_labels_keep_the_dtype(column):
    column = pd.Series(column)
    found = like_column(as_text(column)[[1, 0, 1]], column)
    pd.testing.assert_series_equal(pd.Series(found), column.iloc[[1, 0, 1]].reset_index(drop=True))
    assert pd.isna(like_column([None, column[0]], column)).tolist() == [True, False]


def test_a_new_label_joins_the_categories_at_the_end():
    found = like_column(["c", "a"], pd.Series(ordered(["b", "a"])))
    assert found.categories.tolist() == ["b", "a", "c"]
    assert found.ordered


def source() -> AnnData:
    """Cells with the answers of two fits, one of which is gone."""
    adata = cells(
        day=pd.Categorical([5.0, 11.0, 14.0]), kind=["a", "b", "c"], score=[0.1, 0.2, 0.3]
    )
    other = Keys("other")
    for name in (*other.of_predictions, other.push, other.pull, other.fate_entropy):
        adata.obs[name] = 1.0
    adata.obs[other.annotated("kind")] = "a"
    adata.obs[f"{other.annotated('kind')}_probability"] = 1.0
    adata.uns["other"] = {"params": {"task": "own"}, "written": ["obs/descendants"]}
    adata.obs["descendants"] = 1.0
    gone = Keys("gone")
    adata.obs[gone.uncertainty] = 1.0
    adata.obs[gone.growth] = 1.0
    adata.obs[gone.origin] = pd.Categorical(["simulated", None, None])
    adata.obs.index.name = "kind"
    adata.obs.index = pd.Index(adata.obs["kind"], name="kind")
    return adata


def test_made_cells_carry_nothing_that_was_predicted_of_their_source(tmp_path):
    adata = source()
    obs = made_obs(
        adata, np.array([0, 0, 2]), {"day": 8.0, "x": [1, 2, 3]}, "uvw", key="t", origin="simulated"
    )
    assert list(obs) == ["day", "kind", "score", "source_cell", "x", "t_origin"]
    assert obs["t_origin"].tolist() == ["simulated"] * 3
    assert obs["source_cell"].tolist() == ["a", "a", "c"]
    assert obs["x"].dtype == int
    assert obs["day"].tolist() == [8.0] * 3
    assert obs.index.name is None
    made = AnnData(np.zeros((3, 2), dtype=np.float32), obs=obs)
    both = concat({"m": adata, "p": made}, label="o", index_unique="-")
    for position, one in enumerate((made, both)):
        one.write_h5ad(tmp_path / f"{position}.h5ad")
    assert "other_push" in adata.obs
