"""What predict says of each cell: how certain, which way, how far, and if it has seen the like."""

import warnings

import anndata as ad
import numpy as np
import pytest

import scgenot as sg
from scgenot.fit.reference import unlike
from scgenot.fit.spread import cosine_variance, response_size, variances
from truth.responses import SPREAD, known_cells, known_fit, known_mean

DRAWS = 128


@pytest.fixture(scope="module")
def known():
    adata = known_fit(known_cells(200))
    adata = adata[adata.obs["drug"] == "control"].copy()
    sg.tl.predict(adata, "A", n_samples=DRAWS)
    return adata


def test_response_is_the_length_of_the_mean_change(known):
    total = float((sg.get.model(known).units.target.std ** 2).sum())
    change = known_mean(known.X.astype(float), "A")
    square = known.obs["genot_response"].to_numpy() ** 2 * total
    # antithetic draws of a law that is symmetric about its mean have this mean exactly
    np.testing.assert_allclose(square, (change**2).sum(1), rtol=1e-3)


def test_uncertainty_is_the_variance_of_the_law(known):
    total = float((sg.get.model(known).units.target.std ** 2).sum())
    sd = np.sqrt(2 * (SPREAD**4).sum() / (DRAWS - 1) / 200)
    assert known.obs["genot_uncertainty"].mean() * total == pytest.approx(
        (SPREAD**2).sum(), abs=5 * sd
    )


def test_cosine_variance_is_that_of_the_law(known):
    rng = np.random.default_rng(1)
    for cell in range(0, 200, 20):
        change = known_mean(known.X[cell : cell + 1].astype(float), "A")
        moved = change + SPREAD * rng.normal(size=(50_000, 3))
        cosine = moved @ change[0] / np.linalg.norm(moved, axis=1) / np.linalg.norm(change)
        # the mean of the draws is off in direction by about |SPREAD| / (sqrt(DRAWS) |change|):
        # that costs its square
        slack = (SPREAD**2).sum() / DRAWS / (change**2).sum()
        found = known.obs["genot_cosine_variance"].iloc[cell]
        assert found == pytest.approx(
            1 - cosine.mean(), abs=5 * cosine.std() / np.sqrt(DRAWS) + slack
        )


def test_variances_of_antithetic_draws_are_unbiased():
    """Var exp(z) = e (e - 1); the mean of a pair is cosh(z), with Var = (e^2 + 1) / 2 - e."""
    z = np.random.default_rng(0).normal(size=(20_000, 4, 1))
    found = variances(np.exp(np.concatenate([z, -z], axis=1)), antithetic=True)
    exact = np.e * (np.e - 1), ((np.e**2 + 1) / 2 - np.e) / 4
    for one, expected in zip(found, exact, strict=True):
        assert abs(one.mean() - expected) < 4 * one.std() / np.sqrt(len(one))
    # pairs of independent draws are exchangeable, too
    draws = np.random.default_rng(1).normal(size=(5000, 8, 3))
    paired, single = (variances(draws, antithetic=value)[0].mean() for value in (True, False))
    assert abs(paired - 3) < 5 * np.sqrt(2 * 3 / 8 / 5000) * 2
    assert abs(paired - single) < 0.05


def test_cells_that_do_not_respond():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2000, 32, 10))
    assert np.median(response_size(noise, 10.0)) < 0.1  # uncorrected: 1 / sqrt(32) = .18
    assert cosine_variance(noise).mean() > 0.8
    away = np.ones((5, 32, 10)) + 1e-6 * noise[:5]
    np.testing.assert_allclose(response_size(away, 10.0), 1, atol=1e-5)
    np.testing.assert_allclose(cosine_variance(away), 0, atol=1e-9)
    assert (cosine_variance(np.zeros((3, 4, 2))) == 1).all()


def test_no_direction_between_two_spaces():
    source, target = sg.datasets.twins(60)
    learner = sg.model.FlowMatching(steps=2)
    sg.tl.fit_translation(
        source,
        target,
        solver=sg.ot.GromovWasserstein(n_starts=1),
        learner=learner,
        progress=False,
    )
    sg.tl.predict(source, n_samples=2)
    assert not {"genot_response", "genot_cosine_variance"} & set(source.obs)


def test_cells_like_those_seen_are_not_warned_of(known):
    new = known_cells(400, rng=5)[:400].copy()  # the same law, other cells
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        sg.tl.predict(new, "A", model=known, n_samples=2)


def test_unlike_cells_are_warned_of(known):
    new = known_cells(400, rng=5)[:400].copy()
    new.X[:100] += 5  # five standard deviations along each axis
    with pytest.warns(UserWarning, match=r"1\d\d of 400 source cells \(2\d%\) are unlike"):
        sg.tl.predict(new, "A", model=known, n_samples=2)
    with pytest.warns(UserWarning, match="are unlike"):
        sg.tl.simulate(new, "A", model=known)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        few = known_cells(400, rng=5)[:400].copy()
        few.X[:15] += 5  # under 5 % of the cells
        sg.tl.predict(few, "A", model=known, n_samples=2)


def test_a_sparse_population_is_not_an_unseen_one():
    rng = np.random.default_rng(0)
    dense, sparse = rng.normal(size=(900, 4)), 20 + 10 * rng.normal(size=(100, 4))
    seen = np.concatenate([dense, sparse])
    assert unlike(20 + 10 * rng.normal(size=(500, 4)), seen).mean() < 0.1
    assert unlike(rng.normal(size=(500, 4)), seen).mean() < 0.05
    assert unlike(6 + 0.1 * rng.normal(size=(50, 4)), seen).all()


class TestRecord:
    """`uns["<key>_predicted"]`: what was asked."""

    @pytest.mark.medium
    def test_target_and_dose_beside_or_without_the_fit(self, tmp_path):
        adata = sg.datasets.screen(20, drugs=("A", "B"), doses=(0.5, 2.0))
        learner = sg.model.FlowMatching(steps=2)
        options = {"use_rep": "X_pca", "learner": learner, "progress": False}
        sg.tl.fit_perturbation(adata, "drug", "control", dose_key="dose", **options)
        new = adata[adata.obs["drug"] == "control"].copy()
        del new.uns["genot"]
        for cells in (adata, new):
            sg.tl.predict(cells, "A+B", dose=1, model=adata, n_samples=2)
            cells.write_h5ad(tmp_path / "cells.h5ad")
            assert ad.read_h5ad(tmp_path / "cells.h5ad").uns["genot_predicted"] == {
                "target": "A+B",
                "dose": 1.0,
            }
        sg.tl.predict(new, "A", model=adata, n_samples=2)
        assert new.uns["genot_predicted"] == {"target": "A", "dose": 2.0}  # the largest

    def test_the_only_perturbation_is_named(self):
        adata = known_cells(50)
        adata = known_fit(adata[adata.obs["drug"] != "B"].copy())
        sg.tl.predict(adata, n_samples=2)
        assert adata.uns["genot_predicted"] == {"target": "A"}

    def test_goes_with_a_prediction_of_no_perturbation(self):
        source, target = sg.datasets.twins(60)
        source.uns["genot_predicted"] = {"target": "A"}
        options = {
            "solver": sg.ot.GromovWasserstein(n_starts=1),
            "learner": sg.model.FlowMatching(steps=2),
        }
        sg.tl.fit_translation(source, target, progress=False, **options)
        sg.tl.predict(source, n_samples=2)
        assert "genot_predicted" not in source.uns


@pytest.mark.parametrize("predicted", [True, False])
def test_a_new_fit_removes_what_the_older_one_predicted(predicted):
    adata = sg.datasets.screen(20, drugs=["A"], combinations=False, rng=0)
    sg.tl.embed(adata, method="pca", n_components=3)
    learner = sg.model.FlowMatching(steps=2, validation_every=2)
    options = {
        "perturbation_key": "drug",
        "control": "control",
        "learner": learner,
        "progress": False,
        "predict": False,
    }
    sg.tl.fit_perturbation(adata, **options)
    adata.obsm["X_genot"] = np.zeros(
        (adata.n_obs, 3)
    )  # somebody else's, until there is a prediction
    before = set(adata.obs), set(adata.obsm), set(adata.uns)
    if predicted:
        sg.tl.predict(adata, progress=False)
        assert (set(adata.obs), set(adata.obsm), set(adata.uns)) != before
    sg.tl.fit_perturbation(adata, **options)
    left = {"X_genot"} if predicted else set()
    assert (set(adata.obs), set(adata.obsm) | left, set(adata.uns)) == before
    assert ("X_genot" in adata.obsm) != predicted
