"""Questions to a time course: laws by brute force, and answers that are known."""

import logging
import warnings
from functools import partial

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scgenot as sg
from scgenot.fit.transport import open_transport
from scgenot.model import fit_growth, learning
from truth.courses import ancestors, dense_step, fit_quickly, shares, small_course

METHODS = ("coupling", "model")


@pytest.fixture(scope="module")
def fitted():
    """A course with growth as prior, its two dense steps, and which cells are of which day."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "fit_growth", partial(fit_growth, steps=20))
        adata = fit_quickly(small_course(), growth_key="rate")
    days = {day: (adata.obs["day"] == day).to_numpy() for day in ("day 2", "day 4", "day 6")}
    return adata, [dense_step(adata, row) for row in (0, 1)], days


def one_hot(adata, cells):
    return np.stack([(adata.obs["state"] == state) & cells for state in "cab"], axis=1).astype(
        float
    )


@pytest.mark.slow
def test_rows_are_the_prior_of_growth(fitted):
    adata, steps, days = fitted
    for step, day in zip(steps, ("day 2", "day 4"), strict=True):
        descendants = np.exp(2 * adata.obs["rate"][days[day]])
        np.testing.assert_allclose(step.sum(1)[days[day]], descendants / descendants.mean())


def test_push_is_the_product_of_the_steps(fitted):
    adata, steps, days = fitted
    out = sg.tl.push(adata, "a", groupby="state", copy=True)
    mass = shares(one_hot(adata, days["day 2"])[:, 1])
    expected = mass + shares(steps[0].T @ mass) + shares(steps[1].T @ steps[0].T @ mass)
    np.testing.assert_allclose(out.obs["genot_push"], expected, rtol=1e-9)
    assert "genot_push" not in adata.obs


def test_pull_is_the_product_of_the_ancestors(fitted):
    adata, steps, days = fitted
    mask = adata.obs["state"].isin(["a", "c"])
    out = sg.tl.pull(adata, mask, copy=True)
    by_groups = sg.tl.pull(adata, ["c", "a"], groupby="state", key_added="named", copy=True)
    mass = shares((mask & days["day 6"]).to_numpy(dtype=float))
    middle = ancestors(steps[1]) @ mass
    np.testing.assert_allclose(
        out.obs["genot_pull"], mass + middle + ancestors(steps[0]) @ middle, rtol=1e-9
    )
    np.testing.assert_array_equal(by_groups.obs["named"], out.obs["genot_pull"])


@pytest.mark.parametrize("method", METHODS)
def test_every_time_has_all_mass_and_other_times_none(fitted, method):
    adata = fitted[0]
    for question, start, end in ((sg.tl.push, "day 4", None), (sg.tl.pull, 2, "day 4")):
        mass = question(
            adata,
            "b",
            groupby="state",
            start=start,
            end=end,
            method=method,
            key_added="m",
            copy=True,
        )
        totals = mass.obs.groupby("day")["m"].sum(min_count=1)
        left_out = "day 2" if question is sg.tl.push else "day 6"
        assert np.isnan(totals.pop(left_out))
        np.testing.assert_allclose(totals, 1)


@pytest.mark.medium
@pytest.mark.parametrize("method", METHODS)
def test_transitions_are_pushed_and_pulled_groups(fitted, method):
    adata, _, days = fitted
    forward = sg.tl.cell_transition(adata, "state", "state", method=method)
    backward = sg.tl.cell_transition(
        adata, "state", {"state": ["b", "a"]}, direction="backward", method=method
    )
    assert (
        list(forward.index) == list(forward.columns) == ["c", "a", "b"]
    )  # in the order of the categories
    assert list(backward.columns) == ["b", "a"]
    np.testing.assert_allclose(forward.sum(axis=1), 1)
    np.testing.assert_allclose(backward.sum(axis=0), 1)
    pushed = (
        sg.tl.push(adata, "a", groupby="state", method=method, copy=True)
        .obs["genot_push"]
        .to_numpy()
    )
    pulled = (
        sg.tl.pull(adata, "a", groupby="state", method=method, copy=True)
        .obs["genot_pull"]
        .to_numpy()
    )
    np.testing.assert_allclose(
        forward.loc["a"], pushed[days["day 6"]] @ one_hot(adata, days["day 6"])[days["day 6"]]
    )
    np.testing.assert_allclose(
        backward["a"], pulled[days["day 2"]] @ one_hot(adata, days["day 2"])[days["day 2"]]
    )


def test_backward_is_forward_by_bayes(fitted):
    """Over one balanced step to equal weights: P(g | h) P(h) = P(h | g) P(g).

    P(g) are the descendants of g.
    """
    adata, steps, days = fitted
    forward, backward = (
        sg.tl.cell_transition(adata, "state", "state", end=4, direction=direction)
        for direction in ("forward", "backward")
    )
    descendants = one_hot(adata, days["day 2"]).T @ steps[0].sum(1)
    # the columns of the plan sum to their weights but for the marginal error
    np.testing.assert_allclose(
        backward, shares(forward.to_numpy() * descendants[:, None], axis=0), atol=1e-4
    )


@pytest.mark.parametrize("of", ["descendants", "lineage"])
def test_fates_are_the_product_of_the_steps(fitted, of):
    adata, steps, days = fitted
    out = sg.tl.fate(adata, "state", of=of, copy=True)
    fates = out.obsm["genot_fate"].to_numpy()
    # one lineage: a row of K over its sum at each step
    ahead = (
        shares(fates[days["day 4"]], axis=1)
        if of == "lineage"
        else (steps[1] @ one_hot(adata, days["day 6"]))[days["day 4"]]
    )
    expected = steps[0][:, days["day 4"]] @ ahead
    np.testing.assert_allclose(
        fates[days["day 2"]], shares(expected[days["day 2"]], axis=1), rtol=1e-9
    )
    last = steps[1] @ one_hot(adata, days["day 6"])
    np.testing.assert_allclose(fates[days["day 4"]], shares(last[days["day 4"]], axis=1), rtol=1e-9)
    np.testing.assert_array_equal(
        fates[days["day 6"]], one_hot(adata, days["day 6"])[days["day 6"]]
    )
    entropy = -(fates * np.log(np.maximum(fates, 1e-300))).sum(1) / np.log(3)
    np.testing.assert_allclose(out.obs["genot_fate_entropy"], entropy, atol=1e-12)


def test_the_fate_of_a_cell_is_where_it_is_pushed(fitted):
    adata, _, days = fitted
    cell = np.flatnonzero(days["day 2"])[3]
    mass = sg.tl.push(adata, np.arange(adata.n_obs) == cell, copy=True).obs["genot_push"]
    by_state = mass[days["day 6"]].groupby(adata.obs["state"][days["day 6"]], observed=True).sum()
    fates = sg.tl.fate(adata, "state", copy=True).obsm["genot_fate"].iloc[cell]
    np.testing.assert_allclose(fates, by_state[fates.index])


def test_what_is_in_no_terminal_group_is_other(fitted):
    adata, _, days = fitted
    full = sg.tl.fate(adata, "state", copy=True).obsm["genot_fate"]
    some = sg.tl.fate(adata, "state", terminal=["b"], copy=True).obsm["genot_fate"]
    assert list(some) == ["b", "other"]
    np.testing.assert_allclose(some, np.column_stack([full["b"], full["c"] + full["a"]]))
    early = sg.tl.fate(adata, "state", end="day 4", copy=True).obsm["genot_fate"]
    assert early[days["day 6"]].isna().all(axis=None)
    assert early[days["day 2"]].notna().all(axis=None)


def test_labels_and_numbers_are_carried_by_relatives(fitted):
    adata, steps, days = fitted
    chain, onward = ancestors(steps[0]) @ ancestors(steps[1]), steps[0] @ steps[1]
    out = sg.tl.annotate(adata, "state", copy=True)
    probabilities = (chain.T @ one_hot(adata, days["day 2"]))[days["day 6"]]
    assert list(out.obs["genot_annotated_state"][days["day 6"]]) == [
        ("c", "a", "b")[k] for k in probabilities.argmax(1)
    ]
    np.testing.assert_allclose(
        out.obs["genot_annotated_state_probability"][days["day 6"]], probabilities.max(1)
    )
    own = out.obs["genot_annotated_state"].astype(str) == adata.obs["state"].astype(str)
    assert own[days["day 2"]].all()
    out = sg.tl.annotate(adata, "score", direction="backward", key_added="score_ahead", copy=True)
    expected = (
        onward @ np.where(days["day 6"], adata.obs["score"], 0) / np.maximum(onward.sum(1), 1e-300)
    )
    np.testing.assert_allclose(out.obs["score_ahead"][days["day 2"]], expected[days["day 2"]])
    assert "score_ahead_probability" not in out.obs


def test_missing_values_pass_nothing_on(fitted):
    adata, steps, days = fitted
    holes = adata.copy()
    gone = np.flatnonzero(days["day 2"])[::3]
    holes.obs.loc[holes.obs_names[gone], ["state", "score"]] = None
    known = days["day 2"] & ~np.isin(np.arange(adata.n_obs), gone)
    sg.tl.annotate(holes, "score", end=4)
    weights = ancestors(steps[0])[known][:, days["day 4"]]
    expected = shares(weights, axis=0).T @ adata.obs["score"][known]
    np.testing.assert_allclose(holes.obs["genot_annotated_score"][days["day 4"]], expected)
    sg.tl.annotate(holes, "state", end=4)
    assert holes.obs["genot_annotated_state"][days["day 4"]].notna().all()


@pytest.mark.medium
def test_labels_keep_the_type_of_their_column(fitted, tmp_path):
    adata = fitted[0].copy()
    adata.obs["flag"] = adata.obs["score"] > 0
    adata.obs["clone"] = pd.Categorical(np.where(adata.obs["flag"], 7, 11))
    for column, values in (("flag", {True, False}), ("clone", {7, 11})):
        sg.tl.annotate(adata, column)
        found = adata.obs[f"genot_annotated_{column}"]
        assert found.dtype == adata.obs[column].dtype
        first = (adata.obs["day"] == "day 2").to_numpy()
        np.testing.assert_array_equal(found[first], adata.obs[column][first])
        assert set(found) == values
    adata.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert set(again.obs["genot_annotated_clone"]) == {7, 11}
    sg.tl.fate(adata, "flag", terminal=[True])
    assert list(adata.obsm["genot_fate"]) == ["True", "other"]


def test_a_group_that_is_not_in_the_fit_has_zeros_and_its_cells_no_fate(fitted):
    adata = fitted[0].copy()
    first = np.flatnonzero(adata.obs["day"] == "day 2")[:3]
    adata.obs["state"] = adata.obs["state"].cat.add_categories("new")
    adata.obs.iloc[first, adata.obs.columns.get_loc("state")] = "new"
    adata.obs_names = [
        f"other {name}" if k in first else name for k, name in enumerate(adata.obs_names)
    ]
    table = sg.tl.cell_transition(adata, "state", "state")
    assert (table.loc["new"] == 0).all()
    np.testing.assert_allclose(table.drop("new").sum(axis=1), 1)
    sg.tl.fate(adata, "state")
    sg.tl.velocity(adata, method="coupling")
    for slot in ("genot_fate", "genot_velocity"):
        assert np.isnan(np.asarray(adata.obsm[slot])[first]).all()


def test_velocity_of_the_coupling_is_the_barycentre(fitted):
    adata, steps, days = fitted
    out = sg.tl.velocity(adata, method="coupling", basis="umap", copy=True)
    for slot, rep in (("genot_velocity", "X_pca"), ("genot_velocity_umap", "X_umap")):
        places = adata.obsm[rep]
        for step, day in zip(steps, ("day 2", "day 4"), strict=True):
            expected = (step @ places)[days[day]] / step.sum(1)[days[day], None] - places[days[day]]
            np.testing.assert_allclose(out.obsm[slot][days[day]], expected / 2)
        assert np.isnan(out.obsm[slot][days["day 6"]]).all()


def test_growth_of_the_model_weighs_its_draws(fitted):
    adata, _, days = fitted
    step = open_transport(adata, "genot", "model").step(2, 4)
    growth = (
        sg.get.model(adata)
        .growth(adata.obsm["X_pca"][days["day 2"]], np.array([0, 0.5]))
        .cpu()
        .numpy()
    )
    np.testing.assert_allclose(
        step.expect(np.ones(adata.n_obs))[days["day 2"]], growth / growth.mean(), rtol=1e-5
    )
    # every cell has an ancestor, met by a draw or not
    np.testing.assert_allclose(step.inherit(np.ones(adata.n_obs))[days["day 4"]], 1)


@pytest.mark.medium
def test_velocity_of_the_model_is_the_mean_of_its_draws(fitted):
    adata, _, days = fitted
    out = sg.tl.velocity(adata, basis="X_umap", n_samples=60, copy=True)
    cells = adata.obsm["X_pca"][days["day 4"]]
    draws = (
        sg.get.model(adata).sample(cells, np.array([0.5, 0.5]), n_samples=60, rng=7).cpu().numpy()
    )
    difference = out.obsm["genot_velocity"][days["day 4"]] - (draws.mean(1) - cells) / 2
    standard_error = draws.std(1) / np.sqrt(60) / 2
    assert (np.abs(difference) < 5 * np.sqrt(2) * standard_error).all()
    # places are means of observed places
    ahead = adata.obsm["X_umap"][days["day 4"]] + 2 * out.obsm["genot_velocity_umap"][days["day 4"]]
    assert (np.abs(ahead) <= np.abs(adata.obsm["X_umap"][days["day 6"]]).max(0)).all()


def test_strata_are_blocks_and_share_the_coupling():
    adata = fit_quickly(small_course(), covariates=["donor"])
    same = adata.obs["donor"].to_numpy()[:, None] == adata.obs["donor"].to_numpy()
    rows = [dense_step(adata, row) for row in range(4)]
    step = rows[0] + rows[1]
    assert adata.uns["genot"]["pairs"]["stratum"].tolist() == ["x", "y"] * 2
    assert (step[~same] == 0).all()
    mask = adata.obs["state"] == "a"
    mass = shares((mask & (adata.obs["day"] == "day 2")).to_numpy(dtype=float))
    out = sg.tl.push(adata, mask, end=4, copy=True)
    there = (adata.obs["day"] == "day 4").to_numpy()
    np.testing.assert_allclose(
        out.obs["genot_push"][there], shares(step.T @ mass)[there], rtol=1e-9
    )
    sg.tl.coupling(adata, top_k=100)
    expected = (step + rows[2] + rows[3]).T / adata.obs["day"].map(
        adata.obs["day"].value_counts()
    ).to_numpy()
    np.testing.assert_allclose(adata.obsp["genot_coupling"].toarray(), expected.T, rtol=1e-9)


def test_couplings_go_to_cellrank_by_pair_of_times(fitted):
    adata, steps, days = fitted
    adata = sg.tl.coupling(adata, top_k=100, copy=True)
    assert adata.uns["genot"]["coupling_key"] == "genot_coupling"
    found = sg.get.couplings(adata)
    assert list(found) == [("day 2", "day 4"), ("day 4", "day 6")]
    for step, ((earlier, later), plan) in zip(steps, found.items(), strict=True):
        assert list(plan.obs_names) == list(adata.obs_names[days[earlier]])
        assert list(plan.var_names) == list(adata.obs_names[days[later]])
        expected = step[np.ix_(days[earlier], days[later])] / days[earlier].sum()
        np.testing.assert_allclose(plan.X.toarray(), expected, rtol=1e-9)
    few = sg.tl.coupling(adata, top_k=3, copy=True).obsp["genot_coupling"]
    assert np.diff(few.indptr)[~days["day 6"]].tolist() == [3] * int((~days["day 6"]).sum())


def test_a_cost_of_ones_own_leaves_a_sparse_plan():
    solver = sg.ot.Sinkhorn(
        epsilon=0.1, tolerance=1e-6, cost=lambda x, y: sg.ot.squared_euclidean(x, y)
    )
    adata, named = fit_quickly(small_course(), solver=solver), fit_quickly(small_course())
    for cells in (adata, named):
        sg.tl.fate(cells, "state")
        sg.tl.coupling(cells, top_k=5)
    np.testing.assert_allclose(adata.obsm["genot_fate"], named.obsm["genot_fate"], rtol=1e-3)
    np.testing.assert_allclose(
        *(x.obsp["genot_coupling"].toarray() for x in (adata, named)), rtol=1e-2, atol=1e-6
    )


def branches(n: int = 150, seed: int = 0) -> ad.AnnData:
    """Two branches far apart at three times, 30 and 70 %.

    Each moves on by one along the second axis.
    """
    rng = np.random.default_rng(seed)
    time = np.repeat([0.0, 1.0, 2.0], n)
    up = np.tile(np.arange(n) < 0.3 * n, 3)
    cells = rng.normal(scale=0.3, size=(3 * n, 2)) + np.c_[np.where(up, 4.0, -4.0), time]
    obs = pd.DataFrame(
        {"time": time, "branch": np.where(up, "up", "down")}, index=[f"c{i}" for i in range(3 * n)]
    )
    return ad.AnnData(obs=obs, obsm={"X_pca": cells.astype(np.float32)})


@pytest.fixture(scope="module")
def branched():
    adata = branches()
    learner = sg.model.FlowMatching(steps=250, batch_size=128, learning_rate=5e-3)
    sg.tl.fit_trajectory(adata, "time", learner=learner, progress=False)
    return adata


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_branches_are_followed(branched, method):
    adata, true = branched.copy(), (branched.obs["branch"] == "up").to_numpy(dtype=float)
    # the model stops after few steps: one draw in fifty may end in the other branch
    tolerance = 1e-3 if method == "coupling" else 0.02
    sg.tl.fate(adata, "branch", method=method)
    assert np.abs(adata.obsm["genot_fate"]["up"] - true).mean() < tolerance
    sg.tl.annotate(adata, "branch", method=method)
    assert (adata.obs["genot_annotated_branch"].astype(str) == adata.obs["branch"]).mean() > 0.99
    sg.tl.velocity(adata, method=method)
    # one along the second axis, and half way back to the mean of the branch's cloud: the way that
    # the mean goes is one
    mean = np.nanmean(adata.obsm["genot_velocity"], axis=0)
    np.testing.assert_allclose(mean, [0, 1], atol=0.1)


@pytest.mark.slow
def test_model_and_coupling_agree_on_fates_of_cells_that_were_not_fitted(branched):
    new = branches(seed=1)
    new.obs_names = [f"new-{name}" for name in new.obs_names]
    # early cells of the new draw, late cells of the fit
    late = branched[branched.obs["time"] == 2]
    cells = ad.concat([new[new.obs["time"] < 2], late])
    cells.uns["genot"] = branched.uns["genot"]
    sg.tl.fate(cells, "branch", method="model")
    true = (cells.obs["branch"] == "up").to_numpy(dtype=float)
    assert np.abs(cells.obsm["genot_fate"]["up"] - true).mean() < 0.05
    with pytest.raises(ValueError, match=r"no cells of the fit.*method='model'"):
        sg.tl.fate(cells, "branch")


@pytest.mark.slow
def test_a_group_that_nothing_reaches_has_zeros_and_a_message(branched, caplog):
    adata = branched[(branched.obs["time"] == 2) | (branched.obs["branch"] == "down")].copy()
    for method in METHODS:
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="scgenot"):
            sg.tl.fate(adata, "branch", method=method)
        assert "No earlier cell reaches the terminal groups ['up']" in caplog.text
        assert (adata.obsm["genot_fate"]["up"][adata.obs["time"] < 2] == 0).all()
        assert adata.obsm["genot_fate"].notna().all(axis=None)


@pytest.mark.medium
def test_answers_survive_the_disk(fitted, tmp_path):
    adata = fitted[0].copy()
    adata.obs["state"] = adata.obs["state"].cat.rename_categories({"a": "a/1"})

    def ask(cells):
        for method in METHODS:
            sg.tl.push(cells, "b", groupby="state", method=method, key_added=f"push_{method}")
            sg.tl.fate(cells, "state", method=method)
            yield cells.obs[f"push_{method}"].to_numpy(), cells.obsm["genot_fate"].to_numpy()
        sg.tl.annotate(cells, "state", direction="backward")
        sg.tl.coupling(cells)
        yield (
            cells.obs["genot_annotated_state_probability"].to_numpy(),
            cells.obsp["genot_coupling"].toarray(),
        )

    before = list(ask(adata))
    assert list(adata.obsm["genot_fate"]) == ["c", "a|1", "b"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's notes on format versions
        adata.write_h5ad(tmp_path / "cells.h5ad")
        again = ad.read_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(again.obsm["genot_fate"], adata.obsm["genot_fate"])
    for one, other in zip(before, ask(again), strict=True):
        for before_disk, after in zip(one, other, strict=True):
            np.testing.assert_array_equal(after, before_disk)


@pytest.mark.medium
def test_same_seed_same_draws(fitted):
    adata = fitted[0]
    runs = [
        sg.tl.push(adata, "a", groupby="state", method="model", rng=seed, copy=True)
        for seed in (1, 1, 2)
    ]
    first, same, other = (run.obs["genot_push"].to_numpy() for run in runs)
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_cells_that_left_are_left_out(fitted, caplog):
    adata, steps, days = fitted
    kept = np.arange(adata.n_obs) % 4 > 0
    view = adata[kept]
    with caplog.at_level(logging.INFO, logger="scgenot"):
        sg.tl.fate(view, "state")
    assert "are not in `adata` and left out" in caplog.text
    assert "genot_fate" not in adata.obsm
    counts = steps[1] @ (one_hot(adata, days["day 6"]) * kept[:, None])
    here = days["day 4"] & kept
    np.testing.assert_allclose(
        view.obsm["genot_fate"][days["day 4"][kept]], shares(counts[here], axis=1), rtol=1e-9
    )
    with pytest.raises(ValueError, match="no cells of the fit are left"):
        sg.tl.push(adata[days["day 2"]].copy(), "a", groupby="state")


@pytest.mark.medium
def test_ordered_categories_keep_their_times_when_the_first_is_gone():
    adata = small_course()
    names = {"day 2": "early", "day 4": "middle", "day 6": "late"}
    adata.obs["stage"] = pd.Categorical(
        adata.obs["day"].map(names), categories=list(names.values()), ordered=True
    )
    fit_quickly(adata, time_key="stage")
    later = adata[adata.obs["stage"] > "early"].copy()
    for cells in (adata, later):
        sg.tl.push(cells, "a", groupby="state", start="middle", method="model")
    # noise follows the step, not what else there is
    np.testing.assert_array_equal(later.obs["genot_push"], adata[later.obs_names].obs["genot_push"])


def test_a_path_takes_the_fewest_fitted_steps():
    pairs = [("day 2", "day 4"), ("day 4", "day 6"), ("day 2", "day 6")]
    adata = fit_quickly(small_course(), pairs=pairs)
    sg.tl.push(adata, "a", groupby="state")
    assert adata.obs["genot_push"][adata.obs["day"] == "day 4"].isna().all()
    adata = fit_quickly(small_course(), pairs=[("day 2", "day 4"), ("day 2", "day 6")])
    with pytest.raises(
        ValueError,
        match=r"no fitted steps lead from `start=4` to `end=6`; .* steps are 2 to 4, 2 to 6",
    ):
        sg.tl.push(adata, "a", groupby="state", start=4)


BAD = [
    (sg.tl.push, {"cells": "a"}, ValueError, "`cells` must be a boolean"),
    (sg.tl.push, {"cells": np.arange(107)}, ValueError, "int64"),
    (
        sg.tl.push,
        {"cells": "z", "groupby": "state"},
        ValueError,
        r"no cell has \['z'\].*found \['c', 'a', 'b'\]",
    ),
    (sg.tl.push, {"cells": "unused", "groupby": "state"}, ValueError, "unused"),
    (sg.tl.push, {"cells": "a", "groupby": "type"}, KeyError, "`groupby='type'` is not in obs"),
    (
        sg.tl.push,
        {"cells": np.zeros(107, dtype=bool)},
        ValueError,
        "no cell of the set is at `start=2`",
    ),
    (
        sg.tl.pull,
        {"cells": "day 2", "groupby": "day"},
        ValueError,
        "no cell of the set is at `end=6`",
    ),
    (
        sg.tl.push,
        {"cells": "a", "groupby": "state", "start": 3},
        ValueError,
        "`start=3` is not among",
    ),
    (
        sg.tl.push,
        {"cells": "a", "groupby": "state", "start": 6},
        ValueError,
        "`start` must be the earlier",
    ),
    (
        sg.tl.pull,
        {"cells": "a", "groupby": "state", "start": 4, "end": "day 2"},
        ValueError,
        "must be the earlier",
    ),
    (
        sg.tl.push,
        {"cells": "a", "groupby": "state", "method": "plan"},
        ValueError,
        "`method='plan'`",
    ),
    (
        sg.tl.push,
        {"cells": "a", "groupby": "state", "n_samples": 0},
        ValueError,
        "`n_samples=0` must be an integer",
    ),
    (
        sg.tl.push,
        {"cells": "a", "groupby": "state", "key": "other"},
        KeyError,
        "found \\['genot'\\]",
    ),
    (sg.tl.fate, {"groupby": "state", "terminal": ["unused"]}, ValueError, "unused"),
    (
        sg.tl.fate,
        {"groupby": "state", "end": "day 2"},
        ValueError,
        "no fitted step leads to `end=2`",
    ),
    (sg.tl.fate, {"groupby": "state", "of": "cells"}, ValueError, "`of='cells'`"),
    (sg.tl.annotate, {"column": "type"}, KeyError, "`column='type'`"),
    (sg.tl.annotate, {"column": "state", "direction": "up"}, ValueError, "`direction='up'`"),
    (sg.tl.velocity, {"basis": "tsne"}, KeyError, "X_tsne"),
    (sg.tl.coupling, {"top_k": 0}, ValueError, "`top_k=0` must be an integer"),
]


@pytest.mark.parametrize(("question", "options", "error", "message"), BAD)
def test_bad_questions_say_so_and_change_nothing(fitted, question, options, error, message):
    adata = fitted[0]
    before = set(adata.obs), set(adata.obsm), set(adata.obsp), set(adata.uns["genot"])
    with pytest.raises(error, match=message):
        question(adata, **options)
    assert (set(adata.obs), set(adata.obsm), set(adata.obsp), set(adata.uns["genot"])) == before


def test_other_bad_questions(fitted):
    adata = fitted[0]
    with pytest.raises(ValueError, match="`direction='up'` must be"):
        sg.tl.cell_transition(adata, "state", "state", direction="up")
    with pytest.raises(ValueError, match=r"`target_groups`: no cell of the .* has \['day 2'\]"):
        sg.tl.cell_transition(adata, "state", {"day": ["day 2"]})
    with pytest.raises(KeyError, match=r"sg\.tl\.coupling"):
        sg.get.couplings(adata)
    with pytest.raises(KeyError, match="time_key of the fit='day'"):
        sg.tl.fate(ad.AnnData(obs=adata.obs.drop(columns="day"), uns=adata.uns), "state")
    twice = adata.copy()
    twice.obs["state"] = None
    with pytest.raises(ValueError, match=r"no cell of the 36 .* has any group"):
        sg.tl.fate(twice, "state")


def test_cellrank_takes_couplings_and_velocity():
    cr = pytest.importorskip("cellrank")
    sc = pytest.importorskip("scanpy")
    adata = sg.datasets.branching(60)
    sg.tl.fit_trajectory(adata, "time", learner=sg.model.FlowMatching(steps=100), progress=False)
    sg.tl.coupling(adata, top_k=60)
    sg.tl.velocity(adata)
    adata.obs["time"] = adata.obs["time"].astype("category")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of CellRank and what it imports
        real_time = cr.kernels.RealTimeKernel(
            adata, time_key="time", couplings=sg.get.couplings(adata)
        )
        real_time.compute_transition_matrix(self_transitions="diagonal", threshold=None)
        early = (adata.obs["time"].astype(float) < 2).to_numpy()
        plan = adata.obsp["genot_coupling"][early].toarray()
        np.testing.assert_allclose(
            real_time.transition_matrix[early].toarray(), shares(plan, axis=1), atol=1e-6
        )
        sc.pp.neighbors(adata, use_rep="X_pca")
        adata.obsm["v"] = np.nan_to_num(adata.obsm["genot_velocity"])
        kernel = cr.kernels.VelocityKernel(adata, attr="obsm", xkey="X_pca", vkey="v")
        kernel.compute_transition_matrix(show_progress_bar=False)
    progress = (
        kernel.transition_matrix @ adata.obsm["X_latent"][:, 0] - adata.obsm["X_latent"][:, 0]
    )
    assert progress[early].mean() > 0
