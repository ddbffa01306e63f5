"""Translation, as an analyst calls it."""

import warnings

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

import scgenot as sg
from scgenot.datasets import twins

QUICK = sg.model.FlowMatching(steps=300, validation_every=100, learning_rate=5e-3)
SOLVER = sg.ot.GromovWasserstein(n_starts=12, search_cells=120)
ONE_START = sg.ot.GromovWasserstein(n_starts=1)


def fit(source, *target, **options):
    options = {"learner": QUICK, "solver": ONE_START, "progress": False} | options
    return sg.tl.fit_translation(source, *target, **options)


@pytest.fixture(scope="module")
def fitted():
    source, target = twins()
    fit(source, target, solver=SOLVER)
    sg.tl.predict(source)
    sg.tl.coupling(source)
    return source, target


@pytest.mark.slow
def test_partners_are_found_without_pairs(fitted):
    source, target = fitted
    true = target[source.obs["partner"]].obsm["X_lsi"]
    assert sg.metrics.foscttm(source.obsm["X_genot_mean"], true) < 0.1
    accuracy = sg.metrics.label_transfer(
        source.obsm["X_genot_mean"],
        target.obsm["X_lsi"],
        source.obs["cell_type"],
        target.obs["cell_type"],
    )
    assert accuracy > 0.95
    assert not source.uns["genot"]["confidence"]["ambiguous"]


@pytest.mark.medium
def test_results_land_where_the_schema_says(fitted):
    source, target = fitted
    entry = source.uns["genot"]
    assert {
        "params",
        "model",
        "history",
        "pairs",
        "links",
        "outcomes",
        "reference",
        "confidence",
        "coupling_names",
        "coupling_key",
    } <= set(entry)
    assert source.obsm["X_genot"].shape == source.obsm["X_genot_mean"].shape == (300, 12)
    assert source.obs["genot_uncertainty"].between(0, 2).all()
    assert "genot_growth" not in source.obs
    mass = source.obsm[entry["coupling_key"]]
    assert sp.issparse(mass)
    assert mass.shape == (300, 300)
    # top 50 of 300 targets: no more mass than the cell has, and most of it
    rows = np.asarray(mass.sum(1)).ravel() * 300
    assert (rows < 1 + 1e-5).all()
    assert rows.mean() > 0.8
    assert list(entry["coupling_names"]) == list(target.obs_names)
    assert list(entry["history"]["step"]) == [100, 200, 300]
    assert entry["pairs"]["n_source"].tolist() == [300]
    assert set(target.uns) == set()


def test_a_sample_varies_more_than_the_mean(fitted):
    source, target = fitted
    sample, mean = (source.obsm[key].var(0).sum() for key in ("X_genot", "X_genot_mean"))
    assert mean < sample
    # law of total variance: the spread that the mean lacks is the uncertainty
    lacking = source.obs["genot_uncertainty"].mean() * target.obsm["X_lsi"].var(0).sum()
    assert sample - mean == pytest.approx(lacking, rel=0.3)


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.slow
def test_a_fit_survives_the_disk(fitted, tmp_path, form):
    source, _ = fitted
    path = tmp_path / f"cells.{form}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's and zarr's notes on format versions
        getattr(source, f"write_{form}")(path)
        again = getattr(ad, f"read_{form}")(path)
    before = again.obsm["X_genot"].copy(), again.obsm["genot_coupling"].copy()
    sg.tl.predict(again)
    sg.tl.coupling(again)
    assert np.array_equal(before[0], again.obsm["X_genot"])
    assert abs(before[1] - again.obsm["genot_coupling"]).max() < 1e-7
    assert sg.get.params(again)["target_rep"] == "X_lsi"


def test_models_go_elsewhere(fitted, tmp_path):
    source, _ = fitted
    rng = np.random.default_rng(1)
    near = source.obsm["X_pca"][:50] + 0.01 * rng.normal(size=(50, 8))
    new = ad.AnnData(obsm={"X_pca": near.astype(np.float32)})
    sg.tl.predict(new, model=source)
    draws = new.obsm["X_genot"].copy()
    sg.get.model(source).save(tmp_path / "model.safetensors")
    sg.tl.predict(new, model=tmp_path / "model.safetensors")
    assert np.array_equal(draws, new.obsm["X_genot"])
    sg.tl.predict(new, model=sg.get.model(source), key="other", use_rep="X_pca")
    assert np.array_equal(draws, new.obsm["X_other"])
    sg.tl.coupling(new, model=source, top_k=5)
    assert new.obsm["genot_coupling"].shape == (50, 300)
    assert new.obsm["genot_coupling"].nnz == 250


@pytest.mark.slow
def test_same_seed_same_bits():
    runs = []
    for seed in (1, 1, 2):
        source, target = twins(120)
        fit(source, target, rng=seed, learner=sg.model.FlowMatching(steps=30))
        sg.tl.predict(source, rng=seed)
        runs.append(source.obsm["X_genot"])
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.medium
def test_copy_leaves_the_original_alone():
    source, target = twins(120)
    out = fit(source, target, copy=True, predict=False, learner=sg.model.FlowMatching(steps=20))
    assert set(source.uns) == set()
    assert "X_genot" not in source.obsm
    assert "X_genot" in sg.tl.predict(out, copy=True).obsm
    assert "X_genot" not in out.obsm


@pytest.mark.slow
def test_shared_features_settle_a_symmetric_case():
    # two clusters that mirror each other: distances alone cannot tell them apart
    rng = np.random.default_rng(0)
    side = np.repeat([-1.0, 1.0], 60)
    source = ad.AnnData(
        obsm={"X_pca": np.c_[3 * side, rng.normal(size=(120, 2))].astype(np.float32)}
    )
    target = ad.AnnData(
        obsm={"X_pca": np.c_[3 * side, rng.normal(size=(120, 3))].astype(np.float32)}
    )
    for cells in (source, target):
        cells.obsm["shared"] = (side[:, None] + 0.3 * rng.normal(size=(120, 1))).astype(np.float32)
    said = (
        r"ambiguous: its margin is 0\.\d\d .*solution is \d\.\d % higher, \d+ of \d+ starts reach"
    )
    with pytest.warns(UserWarning, match=said):
        fit(source, target, solver=SOLVER, learner=sg.model.FlowMatching(steps=10))
    fit(source, target, shared_rep="shared", solver=None)
    sg.tl.predict(source)
    assert np.corrcoef(source.obsm["X_genot_mean"][:, 0], side)[0, 1] > 0.9


def test_new_cells_of_a_fit_with_shared_features_are_predicted():
    source, target = twins(60)
    for cells in (source, target):
        cells.obsm["shared"] = np.random.default_rng(0).normal(size=(cells.n_obs, 2))
    new = source[:20].copy()
    new.obs_names = [f"new-{name}" for name in new.obs_names]
    learner = sg.model.FlowMatching(steps=5)
    fit(source, target, shared_rep="shared", solver=None, learner=learner, predict=False)
    sg.tl.predict(new, model=source)
    assert np.isfinite(new.obsm["X_genot"]).all()


def test_a_fit_does_not_replace_its_own_shared_features():
    source, target = twins(60)
    for cells in (source, target):
        cells.obsm["X_shared"] = np.random.default_rng(0).normal(size=(cells.n_obs, 2))
    with pytest.raises(ValueError, match=r"key_added='shared'.*X_shared"):
        fit(source, target, shared_rep="X_shared", solver=None, key_added="shared")


@pytest.mark.slow
def test_unbalanced_fits_write_growth():
    source, target = twins(150)
    few = target[target.obs["cell_type"] != "A"].copy()
    solver = sg.ot.GromovWasserstein(tau=(0.9, 0.9), n_starts=1)
    fit(source, few, solver=solver, learner=sg.model.FlowMatching(steps=30))
    sg.tl.predict(source)
    assert (source.obs["genot_growth"] > 0).all()
    assert source.uns["genot"]["pairs"]["mass"].iloc[0] < 1


@pytest.mark.medium
def test_views_are_taken_and_the_parent_stays():
    source, target = twins(200)
    view = source[:150]
    fit(view, target, learner=sg.model.FlowMatching(steps=10))
    sg.tl.predict(view)
    assert "X_genot" in view.obsm
    assert set(source.uns) == set()


def bad_inputs():
    """Name, what to break, and the words that the error must have."""

    def nan(source, _target):
        source.obsm["X_pca"][3, 2] = np.nan

    def duplicated(_source, target):
        target.obs_names = ["same"] * target.n_obs

    def constant(source, _target):
        source.obsm["X_pca"][:] = 1.0

    def no_rep(source, _target):
        del source.obsm["X_pca"]

    def negative(source, _target):
        source.obs["w"] = -1.0

    def shared(source, target):
        source.obsm["s"], target.obsm["s"] = np.eye(60)[:, :2], np.eye(60)[:, :3]

    yield "nan", nan, {}, (ValueError, "NaN")
    yield "duplicated", duplicated, {}, (ValueError, "adata_target.*obs_names_make_unique")
    yield "constant", constant, {}, (ValueError, "same in all")
    yield "no representation", no_rep, {}, (KeyError, "sg.tl.embed")
    yield "wrong key", lambda *_: None, {"use_rep": "X_foo"}, (KeyError, "X_foo.*found")
    yield "negative weights", negative, {"source_weights": "w"}, (ValueError, "source_weights")
    yield "unlike shared", shared, {"shared_rep": "s"}, (ValueError, "shared_rep")
    yield "slash in key", lambda *_: None, {"key_added": "a/b"}, (ValueError, "key_added")


@pytest.mark.parametrize(
    ("spoil", "options", "error"),
    [case[1:] for case in bad_inputs()],
    ids=[c[0] for c in bad_inputs()],
)
def test_bad_input_says_what_to_do_and_changes_nothing(spoil, options, error):
    source, target = twins(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spoil(source, target)
    before = set(source.uns), set(source.obs), set(source.obsm)
    with pytest.raises(error[0], match=error[1]):
        fit(source, target, **options)
    assert (set(source.uns), set(source.obs), set(source.obsm)) == before


def test_one_cell_is_not_a_population():
    source, target = twins(60)
    with pytest.raises(ValueError, match="at least 2"):
        fit(source[:1].copy(), target)


def test_predict_and_coupling_say_what_is_missing(fitted):
    source, target = fitted
    with pytest.raises(KeyError, match="found \\['genot'\\]"):
        sg.tl.predict(source, key="other")
    with pytest.raises(KeyError, match="fit_"):
        sg.tl.coupling(target)
    with pytest.raises(ValueError, match="n_samples"):
        sg.tl.predict(source, n_samples=0)
    with pytest.raises(ValueError, match="top_k"):
        sg.tl.coupling(source, top_k=0)
    with pytest.raises(TypeError, match="model"):
        sg.tl.predict(source, model=3)
    wrong = ad.AnnData(obsm={"X_pca": np.random.default_rng(0).normal(size=(5, 3))})
    with pytest.raises(ValueError, match=r"use_rep.*fitted with 8"):
        sg.tl.predict(wrong, model=source)
    assert "X_genot" not in wrong.obsm


def test_a_cost_of_ones_own_is_kept_as_the_mass_of_the_fitted_cells():
    source, target = twins(60)
    solver = sg.ot.GromovWasserstein(
        intra_cost=lambda x, y: sg.ot.squared_euclidean(x, y), n_starts=1
    )
    fit(source, target, solver=solver, learner=sg.model.FlowMatching(steps=10))
    sg.tl.coupling(source, top_k=60)
    assert source.obsm["genot_coupling"].sum() == pytest.approx(1, abs=1e-4)
    new = source[:10].copy()
    new.obs_names = [f"new-{i}" for i in range(10)]
    with pytest.raises(ValueError, match="fitted cells only"):
        sg.tl.coupling(new, model=source)


@pytest.mark.medium
def test_a_fit_answers_at_once(fitted):
    source, target = twins()
    fit(source, target, solver=SOLVER)
    for slot in ("X_genot", "X_genot_mean"):
        assert np.array_equal(source.obsm[slot], fitted[0].obsm[slot])
    assert "genot_uncertainty" in source.obs


class MuData:
    """As much of a MuData as is asked for."""

    def __init__(self, **modalities):
        self.mod = modalities


@pytest.mark.medium
def test_two_modalities_of_a_mudata_are_its_two_anndata():
    mdata = MuData(**dict(zip(("rna", "atac"), twins(40), strict=True)))
    source, target = twins(40)
    few = {"learner": sg.model.FlowMatching(steps=5)}
    fit(mdata, "rna", "atac", **few)
    fit(source, target, **few)
    found = mdata.mod["rna"].obsm["X_genot"]
    np.testing.assert_array_equal(found, source.obsm["X_genot"])


def test_modalities_that_are_not_there():
    source, target = twins(40)
    mdata = MuData(rna=source, atac=target)
    with pytest.raises(KeyError, match=r"`adata_target='gex'` is not a modality .*'rna', 'atac'"):
        fit(mdata, "gex", "atac")
    with pytest.raises(KeyError, match=r"`target_modality=None` is not a modality .* name two"):
        fit(mdata, "rna")
    with pytest.raises(TypeError, match=r"`adata_source` is a MuData .* `adata_source\['rna'\]`"):
        fit(mdata, target)
    with pytest.raises(TypeError, match=r"`target_modality='atac'` is for a MuData"):
        fit(source, target, "atac")
    with pytest.raises(TypeError, match=r"`adata_target='atac'` must be an AnnData"):
        fit(source, "atac")
