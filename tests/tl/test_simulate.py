"""Simulated cells follow the model's law, are their sources in all else, and join AnnData."""

import json
import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import torch

import scgenot as sg
from truth.responses import CHANGE, SPREAD, known_cells, known_fit, known_mean

QUICK = sg.model.FlowMatching(steps=2)


@pytest.fixture(scope="module")
def known():
    """Cells in X, with the exact law."""
    return known_fit(known_cells())


@pytest.fixture(scope="module")
def embedded():
    """A screen of genes in an embedding; a model that has hardly learned."""
    adata = sg.datasets.screen(40, drugs=("A", "B"), doses=(0.5, 2.0))
    del adata.obsm["X_pca"], adata.uns["truth"]
    sg.tl.embed(adata, n_components=8, adjust=False)  # projected again below
    sg.tl.fit_perturbation(
        adata,
        "drug",
        "control",
        dose_key="dose",
        embedding=adata.uns["embedding"],
        learner=QUICK,
        progress=False,
    )
    return adata


@pytest.fixture(scope="module")
def lossy():
    """Forty genes in three components, most of the variance of each gene left out."""
    rng = np.random.default_rng(0)
    drug = np.repeat(["control", "A"], 600)
    low = rng.normal(size=(1200, 3)) + 3 * (drug == "A")[:, None]
    mixed = rng.normal(size=(30, 30)) / 5
    x = low @ (3 * rng.normal(size=(3, 30))) + 2 * rng.normal(size=(1200, 30)) @ (
        np.eye(30) + mixed
    )
    adata = ad.AnnData(x.astype(np.float32), obs=pd.DataFrame({"drug": drug}, index=names(1200)))
    sg.tl.embed(adata, n_components=3)
    sg.tl.fit_perturbation(adata, "drug", "control", learner=QUICK, progress=False)
    return adata


def new_cells(adata, features=slice(None), change=lambda values: values):
    """The same cells as if from elsewhere: features only."""
    return ad.AnnData(
        change(adata.X[:, features].copy()), obs=adata.obs.copy(), var=adata.var[features].copy()
    )


def names(n):
    """Names of cells."""
    return [f"c{i}" for i in range(n)]


class TestLaw:
    def test_draws_follow_the_law(self, known):
        out = sg.tl.simulate(known, "A", n_samples=50)
        x = known[out.obs["source_cell"]].X
        noise = (out.X - x - known_mean(x, "A")) / SPREAD
        n = len(noise)  # 10,000
        assert np.abs(noise.mean(0)).max() < 5 / np.sqrt(n)
        assert np.abs(noise.var(0) - 1).max() < 5 * np.sqrt(2 / n)
        assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 5 / np.sqrt(n)

    def test_combination_adds_up(self):
        cells = known_cells(50)
        both = cells[cells.obs["drug"] == "A"].copy()
        both.obs["drug"] = pd.Categorical(["A+B"] * 50)
        known = known_fit(ad.concat([cells, both], index_unique="-"))
        change = sg.tl.simulate(known, "B+A").X - sg.tl.simulate(known, "A").X
        np.testing.assert_allclose(change, np.tile(CHANGE["B"], (50, 1)), atol=1e-5)

    def test_features_are_the_decoded_states(self, embedded):
        out = sg.tl.simulate(embedded, "A", clip=False)
        np.testing.assert_allclose(out.X, sg.tl.decode(out.obsm["X_pca"], out), atol=1e-5)
        assert list(out.var_names) == list(embedded.var_names)


class TestResiduals:
    """What states leave out is added as measured cells have it."""

    @pytest.mark.medium
    def test_covariance_is_that_of_measured_residuals(self, lossy):
        plain, whole = (
            sg.tl.simulate(lossy, "A", residuals=one, n_samples=4).X for one in (False, True)
        )
        treated = lossy[lossy.obs["drug"] == "A"]
        left = treated.X - sg.tl.decode(treated.obsm["X_pca"], lossy).to_numpy()
        # 2,400 residuals of 600 cells, a few of them more often than others
        found, true = np.cov((whole - plain).T), np.cov(left.T)
        scale = np.sqrt(np.outer(np.diag(true), np.diag(true)))
        assert np.abs((found - true) / scale).max() < 5 * np.sqrt(2 / 400)

    def test_states_stay_as_they_are(self, lossy):
        plain, whole = (sg.tl.simulate(lossy, "A", residuals=one) for one in (False, True))
        np.testing.assert_array_equal(plain.obsm["X_pca"], whole.obsm["X_pca"])
        again = sg.tl.simulate(lossy, "A", residuals=True)
        np.testing.assert_array_equal(whole.X, again.X)

    def test_each_target_is_what_it_is_alone(self, embedded):
        options = {"dose": 0.5, "residuals": True, "progress": False}
        several = sg.tl.simulate(embedded, ["A", "B"], **options)
        alone = sg.tl.simulate(embedded, "B", **options)
        np.testing.assert_allclose(several[alone.obs_names].X, alone.X, atol=1e-5)

    def test_nothing_between_zero_and_one_count(self):
        rng = np.random.default_rng(0)
        x = np.log1p(rng.poisson(0.5, size=(200, 20))).astype(np.float32)
        obs = pd.DataFrame({"drug": np.repeat(["control", "A"], 100)}, index=names(200))
        adata = ad.AnnData(x, obs=obs)
        sg.tl.embed(adata, n_components=2)
        sg.tl.fit_perturbation(adata, "drug", "control", learner=QUICK, progress=False)
        found = sg.tl.simulate(adata, "A", residuals=True).X
        assert found[found > 0].min() >= np.log(2) / 2
        assert (found == 0).mean() == pytest.approx((x[100:] == 0).mean(), abs=0.15)

    def test_nothing_is_left_out_of_X(self, known):
        plain, whole = (sg.tl.simulate(known, "A", residuals=one).X for one in (False, True))
        np.testing.assert_allclose(plain, whole, atol=1e-5)

    def test_errors(self, embedded):
        def decoder(states):
            return sg.tl.decode(states, embedded)

        with pytest.raises(ValueError, match="those by `decoder` cannot be compared"):
            sg.tl.simulate(embedded, "A", residuals=True, decoder=decoder)


class TestSeveral:
    @pytest.mark.medium
    @pytest.mark.parametrize("block", [7, 1024])
    def test_each_is_what_it_is_alone(self, embedded, block, monkeypatch):
        monkeypatch.setattr(sg.fit.sample, "BLOCK", block)
        several = sg.tl.simulate(
            embedded, ["A", "A+B"], dose=[0.5, 2.0], n_samples=2, progress=False
        )
        assert several.n_obs == 2 * 2 * 2 * 40
        expected = [(drug, dose) for drug in ("A", "A+B") for dose in (0.5, 2.0) for _ in range(80)]
        assert list(zip(several.obs["drug"], several.obs["dose"], strict=True)) == expected
        alone = sg.tl.simulate(embedded, "A+B", dose=2.0, n_samples=2)
        part = several[alone.obs_names]
        np.testing.assert_array_equal(part.obsm["X_pca"], alone.obsm["X_pca"])
        np.testing.assert_allclose(part.X, alone.X, atol=1e-5)  # products of blocks of unlike size

    def test_decoding_in_blocks_changes_nothing(self, embedded, monkeypatch):
        whole = sg.tl.simulate(embedded, "A", n_samples=2)
        monkeypatch.setattr(sg.fit.made_up, "BLOCK", 7)
        np.testing.assert_allclose(sg.tl.simulate(embedded, "A", n_samples=2).X, whole.X, atol=1e-5)

    def test_a_cell_has_the_same_noise_for_all(self, known):
        a, b = (sg.tl.simulate(known, name).X for name in CHANGE)
        np.testing.assert_allclose(a - b, np.tile(CHANGE["A"] - CHANGE["B"], (200, 1)), atol=1e-5)

    def test_same_as_predict(self, known):
        sg.tl.predict(known, "A", n_samples=2)
        out = sg.tl.simulate(known, "A", n_samples=2)
        np.testing.assert_array_equal(out.X[:200], known.obsm["X_genot"][:200])


class TestCells:
    def test_all_else_is_the_source_cell(self, embedded):
        out = sg.tl.simulate(embedded, "A", dose=1.0, n_samples=2)
        assert out.obs_names.is_unique
        assert set(out.obs["drug"]) == {"A"}
        assert (out.obs["dose"] == 1).all()
        source = embedded.obs.loc[out.obs["source_cell"]]
        assert set(source["drug"]) == {"control"}
        assert list(out.obs["source_cell"]) == 2 * list(
            embedded.obs_names[embedded.obs["drug"] == "control"]
        )
        for key in ("cell_type", "donor", "sensitivity"):
            assert list(out.obs[key]) == list(source[key])

    @pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning")
    def test_a_prediction_of_another_target_stays_behind(self, known):
        copy = sg.tl.predict(known, "A", n_samples=2, copy=True)
        copy.obs["genot_growth"], copy.obs["other_response"] = (
            1.0,
            2.0,
        )  # of an older fit; of another key
        out = sg.tl.simulate(copy, "B")
        assert list(out.obs) == ["drug", "group", "other_response", "source_cell", "genot_origin"]

    def test_they_join_the_others(self, embedded, tmp_path):
        out = sg.tl.simulate(embedded, ["A", "B"], progress=False)
        out.write_h5ad(tmp_path / "simulated.h5ad")
        again = ad.read_h5ad(tmp_path / "simulated.h5ad")
        np.testing.assert_array_equal(again.X, out.X)
        pd.testing.assert_frame_equal(again.obs, out.obs, check_categorical=False)
        np.testing.assert_allclose(
            sg.tl.decode(again.obsm["X_pca"], again), sg.tl.decode(out.obsm["X_pca"], out)
        )
        controls = embedded[embedded.obs["drug"] == "control"]
        joint = ad.concat([controls, again])
        assert joint.shape == (40 + 80, 60)
        assert joint.obs["drug"].value_counts().to_dict() == {"control": 40, "A": 40, "B": 40}
        joint.obs["drug"] = joint.obs["drug"].astype("category")
        sc.tl.rank_genes_groups(joint, "drug", reference="control")
        assert set(joint.uns["rank_genes_groups"]["names"].dtype.names) == {"A", "B"}

    @pytest.mark.medium
    def test_next_time_of_a_course(self):
        rng = np.random.default_rng(0)
        adata = ad.AnnData(rng.normal(size=(60, 4)).astype(np.float32))
        adata.obs["stage"] = pd.Categorical(np.repeat(["E7", "E8", "E9"], 20), ordered=True)
        sg.tl.fit_trajectory(adata, "stage", use_rep="X", learner=QUICK, progress=False)
        out = sg.tl.simulate(adata)
        assert out.n_obs == 40
        assert list(out.obs["stage"]) == ["E8"] * 20 + ["E9"] * 20
        assert out.obs["stage"].cat.ordered
        assert list(sg.tl.simulate(adata, "E9").obs["source_cell"]) == list(adata.obs_names[20:40])

    def test_growth_of_an_unbalanced_fit(self, known):
        model = sg.get.model(known)
        model.add_growth()
        for weight in model.eta.parameters():
            torch.nn.init.constant_(weight, 0.1)
        cells = known.copy()
        config, weights = model.to_arrays()
        cells.uns["genot"]["model"] = {"config": json.dumps(config), "weights": weights}
        out, copy = (
            sg.tl.simulate(cells, "A", n_samples=2),
            sg.tl.predict(cells, "A", n_samples=2, copy=True),
        )
        assert copy.obs["genot_growth"][:200].std() > 0
        np.testing.assert_array_equal(
            out.obs["genot_growth"], np.tile(copy.obs["genot_growth"][:200], 2)
        )


class TestFeatures:
    def test_clipped_where_fitted_values_had_no_negative(self, embedded, caplog):
        low = embedded.copy()
        low.uns["pca"]["embedding"]["offset"] = (
            low.uns["pca"]["embedding"]["offset"] - 4
        )  # some values go below 0
        free = sg.tl.simulate(low, "A", clip=False).X
        assert (free < 0).any()
        with caplog.at_level(logging.INFO, logger="scgenot"):
            np.testing.assert_array_equal(sg.tl.simulate(low, "A").X, np.maximum(free, 0))
        assert f"{100 * (free < 0).mean():.2f} %" in caplog.text
        low.uns["pca"]["values"]["nonnegative"] = False
        np.testing.assert_array_equal(sg.tl.simulate(low, "A").X, free)

    def test_a_decoder(self, embedded):
        out = sg.tl.simulate(
            embedded, "A", decoder=lambda values: pd.DataFrame({"size": (values**2).sum(1)})
        )
        np.testing.assert_allclose(out.X[:, 0], (out.obsm["X_pca"] ** 2).sum(1), rtol=1e-5)
        assert list(out.var_names) == ["size"]
        with pytest.raises(
            ValueError, match=r"`decoder` gives an array of shape \(40, 8\), expected \(n, 60\)"
        ):
            sg.tl.simulate(embedded, "A", decoder=lambda values: values)

    @pytest.mark.medium
    def test_none_says_so(self, embedded):
        bare = embedded.copy()
        del bare.uns["pca"], bare.varm["PCs"]
        with pytest.raises(ValueError, match=r"`decoder` is needed: uns\['pca'\] does not say"):
            sg.tl.simulate(bare, "A")
        source, target = sg.datasets.twins(60)
        solver = sg.ot.GromovWasserstein(n_starts=1)
        sg.tl.fit_translation(source, target, solver=solver, learner=QUICK, progress=False)
        with pytest.raises(ValueError, match="the fit has no embedding of the target cells"):
            sg.tl.simulate(source)
        out = sg.tl.simulate(
            source, decoder=lambda values: pd.DataFrame(values, columns=list("abcdefghijkl"))
        )
        np.testing.assert_array_equal(out.X, out.obsm["X_lsi"])


class TestElsewhere:
    @pytest.mark.medium
    @pytest.mark.parametrize("reps", ["embedded", "known"])
    def test_features_in_another_order(self, reps, request):
        fitted = request.getfixturevalue(reps)
        new = new_cells(fitted, slice(None, None, -1))
        here, there = (sg.tl.simulate(cells, "A", model=fitted) for cells in (fitted, new))
        assert list(there.var_names) == list(here.var_names)
        np.testing.assert_allclose(there.X, here.X, atol=1e-4)
        here, there = (
            sg.tl.predict(cells, "A", model=fitted, n_samples=2, copy=True)
            for cells in (fitted, new)
        )
        np.testing.assert_allclose(there.obsm["X_genot_mean"], here.obsm["X_genot_mean"], atol=1e-4)

    @pytest.mark.parametrize("reps", ["embedded", "known"])
    def test_features_missing(self, reps, request):
        fitted = request.getfixturevalue(reps)
        names = ", ".join(fitted.var_names[:2])
        with pytest.raises(
            ValueError, match=rf"lacks 2 of {fitted.n_vars} features of .*: {names}\."
        ):
            sg.tl.simulate(new_cells(fitted, slice(2, None)), "A", model=fitted)

    @pytest.mark.parametrize("reps", ["embedded", "known"])
    def test_counts_where_logarithms_were(self, reps, request):
        fitted = request.getfixturevalue(reps)
        new = new_cells(fitted, change=lambda values: np.round(np.expm1(values)))
        with pytest.raises(ValueError, match="holds whole numbers, such as raw counts"):
            sg.tl.predict(new, "A", model=fitted)
        assert not new.obsm

    def test_normalised_counts_where_logarithms_were(self, embedded):
        new = new_cells(embedded, change=lambda values: 40.5 * np.expm1(values))
        with pytest.raises(
            ValueError, match=r"X of `adata` goes up to \d+, no logarithm .* run `sc.pp.log1p`"
        ):
            sg.tl.predict(new, "A", model=embedded)

    def test_another_embedding(self, embedded):
        new = new_cells(embedded)
        sg.tl.embed(new[:80], n_components=8)
        other = new[:80].copy()
        sg.tl.embed(other, n_components=8)
        with pytest.raises(ValueError, match="is another embedding than that of the fitted cells"):
            sg.tl.predict(other, "A", model=embedded)

    def test_errors(self, embedded):
        with pytest.raises(
            KeyError, match=r"names 'Z', which the fit has not seen; known are \['A', 'B'\]"
        ):
            sg.tl.simulate(embedded, ["A", "Z"])
        with pytest.raises(ValueError, match="`n_samples=0` must be an integer >= 1"):
            sg.tl.simulate(embedded, "A", n_samples=0)
        with pytest.raises(ValueError, match="give one or more, each once"):
            sg.tl.simulate(embedded, ["A", "A"])
        with pytest.raises(TypeError, match="must be labels and numbers"):
            sg.tl.simulate(embedded, [{}])
