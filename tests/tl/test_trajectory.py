"""Time courses, as an analyst calls them."""

import warnings
from functools import partial

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import scgenot as sg
from scgenot.model import fit_growth
from scgenot.model import learning as _learning
from scgenot.ot.store import plan_from_arrays
from truth.gaussians import random_problem
from truth.laws import bures_wasserstein, cbw_uvp, cbw_uvp_floor
from truth.unbalanced import MASSES, UnbalancedGaussians

QUICK = sg.model.FlowMatching(steps=10, batch_size=64, validation_every=5)


def course(days=(4, 0, 2), n=40, **columns) -> ad.AnnData:
    """Three days of a population that moves along its first axis, the days in turn."""
    rng = np.random.default_rng(0)
    day = np.resize(np.array(days), n * len(days))
    names = [f"c{i}" for i in range(len(day))]
    obs = pd.DataFrame(
        {"day": day, "donor": np.where(rng.random(len(day)) < 0.6, "a", "b"), **columns},
        index=names,
    )
    cells = rng.normal(size=(len(day), 3)) + np.c_[day.astype(float), np.zeros((len(day), 2))]
    return ad.AnnData(
        np.exp(cells / 3).astype(np.float32), obs=obs, obsm={"X_pca": cells.astype(np.float32)}
    )


def fit(adata, time_key="day", **options):
    return sg.tl.fit_trajectory(
        adata, time_key, **({"learner": QUICK, "progress": False, "predict": False} | options)
    )


def rows_at(adata, day) -> np.ndarray:
    return np.flatnonzero(adata.obs["day"] == day)


def stored_plan(adata, position: int) -> tuple[np.ndarray, list[str], list[str]]:
    """Joint mass of a stored coupling as an array, and the names of its source and target cells."""
    stored, shared = adata.uns["genot"]["links"][str(position)], adata.uns["genot"]["shared"]
    names = [list(shared[stored[f"{side}_names"]]) for side in ("source", "target")]
    weights = shared[stored["source_weights"]]
    coupling = plan_from_arrays(
        stored["plan"], adata[names[0]].obsm["X_pca"], source_weights=weights
    )
    return torch.cat([block for _, block in coupling.mass_blocks()]).double().cpu().numpy(), *names


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
    adata = course()
    fit(adata)
    return adata


def test_what_a_fit_says_of_itself(fitted):
    entry = fitted.uns["genot"]
    pairs = entry["pairs"]
    assert pairs["name"].tolist() == ["0 to 2", "2 to 4"]
    assert pairs[["source_time", "target_time", "n_source", "n_target"]].to_numpy().tolist() == [
        [0, 2, 40, 40],
        [2, 4, 40, 40],
    ]
    assert pairs["converged"].all()
    params = sg.get.params(fitted)
    assert params["task"] == "trajectory"
    assert params["times"] == [0, 2, 4]
    assert params["time_labels"] == ["0", "2", "4"]
    assert params["use_rep"] == "X_pca"
    assert "growth_key" not in params
    assert "genot_growth" not in fitted.obs
    assert set(fitted.obsm) == {"X_pca"}


def test_stored_couplings_are_the_solved_ones(fitted):
    cells = fitted.obsm["X_pca"]
    sides = [(rows_at(fitted, t), rows_at(fitted, t + 2)) for t in (0, 2)]
    pairs = [sg.Pair(cells[source], cells[target]) for source, target in sides]
    solved = dict(sg.ot.Sinkhorn(epsilon=0.01).solve_all(pairs))  # the default
    for position, rows in enumerate(sides):
        plan, source, target = stored_plan(fitted, position)
        assert source == fitted.obs_names[rows[0]].tolist()
        assert target == fitted.obs_names[rows[1]].tolist()
        expected = torch.cat([block for _, block in solved[position].mass_blocks()])
        # the source potential is made anew from the target's: off by the solver's tolerance, 1e-4
        np.testing.assert_allclose(plan, expected.cpu(), atol=1e-4 / 40)
        np.testing.assert_allclose(plan.sum(1), 1 / 40, rtol=1e-4)


def test_no_mass_crosses_strata():
    adata = course(n=60)
    adata.obs.loc[adata.obs_names[::20], "donor"] = "c"  # 3 cells a day
    with pytest.warns(UserWarning, match="left out: 0 to 2 of c .*; 2 to 4 of c") as record:
        fit(adata, covariates=["donor"])
    assert [warning.filename for warning in record] == [__file__]
    seen = []
    for position, row in adata.uns["genot"]["pairs"].reset_index(drop=True).iterrows():
        plan, *names = stored_plan(adata, position)
        assert plan.sum() == pytest.approx(1, abs=1e-4)
        for side, time in zip(names, (row["source_time"], row["target_time"]), strict=True):
            cells = adata.obs.loc[side]
            assert set(cells["donor"]) == {row["stratum"]}
            assert set(cells["day"]) == {time}
        seen.append((row["source_time"], row["stratum"]))
    assert seen == [(0, "a"), (0, "b"), (2, "a"), (2, "b")]


def test_nan_for_the_last_time_only(fitted):
    out = sg.tl.predict(fitted, copy=True)
    last = rows_at(out, 4)
    for values in (
        out.obsm["X_genot"],
        out.obsm["X_genot_mean"],
        out.obs[["genot_uncertainty"]].to_numpy(),
    ):
        missing = np.isnan(values)
        assert (missing.all(1) == missing.any(1)).all()
        np.testing.assert_array_equal(np.flatnonzero(missing.any(1)), last)


def test_each_cell_is_asked_for_its_own_step(fitted):
    question = sg.get.fit(fitted).ask(fitted)
    np.testing.assert_array_equal(
        question.rows, np.sort(np.r_[rows_at(fitted, 0), rows_at(fitted, 2)])
    )
    # source time and step over the length of the course
    expected = [
        [0, 0.5] if day == 0 else [0.5, 0.5] for day in fitted.obs["day"].iloc[question.rows]
    ]
    np.testing.assert_array_equal(question.condition, expected)


@pytest.mark.medium
def test_a_target_is_a_number_or_a_label():
    adata = course()
    adata.obs["day"] = [f"day {day}" for day in adata.obs["day"]]
    fit(adata, pairs=[("day 2", 4), (0, "day 4"), (0, 2)])
    assert sg.get.params(adata)["steps"] == [[0, 2], [0, 4], [2, 4]]
    answered = {}
    for target in (None, 2, "2", "day 2", "day 4"):
        out = sg.tl.predict(adata, target, n_samples=2, copy=True).obsm["X_genot"]
        answered[target] = {
            day for day in (0, 2, 4) if np.isfinite(out[rows_at(adata, f"day {day}")]).all()
        }
    assert answered == {None: {0, 2}, 2: {0}, "2": {0}, "day 2": {0}, "day 4": {0, 2}}
    # the next time is the default, not the farthest
    first = rows_at(adata, "day 0")
    near, far = (
        sg.tl.predict(adata[first].copy(), target, n_samples=2, copy=True).obsm["X_genot"]
        for target in (2, 4)
    )
    assert not np.allclose(near, far)
    np.testing.assert_array_equal(
        sg.tl.predict(adata[first].copy(), n_samples=2, copy=True).obsm["X_genot"], near
    )


def test_what_cannot_be_asked(fitted):
    before = state(fitted)
    with pytest.raises(
        ValueError, match=r"`target=3` is not among the sampled times \['0', '2', '4'\]"
    ):
        sg.tl.predict(fitted, 3)
    with pytest.raises(
        ValueError,
        match=r"No cell .* source time of a fitted step to 0: .* steps \[\(0.*, 2.*\), \(",
    ):
        sg.tl.predict(fitted, 0)
    last = fitted[rows_at(fitted, 4)].copy()
    with pytest.raises(ValueError, match=r"source time of a fitted step: .*the cells are at \[4\]"):
        sg.tl.predict(last)
    with pytest.raises(
        ValueError, match=r"`dose=1.0` was given, but the fit 'trajectory' has no doses"
    ):
        sg.tl.predict(fitted, 2, dose=1.0)
    del last.obs["day"]
    with pytest.raises(KeyError, match=r"'day'.* is not in obs"):
        sg.tl.predict(last)
    assert_same_state(before, state(fitted))


@pytest.mark.medium
def test_new_cells_have_the_time_of_the_fit_whichever_times_they_have():
    adata = course()
    stages = {0: "embryo", 2: "P0", 4: "adult"}
    adata.obs["stage"] = pd.Categorical(
        adata.obs["day"].map(stages), categories=list(stages.values()), ordered=True
    )
    with pytest.warns(UserWarning, match="treated as equidistant, at 0 to 2") as record:
        fit(adata, "stage")
    assert [warning.filename for warning in record] == [__file__]
    assert sg.get.params(adata)["time_labels"] == ["embryo", "P0", "adult"]
    # subsetting drops the categories that are gone: the second stage is then the first there is
    for day in (0, 2):
        part = adata[rows_at(adata, day)].copy()
        assert len(part.obs["stage"].cat.categories) == 1
        question = sg.get.fit(adata).ask(part)
        np.testing.assert_array_equal(question.condition, [[day / 4, 0.5]] * 40)
        assert np.isfinite(
            sg.tl.predict(part, model=adata, n_samples=2, copy=True).obsm["X_genot"]
        ).all()
    with pytest.raises(ValueError, match="No cell of `adata` is at the source time"):
        sg.tl.predict(adata[rows_at(adata, 4)].copy(), model=adata)


@pytest.fixture(scope="module")
def grown():
    adata = course(rate=np.random.default_rng(1).normal(size=120))  # births and deaths
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_learning, "fit_growth", partial(fit_growth, steps=20))
        fit(adata, growth_key="rate", pairs=[(0, 2), (2, 4), (0, 4)])
    return adata


@pytest.mark.medium
def test_a_prior_alone_is_the_growth(grown):
    adata, rate = grown, grown.obs["rate"].to_numpy()
    for day in (0, 2):
        rows = rows_at(adata, day)
        descendants = np.exp(2 * rate[rows])
        # float32 and the solver's tolerance, 1e-4 of all mass
        np.testing.assert_allclose(
            adata.obs["genot_growth"].iloc[rows], descendants / descendants.mean(), rtol=1e-4
        )
        entry = adata.uns["genot"]
        weights = entry["shared"][entry["links"][str(day // 2)]["source_weights"]]
        np.testing.assert_allclose(weights, descendants / descendants.sum(), rtol=1e-6)
    np.testing.assert_array_equal(
        np.flatnonzero(adata.obs["genot_growth"].isna()), rows_at(adata, 4)
    )
    # cells that were not there are told by the network
    eta = sg.get.model(adata).growth(adata.obsm["X_pca"][rows_at(adata, 0)], np.array([0, 0.5]))
    assert eta.isfinite().all()


def test_a_step_without_growth_leaves_that_of_the_others(monkeypatch):
    rate = np.where(course().obs["day"] == 0, np.random.default_rng(1).normal(size=120), 0.3)
    adata, learned = course(rate=rate), {}
    monkeypatch.setattr(
        _learning,
        "fit_growth",
        lambda _model, _pairs, eta, xi, *, rng: learned.update(eta=eta, xi=xi),
    )
    fit(adata, growth_key="rate")
    descendants = np.exp(2 * rate[rows_at(adata, 0)])
    expected = [descendants / descendants.mean(), np.ones(40)]
    for eta, day, values in zip(learned["eta"], (0, 2), expected, strict=True):
        np.testing.assert_allclose(eta, values, rtol=1e-4)
        np.testing.assert_allclose(
            adata.obs["genot_growth"].iloc[rows_at(adata, day)], values, rtol=1e-4
        )
    for xi in learned["xi"]:
        np.testing.assert_allclose(xi, np.ones(40), atol=40 * 1e-4)


def test_an_older_growth_goes_with_its_fit():
    adata = course(genot_growth=1.0)
    fit(adata)
    assert "genot_growth" not in adata.obs


@pytest.mark.slow
@pytest.mark.parametrize(("s", "g"), [(0.25, 1.0), (0.5, 5.0)])
def test_growth_of_new_cells_is_the_unbalanced_law(s, g):
    truth, mass, n = UnbalancedGaussians(s, g), MASSES[s, g], 400
    rng = np.random.default_rng(0)
    cells = np.r_[
        rng.normal(truth.a, truth.A**0.5, (n, 1)), rng.normal(truth.b, truth.B**0.5, (n, 1))
    ]
    obs = pd.DataFrame({"day": np.repeat([0, 1], n)}, index=[str(i) for i in range(2 * n)])
    adata = ad.AnnData(obs=obs, obsm={"X_pca": cells.astype(np.float32)})
    solver = sg.ot.Sinkhorn(epsilon=truth.epsilon, tau=(truth.tau, truth.tau), relative=False)
    fit(adata, solver=solver)
    expected = truth.growth(cells[:n, 0], mass)
    # mean over 400 cells of how far the plan of a sample is from that of the law
    relative = adata.obs["genot_growth"].to_numpy()[:n] / expected - 1
    assert np.abs(relative).mean() < 0.06
    assert adata.obs["genot_growth"].iloc[n:].isna().all()

    new = ad.AnnData(
        obs=pd.DataFrame({"day": 0}, index=[f"n{i}" for i in range(500)]),
        obsm={"X_pca": rng.normal(truth.a, truth.A**0.5, (500, 1)).astype(np.float32)},
    )
    sg.tl.predict(new, model=adata, n_samples=2)
    expected = truth.growth(new.obsm["X_pca"][:, 0], mass)
    assert np.corrcoef(new.obs["genot_growth"], expected)[0, 1] > 0.98
    assert np.abs(new.obs["genot_growth"] / expected - 1).mean() < 0.06


@pytest.mark.slow
@pytest.mark.parametrize("displacement", [True, False])
def test_learns_a_gaussian_conditional_law(displacement):
    rng, n = np.random.default_rng(0), 1500
    problem = random_problem(3, rng, relative_epsilon=0.2)
    source, target = problem.sample_source(n, rng), problem.sample_target(n, rng)
    obs = pd.DataFrame({"day": np.repeat([0, 1], n)}, index=[str(i) for i in range(2 * n)])
    adata = ad.AnnData(obs=obs, obsm={"X_pca": np.r_[source, target].astype(np.float32)})
    solver = sg.ot.Sinkhorn(epsilon=problem.epsilon, relative=False)
    learner = sg.model.FlowMatching(steps=500, displacement=displacement)
    fit(adata, solver=solver, learner=learner)
    new = problem.sample_source(200, rng)
    draws = (
        sg.get.model(adata).sample(new, np.array([0.0, 1.0]), n_samples=300).double().cpu().numpy()
    )
    excess = cbw_uvp(problem, new, draws) - cbw_uvp_floor(problem, new, 300, rng)
    # how far the plan of the samples is from the law: no model of it comes closer but by smoothing
    rows = solver(sg.Pair(source, target)).rows(torch.as_tensor(new)).double().cpu().numpy()
    mean = rows @ target
    covariance = np.einsum("nm,mi,mj->nij", rows, target, target) - mean[:, :, None] * mean[:, None]
    sampling = (
        200
        * bures_wasserstein(mean, covariance, problem.mean(new), problem.S).mean()
        / np.trace(problem.B)
    )
    assert sampling < 1.5
    assert excess < sampling + 0.5


@pytest.mark.slow
def test_same_seed_same_bits():
    runs = []
    for seed in (1, 1, 2):
        adata = course()
        fit(adata, rng=seed)
        sg.tl.predict(adata, n_samples=2)
        runs.append(adata)
    first, second, other = (run.obsm["X_genot"][rows_at(run, 0)] for run in runs)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    weights = [run.uns["genot"]["model"]["weights"] for run in runs]
    for name, values in weights[0].items():
        np.testing.assert_array_equal(values, weights[1][name])


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.slow
def test_a_fit_survives_the_disk(grown, tmp_path, form):
    adata = grown
    path = tmp_path / f"cells.{form}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's and zarr's notes on format versions
        getattr(adata, f"write_{form}")(path)
        again = getattr(ad, f"read_{form}")(path)
    for target in (None, 4, "4"):
        one, other = (sg.tl.predict(cells, target, copy=True) for cells in (adata, again))
        np.testing.assert_array_equal(one.obsm["X_genot"], other.obsm["X_genot"])
        np.testing.assert_array_equal(one.obs["genot_growth"], other.obs["genot_growth"])
    for position in range(3):
        plan, *names = stored_plan(adata, position)
        plan_again, *names_again = stored_plan(again, position)
        np.testing.assert_array_equal(plan, plan_again)
        assert names == names_again
    pd.testing.assert_frame_equal(
        adata.uns["genot"]["pairs"], again.uns["genot"]["pairs"], check_dtype=False
    )


def test_copy_leaves_the_original_alone():
    adata = course(genot_growth=1.0)
    before = state(adata)
    out = fit(adata, copy=True)
    assert_same_state(before, state(adata))
    assert "genot" in out.uns
    assert "genot_growth" not in out.obs


@pytest.mark.slow
def test_a_view_is_taken_and_its_parent_stays():
    adata = course()
    view = adata[adata.obs["day"] < 4]
    fit(view)
    sg.tl.predict(view)
    assert np.isfinite(view.obsm["X_genot"]).any()
    assert set(adata.uns) == set()
    whole = adata[adata.obs["day"] < 4].copy()
    fit(whole)
    sg.tl.predict(whole)
    np.testing.assert_array_equal(whole.obsm["X_genot"], view.obsm["X_genot"])


@pytest.mark.slow
def test_sparse_and_dense_layers_are_fitted_alike():
    adata = course()
    adata.layers["raw"] = sparse.csr_matrix(adata.X)
    results = []
    for options in ({"use_rep": "X"}, {"layer": "raw"}):
        fit(adata, **options)
        assert sg.get.params(adata)["use_rep"] == "X"
        results.append(sg.tl.predict(adata, copy=True).obsm["X_genot"])
    adata.X = sparse.csr_matrix(adata.X)
    fit(adata, use_rep="X")
    results.append(sg.tl.predict(adata, copy=True).obsm["X_genot"])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_the_layer_of_the_fit_is_the_one_predicted_from():
    adata = course()
    adata.layers["raw"] = adata.X.copy()
    fit(adata, layer="raw")
    expected = sg.tl.predict(adata, n_samples=2, copy=True).obsm["X_genot"]
    adata.X = adata.X[:, ::-1].copy()
    again = sg.tl.predict(adata, n_samples=2, copy=True).obsm["X_genot"]
    np.testing.assert_array_equal(again, expected)


def bad_inputs():
    """What to change, options, error and the words that it must have."""

    def set_obs(key, position, value):
        def change(adata):
            adata.obs[key] = adata.obs[key].astype(float)
            adata.obs.loc[adata.obs_names[position], key] = value

        return change

    def nan_cell(adata):
        adata.obsm["X_pca"][3, 1] = np.nan

    def same_names(adata):
        adata.obs_names = ["c"] * adata.n_obs

    def nothing(adata):
        pass

    yield (
        "missing time",
        set_obs("day", 5, np.nan),
        {},
        ValueError,
        r"`time_key='day'` is missing in 1 .*\(c5\)",
    )
    yield "one cell", set_obs("day", 5, 9), {}, ValueError, r"has a single cell at \[9.0\]"
    yield "no column", nothing, {"time_key": "time"}, KeyError, "`time_key='time'` is not in obs"
    yield "text", nothing, {"time_key": "donor"}, ValueError, r"no single number in \['.', '.'\]"
    yield "pair", nothing, {"pairs": [(4, 0)]}, ValueError, "`pairs` must be"
    yield "nan cell", nan_cell, {}, ValueError, r"NaN or infinite values in 1 of 120 cells \(c3\)"
    yield "names", same_names, {}, ValueError, "obs_names_make_unique"
    yield (
        "rates",
        set_obs("rate", 7, np.nan),
        {"growth_key": "rate"},
        ValueError,
        "`growth_key='rate'` is missing",
    )
    yield (
        "text rates",
        nothing,
        {"growth_key": "donor"},
        ValueError,
        "`growth_key='donor'` must be numbers",
    )
    yield "strata", nothing, {"covariates": "donor"}, TypeError, "`covariates='donor'` is text"
    yield "slash", nothing, {"key_added": "a/b"}, ValueError, "`key_added` is 'a/b'"
    yield "representation", nothing, {"use_rep": "X_umap"}, KeyError, "use_rep='X_umap'"
    yield "layer", nothing, {"layer": "raw"}, KeyError, "layer='raw'"


@pytest.mark.parametrize(
    ("spoil", "options", "error", "message"),
    [case[1:] for case in bad_inputs()],
    ids=[case[0] for case in bad_inputs()],
)
def test_bad_input_says_what_to_do_and_changes_nothing(spoil, options, error, message):
    adata = course(rate=np.zeros(120))
    spoil(adata)
    before = state(adata)
    with pytest.raises(error, match=message):
        fit(adata, **options)
    assert_same_state(before, state(adata))


@pytest.mark.slow
def test_minibatches_answer_questions_from_a_sample_of_their_pairs():
    adata = two_groups()
    solver = sg.ot.Minibatch(sg.ot.Sinkhorn(epsilon=0.05, tolerance=1e-2), batch_size=64)
    learner = sg.model.FlowMatching(steps=5, validation_fraction=0)
    sg.tl.fit_trajectory(adata, "day", use_rep="X", solver=solver, learner=learner, progress=False)
    table = sg.tl.cell_transition(adata, "kind", "kind")
    # 64 of 80 cells a side: the groups' counts differ between the sides by 2.0 in the mean (each
    # hypergeometric with variance 64 / 4 * 16 / 79), and that many of 64 cells have to cross
    np.testing.assert_allclose(table, np.eye(2), atol=2 * 2.0 / 64)


def two_groups() -> ad.AnnData:
    """Two groups far apart at two times."""
    rng = np.random.default_rng(0)
    kind, day = np.tile([0, 1], 80), np.repeat([0, 1], 80)
    cells = np.column_stack([20 * kind, day]) + rng.normal(size=(160, 2))
    obs = pd.DataFrame(
        {"day": day, "kind": np.where(kind, "b", "a")}, index=[f"c{i}" for i in range(160)]
    )
    return ad.AnnData(cells.astype(np.float32), obs=obs)
