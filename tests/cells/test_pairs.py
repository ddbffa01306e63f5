"""AnnData into pairs."""

import numpy as np
import pytest
from anndata import AnnData

from scgenot.cells.tasks import Translation
from scgenot.cells.tasks.translation import two_reps


def by_modality(adata_source, adata_target, *, use_rep=None, shared_rep=None, **weights):
    reps = *two_reps(use_rep, "use_rep"), *two_reps(shared_rep, "shared_rep")
    task = Translation(adata_target, *reps, **weights)
    (link,) = task.links(adata_source)
    return link.pair


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


def test_representations_are_found(rna, atac):
    pair = by_modality(rna, atac)
    np.testing.assert_array_equal(pair.source, rna.obsm["X_pca"])
    np.testing.assert_array_equal(pair.target, atac.obsm["X_lsi"])
    np.testing.assert_allclose(pair.source_weights, 1 / 6)
    assert pair.source_shared is None


def test_representations_are_named(rna, atac):
    pair = by_modality(rna, atac, use_rep=("genes", "activity"), shared_rep=("genes", "activity"))
    np.testing.assert_array_equal(pair.source, rna.obsm["genes"])
    np.testing.assert_array_equal(pair.target_shared, atac.obsm["activity"])
    same = by_modality(rna, rna, use_rep="genes")
    np.testing.assert_array_equal(same.source, same.target)


def test_weights(rna, atac):
    pair = by_modality(rna, atac, source_weights="weight", target_weights="mass")
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
        by_modality(rna, atac, **arguments)


def test_target_names_must_be_unique(rna, atac):
    atac.obs_names = list("aabcd")
    with pytest.raises(ValueError, match="obs names of `adata_target` are not unique"):
        by_modality(rna, atac)


def test_only_anndata(rna):
    with pytest.raises(TypeError, match="`adata_target` must be an AnnData; found ndarray"):
        by_modality(rna, np.ones((3, 2)))
