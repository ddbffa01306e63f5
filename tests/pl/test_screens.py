"""Plots of screens: what is on them, read back from the axes. Slots are written by hand."""

import anndata as ad
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.colors import to_rgba

from scgenot import pl, tl
from scgenot.pl._colors import CONTROL_COLOR, PREDICTED_COLOR, TREATED_COLOR

CONTROL, PREDICTED, TREATED = (
    to_rgba(color)[:3] for color in (CONTROL_COLOR, PREDICTED_COLOR, TREATED_COLOR)
)


@pytest.fixture
def screen(fitted):
    return fitted.copy()


@pytest.fixture(scope="module")
def fitted(short):
    """Ten control cells and ten of each of two drugs at doses 1 and 10; g0 is the dose, g1 is 5."""
    drug = np.array(["DMSO"] * 10 + ["A+B"] * 20 + ["C"] * 20)
    dose = np.r_[np.zeros(10), np.tile(np.repeat([1.0, 10], 10), 2)]
    noise = np.tile(np.linspace(-1, 1, 10), 5)
    adata = AnnData(
        np.stack([dose + noise, 5 + noise], axis=1),
        obs=pd.DataFrame(
            {
                "drug": pd.Categorical(drug),
                "dose": dose,
                "type": ["x", "y"] * 25,
                "score": np.arange(50.0),
            },
            index=[f"c{i}" for i in range(50)],
        ),
        var=pd.DataFrame(index=["g0", "g1"]),
        uns={"drug_colors": np.array(["#ff0000", "#0000ff", "#888888"])},  # A+B, C, DMSO
    )
    adata.obsm["X_pca"] = adata.X.copy()
    tl.fit_perturbation(adata, "drug", "DMSO", dose_key="dose", use_rep="X_pca", **short)
    adata.obsm["X_genot"] = np.vstack([adata.X[:10] + np.array([10, 0]), np.full((40, 2), np.nan)])
    calibration = pd.DataFrame(
        {
            "level": [0.5, 0.9],
            "raw_threshold": [0.6, 0.95],
            "threshold": [0.7, 0.97],
            "correction": [0.1, 0.02],
            "raw_coverage": [0.3, 0.7],
            "coverage": [0.52, 0.89],
            "n": [100, 100],
        },
        index=["0", "1"],
    )
    features = calibration.assign(feature=["g0", "g0"], coverage=[0.1, 0.2])
    adata.uns["genot"] |= {
        "calibration": calibration,
        "calibration_features": features,
        "calibration_strata": [],
        "calibration_names": adata.obs_names.to_numpy(),
    }
    return adata


@pytest.fixture
def simulated(screen):
    """What a model would say of both drugs at doses 1, 3 and 10: the dose, without noise."""
    obs = pd.concat([screen.obs.iloc[:10]] * 6).set_axis([f"s{i}" for i in range(60)])
    obs["drug"], obs["dose"] = np.repeat(["A+B", "C"], 30), np.tile(np.repeat([1.0, 3, 10], 10), 2)
    return AnnData(
        np.stack([obs["dose"], np.full(60, 5.0)], axis=1), obs=obs, var=screen.var.copy()
    )


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def dots(ax):
    """Places, heights and colors of means."""
    lines = [line for line in ax.lines if line.get_marker() == "o"]
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]), to_rgba(line.get_color())[:3])
        for line in lines
    ]


def scatters(ax):
    return [c for c in ax.collections if isinstance(c, mpl.collections.PathCollection)]


@pytest.fixture(params=["fitted", "embedded", "simulated from others"])
def of_layer(request, screen, simulated, short):
    """The same, of a fit on `layers["double"]`, twice X, or on an embedding of it."""
    screen.layers["double"] = 2 * screen.X
    options = {"dose_key": "dose", **short}
    if request.param == "fitted":
        tl.fit_perturbation(screen, "drug", "DMSO", layer="double", **options)
    else:
        tl.embed(screen, layer="double", n_components=2)
        tl.fit_perturbation(screen, "drug", "DMSO", use_rep="X_pca", **options)
    if request.param == "simulated from others":
        simulated.uns = {
            "genot": {"params": screen.uns.pop("genot")["params"]},
            "pca": screen.uns.pop("pca"),
        }
    simulated.X = 2 * simulated.X
    return screen, simulated


class TestResponse:
    def test_means_side_by_side(self, screen, simulated):
        ax = pl.response(screen, simulated, ["g0", "g1"], target="C", dose=10)
        found = dots(ax)
        expected = [(CONTROL, 0, 5), (PREDICTED, 10, 5), (TREATED, 10, 5)]
        assert len(found) == 6
        for color, g0, g1 in expected:
            np.testing.assert_allclose(
                [mean for _, mean, own in found if own == color], [g0, g1], atol=1e-9
            )
            assert [round(place) for place, _, own in found if own == color] == [0, 1]
        # control is left of predicted, that of treated
        assert [color for _, _, color in sorted(found)[:3]] == [CONTROL, PREDICTED, TREATED]
        assert legend_texts(ax)[:3] == [
            "control, measured",
            "C, dose 10, predicted",
            "C, dose 10, measured",
        ]
        assert [label.get_text() for label in ax.get_xticklabels()] == ["g0", "g1"]

    @pytest.mark.medium
    def test_violins_or_dots(self, screen, simulated):
        def bodies(kind):
            ax = pl.response(screen, simulated, "g0", target="C", dose=10, kind=kind)
            return [c for c in ax.collections if isinstance(c, mpl.collections.PolyCollection)]

        assert len(bodies("violin")) == 2  # predicted values are all the same: a dot
        assert not bodies("dots")

    def test_a_panel_a_group(self, screen, simulated):
        ax = pl.response(screen, simulated, "g0", target="C", dose=1, groupby="type")
        titles = [panel.get_title() for panel in ax.child_axes]
        assert titles == ["x (n = 5, 5, 5)", "y (n = 5, 5, 5)"]
        for panel, own in zip(ax.child_axes, (slice(0, 10, 2), slice(1, 10, 2)), strict=True):
            control = next(mean for _, mean, color in dots(panel) if color == CONTROL)
            np.testing.assert_allclose(control, screen.X[own, 0].mean())

    def test_a_dose_that_was_not_measured(self, screen, simulated):
        ax = pl.response(screen, simulated, "g0", target="C", dose=3)
        assert {color for *_, color in dots(ax)} == {CONTROL, PREDICTED}

    def test_dose_zero_is_predicted_too(self, screen, simulated):
        simulated.obs.loc["s30":, "dose"] = 0
        found = [
            (mean, color)
            for _, mean, color in dots(pl.response(screen, simulated, "g1", target="C"))
        ]
        assert found == [(pytest.approx(5), CONTROL), (5, PREDICTED)]

    def test_combinations_have_no_order(self, screen, simulated):
        simulated.obs["drug"] = simulated.obs["drug"].astype(str).replace("A+B", "B+A")
        ax = pl.response(screen, simulated, "g0", target="B+A", dose=10)
        assert {color for *_, color in dots(ax)} == {CONTROL, PREDICTED, TREATED}

    def test_layers_and_views(self, screen, simulated):
        screen.layers["double"] = 2 * screen.X
        ax = pl.response(
            screen[:, ::-1], simulated[20:30], "g0", layer="double"
        )  # one condition: C is not needed
        assert next(mean for _, mean, color in dots(ax) if color == TREATED) == pytest.approx(20)

    @pytest.mark.medium
    def test_measured_in_the_units_of_the_fit(self, of_layer):
        found = {
            color: mean
            for _, mean, color in dots(pl.response(*of_layer, "g0", target="C", dose=10))
        }
        assert found == pytest.approx({CONTROL: 0, PREDICTED: 20, TREATED: 20}, abs=1e-9)
        found = {
            color: mean
            for _, mean, color in dots(pl.response(*of_layer, "g0", target="C", dose=10, layer="X"))
        }
        assert found[TREATED] == pytest.approx(10)

    def test_errors(self, screen, simulated, short):
        with pytest.raises(
            ValueError, match=r"`target` is needed: `simulated` has cells of \['A\+B', 'C'\]"
        ):
            pl.response(screen, simulated, "g0")
        with pytest.raises(
            ValueError, match=r"`dose` is needed: `simulated` has 'C' at \[1\.0, 3\.0, 10\.0\]"
        ):
            pl.response(screen, simulated, "g0", target="C")
        with pytest.raises(ValueError, match=r"`target='D'` is not in `simulated`"):
            pl.response(screen, simulated, "g0", target="D")
        with pytest.raises(KeyError, match=r"`features` \['g7'\]: name some of var of `adata`"):
            pl.response(screen, simulated, ["g0", "g7"], target="C", dose=1)
        with pytest.raises(TypeError, match="`simulated='C'` must be an AnnData"):
            pl.response(screen, "C", "g0")
        with pytest.raises(ValueError, match="`kind='box'`"):
            pl.response(screen, simulated, "g0", kind="box")
        screen.layers["gone"] = 2 * screen.X
        options = {"dose_key": "dose", **short}
        tl.fit_perturbation(screen, "drug", "DMSO", layer="gone", **options)
        del screen.layers["gone"]
        with pytest.raises(
            KeyError, match=r"`layer='gone'`, of the fit, is not in layers of `adata`; .* 'X'"
        ):
            pl.response(screen, simulated, "g0", target="C", dose=1)


class TestResponseHeatmap:
    @pytest.fixture
    def table(self):
        table = pd.DataFrame(
            {"group": np.repeat(["x", "y"], 4), "feature": ["g0", "g1", "g2", "g3"] * 2},
            index=range(8),
        )
        table["change"] = [1.0, 0, -4, 0.1, 3, 0.2, 0, 0.1]
        table["observed_change"] = [2.0, 0, -5, 0, np.nan, np.nan, np.nan, np.nan]
        return table

    def test_features_that_change_most_in_their_order(self, table):
        ax = pl.response_heatmap(table, n_features=2)
        predicted, observed = ax.child_axes
        np.testing.assert_allclose(
            predicted.images[0].get_array(), [[1, 3], [-4, 0]]
        )  # g0 up, g2 down
        assert [label.get_text() for label in predicted.get_yticklabels()] == ["g0", "g2"]
        assert [label.get_text() for label in predicted.get_xticklabels()] == ["x", "y"]
        np.testing.assert_array_equal(
            np.ma.filled(observed.images[0].get_array().astype(float), np.nan),
            [[2, np.nan], [-5, np.nan]],
        )

    def test_no_change_is_the_middle_of_one_scale(self, table):
        predicted, observed = pl.response_heatmap(table).child_axes
        assert predicted.images[0].get_clim() == observed.images[0].get_clim() == (-5, 5)

    def test_predicted_alone(self, table):
        (panel,) = pl.response_heatmap(
            table.assign(observed_change=np.nan), features=["g1", "g0"]
        ).child_axes
        assert [label.get_text() for label in panel.get_yticklabels()] == ["g0", "g1"]

    def test_errors(self, table, screen):
        with pytest.raises(KeyError, match=r"`features` \['g9'\]"):
            pl.response_heatmap(table, features=["g9"])
        with pytest.raises(KeyError, match=r"lacks the columns \['change'\].*sg\.tl\.response"):
            pl.response_heatmap(table.drop(columns="change"))
        with pytest.raises(TypeError, match="found AnnData"):
            pl.response_heatmap(screen)
        with pytest.raises(ValueError, match="each group and feature once"):
            pl.response_heatmap(pd.concat([table, table]))
        with pytest.raises(ValueError, match="`n_features` is 0"):
            pl.response_heatmap(table, n_features=0)


class TestDoseResponse:
    def test_line_and_dots_on_a_logarithmic_scale(self, screen, simulated):
        ax = pl.dose_response(screen, simulated, ["g0", "g1"], target="C")
        panel, other = ax.child_axes
        assert (panel.get_title(), other.get_title()) == ("g0", "g1")
        (line,) = (line for line in panel.lines if line.get_marker() == "|")
        np.testing.assert_allclose(line.get_xdata(), np.log10([1, 3, 10]))
        np.testing.assert_allclose(line.get_ydata(), [1, 3, 10])
        found = [(x, y) for x, y, color in dots(panel) if color == TREATED]
        np.testing.assert_allclose(found, [[0, 1], [1, 10]], atol=1e-9)
        (control,) = [(x, y) for x, y, color in dots(panel) if color == CONTROL]
        assert control[0] < 0
        np.testing.assert_allclose(control[1], 0, atol=1e-9)
        assert [label.get_text() for label in panel.get_xticklabels()] == ["0", "1", "10"]
        assert panel.get_xlabel() == "dose"

    def test_with_one_measured_dose_the_axis_marks_simulated_ones(self, screen, simulated):
        one = screen[(screen.obs["drug"] != "C") | (screen.obs["dose"] == 10)].copy()
        (panel,) = pl.dose_response(one, simulated, "g0", target="C").child_axes
        assert [label.get_text() for label in panel.get_xticklabels()] == ["0", "1", "3", "10"]

    def test_infinite_doses_are_named(self, screen, simulated):
        screen = screen.copy()
        screen.obs["dose"] += np.inf
        with pytest.raises(ValueError, match=r"obs\['dose'\] of `adata` is infinite in"):
            pl.dose_response(screen, simulated, "g0", target="C")

    def test_bars_are_quartiles(self, screen, simulated):
        (panel,) = pl.dose_response(screen, simulated, "g0", target="C").child_axes
        bars = [c for c in panel.collections if isinstance(c, mpl.collections.LineCollection)]
        found = [segment[:, 1] for bar in bars for segment in bar.get_segments()]
        expected = [
            np.quantile(screen.X[rows, 0], [0.25, 0.75])
            for rows in (range(10), range(30, 40), range(40, 50))
        ]
        np.testing.assert_allclose(found, expected)

    def test_predicted_at_dose_zero_stands_beside_control(self, screen, simulated):
        none = simulated[[0, 10, 30, 40]].copy()
        none.obs["dose"], none.X = 0.0, np.array([[0.5, 5], [1.5, 5], [2, 5], [4, 5]])
        simulated = ad.concat([simulated, none], index_unique="-")
        (panel,) = pl.dose_response(screen, simulated, "g0", target="C").child_axes
        above, at_zero = (line for line in panel.lines if line.get_marker() == "|")
        np.testing.assert_allclose(above.get_xdata(), np.log10([1, 3, 10]))
        np.testing.assert_allclose(at_zero.get_ydata(), 3)
        assert at_zero.get_color() == above.get_color()
        (control,) = [x for x, _, color in dots(panel) if color == CONTROL]
        broken = next(line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == ":")
        assert control < min(at_zero.get_xdata()) < max(at_zero.get_xdata()) < broken
        bands = [
            c.get_paths()[0].vertices[:, 1]
            for c in panel.collections
            if type(c) is not mpl.collections.LineCollection
        ]
        assert (bands[1].min(), bands[1].max()) == (2.5, 3.5)
        # a line a drug, with and without other doses
        (panel,) = pl.dose_response(screen, simulated, "g0").child_axes
        found = [
            line.get_ydata()[0]
            for line in panel.lines
            if line.get_marker() == "|" and max(line.get_xdata()) < 0
        ]
        np.testing.assert_allclose(found, [1, 3])
        (panel,) = pl.dose_response(screen, none, "g0", target="C").child_axes
        assert [line.get_ydata()[0] for line in panel.lines if line.get_marker() == "|"] == [3]

    @pytest.mark.medium
    def test_measured_in_the_units_of_the_fit(self, of_layer):
        (panel,) = pl.dose_response(*of_layer, "g0", target="C").child_axes
        np.testing.assert_allclose([y for _, y, color in dots(panel) if color == TREATED], [2, 20])
        (panel,) = pl.dose_response(*of_layer, "g0", target="C", layer="X").child_axes
        np.testing.assert_allclose([y for _, y, color in dots(panel) if color == TREATED], [1, 10])

    def test_several_drugs_have_their_stored_colors(self, screen, simulated):
        ax = pl.dose_response(screen, simulated, "g0")
        (panel,) = ax.child_axes
        lines = [to_rgba(line.get_color())[:3] for line in panel.lines if line.get_marker() == "|"]
        assert lines == [(1, 0, 0), (0, 0, 1)]
        assert legend_texts(ax) == ["control, measured", "A+B", "C", "predicted", "measured"]

    def test_errors(self, screen, simulated, short):
        with pytest.raises(ValueError, match="`target='D'` is not in `simulated`"):
            pl.dose_response(screen, simulated, "g0", target="D")
        with pytest.raises(KeyError, match="`features` is empty"):
            pl.dose_response(screen, simulated, [])
        tl.fit_perturbation(screen, "drug", "DMSO", use_rep="X_pca", **short)
        with pytest.raises(ValueError, match="without doses"):
            pl.dose_response(screen, simulated, "g0")


class TestPerturbation:
    def test_predicted_over_control_and_treated(self, screen):
        ax = pl.perturbation(screen, basis="pca", target="C", dose=10)
        control, treated, crosses = scatters(ax)
        np.testing.assert_allclose(control.get_offsets(), screen.X[:10])
        np.testing.assert_allclose(np.sort(treated.get_offsets(), axis=0), screen.X[40:])
        np.testing.assert_allclose(
            np.sort(crosses.get_offsets(), axis=0), screen.X[:10] + np.array([10, 0])
        )
        colors = [tuple(scatter.get_facecolor()[0][:3]) for scatter in (control, treated, crosses)]
        assert colors == [(0.87, 0.87, 0.87), TREATED, PREDICTED]
        assert (
            control.get_alpha() is None
        )  # many pale discs on each other are no darker than the legend
        assert legend_texts(ax) == ["control, measured", "treated, measured", "treated, predicted"]

    def test_all_treated_cells_unless_one_is_named(self, screen):
        assert len(scatters(pl.perturbation(screen, basis="pca"))[1].get_offsets()) == 40
        assert (
            len(scatters(pl.perturbation(screen, basis="pca", target="B+A"))[1].get_offsets()) == 20
        )

    def test_what_was_predicted_is_drawn_and_named(self, screen):
        screen.uns["genot_predicted"] = {"target": "B+A", "dose": 10.0}
        for asked in ({}, {"target": "A+B"}, {"dose": 10}):
            ax = pl.perturbation(screen, basis="pca", **asked)
            np.testing.assert_allclose(
                np.sort(scatters(ax)[1].get_offsets(), axis=0), screen.X[20:30]
            )
            expected = ["control, measured", "B+A, dose 10, measured", "B+A, dose 10, predicted"]
            assert legend_texts(ax) == expected
        with pytest.raises(
            ValueError, match=r"`target='C'` was not predicted .* but 'B\+A', dose 10: .*target='C'"
        ):
            pl.perturbation(screen, basis="pca", target="C")
        with pytest.raises(
            ValueError, match=r"sg\.tl\.predict\(adata, target='B\+A', dose=1, key='genot'\)"
        ):
            pl.perturbation(screen, basis="pca", dose=1)

    def test_what_was_not_measured_is_drawn_over_control(self, screen):
        screen.uns["genot_predicted"] = {"target": "C", "dose": 3.0}
        ax = pl.perturbation(screen, basis="pca")
        assert [len(scatter.get_offsets()) for scatter in scatters(ax)] == [10, 0, 10]
        assert legend_texts(ax) == ["control, measured", "C, dose 3, predicted"]

    def test_colors_of_labels_and_numbers(self, screen):
        screen.uns["type_colors"] = np.array(["#00ff00", "#ff00ff"])
        ax = pl.perturbation(screen, basis="pca", color="type")
        crosses = scatters(ax)[2]
        by_place = {}
        for xy, rgba in zip(crosses.get_offsets(), crosses.get_edgecolors(), strict=True):
            by_place[round(xy[1], 6)] = tuple(rgba[:3])
        expected = {
            round(y, 6): ((0, 1, 0), (1, 0, 1))[cell % 2] for cell, y in enumerate(screen.X[:10, 1])
        }
        assert by_place == expected
        assert legend_texts(ax)[:2] == ["x", "y"]
        (bar,) = pl.perturbation(screen, basis="pca", color="score").child_axes
        assert bar.get_xlim() == (0, 49)

    def test_errors(self, screen):
        with pytest.raises(ValueError, match=r"`target='D'`.*no measured cell"):
            pl.perturbation(screen, basis="pca", target="D")
        with pytest.raises(KeyError, match=r"`basis='X_umap'` .* found \['X_pca', 'X_genot'\]"):
            pl.perturbation(screen)
        with pytest.raises(ValueError, match="NaN for every cell"):
            pl.perturbation(screen[10:], basis="pca")
        del screen.obsm["X_genot"]
        with pytest.raises(KeyError, match=r"run `sg\.tl\.predict"):
            pl.perturbation(screen, basis="pca")


class TestCalibration:
    def test_stated_against_found(self, screen):
        ax = pl.calibration(screen)
        lines = {line.get_label(): line.get_xydata() for line in ax.lines}
        np.testing.assert_array_equal(lines["as predicted"], [[0.5, 0.3], [0.9, 0.7]])
        np.testing.assert_array_equal(lines["corrected"], [[0.5, 0.52], [0.9, 0.89]])
        np.testing.assert_array_equal(lines["stated is true"][:, 0], lines["stated is true"][:, 1])

    def test_band_is_binomial(self, screen):
        ax = pl.calibration(screen)
        (band,) = (c for c in ax.collections if isinstance(c, mpl.collections.PolyCollection))
        points = band.get_paths()[0].vertices
        here = points[np.abs(points[:, 0] - 0.9) < 2e-3]
        np.testing.assert_allclose(
            [here[:, 1].min(), here[:, 1].max()], 0.9 + np.array([-1, 1]) * 1.96 * 0.03, atol=4e-3
        )

    def test_one_feature_and_a_table(self, screen):
        ax = pl.calibration(screen, feature="g0")
        assert ax.get_xlabel() == "stated probability of the interval of g0"
        assert next(
            line for line in ax.lines if line.get_label() == "corrected"
        ).get_ydata().tolist() == [0.1, 0.2]
        entry = screen.uns["genot"]
        table = pd.concat(
            [entry["calibration"].assign(feature="region"), entry["calibration_features"]]
        )
        ax = pl.calibration(table)
        assert next(
            line for line in ax.lines if line.get_label() == "corrected"
        ).get_ydata().tolist() == [0.52, 0.89]

    def test_errors(self, screen):
        with pytest.raises(KeyError, match="`feature='g9'` is not in `table`"):
            pl.calibration(screen, feature="g9")
        with pytest.raises(TypeError, match="must be an AnnData or a DataFrame"):
            pl.calibration([0.5])
        with pytest.raises(KeyError, match="lacks the columns"):
            pl.calibration(pd.DataFrame({"level": [0.5]}))
        del screen.uns["genot"]["calibration"]
        with pytest.raises(KeyError, match=r"run `sg\.tl\.calibrate`"):
            pl.calibration(screen)


@pytest.mark.medium
def test_axes_that_are_passed_are_used_and_drawn(screen, simulated):
    figure, axes = plt.subplots(2, 3, figsize=(20, 10), layout="constrained")
    table = pd.DataFrame(
        {"group": ["x"], "feature": ["g0"], "change": [1.0], "observed_change": [2.0]}
    )
    drawn = [
        pl.response(screen, simulated, "g0", target="C", dose=1, ax=axes[0, 0]),
        pl.response(screen, simulated, "g0", target="C", dose=1, groupby="type", ax=axes[0, 1]),
        pl.response_heatmap(table, ax=axes[0, 2]),
        pl.dose_response(screen, simulated, ["g0", "g1"], ax=axes[1, 0]),
        pl.perturbation(screen, basis="pca", color="score", ax=axes[1, 1]),
        pl.calibration(screen, ax=axes[1, 2]),
    ]
    assert drawn == list(axes.ravel())
    figure.canvas.draw()


def test_nothing_is_written(screen, simulated):
    before = str(screen), str(simulated), set(screen.uns["genot"])
    pl.response(screen, simulated, "g0", target="C", dose=1, groupby="type")
    pl.dose_response(screen, simulated, "g0")
    pl.perturbation(screen, basis="pca", color="type")
    assert (str(screen), str(simulated), set(screen.uns["genot"])) == before
