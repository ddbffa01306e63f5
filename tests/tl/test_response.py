"""Predicted changes against a known law, observed ones against the cells."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr, ndtri

import scgenot as sg
from truth.responses import LEAN, SPREAD, known_cells, known_fit, known_mean

FEATURES = ["one", "two", "three"]


@pytest.fixture(scope="module")
def known():
    return known_fit(known_cells(200))


@pytest.fixture(scope="module")
def table(known):
    return sg.tl.response(known, "A", groupby="group")


def of_group(adata, drug, group):
    return adata[(adata.obs["drug"] == drug) & (adata.obs["group"] == group)].X.astype(float)


@pytest.mark.parametrize("group", ["g", "h"])
class TestLaw:
    def test_change(self, known, table, group):
        x, rows = of_group(known, "control", group), table[table["group"] == group]
        assert rows["feature"].tolist() == FEATURES
        assert (rows["n_cells"] == len(x)).all()
        error = rows["change"] - known_mean(x, "A").mean(0)
        assert (np.abs(error) < 5 * SPREAD / np.sqrt(32 * len(x))).all()

    def test_spread(self, known, table, group):
        x, rows = of_group(known, "control", group), table[table["group"] == group]
        n = 32 * len(x)
        np.testing.assert_allclose(rows["sd_within"], SPREAD, rtol=5 / np.sqrt(2 * n))
        # the variance between cells is known but for the draws: sd^2 / 32 a cell, and as much
        # again in the correction
        between, noise = known_mean(x, "A").var(0, ddof=1), SPREAD**2 / 32
        slack = 5 * np.sqrt((4 * between * noise + 4 * noise**2) / len(x))
        assert (np.abs(rows["sd_between"] ** 2 - between) < slack).all()

    def test_probability_of_sign(self, known, table, group):
        x, rows = of_group(known, "control", group), table[table["group"] == group]
        expected = ndtr(known_mean(x, "A") / SPREAD).mean(0)
        slack = 5 * np.sqrt(expected * (1 - expected) / (32 * len(x))) + 1e-9
        assert (np.abs(rows["probability_up"] - expected) < slack).all()

    def test_interval_adds_up(self, known, table, group):
        x, rows = of_group(known, "control", group), table[table["group"] == group]
        n_links = {side: (known.obs["drug"] == side).sum() for side in ("control", "A")}
        changed = (LEAN + np.eye(3)) @ np.cov(x.T, ddof=0) @ (LEAN + np.eye(3)).T
        noise = 1 / len(x) + 1 / rows["n_observed"].iloc[0] + sum(1 / n for n in n_links.values())
        variance = (np.diag(changed) + SPREAD**2) * noise
        half = (rows["upper"] - rows["change"]) / ndtri(0.95)
        # the fitted model is exact: its own error is what chance leaves of one link, whose
        # square less the variance of chance is under 10 of these with a probability of .999
        link = (np.diag(changed) + SPREAD**2) * sum(1 / n for n in n_links.values())
        assert (half**2 > 0.8 * variance).all()
        assert (half**2 < 1.2 * variance + 10 * link).all()
        np.testing.assert_allclose(
            rows["upper"] - rows["change"], rows["change"] - rows["lower"], rtol=1e-6
        )

    def test_observed(self, known, table, group):
        control, treated = (of_group(known, drug, group) for drug in ("control", "A"))
        rows = table[table["group"] == group]
        assert (rows["n_observed"] == len(treated)).all()
        np.testing.assert_allclose(rows["control_mean"], control.mean(0), rtol=1e-6)
        np.testing.assert_allclose(rows["observed_mean"], treated.mean(0), rtol=1e-6)
        np.testing.assert_allclose(
            rows["observed_change"], treated.mean(0) - control.mean(0), rtol=1e-4
        )


@pytest.mark.medium
def test_the_interval_covers_measured_changes():
    # many fitted cells and an exact model: what is left is the noise of the new cells
    known = known_fit(known_cells(2000))
    new = known_cells(1800, rng=7)
    new = new[new.obs["drug"] != "B"].copy()
    new.obs["group"] = np.arange(3600) % 60
    table = sg.tl.response(new, "A", groupby="group", model=known, n_samples=8)
    inside = table["observed_change"].between(table["lower"], table["upper"])
    # 180 intervals of probability .9; the few that fitted cells add makes them wider by 3 %
    assert inside.mean() == pytest.approx(0.9, abs=4 * np.sqrt(0.9 * 0.1 / 180))


def test_no_interval_where_nothing_is_known_of_the_error(known):
    cells = known_cells(50)
    both = cells[cells.obs["drug"] == "A"].copy()
    both.obs["drug"] = pd.Categorical(["A+B"] * 50)
    fitted = known_fit(ad.concat([cells[cells.obs["drug"] != "B"], both], index_unique="-"))
    table = sg.tl.response(fitted, "B", n_samples=2)  # never alone
    assert table[["lower", "upper"]].isna().all(axis=None)
    assert np.isfinite(table["change"]).all()
    gone = known[known.obs["drug"] == "control"].copy()
    assert sg.tl.response(gone, "A", n_samples=2)["lower"].isna().all()


def test_the_error_of_the_model_widens_intervals(known):
    # nothing is learned of A, which moves the first feature by 2
    wrong = known_fit(known_cells(200))
    wrong.uns["genot"]["model"]["weights"] = {
        name: np.zeros_like(value) if name.endswith("gates.bias") else value
        for name, value in wrong.uns["genot"]["model"]["weights"].items()
    }
    table = sg.tl.response(wrong, "A", interval=0.95)
    moved = table[table["feature"] == "one"].iloc[0]
    assert abs(moved["change"]) < 0.5
    assert moved["upper"] - moved["change"] == pytest.approx(1.96 * 2, rel=0.25)
    assert moved["lower"] < moved["observed_change"] < moved["upper"]


def test_streaming_changes_nothing(known, monkeypatch):
    monkeypatch.setattr(sg.fit.sample, "BLOCK", 64)
    drawn = [block.draws for block in blocks_of(known, "A")]
    x, y = known.X[:200].astype(float), np.concatenate(drawn).astype(float)
    change = y - x[:, None]
    monkeypatch.setattr(sg.fit.changes, "MAX_VALUES", 32 * 3 * 5)  # five cells at a time
    table = sg.tl.response(known, "A")
    np.testing.assert_allclose(table["change"], change.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(
        table["sd_within"], np.sqrt(change.var(1, ddof=1).mean(0)), rtol=1e-5
    )
    between = change.mean(1).var(0, ddof=1) - change.var(1, ddof=1).mean(0) / 32
    np.testing.assert_allclose(table["sd_between"] ** 2, np.maximum(between, 0), atol=1e-5)
    np.testing.assert_allclose(table["probability_up"], (change > 0).mean((0, 1)), atol=1e-4)


def blocks_of(adata, target):
    fit = sg.get.fit(adata)
    question = fit.ask(adata, target)
    options = {"n_samples": 32, "guidance": 1.0, "seed": 0}
    return sg.fit.sample.draw_blocks(
        fit.model, adata.X[question.rows], question.condition, **options
    )


def test_groups_do_not_depend_on_each_other(known, table):
    new = known[known.obs["group"] == "h"].copy()
    alone = sg.tl.response(new, "A", groupby="group", model=known)
    pd.testing.assert_frame_equal(alone, table[table["group"] == "h"].reset_index(drop=True))


def test_features_and_groups_of_several_columns(known, table):
    some = sg.tl.response(known, "A", groupby=["group", "drug"], features=["three", "one"])
    assert set(some["group"]) == {"g | control", "h | control"}
    assert some["feature"].tolist()[:2] == ["three", "one"]
    row = table[(table["group"] == "g") & (table["feature"] == "one")].iloc[0]
    found = some[(some["group"] == "g | control") & (some["feature"] == "one")].iloc[0]
    assert found["change"] == row["change"]
    assert found["n_observed"] == 0  # treated cells are in another group
    assert np.isnan(found["observed_mean"])


def test_groups_are_in_the_order_of_their_categories(known):
    cells = known.copy()
    cells.obs["group"] = cells.obs["group"].cat.reorder_categories(["h", "g"])
    n = np.arange(cells.n_obs)
    cells.obs["text"], cells.obs["day"] = (
        np.array(["z", "b", "a"])[n % 3],
        np.array([10, 2])[n // 3 % 2],
    )

    def order(groupby):
        table = sg.tl.response(cells, "A", groupby=groupby, features=["one"], n_samples=2)
        return list(table["group"])

    assert order("group") == ["h", "g"]
    assert order("text") == ["a", "b", "z"]
    assert order("day") == ["2", "10"]
    assert order(["group", "text"]) == ["h | a", "h | b", "h | z", "g | a", "g | b", "g | z"]


@pytest.mark.medium
def test_genes_of_an_embedding():
    adata = sg.datasets.screen(60, drugs=("A", "B"), doses=(0.5, 1.0), combinations=["A+B"])
    del adata.obsm["X_pca"]
    sg.tl.embed(adata, n_components=8)
    learner = sg.model.FlowMatching(steps=2)
    sg.tl.fit_perturbation(
        adata, "drug", "control", dose_key="dose", learner=learner, progress=False
    )
    table = sg.tl.response(adata, "B+A", dose=0.5, groupby="cell_type")
    assert table["feature"].tolist()[:60] == list(adata.var_names)
    for group in table["group"].unique():
        rows, cells = table[table["group"] == group], adata[adata.obs["cell_type"] == group]
        treated = cells[(cells.obs["drug"] == "A+B") & (cells.obs["dose"] == 0.5)]
        assert (rows["n_observed"] == treated.n_obs).all()
        np.testing.assert_allclose(rows["observed_mean"], treated.X.mean(0), rtol=1e-4)
        new = sg.tl.simulate(
            cells[cells.obs["drug"] == "control"].copy(), "A+B", dose=0.5, n_samples=32, clip=False
        )
        before = sg.tl.decode(cells[cells.obs["drug"] == "control"].obsm["X_pca"], adata)
        np.testing.assert_allclose(rows["change"], new.X.mean(0) - before.mean(axis=0), atol=1e-3)


def test_errors(known):
    with pytest.raises(KeyError, match=r"`features` four are not in the 3"):
        sg.tl.response(known, "A", features=["four"])
    with pytest.raises(
        TypeError, match=r"`features='three'` is text: give a list, such as \['three'\]"
    ):
        sg.tl.response(known, "A", features="three")
    with pytest.raises(KeyError, match="`groupby` names 'kind'"):
        sg.tl.response(known, "A", groupby="kind")
    with pytest.raises(ValueError, match="`interval=90` must be between 0 and 1"):
        sg.tl.response(known, "A", interval=90)
