import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

import scgenot as sg

FEW = sg.model.FlowMatching(steps=5)


def course(times=(0, 1, 3), n=60, rng=0) -> AnnData:
    """Cells whose mean follows a parabola, `(t, t^2)`."""
    rng = np.random.default_rng(rng)
    time = np.repeat(times, n)
    cells = np.column_stack([time, time**2]) + 0.1 * rng.normal(size=(len(time), 2))
    obs = pd.DataFrame(
        {"day": time, "kind": rng.choice(list("ab"), len(time))},
        index=[f"c{i}" for i in range(len(time))],
    )
    return AnnData(cells.astype(np.float32), obs=obs)


@pytest.fixture(scope="module")
def fitted() -> AnnData:
    adata = course()
    sg.tl.fit_trajectory(adata, "day", use_rep="X", learner=FEW, progress=False)
    return adata


@pytest.mark.medium
@pytest.mark.parametrize("method", ["coupling", "model"])
def test_at_a_sampled_time_it_is_the_sampled_population(fitted, method):
    """At the start of a step the pairs are their source cells, with either kind of pair."""
    found = sg.tl.interpolate(fitted, 1, method=method, n_cells=400)
    source = fitted.obs_names.get_indexer(found.obs["source_cell"])
    step = fitted.obs["day"].iloc[source].unique()
    expected = (
        fitted.X[source] if step[0] == 1 else found.X
    )  # of two equal steps the first counts: its end
    np.testing.assert_allclose(found.X, expected, atol=1e-5)
    day1 = fitted.X[fitted.obs["day"] == 1]
    if method == "coupling":
        # every predicted cell is a sampled one, each in its share but for the draw of the pairs
        distance = np.abs(found.X[:, None] - day1[None]).sum(2)
        assert distance.min(1).max() < 1e-5
        shares = np.bincount(distance.argmin(1), minlength=60) / 400
        assert abs(shares - 1 / 60).max() < 5 * (1 / 60 / 400) ** 0.5


def test_the_course_bends(fitted):
    """A parabola through three times is met between the last two; a straight line is off by 1."""
    bent = sg.tl.interpolate(fitted, 0.5, n_cells=300)
    line = sg.tl.interpolate(fitted, 0.5, n_cells=300, straight=True)
    # the line is at (.5, .5), the course at (.5, .25); at its first time the spline's tangent is
    # the line's
    assert abs(line.X[:, 1].mean() - 0.5) < 0.05
    assert 0.25 < bent.X[:, 1].mean() < 0.45
    assert bent.obs["day"].eq(0.5).all()
    assert line.obs["fraction"].eq(0.5).all()


def test_labels_come_from_the_cells_they_started_from(fitted):
    found = sg.tl.interpolate(fitted, 2, n_cells=50)
    assert found.n_obs == 50
    assert found.obs_names.is_unique
    kinds = fitted.obs["kind"][found.obs["source_cell"]].to_numpy()
    assert (found.obs["kind"].to_numpy() == kinds).all()
    assert (fitted.obs["day"][found.obs["source_cell"]] == 1).all()


@pytest.mark.medium
def test_the_same_seed_gives_the_same_cells_from_a_file_too(fitted, tmp_path):
    fitted.write_h5ad(tmp_path / "course.h5ad")
    again = read_h5ad(tmp_path / "course.h5ad")
    for method in ("coupling", "model"):
        first = sg.tl.interpolate(fitted, 2, method=method, rng=3)
        np.testing.assert_array_equal(first.X, sg.tl.interpolate(again, 2, method=method, rng=3).X)
        assert not np.array_equal(first.X, sg.tl.interpolate(fitted, 2, method=method, rng=4).X)
        first.write_h5ad(tmp_path / "between.h5ad")


def test_bridge_noise_has_the_variance_of_the_bridge(fitted):
    """Half way a Brownian bridge adds epsilon / 8 to each variance of the line."""
    plain = sg.tl.interpolate(fitted, 2, straight=True, n_cells=4000)
    noisy = sg.tl.interpolate(fitted, 2, straight=True, n_cells=4000, bridge_noise=True)
    epsilon = fitted.uns["genot"]["pairs"]["epsilon_absolute"].iloc[1]
    added = noisy.X.var(0) - plain.X.var(0)
    total = noisy.X.var(0)
    assert (abs(added - epsilon / 8) < 5 * (2 / 4000) ** 0.5 * total).all()


def test_a_cost_that_cannot_be_stored_interpolates_too():
    adata = course()
    solver = sg.ot.Sinkhorn(cost=lambda x, y: (x[:, None] - y[None]).abs().sum(2))
    sg.tl.fit_trajectory(adata, "day", use_rep="X", learner=FEW, solver=solver, progress=False)
    found = sg.tl.interpolate(adata, 2, straight=True, n_cells=200)
    assert abs(found.X.mean(0) - [2, 5]).max() < 0.1
    with pytest.raises(ValueError, match="bridge_noise"):
        sg.tl.interpolate(adata, 2, bridge_noise=True)


@pytest.mark.medium
@pytest.mark.parametrize("solver", [sg.ot.Neighbors(n_neighbors=20), sg.ot.SparseOT(tolerance=1.0)])
def test_a_solver_without_epsilon_interpolates_too(solver):
    adata = course()
    adata.X = np.random.default_rng(0).normal(size=adata.shape).astype(np.float32)  # no time apart
    sg.tl.fit_trajectory(adata, "day", use_rep="X", learner=FEW, solver=solver, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # trivial answers are as good
        found = sg.tl.interpolate(adata, 2, n_cells=200)
    assert np.isfinite(found.X).all()
    assert len(found.uns["genot_interpolation"]["left_out"])
    with pytest.raises(ValueError, match="`bridge_noise` needs a fit whose solver has an epsilon"):
        sg.tl.interpolate(adata, 2, bridge_noise=True)


def test_a_new_time_is_labelled_as_the_others():
    adata = course()
    adata.obs["day"] = pd.Categorical("day " + adata.obs["day"].astype(str))
    sg.tl.fit_trajectory(adata, "day", use_rep="X", learner=FEW, progress=False)
    found = sg.tl.interpolate(adata, 2)
    assert (found.obs["day"] == "day 2").all()
    assert found.obs["day"].dtype.name == "category"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": 4}, "in no fitted step"),
        ({"time": -1}, "in no fitted step"),
        ({"time": 2, "n_cells": 1}, "n_cells"),
        ({"time": 2, "method": "guess"}, "method"),
    ],
)
def test_refusals(fitted, options, message):
    before = fitted.copy()
    with pytest.raises(ValueError, match=message):
        sg.tl.interpolate(fitted, **options)
    assert set(before.obs) == set(fitted.obs)


@pytest.mark.parametrize("time", ["day 2", None, [1, 2]])
def test_a_time_is_one_number(fitted, time):
    with pytest.raises(TypeError, match=r"`time=.*must be one number.*\[0.0"):
        sg.tl.interpolate(fitted, time)


def test_states_that_nothing_decodes_are_refused():
    adata = course()
    adata.obsm["X_mine"] = adata.X.copy()
    sg.tl.fit_trajectory(adata, "day", use_rep="X_mine", learner=FEW, progress=False)
    with pytest.raises(ValueError, match="decoder"):
        sg.tl.interpolate(adata, 2)
    assert sg.tl.interpolate(adata, 2, decoder=lambda states: states).shape == (60, 2)


class TestLeftOut:
    def test_each_inner_time_is_scored(self, fitted, tmp_path):
        found = sg.tl.interpolate(fitted, 0.5, n_cells=30)
        kept = found.uns["genot_interpolation"]
        assert kept["time"] == 0.5
        assert list(kept["step"]) == [0, 1]
        assert 0 < kept["fraction"] < 0.5  # the parabola starts slowly
        table = kept["left_out"]
        assert set(table["time"]) == {1.0}
        assert len(table) == 9
        scores = table.set_index("method")["energy"]
        day1 = fitted.X[fitted.obs["day"] == 1].astype(float)
        day0 = fitted.X[fitted.obs["day"] == 0].astype(float)
        expected = sg.metrics.energy_distance(day0, day1, unbiased=True)
        assert scores["time before"] == pytest.approx(expected, rel=1e-5)
        found.write_h5ad(tmp_path / "between.h5ad")
        again = read_h5ad(tmp_path / "between.h5ad").uns["genot_interpolation"]["left_out"]
        pd.testing.assert_frame_equal(
            again.reset_index(drop=True), table, check_dtype=False, check_index_type=False
        )

    def test_not_asked_for_and_two_times(self, fitted):
        kept = sg.tl.interpolate(fitted, 0.5, check=False).uns["genot_interpolation"]
        assert "left_out" not in kept
        two = course((0, 1))
        sg.tl.fit_trajectory(two, "day", use_rep="X", learner=FEW, progress=False)
        kept = sg.tl.interpolate(two, 0.5).uns["genot_interpolation"]
        assert "left_out" not in kept
        assert kept["fraction"] == 0.5

    def test_growth_that_a_balanced_fit_lacks_is_named(self, caplog):
        """Two types stay where they are, one of them multiplies: nothing is between them."""
        day, rank = np.repeat(np.arange(4.0), 100), np.tile(np.arange(100), 4)
        x = np.random.default_rng(0).normal(size=(400, 2)) / 4
        x[rank < 10 * 2**day, 0] += 10
        names = [f"c{i}" for i in range(400)]
        adata = AnnData(x.astype(np.float32), obs=pd.DataFrame({"day": day}, index=names))
        options = {"use_rep": "X", "learner": FEW, "predict": False, "progress": False}
        sg.tl.fit_trajectory(adata, "day", **options)
        with warnings.catch_warnings(), caplog.at_level("INFO", logger="scgenot"):
            warnings.simplefilter("ignore")  # the mixture of two times is right here
            found = sg.tl.interpolate(adata, 1.5)
        means = found.uns["genot_interpolation"]["left_out"].groupby("method")["energy"].mean()
        assert means["interpolated, with growth"] < means["interpolated"] / 2
        assert "With growth, interpolation is closer" in caplog.text
        assert "fit with `tau=(0.8, 1.0)` of the solver" in caplog.text
        caplog.clear()
        solver = sg.ot.Sinkhorn(epsilon=0.01, tau=(0.8, 1.0))
        sg.tl.fit_trajectory(adata, "day", solver=solver, **options)
        with warnings.catch_warnings(), caplog.at_level("INFO", logger="scgenot"):
            warnings.simplefilter("ignore")
            found = sg.tl.interpolate(adata, 1.5)
        table = found.uns["genot_interpolation"]["left_out"]
        assert "interpolated, with growth" not in set(table["method"])
        assert "With growth" not in caplog.text

    @pytest.mark.medium
    def test_a_trivial_answer_that_wins_is_named(self):
        """The course stops and goes: each inner time is as the one before or after."""
        adata = course((0, 1, 3, 4))
        for later, earlier in ((1, 0), (4, 3)):
            adata.X[adata.obs["day"] == later] = adata.X[adata.obs["day"] == earlier][::-1]
        sg.tl.fit_trajectory(adata, "day", use_rep="X", learner=FEW, progress=False)
        with pytest.warns(UserWarning, match="'mixture' is closer than interpolation"):
            sg.tl.interpolate(adata, 2)
