"""Outcomes of simulated patients, known and made of noise."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score, roc_auc_score

import scgenot as sg
from scgenot.fit.evaluation.cohort import auc, r2
from scgenot.population.prototypes import pooled


@pytest.fixture(scope="module")
def adata():
    return sg.datasets.cohort(100, n_cells=50, dim=6, rng=0)


def scored(adata, outcome="outcome", **options):
    return sg.tl.score_populations(adata, "patient", outcome, progress=False, **options)


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 2, 50), rng.normal(size=50).round(1)
    assert auc(true, predicted) == pytest.approx(roc_auc_score(true, predicted))
    assert r2(predicted, true) == pytest.approx(r2_score(predicted, true))


@pytest.mark.slow
def test_an_outcome_that_cells_tell(adata):
    found = scored(adata, label_key="cell_type")
    assert found.index.tolist() == [
        *("prototypes", "gaussian", "covariance"),
        *("mean expression", "composition"),
    ]
    assert found["kind"].tolist() == ["model"] * 3 + ["baseline"] * 2
    assert (found["low"] > 0.5).all()
    assert (found["auc"] < adata.uns["truth"]["auc"] + 0.05).all()
    assert "the best baseline" in found.attrs["verdict"]
    predictions = found.attrs["predictions"]
    assert predictions.index.tolist() == list(adata.obs["patient"].cat.categories)
    other = adata.copy()
    other.obs["outcome"] = np.where(adata.obs["outcome"] == 1, "yes", "no")
    assert scored(other, label_key="cell_type").equals(found)


@pytest.mark.slow
def test_an_outcome_of_noise_is_not_told_from_chance(adata):
    other = adata.copy()
    codes = other.obs["patient"].cat.codes
    other.obs["outcome"] = np.random.default_rng(1).permutation(100)[codes] % 2 == 0
    found = scored(other)
    assert (found["low"] < 0.55).all()
    assert "No features are better than chance level" in found.attrs["verdict"]


@pytest.mark.slow
def test_numbers(adata):
    found = scored(adata, "place")
    assert found.attrs["metric"] == "r2"
    assert found.loc["covariance", "r2"] > 0.6


@pytest.mark.slow
def test_few_patients_are_warned_about(adata):
    few = adata[adata.obs["patient"].cat.codes < 40]
    with pytest.warns(UserWarning, match="40 populations are few for an outcome"):
        scored(few)


def test_prototypes_receive_what_is_kept():
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(n, 3)) + k for k, n in enumerate((40, 1, 60))]
    found = pooled(clouds, n_prototypes=4, keep=0.6)
    assert found.shape == (3, 16)
    masses = found[:, :4].sum(1)
    np.testing.assert_allclose(masses, masses[0], rtol=1e-3)
    assert np.array_equal(pooled(clouds, n_prototypes=4, keep=0.6), found)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({}, {"outcome": "x"}, KeyError, "`outcome='x'` is not in obs"),
        ({}, {"outcome": "cell_type"}, ValueError, "`outcome='cell_type'` varies within"),
        ({"outcome": 1}, {}, ValueError, "must have two values, or be numbers; found"),
        ({"outcome": np.nan}, {}, ValueError, "`outcome='outcome'` is missing"),
        ({"outcome": np.inf}, {}, ValueError, "has values that are not finite"),
        ({}, {"outcome": "patient"}, ValueError, "`outcome='patient'` names the populations"),
        ({}, {"n_folds": 60}, ValueError, r"in \d+ population\(s\) only: at least `n_folds=60`"),
        ({}, {"keep": 0.0}, ValueError, "`keep=0.0` must be above 0"),
        ({}, {"n_prototypes": 1}, ValueError, "`n_prototypes=1` must be an integer >= 2"),
        ({}, {"label_key": "x"}, KeyError, "`label_key='x'` is not in obs"),
    ],
)
def test_what_is_refused(adata, change, options, error, message):
    adata = adata.copy()
    for column, value in change.items():
        adata.obs[column] = value
    with pytest.raises(error, match=message):
        scored(adata, **options)


@pytest.mark.slow
def test_outcomes_that_read_the_same_are_one(adata):
    adata = adata.copy()
    expected = scored(adata)
    names = {label: str(k + 1) for k, label in enumerate(sorted(adata.obs["outcome"].unique()))}
    mixed = adata.obs["outcome"].map(names).astype(object)
    mixed.iloc[np.flatnonzero(mixed == "1")[::2]] = 1
    adata.obs["outcome"] = mixed
    pd.testing.assert_frame_equal(scored(adata), expected)
