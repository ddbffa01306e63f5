"""Screens, as an analyst calls them."""

import re
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import scgenot as sg

QUICK = sg.model.FlowMatching(steps=10, batch_size=64, validation_every=5)


def screen(drugs=("ctrl", "A", "B"), n=40, **columns) -> ad.AnnData:
    """Cells of each drug in turn, each drug further along the first axis."""
    rng = np.random.default_rng(0)
    which = np.resize(np.arange(len(drugs)), n * len(drugs))
    names = [f"c{i}" for i in range(len(which))]
    donor = np.where(rng.random(len(which)) < 0.6, "d1", "d2")
    obs = pd.DataFrame({"drug": np.asarray(drugs)[which], "donor": donor, **columns}, index=names)
    cells = rng.normal(size=(len(which), 3)) + np.c_[which.astype(float), np.zeros((len(which), 2))]
    return ad.AnnData(
        np.exp(cells / 3).astype(np.float32), obs=obs, obsm={"X_pca": cells.astype(np.float32)}
    )


def fit(adata, perturbation_key="drug", control="ctrl", **options):
    return sg.tl.fit_perturbation(
        adata, perturbation_key, control, **({"learner": QUICK, "progress": False} | options)
    )


def answer(adata, target=None, **options) -> np.ndarray:
    return sg.tl.predict(adata, target, copy=True, n_samples=4, **options).obsm["X_genot"]


def conditions_of(adata, target=None, dose=None, fitted=None) -> np.ndarray:
    return sg.get.fit(adata if fitted is None else fitted).ask(adata, target, dose).condition


def coupled(adata, link):
    """The coupling of a link, made again of its fitted cells."""
    return link.plan(adata[link.source_names].obsm["X_pca"], np.arange(len(link.source_names)))


def state(adata) -> dict:
    """Everything in an AnnData that a fit could change, by place."""
    slots = {
        f"{slot}[{key!r}]": np.asarray(values)
        for slot in ("obs", "obsm", "layers")
        for key, values in getattr(adata, slot).items()
    }
    return {
        **slots,
        "X": np.asarray(adata.X),
        "uns": np.array(list(adata.uns)),
        "names": adata.obs_names.to_numpy(),
    }


def assert_same_state(before: dict, after: dict):
    assert list(before) == list(after)
    for place, values in before.items():
        np.testing.assert_array_equal(values, after[place], err_msg=place)


@pytest.fixture(scope="module")
def fitted():
    """A screen with doses, a combination and donors that the network is told of."""
    adata = screen(["ctrl", "A", "B", "A+B"], n=80)
    dose = np.random.default_rng(1).choice([0.1, 10.0], size=adata.n_obs)
    adata.obs["dose"] = np.where(adata.obs["drug"] == "ctrl", 0, dose)
    fit(adata, dose_key="dose", network_covariates=["donor"])
    return adata


def test_what_a_fit_says_of_itself(fitted):
    pairs = fitted.uns["genot"]["pairs"]
    expected = [
        (drug, dose, donor)
        for drug in ("A", "A+B", "B")
        for dose in (0.1, 10)
        for donor in ("d1", "d2")
    ]
    expected += [("ctrl", 0, "d1"), ("ctrl", 0, "d2")]
    assert (
        list(zip(pairs["perturbation"], pairs["dose"], pairs["stratum"], strict=True)) == expected
    )
    params = sg.get.params(fitted)
    assert (params["task"], params["control"]) == ("perturbation", "ctrl")
    assert sg.get.model(fitted).condition_dropout == 0.1
    assert params["network_covariates"] == ["donor"]
    assert params["conditions"]["known"] == ["A", "B"]
    assert set(fitted.obsm) == {"X_pca"}


def test_no_mass_crosses_strata_or_conditions(fitted):
    pairs = fitted.uns["genot"]["pairs"].reset_index(drop=True)
    for (_, row), link in zip(pairs.iterrows(), sg.get.fit(fitted).links, strict=True):
        source, target = (fitted.obs.loc[link.names(side)] for side in ("source", "target"))
        assert set(source["donor"]) == set(target["donor"]) == {row["stratum"]}
        assert set(source["drug"]) == {"ctrl"}
        assert set(target["drug"]) == {row["perturbation"]}
        assert set(target["dose"]) == {row["dose"]}
        plan = coupled(fitted, link)
        np.testing.assert_array_equal(plan.y, fitted[target.index].obsm["X_pca"])
        mass, received = plan.marginals()
        # all of it, within the tolerance of the solver
        np.testing.assert_allclose(mass, 1 / len(source), rtol=1e-4)
        assert float((received - 1 / len(target)).abs().sum()) < 1e-3


def test_nan_for_treated_cells_only(fitted):
    out = sg.tl.predict(fitted, "A", copy=True)
    treated = (fitted.obs["drug"] != "ctrl").to_numpy()
    for values in (
        out.obsm["X_genot"],
        out.obsm["X_genot_mean"],
        out.obs[["genot_uncertainty"]].to_numpy(),
    ):
        np.testing.assert_array_equal(
            np.isnan(values), np.repeat(treated[:, None], values.shape[1], axis=1)
        )


def test_cells_without_annotation_are_all_sources(fitted):
    new = fitted[fitted.obs["drug"] == "ctrl"].copy()
    expected = answer(new, "A", model=fitted)
    del new.obs["drug"], new.obs["dose"]
    np.testing.assert_array_equal(answer(new, "A", model=fitted), expected)
    other = fitted[fitted.obs["drug"] == "A"].copy()
    with pytest.raises(
        ValueError,
        match=r"No cell of `adata` is control \('ctrl' in obs\['drug'\]\).*remove the column",
    ):
        answer(other, "A", model=fitted)
    del other.obs["drug"], other.obs["dose"]
    assert np.isfinite(answer(other, "A", model=fitted)).all()


@pytest.mark.medium
def test_the_same_treatment_has_the_same_answer(fitted):
    rows = (fitted.obs["drug"] == "ctrl").to_numpy()
    one = answer(fitted, "A+B", dose=10.0)[rows]
    for target in ("B+A", "A + B", "B+ctrl+A"):
        np.testing.assert_array_equal(
            answer(fitted, target)[rows], one
        )  # the largest dose is the default
    # no dose is no drug
    nothing = answer(fitted, "ctrl")[rows]
    for target in ("A", "B", "A+B", "ctrl"):
        np.testing.assert_array_equal(answer(fitted, target, dose=0)[rows], nothing)
    assert not np.allclose(one, nothing)
    assert not np.allclose(answer(fitted, "A", dose=10)[rows], answer(fitted, "A", dose=0.1)[rows])
    # past the largest dose and between them
    with pytest.warns(
        UserWarning,
        match="`dose=100` of 'A' is above the largest measured dose, 10: .* extrapolated",
    ):
        strength = [conditions_of(fitted, "A", dose)[0, 0] for dose in (0.1, 1, 10, 100)]
    np.testing.assert_allclose(strength, np.log1p(np.array([10, 100, 1000, 10000])) / np.log(1001))


def test_the_network_is_told_of_each_cell(fitted):
    control = fitted[fitted.obs["drug"] == "ctrl"].copy()
    flags = np.c_[control.obs["donor"] == "d1", control.obs["donor"] == "d2"]
    np.testing.assert_array_equal(conditions_of(control, "A", fitted=fitted)[:, -2:], flags)
    control.obs["donor"] = "d3"  # one that was not in the fit
    unseen = r"obs\['donor'\] has \['d3'\], which the fit has not seen"
    with pytest.warns(UserWarning, match=unseen):
        condition = conditions_of(control, "A", fitted=fitted)
    np.testing.assert_array_equal(condition[:, -2:], 0)
    with pytest.warns(UserWarning, match=unseen) as record:
        found = answer(control, "A", model=fitted)
    assert np.isfinite(found).all()
    assert [each.filename for each in record] == [__file__]
    control.obs["donor"] = np.nan
    np.testing.assert_array_equal(conditions_of(control, "A", fitted=fitted)[:, -2:], 0)
    del control.obs["donor"]
    with pytest.raises(
        KeyError,
        match=r"The network has the inputs \['donor'\] in the fit, which obs of `adata` lacks",
    ):
        answer(control, "A", model=fitted)


def test_numbers_that_the_network_is_told():
    adata = screen(["ctrl", "A"], n=60)
    adata.obs["age"] = np.where(adata.obs["donor"] == "d1", 30, 50)
    fit(adata, network_covariates=["age"])
    control = adata[adata.obs["drug"] == "ctrl"].copy()
    age = adata.obs["age"]
    found = conditions_of(control, fitted=adata)[:, -1]
    np.testing.assert_allclose(found, (control.obs["age"] - age.mean()) / age.std(ddof=0))
    control.obs["age"] = control.obs["age"].where(control.obs["donor"] == "d1")
    with pytest.raises(
        ValueError, match="The covariate 'age' must be a number, as in the fit; found nan"
    ):
        answer(control, model=adata)


def test_what_cannot_be_asked(fitted):
    before = state(fitted)
    for target, dose, error, message in (
        (None, None, ValueError, r"`target` is needed: which of \['A', 'B'\]"),
        ("C", None, KeyError, r"`target` names 'C'.*known are \['A', 'B'\].*`embedding=`"),
        ("A+C", 0, KeyError, "`target` names 'C'"),
        ("A", -1.0, ValueError, "`dose=-1.0` must be a number >= 0"),
        ("A", float("nan"), ValueError, "`dose=nan` must be a number >= 0"),
        ("A", "1", TypeError, "`dose='1'` must be a number"),
        (
            ["A", "B"],
            None,
            TypeError,
            r"`target=\['A', 'B'\]` must be one perturbation: `sg.tl.simulate`",
        ),
    ):
        with pytest.raises(error, match=message):
            answer(fitted, target, dose=dose)
    assert_same_state(before, state(fitted))


@pytest.mark.medium
def test_one_perturbation_needs_no_target_and_no_dropout():
    adata = screen(["ctrl", "A"])
    fit(adata)
    assert sg.get.model(adata).condition_dropout == 0
    rows = (adata.obs["drug"] == "ctrl").to_numpy()
    np.testing.assert_array_equal(answer(adata)[rows], answer(adata, "A")[rows])
    with pytest.raises(ValueError, match=r"`dose=1\.0` .* 'perturbation' has no doses"):
        answer(adata, dose=1.0)
    with pytest.raises(
        ValueError, match="`guidance` is 2, but the model was fitted without condition dropout"
    ):
        answer(adata, guidance=2)
    for target in ("ctrl", "ctrl+ctrl", ""):
        for function in (sg.tl.predict, sg.tl.simulate, sg.tl.response):
            with pytest.raises(
                ValueError, match=f"`target='{re.escape(target)}'` is the control, from which"
            ):
                function(adata, target=target)


def test_a_model_without_its_fit_asks_for_it(fitted):
    alone = sg.get.model(fitted)
    for options in ({}, {"target": "A"}):
        with pytest.raises(
            ValueError,
            match=r"`model` has no fit.*the fitted AnnData, `model=adata`",
        ):
            sg.tl.predict(fitted, model=alone, use_rep="X_pca", **options)


def test_an_embedding_places_drugs_that_were_not_measured():
    adata = screen()
    table = pd.DataFrame({"x": [0.0, 2.0, 9.0], "y": [1.0, 1.0, 3.0]}, index=["A", "B", "new/α"])
    fit(adata, embedding=table)
    np.testing.assert_allclose(conditions_of(adata, "new/α")[0], [1, 8, 2])
    rows = (adata.obs["drug"] == "ctrl").to_numpy()
    assert np.isfinite(answer(adata, "new/α")[rows]).all()
    with pytest.raises(KeyError, match=r"known are \['A', 'B'\]"):
        answer(adata, "newer")


@pytest.mark.parametrize(
    ("drugs", "control"),
    [
        ([0, 1, 2], 0),
        (["DMSO/水", "α/β", "TNF γ"], "DMSO/水"),
        (["ctrl", "A+ctrl", "ctrl+B"], "ctrl"),
    ],
)
@pytest.mark.slow
def test_names_of_any_kind_survive_the_disk(tmp_path, drugs, control):
    adata = screen(drugs)
    fit(adata, control=control)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    for target in drugs[1:]:
        np.testing.assert_array_equal(answer(again, target), answer(adata, target))
    with pytest.raises(ValueError, match="is the control, from which predictions start"):
        answer(again, control)
    assert np.isfinite(answer(again, drugs[1])).any(1).sum() == 40


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.slow
def test_a_fit_survives_the_disk(fitted, tmp_path, form):
    path = tmp_path / f"cells.{form}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's and zarr's notes on format versions
        getattr(fitted, f"write_{form}")(path)
        again = getattr(ad, f"read_{form}")(path)
    for target, dose in (("A", None), ("B+A", 0.3), ("ctrl", None)):
        np.testing.assert_array_equal(
            answer(again, target, dose=dose), answer(fitted, target, dose=dose)
        )
    np.testing.assert_array_equal(
        answer(again, "A", guidance=2.0), answer(fitted, "A", guidance=2.0)
    )


@pytest.mark.slow
def test_a_dose_alone_marks_control_and_survives_the_disk(tmp_path):
    adata = screen(["A", "B"], n=60)
    adata.obs["dose"] = np.resize([0.0, 0, 1, 1, 5, 5], adata.n_obs)
    fit(adata, control=None, separator=None, dose_key="dose")
    assert "control" not in sg.get.params(adata)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    out = answer(again, "B", dose=2.0)
    np.testing.assert_array_equal(out, answer(adata, "B", dose=2.0))
    np.testing.assert_array_equal(np.isfinite(out).all(1), adata.obs["dose"] == 0)
    new = again.copy()
    new.obs["dose"] = pd.array(
        np.where(new.obs["dose"] == 0, 0, None), dtype="Float64"
    )  # treated, how much unknown
    np.testing.assert_array_equal(answer(new, "B", dose=2.0), out)


def opposite(n=60) -> ad.AnnData:
    """Two types at -1.5 and 1.5 that change places under the drug: as a whole nothing happens."""
    rng = np.random.default_rng(0)
    kind, treated = np.tile([0, 1], 2 * n), np.repeat([0, 1], 2 * n)
    place = np.where(kind == treated, -1.5, 1.5)
    cells = np.c_[place, np.zeros(4 * n)] + 0.3 * rng.normal(size=(4 * n, 2))
    obs = pd.DataFrame(
        {"drug": np.where(treated == 1, "A", "ctrl"), "type": np.where(kind == 0, "left", "right")},
        index=[f"c{i}" for i in range(4 * n)],
    )
    return ad.AnnData(obs=obs, obsm={"X_pca": cells.astype(np.float32)})


@pytest.mark.parametrize("displacement", [True, False])
@pytest.mark.slow
def test_strata_that_move_in_opposite_directions(displacement):
    adata = opposite()
    learner = sg.model.FlowMatching(
        steps=150,
        batch_size=64,
        learning_rate=5e-3,
        warmup=20,
        ema_decay=0.98,
        displacement=displacement,
    )
    fit(adata, covariates=["type"], learner=learner)
    sg.tl.predict(adata)
    change = adata.obsm["X_genot_mean"][:, 0] - adata.obsm["X_pca"][:, 0]
    control = adata.obs["drug"] == "ctrl"
    moved = [change[control & (adata.obs["type"] == kind)].mean() for kind in ("left", "right")]
    # 150 steps: within a sixth of the way
    np.testing.assert_allclose(moved, [3, -3], atol=0.5)


def test_without_strata_the_nearest_cells_are_coupled():
    adata = opposite()
    fit(adata)
    (link,) = sg.get.fit(adata).links
    source = adata[link.source_names].obsm["X_pca"]
    change = coupled(adata, link).barycenter().cpu().numpy()[:, 0] - source[:, 0]
    assert np.abs(change).max() < 1  # as if types did not change places


@pytest.mark.slow
def test_drugs_that_kill_leave_growth():
    # of two clusters of control cells one has no descendants
    rng = np.random.default_rng(0)
    dies, treated = np.tile([False, True], 100), np.repeat([False, True], 100)
    cells = np.c_[np.where(dies & ~treated, 4.0, -4.0), rng.normal(size=200)] + 0.3 * rng.normal(
        size=(200, 2)
    )
    obs = pd.DataFrame(
        {"drug": np.where(treated, "A", "ctrl")}, index=[f"c{i}" for i in range(200)]
    )
    adata = ad.AnnData(obs=obs, obsm={"X_pca": cells.astype(np.float32)})
    fit(adata, solver=sg.ot.Sinkhorn(epsilon=0.05, tau=(0.7, 1.0)), predict=False)
    assert "genot_growth" not in adata.obs  # one fit, many drugs: growth is that of a target
    sg.tl.predict(adata, "A")
    growth = adata.obs["genot_growth"].to_numpy()
    np.testing.assert_array_equal(np.isnan(growth), treated)
    (link,) = sg.get.fit(adata).links
    coupling = coupled(adata, link)
    eta = coupling.growth().cpu().numpy()
    assert coupling.marginals()[0].sum() == pytest.approx(1, abs=1e-3)
    # all mass comes from the half that lives: two descendants each
    lives = ~dies[~treated]
    np.testing.assert_allclose([eta[lives].mean(), growth[~treated][lives].mean()], 2, rtol=0.1)
    assert max(eta[~lives].max(), growth[~treated][~lives].max()) < 0.01


@pytest.mark.slow
def test_same_seed_same_bits():
    runs = []
    for seed in (1, 1, 2):
        adata, random_state = screen(), torch.get_rng_state()
        fit(adata, rng=seed)
        runs.append(answer(adata, "A"))
        assert torch.equal(torch.get_rng_state(), random_state)
        torch.rand(1)  # what the user does in between is of no account
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2], equal_nan=True)


def test_copy_leaves_the_original_alone():
    adata = screen(genot_growth=1.0)
    before = state(adata)
    out = fit(adata, copy=True)
    assert_same_state(before, state(adata))
    assert "genot" in out.uns
    assert "genot_growth" not in out.obs


def test_a_view_is_taken_and_its_parent_stays():
    adata = screen()
    view = adata[adata.obs["drug"] != "B"]
    fit(view)
    assert np.isfinite(answer(view)).any()
    assert set(adata.uns) == set()
    assert sg.get.params(view)["conditions"]["known"] == ["A"]


@pytest.mark.slow
def test_sparse_and_dense_are_fitted_alike():
    adata = screen()
    adata.layers["raw"] = sparse.csr_matrix(adata.X)
    results = []
    for options in ({"use_rep": "X"}, {"layer": "raw"}):
        fit(adata, **options)
        results.append(answer(adata, "A"))
    adata.X = sparse.csr_matrix(adata.X)
    fit(adata, use_rep="X")
    results.append(answer(adata, "A"))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def bad_inputs():
    """What to change, options, error and the words that it must have."""

    def set_obs(key, position, value):
        def change(adata):
            adata.obs[key] = adata.obs[key].astype(
                object if isinstance(value, str | None) else float
            )
            adata.obs.loc[adata.obs_names[position], key] = value

        return change

    def nan_cell(adata):
        adata.obsm["X_pca"][3, 1] = np.nan

    def same_names(adata):
        adata.obs_names = ["c"] * adata.n_obs

    def only_control(adata):
        adata.obs["drug"] = "ctrl"

    def nothing(adata):
        pass

    table = pd.DataFrame({"x": [0.0]}, index=["A"])
    yield (
        "no control",
        nothing,
        {"control": "DMSO"},
        ValueError,
        r"`control='DMSO'` is not in obs\['drug'\]",
    )
    yield "only control", only_control, {}, ValueError, "has control cells only"
    yield (
        "missing drug",
        set_obs("drug", 4, None),
        {},
        ValueError,
        "`perturbation_key='drug'` is missing in 1 cells",
    )
    yield (
        "missing dose",
        set_obs("dose", 4, np.nan),
        {"dose_key": "dose"},
        ValueError,
        "missing, negative or infinite",
    )
    yield (
        "negative dose",
        set_obs("dose", 4, -1.0),
        {"dose_key": "dose"},
        ValueError,
        "missing, negative or infinite",
    )
    yield (
        "dose of control",
        set_obs("dose", 0, 1.0),
        {"dose_key": "dose"},
        ValueError,
        "above 0 in 1 control cells",
    )
    yield (
        "lacking",
        nothing,
        {"embedding": table},
        ValueError,
        r"`embedding` has no row for \['B'\]",
    )
    yield "no table", nothing, {"embedding": {"A": 1}}, TypeError, "`embedding` must be a DataFrame"
    yield "nan cell", nan_cell, {}, ValueError, r"NaN or infinite values in 1 of 120 cells \(c3\)"
    yield "names", same_names, {}, ValueError, "obs_names_make_unique"
    yield "text", nothing, {"covariates": "donor"}, TypeError, "`covariates='donor'` is text"
    yield "no covariate", nothing, {"covariates": ["sex"]}, KeyError, "`covariates` names 'sex'"
    yield (
        "not told",
        nothing,
        {"network_covariates": ["sex"]},
        KeyError,
        "`network_covariates` names 'sex'",
    )
    yield "slash", nothing, {"key_added": "a/b"}, ValueError, "`key_added` is 'a/b'"
    yield "representation", nothing, {"use_rep": "X_umap"}, KeyError, "use_rep='X_umap'"
    yield "layer", nothing, {"layer": "raw"}, KeyError, "layer='raw'"


@pytest.mark.parametrize(
    ("spoil", "options", "error", "message"),
    [case[1:] for case in bad_inputs()],
    ids=[case[0] for case in bad_inputs()],
)
def test_bad_input_says_what_to_do_and_changes_nothing(spoil, options, error, message):
    adata = screen()
    adata.obs["dose"] = np.where(adata.obs["drug"] == "ctrl", 0.0, 1.0)
    spoil(adata)
    before = state(adata)
    with pytest.raises(error, match=message):
        fit(adata, **options)
    assert_same_state(before, state(adata))


def test_fitted_cells_that_were_embedded_anew_are_refused(fitted):
    moved = fitted.copy()
    moved.obsm["X_pca"] = -moved.obsm["X_pca"]
    for cells in (moved, moved[moved.obs["drug"] == "ctrl"].copy()):
        for function in (sg.tl.predict, sg.tl.simulate, sg.tl.response):
            with pytest.raises(
                ValueError,
                match=r"obsm\['X_pca'\] of `adata` has changed since the fit: \d+ of \d+",
            ):
                function(cells, target="A")
    assert np.isfinite(
        answer(fitted[::-1].copy(), "A")[(fitted.obs["drug"] == "ctrl").to_numpy()[::-1]]
    ).all()


@pytest.mark.medium
def test_a_fit_of_few_cells_predicts_new_cells_that_vary_as_true_ones():
    # normal cells that move along the first axis: the true response has variance 1 on each axis.
    # 100 cells a side; a network that knows its pairs by heart, as after 1,500 steps, has .6
    rng = np.random.default_rng(0)

    def cells(drugs, at) -> ad.AnnData:
        values = rng.normal(size=(len(drugs), 20)) + 2 * np.outer(at, np.eye(20)[0])
        names = [f"c{i}" for i in range(len(drugs))]
        return ad.AnnData(values.astype(np.float32), obs=pd.DataFrame({"drug": drugs}, index=names))

    known = cells(["ctrl"] * 100 + ["A"] * 100, np.repeat([0, 1], 100))
    new = cells(["ctrl"] * 500, np.zeros(500))
    sg.tl.fit_perturbation(known, "drug", "ctrl", use_rep="X", predict=False, progress=False)
    sg.tl.predict(new, model=known, target="A", n_samples=4)
    assert new.obsm["X_genot"].var(0).mean() > 0.8
