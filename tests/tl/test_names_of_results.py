"""Names of fits, cells and groups: what would be replaced, lost or unwritable is refused."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scgenot as sg
from truth.courses import fit_quickly, small_course


@pytest.fixture(scope="module")
def course():
    return fit_quickly(small_course())


def test_a_fit_replaces_nothing_that_is_no_fit(course):
    for key, entry in (("pca", {"params": {"zero_center": True}}), ("log1p", {"base": None})):
        adata = small_course()
        adata.uns[key] = entry
        with pytest.raises(ValueError, match=rf"would overwrite uns\['{key}'\]"):
            fit_quickly(adata, key_added=key)
        assert adata.uns[key] == entry
    with pytest.raises(ValueError, match=r"would overwrite obsm\['X_pca'\]"):
        fit_quickly(small_course(), key_added="pca")
    # a fit, and what `coupling` and `simulate` leave in its place, may be fitted anew
    part = course[course.obs["day"] != "day 6"].copy()
    fit_quickly(part)
    del part.uns["genot"]
    sg.tl.coupling(part, model=course)
    fit_quickly(part)


@pytest.mark.parametrize(
    "call",
    [
        lambda adata, key: sg.tl.push(adata, "a", groupby="state", key_added=key),
        lambda adata, key: sg.tl.annotate(adata, "state", key_added=key),
    ],
    ids=["push", "annotate"],
)
def test_an_answer_replaces_nothing_but_an_answer(course, call):
    adata = course.copy()
    adata.obs["mine"] = np.arange(adata.n_obs)
    with pytest.raises(ValueError, match="`key_added='mine'` is in obs and is not a result"):
        call(adata, "mine")
    np.testing.assert_array_equal(adata.obs["mine"], np.arange(adata.n_obs))
    for _ in range(2):  # its own answer, again
        call(adata, "asked")


def test_a_fit_of_another_layout_is_refused(course):
    adata = course.copy()
    for version in (0, 99, None):
        adata.uns["genot"] = {**course.uns["genot"], "version": version}
        with pytest.raises(ValueError, match=f"in layout {version}; this one reads layout 2: fit"):
            sg.tl.push(adata, "a", groupby="state")
    del adata.uns["genot"]["version"]
    with pytest.raises(ValueError, match="in layout None"):
        sg.tl.predict(adata)


def test_a_fit_is_printed_in_a_few_lines(course):
    text = repr(sg.get.fit(course))
    assert "key 'genot', task 'trajectory'" in text
    assert "2 pairs: 2 to 4; 4 to 6" in text
    assert text.endswith("ended: converged, completed, few steps")


def test_coupling_of_another_object_with_some_of_the_cells(course):
    expected = course.copy()
    sg.tl.coupling(expected)
    part = course[course.obs["day"] != "day 6"].copy()
    del part.uns["genot"]
    sg.tl.coupling(part, model=course)
    rows = course.obs_names.get_indexer(part.obs_names)
    np.testing.assert_allclose(
        part.obsp["genot_coupling"].toarray(),
        expected.obsp["genot_coupling"].toarray()[np.ix_(rows, rows)],
        rtol=1e-5,
    )
    moved = part.copy()
    moved.obsm["X_pca"] = moved.obsm["X_pca"] + 1
    with pytest.raises(ValueError, match="has changed since the fit"):
        sg.tl.coupling(moved, model=course)
    part.obs_names = ["cell"] * part.n_obs
    twice = pytest.warns(UserWarning, match="not unique")
    with twice, pytest.raises(ValueError, match="obs names of `adata` are not unique"):
        sg.tl.coupling(part, model=course)


def test_groups_that_a_file_cannot_tell_apart_are_refused(course, tmp_path):
    adata = course.copy()
    adata.obs["state"] = adata.obs["state"].cat.rename_categories({"a": "x/1", "b": "x|1"})
    with pytest.raises(ValueError, match=r"the groups \['x/1', 'x\|1'\] would share one column"):
        sg.tl.fate(adata, "state")
    assert "genot_fate" not in adata.obsm
    adata.obs["a/b"] = course.obs["state"]
    sg.tl.annotate(adata, "a/b")
    assert "genot_annotated_a|b" in adata.obs
    with pytest.raises(ValueError, match="`key_added='a/b'` must be text without a slash"):
        sg.tl.push(adata, "a", groupby="a/b", key_added="a/b")
    del adata.obs["a/b"]
    adata.write_h5ad(tmp_path / "course.h5ad")
    assert "genot_annotated_a|b" in ad.read_h5ad(tmp_path / "course.h5ad").obs


def test_labels_that_read_the_same_are_one_group(course):
    adata = course.copy()
    labels = np.array([1, "1", 2], dtype=object)[np.arange(adata.n_obs) % 3]
    adata.obs["mixed"] = pd.Series(labels, index=adata.obs_names, dtype=object)
    adata.obs["plain"] = pd.Series(list(map(str, labels)), index=adata.obs_names)
    found = [sg.tl.cell_transition(adata, name, name) for name in ("mixed", "plain")]
    np.testing.assert_array_equal(*found)
    sg.tl.fate(adata, "mixed")
    assert list(adata.obsm["genot_fate"]) == ["1", "2"]
