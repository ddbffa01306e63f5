"""The task of a translation: two AnnData into one link, and what is asked of it."""

import numpy as np
import pytest
from anndata import AnnData

from scgenot.cells.tasks import Translation
from scgenot.cells.tasks.translation import two_reps


@pytest.fixture
def rna():
    rng = np.random.default_rng(0)
    adata = AnnData(
        obs={"weight": np.arange(6.0), "batch": list("aabbcc")},
        obsm={"X_pca": rng.normal(size=(6, 3))},
    )
    adata.obsm["genes"] = rng.normal(size=(6, 4))
    return adata


@pytest.fixture
def atac():
    rng = np.random.default_rng(1)
    adata = AnnData(
        obsm={"X_lsi": rng.normal(size=(5, 2)), "activity": rng.normal(size=(5, 4))}, shape=(5, 0)
    )
    adata.obs["mass"] = [1, 1, 1, 1, 4]
    return adata


def pair_of(source, target, use_rep=None, shared_rep=None, **weights):
    """The pair of the only link of a translation."""
    reps, shared = two_reps(use_rep, "use_rep"), two_reps(shared_rep, "shared_rep")
    task = Translation(target, *reps, *shared, **weights)
    (link,) = task.links(source)
    return link.pair


def test_representations_are_found(rna, atac):
    pair = pair_of(rna, atac)
    np.testing.assert_array_equal(pair.source, rna.obsm["X_pca"])
    np.testing.assert_array_equal(pair.target, atac.obsm["X_lsi"])
    np.testing.assert_allclose(pair.source_weights, 1 / 6)
    assert pair.source_shared is None


def test_representations_are_named(rna, atac):
    pair = pair_of(rna, atac, use_rep=("genes", "activity"), shared_rep=("genes", "activity"))
    np.testing.assert_array_equal(pair.source, rna.obsm["genes"])
    np.testing.assert_array_equal(pair.target_shared, atac.obsm["activity"])
    same = pair_of(rna, rna, use_rep="genes")
    np.testing.assert_array_equal(same.source, same.target)


def test_weights(rna, atac):
    pair = pair_of(rna, atac, source_weights="weight", target_weights="mass")
    np.testing.assert_allclose(pair.source_weights, np.arange(6) / 15)
    np.testing.assert_allclose(pair.target_weights, np.array([1, 1, 1, 1, 4]) / 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"use_rep": "X_pca"}, "`use_rep='X_pca'` is not in obsm of `adata_target`"),
        ({"use_rep": ("a", "b", "c")}, "`use_rep=.* must be one key for both"),
        ({"shared_rep": "genes"}, "`shared_rep='genes'` is not in obsm of `adata_target`"),
        (
            {"shared_rep": ("X_pca", "X_lsi")},
            r"`shared_rep=\('X_pca', 'X_lsi'\)` has 3 columns .* and 2 in",
        ),
        ({"source_weights": "nope"}, "`source_weights='nope'` is not in obs of `adata_source`"),
        (
            {"source_weights": "batch"},
            "`source_weights='batch'` in obs of `adata_source` must be numbers",
        ),
    ],
)
def test_errors_name_the_argument(rna, atac, arguments, message):
    with pytest.raises((KeyError, ValueError), match=message):
        pair_of(rna, atac, **arguments)


def test_target_names_must_be_unique(rna, atac):
    atac.obs_names = list("aabcd")
    with pytest.raises(ValueError, match="obs names of `adata_target` are not unique"):
        pair_of(rna, atac)


def test_only_anndata(rna):
    with pytest.raises(TypeError, match="`adata_target` must be an AnnData; found ndarray"):
        pair_of(rna, np.ones((3, 2)))


def test_a_link_has_all_cells_of_both_sides(rna, atac):
    (link,) = Translation(atac).links(rna)
    assert not link.within
    assert not link.stratum
    np.testing.assert_array_equal(link.source_rows, range(6))
    np.testing.assert_array_equal(link.target_rows, range(5))


def test_every_cell_is_asked_for_the_other_modality(rna, atac):
    task = Translation(atac)
    question = task.ask(rna)
    np.testing.assert_array_equal(question.rows, range(6))
    assert question.condition is None
    with pytest.raises(ValueError, match="`target='B'` was given, but a translation has one"):
        task.ask(rna, "B")
    with pytest.raises(ValueError, match=r"`dose=1.0` was given.*leave `dose` out"):
        task.ask(rna, dose=1.0)


def test_a_task_comes_back_from_what_is_stored(rna, atac):
    task = Translation(
        atac, shared_rep="genes", target_shared_rep="activity", target_weights="mass"
    )
    task.links(rna)
    stored = task.to_dict()
    again = Translation.from_dict({**stored, "task": "translation"})
    assert again.to_dict() == stored
    assert (stored["use_rep"], stored["target_rep"]) == ("X_pca", "X_lsi")
    assert again.adata_target is None
