"""Writing results: all or none, finite, and gone with the fit that they answer."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scgenot.cells.groups import read_groups, read_mask
from scgenot.cells.keys import Keys
from scgenot.cells.labels import text_of
from scgenot.cells.write import fit_keys, predicted_slots, write_prediction, write_slots


def cells(n=4) -> AnnData:
    adata = AnnData(np.zeros((n, 2), dtype=np.float32), obs=pd.DataFrame(index=map(str, range(n))))
    adata.obs["old"] = 1.0
    return adata


def fit(adata, growth=None) -> None:
    obs = {} if growth is None else {Keys("t").growth: growth}
    write_slots(
        adata, uns={"t": {"params": {"task": "own"}}}, obs=obs, remove=predicted_slots(adata, "t")
    )


def state(adata) -> tuple:
    return list(adata.obs), list(adata.obsm), list(adata.obsp), str(dict(adata.uns))


def test_a_failure_half_way_leaves_everything_as_it_was():
    adata = cells()
    before = state(adata)
    with pytest.raises(ValueError, match="shape"):
        write_slots(
            adata, obs={"new": np.ones(4), "old": np.zeros(4)}, obsm={"bad": np.ones((3, 2))}
        )
    assert state(adata) == before
    assert adata.obs["old"].tolist() == [1.0] * 4


def test_only_finite_numbers_are_written():
    adata = cells()
    before = state(adata)
    rows, good = np.array([1, 2]), np.ones((2, 2))
    with pytest.raises(ValueError, match="'X_t' has 4 of 4 values that are NaN or infinite"):
        write_prediction(adata, "t", rows, {"X_t_mean": good, "X_t": good * np.inf}, {})
    assert state(adata) == before


def test_a_new_fit_removes_all_answers_of_the_older_one():
    adata, keys = cells(), Keys("t")
    adata.obsm["X_pca"] = np.ones((4, 2))
    fit(adata)
    clean = state(adata)
    rows, ones = np.arange(4), np.ones((4, 2))
    values = {keys.sample: ones, keys.mean: ones, keys.uncertainty: ones[:, 0]}
    write_prediction(adata, "t", rows, values, {"target": "A", "dose": None})
    assert adata.uns[keys.predicted] == {"target": "A"}
    write_slots(adata, obs={keys.push: ones[:, 0], "mine": ones[:, 0]}, key="t")
    write_slots(adata, obs={keys.annotated("kind"): ["a"] * 4}, obsm={keys.fate: ones}, key="t")
    write_slots(adata, obsm={keys.velocity: ones, keys.velocity_in("umap"): ones}, key="t")
    write_slots(adata, obsp={keys.coupling: sparse.csr_matrix(np.eye(4))}, key="t")
    fit(adata)
    assert state(adata) == clean
    fit(adata, growth=np.ones(4))
    assert keys.growth in adata.obs
    fit(adata)
    assert state(adata) == clean


def test_what_is_not_of_the_fit_stays():
    adata = cells()
    adata.obsm["X_t"] = np.ones((4, 2))
    adata.obs["t_push"] = 1.0
    adata.obs["t_growth"] = 1.0
    fit(adata)
    assert {"X_t"} == set(adata.obsm)
    assert "t_push" in adata.obs
    assert "t_growth" not in adata.obs
    write_prediction(adata, "u", np.arange(4), {"X_u": np.ones((4, 2))}, {"target": None})
    assert "u_predicted" not in adata.uns


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        ([1, 2, 2, 1], [1, 2]),
        ([1.0, 2.0, 2.0, 1.0], [1.0, 2.0]),
        ([True, False, False, True], [False, True]),
        (pd.array([1, 2, None, 1], dtype="Int64"), [1, 2]),
        (pd.Categorical([1, 2, None, 1], categories=[2, 1, 3]), [2, 1]),
        (["1", "2", None, "1"], ["1", "2"]),
    ],
)
def test_groups_keep_the_labels_of_their_column(column, labels):
    adata = cells()
    adata.obs["group"] = column
    found, members = read_groups(adata, "group")
    assert found.tolist() == labels
    assert type(found[0]) is type(pd.Index(labels)[0])
    for position, label in enumerate(labels):
        expected = [not pd.isna(value) and value == label for value in adata.obs["group"]]
        assert members[:, position].tolist() == expected
        for way in (label, text_of(label)):
            assert read_mask(adata, way, "group").tolist() == expected
    with pytest.raises(ValueError, match=r"no cell has \['9'\] in 'group'; found \["):
        read_groups(adata, "group", 9)


def test_params_of_another_package_are_no_fit():
    adata = cells()
    adata.uns["neighbors"] = {"params": {"n_neighbors": 15, "method": "umap"}}
    adata.uns["genot"] = {"params": {"task": "time_course"}}
    assert fit_keys(adata) == {"genot"}
