"""Coverage on a known law: of the right model as stated, of a wrong one after correction."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

import scgenot as sg
from scgenot.fit import regions
from scgenot.fit.conformal import (
    check_enough,
    conformal_threshold,
    random_halves,
    swapped_coverage,
    weighted_quantile,
)
from truth.responses import LEAN, SPREAD, known_cells, known_fit

LEVELS = [0.5, 0.8, 0.9]
NORMAL = {0.5: 0.674490, 0.8: 1.281552, 0.9: 1.644854}  # central intervals of the normal law


def cells(n, rng):
    adata = known_cells(n, rng=rng)
    adata.obs_names = [f"{rng}-{name}" for name in adata.obs_names]
    return adata


@pytest.fixture(scope="module")
def right():
    adata = known_fit(cells(100, 0), covariates=["group"])
    sg.tl.calibrate(cells(500, 1), model=adata, levels=LEVELS)
    return adata


@pytest.fixture(scope="module")
def wrong():
    """A model that is certain where the law is not."""
    adata = known_fit(cells(100, 0), covariates=["group"])
    model = sg.get.model(adata)
    model.units.displacement.std *= 1e-3
    model.field.given_skip.weight.data *= 1e3  # the mean change stays
    adata.uns["genot"]["model"]["weights"] = model.to_arrays()[1]
    sg.tl.calibrate(cells(500, 1), model=adata, levels=LEVELS)
    return adata


def binomial(level, *ns):
    """Five standard errors of a share, of as many cells as counted and as set the threshold."""
    return 5 * np.sqrt(level * (1 - level) * sum(1 / n for n in ns))


class TestRightModel:
    def test_raw_regions_hold_what_they_say(self, right):
        table = right.uns["genot"]["calibration"]
        assert (table["n"] == 1000).all()
        # 1,000 cells are counted, 4 x 250 cells and more set the raw threshold
        for level, coverage in zip(table["level"], table["raw_coverage"], strict=True):
            assert coverage == pytest.approx(level, abs=binomial(level, 1000, 1000))

    def test_thresholds_hardly_change(self, right):
        table = right.uns["genot"]["calibration"]
        np.testing.assert_allclose(table["threshold"] / table["raw_threshold"], 1, atol=0.15)

    def test_intervals_hold_what_they_say(self, right):
        table = right.uns["genot"]["calibration_features"]
        assert table["feature"].tolist() == ["one", "two", "three"] * 3
        for _, row in table.iterrows():
            assert row["raw_coverage"] == pytest.approx(
                row["level"], abs=binomial(row["level"], 1000, 1000)
            )
            assert abs(row["correction"]) < 0.1


class TestWrongModel:
    def test_raw_intervals_miss_as_computed(self, wrong):
        # under A and B alike the first feature varies by (1 + LEAN)^2 + SPREAD^2, for the model
        # without the latter
        table = wrong.uns["genot"]["calibration_features"]
        own = (1 + np.diag(LEAN)) ** 2
        for level in LEVELS:
            expected = 2 * ndtr(NORMAL[level] * np.sqrt(own / (own + SPREAD**2))) - 1
            found = table.loc[table["level"] == level, "raw_coverage"].to_numpy()
            np.testing.assert_allclose(found, expected, atol=binomial(level, 1000, 1000))

    def test_corrected_regions_hold_new_cells(self, wrong):
        raw = wrong.uns["genot"]["calibration"]["raw_coverage"].to_numpy()
        assert (raw < np.array(LEVELS) - 0.015).all()
        table = sg.tl.coverage(cells(500, 2), model=wrong)
        assert table["feature"].tolist() == ["region"] * 3 + ["one", "two", "three"] * 3
        for _, row in table.iterrows():
            # 1,000 cells counted; threshold from as many; the stratum's region from other
            # control cells
            assert row["coverage"] == pytest.approx(
                row["level"], abs=binomial(row["level"], 1000, 1000, 1000)
            )
        region = table[table["feature"] == "region"]
        assert (region["raw_coverage"] < region["coverage"]).all()

    def test_halves_predict_that(self, wrong):
        for name in ("calibration", "calibration_features"):
            table = wrong.uns["genot"][name]
            assert (np.abs(table["coverage"] - table["level"]) < 4 * table["error"]).all()
            np.testing.assert_allclose(
                table["error"], np.sqrt(table["level"] * (1 - table["level"]) / 1000)
            )


def test_a_control_cell_predicts_on_one_side_only(right, monkeypatch):
    """What scores is not compared with what was generated from the same control cells."""
    sources, draw = [], regions.draw_blocks

    def spied(model, cells, *args, **kwargs):
        sources.append(cells)
        return draw(model, cells, *args, **kwargs)

    monkeypatch.setattr(regions, "draw_blocks", spied)
    new = cells(60, 6)
    sg.tl.calibrate(new, "A", model=right.copy(), levels=LEVELS)
    assert len(sources) == 4  # two halves of the control cells of each group
    used, times = np.unique(np.concatenate(sources), axis=0, return_counts=True)
    assert (times == 1).all()
    assert len(used) == (new.obs["drug"] == "control").sum()


def test_a_fit_keeps_its_calibration(right, tmp_path):
    right.write_h5ad(tmp_path / "fit.h5ad")
    again, new = ad.read_h5ad(tmp_path / "fit.h5ad"), cells(100, 3)
    before, after = (sg.tl.coverage(new, "A", model=model) for model in (right, again))
    np.testing.assert_array_equal(before["coverage"], after["coverage"])
    assert (after["n"] == 100).all()


def test_cells_that_calibrated_are_not_counted_unsaid(right):
    both = ad.concat([cells(60, 3), cells(500, 1)])
    n = 500 * 3  # control, A and B
    with pytest.warns(
        UserWarning,
        match=f"^{n} of the {both.n_obs} held-out cells have names of cells that calib",
    ):
        sg.tl.coverage(both, "A", model=right)


def test_held_out_cells_of_one_anndata(right):
    mixed = ad.concat([right, cells(60, 4)])
    mixed.uns = right.uns.copy()
    mixed.obs["test"] = np.arange(mixed.n_obs) >= right.n_obs
    np.testing.assert_array_equal(sg.fit.held_out.held_out_mask(mixed, "test"), mixed.obs["test"])
    assert (sg.tl.coverage(mixed, held_out="test")["n"] == 120).all()
    with pytest.warns(
        UserWarning,
        match="200 of the 480 held-out cells have names of cells that the model was",
    ):
        sg.tl.coverage(mixed, "A")


class TestConformal:
    def test_threshold_by_hand(self):
        scores = np.array([5.0, 1, 4, 2, 3, 9, 8, 7, 6])
        assert conformal_threshold(scores, 0.9) == 9  # ceil(10 x 0.9) = 9th of 9
        assert conformal_threshold(scores, 0.5) == 5
        assert conformal_threshold(scores, 0.95) == np.inf

    def test_a_new_score_is_under_it_as_often_as_stated(self):
        rng = np.random.default_rng(0)
        scores = rng.exponential(size=(19, 20_000))
        under = rng.exponential(size=20_000) <= conformal_threshold(scores, 0.8)
        assert under.mean() == pytest.approx(
            0.8, abs=5 * np.sqrt(0.16 / 20_000)
        )  # 16 of 20 exactly

    def test_halves(self):
        strata = np.repeat([0, 1, 2], [5, 4, 1])
        halves = random_halves(strata, np.random.default_rng(0))
        assert all(half.sum() == 5 and half[strata == 1].sum() == 2 for half in halves)
        assert len({half.tobytes() for half in halves}) > 1
        scores = np.arange(10.0)
        # the even ones and the odd ones: 5th of 5 both ways, 8 and 9; all under 9, of the odd
        # ones all but 9 under 8
        assert swapped_coverage(scores, [scores % 2 == 0], 0.8) == 0.9

    def test_weighted_quantile(self):
        values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0])
        assert [weighted_quantile(values, weights, level) for level in (0.5, 0.6, 0.9)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("level", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)]
)
def test_cells_that_a_level_takes(level, needed):
    assert np.isfinite(conformal_threshold(np.arange(float(needed)), level))
    assert np.isinf(conformal_threshold(np.arange(needed - 1.0), level))
    check_enough(needed, [level, 0.5])
    with pytest.raises(
        ValueError, match=f"`levels` has {level}, which takes {needed} .* found {needed - 1}:"
    ):
        check_enough(needed - 1, [0.5, level])


def test_too_few_cells_change_nothing(right):
    new, before = cells(30, 5), right.uns["genot"]["calibration"].copy()
    few = new[
        (new.obs["drug"] == "control") | (np.arange(new.n_obs) % 3 == 0)
    ].copy()  # 10 cells of A
    with (
        pytest.raises(
            ValueError, match=r"has 0.95, which takes 19 .* found 10: .* levels up to 0.909"
        ),
        pytest.warns(UserWarning, match="pooled, 100% of the cells: A of g, h"),
    ):
        sg.tl.calibrate(few, "A", model=right)
    pd.testing.assert_frame_equal(right.uns["genot"]["calibration"], before)
    again = right.copy()
    with pytest.warns(UserWarning, match="pooled"):
        sg.tl.calibrate(few, "A", model=again, levels=[0.909])
    assert np.isfinite(again.uns["genot"]["calibration"]["threshold"]).all()


def test_errors(right):
    new = cells(30, 5)
    with pytest.raises(
        ValueError,
        match=r"`held_out` has no control cells .*, from which predictions start: add some",
    ):
        sg.tl.calibrate(new[new.obs["drug"] == "A"].copy(), model=right)
    with pytest.raises(KeyError, match="`key='genot'` is not calibrated"):
        sg.tl.coverage(new, model=known_fit(cells(40, 0)))
    with pytest.raises(ValueError, match="`levels=90` must be between 0 and 1"):
        sg.tl.calibrate(new, model=right, levels=[90])
    with pytest.raises(ValueError, match="`held_out` must be boolean"):
        sg.tl.calibrate(new, model=right, held_out=np.arange(90))
    with pytest.raises(ValueError, match=r"`dose=1\.0` was given, but the fit 'perturbation'"):
        sg.tl.calibrate(new, model=right, dose=1.0)
    with pytest.raises(ValueError, match="`target='B'` at `dose=None` has no treated cell"):
        sg.tl.calibrate(new[new.obs["drug"] != "B"].copy(), ["A", "B"], model=right)
    for ask in (sg.tl.calibrate, sg.tl.coverage):
        with pytest.raises(ValueError, match="`target='control'` is the control"):
            ask(new, ["A", "control"], model=right)


def test_held_out_cells_alone(right):
    alone = known_fit(cells(100, 0), covariates=["group"])
    sg.tl.calibrate(alone, held_out=cells(500, 1), levels=LEVELS)
    pd.testing.assert_frame_equal(
        alone.uns["genot"]["calibration"], right.uns["genot"]["calibration"]
    )
