"""Plots of courses of development, read back from the axes. Slots are written by hand."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.colors import to_rgba

from scgenot import pl, tl
from scgenot.pl._transition import spread


@pytest.fixture
def course(fitted):
    return fitted.copy()


@pytest.fixture(scope="module")
def fitted(short):
    """Eight cells at each of three days, whose text does not sort; each goes to the one 8 on."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(24, 4))
    days = np.repeat(["d2", "d10", "d11"], 8)
    adata = AnnData(
        obs=pd.DataFrame(
            {
                "day": days,
                "type": pd.Categorical(["a", "b", "b", "b"] * 6),
                "score": np.arange(24.0),
            },
            index=[f"c{i}" for i in range(24)],
        ),
        obsm={"X_pca": states, "X_umap": rng.normal(size=(24, 2))},
        uns={"type_colors": np.array(["#ff0000", "#0000ff"])},
    )
    tl.fit_trajectory(adata, "day", use_rep="X_pca", **short)
    adata.obsm["X_genot"] = np.vstack([states[8:], np.full((8, 4), np.nan)])
    adata.obs["genot_growth"] = np.r_[np.tile([2.0, 0.5], 8), np.full(8, np.nan)]
    fate = np.zeros((24, 3))
    fate[:16] = [0.5, 0.25, 0.25]
    fate[16:, 1] = 1
    fate[3] = np.nan
    adata.obsm["genot_fate"] = pd.DataFrame(
        fate, index=adata.obs_names, columns=["a", "b", "other"]
    )
    return adata


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def scatters(ax):
    return [c for c in ax.collections if isinstance(c, mpl.collections.PathCollection)]


class TestTrajectory:
    def test_times_in_order_from_dark_to_light(self, course):
        ax = pl.trajectory(course)
        assert legend_texts(ax)[:4] == ["d2", "d10", "d11", "measured cell"]
        colors = [handle.get_color() for handle in ax.get_legend().legend_handles[:3]]
        lightness = [np.dot(to_rgba(color)[:3], [0.3, 0.6, 0.1]) for color in colors]
        assert lightness == sorted(lightness)
        discs, crosses = scatters(ax)
        assert len(discs.get_offsets()) == 24
        assert len(crosses.get_offsets()) == 16

    def test_crosses_are_where_they_are_in_the_fitted_basis(self, course):
        ax = pl.trajectory(course, basis="pca")
        crosses = scatters(ax)[1].get_offsets()
        np.testing.assert_allclose(
            np.sort(crosses, axis=0), np.sort(course.obsm["X_genot"][:16, :2], axis=0)
        )

    def test_crosses_stand_at_their_nearest_cells_in_another(self, course):
        ax = pl.trajectory(course, basis="X_umap")
        pca, umap = course.obsm["X_pca"], course.obsm["X_umap"]
        distance = ((course.obsm["X_genot"][:16, None] - pca) ** 2).sum(-1)
        expected = umap[np.argsort(distance, axis=1)[:, :5]].mean(axis=1)
        crosses = scatters(ax)[1].get_offsets()
        np.testing.assert_allclose(np.sort(crosses, axis=0), np.sort(expected, axis=0))
        assert ax.get_xlabel() == "UMAP 1"

    def test_arrows_lead_from_sources_to_descendants(self, course):
        ax = pl.trajectory(course, basis="pca", n_arrows=5)
        (arrows,) = (c for c in ax.collections if isinstance(c, mpl.quiver.Quiver))
        assert arrows.N == 5
        starts = course.obsm["X_pca"][:16, :2]
        for x, y, u, v in zip(arrows.X, arrows.Y, arrows.U, arrows.V, strict=True):
            cell = np.abs(starts - [x, y]).sum(1).argmin()
            np.testing.assert_allclose([x, y], starts[cell])
            np.testing.assert_allclose([x + u, y + v], course.obsm["X_genot"][cell, :2])
        assert not any(
            isinstance(c, mpl.quiver.Quiver) for c in pl.trajectory(course, n_arrows=0).collections
        )

    def test_stored_colors_of_labels_and_a_scale_of_numbers(self, course):
        ax = pl.trajectory(course, color="type", basis="pca", n_arrows=0)
        crosses = scatters(ax)[1]
        colors = {
            tuple(np.round(xy, 6)): color[:3]
            for xy, color in zip(crosses.get_offsets(), crosses.get_edgecolors(), strict=True)
        }
        for cell in range(16):  # a cross has the color of its source
            expected = to_rgba(course.uns["type_colors"][int(cell % 4 > 0)])[:3]
            assert tuple(colors[tuple(np.round(course.obsm["X_genot"][cell, :2], 6))]) == expected
        ax = pl.trajectory(course, color="score")
        (bar,) = (other for other in ax.figure.axes if other is not ax)
        assert bar.get_xlim() == (0, 23)

    def test_a_view_without_the_last_time(self, course):
        view = course[course.obs["day"] != "d11"]
        ax = pl.trajectory(view)
        assert legend_texts(ax)[:3] == ["d2", "d10", "measured cell"]
        assert view.is_view

    def test_errors(self, course):
        with pytest.raises(KeyError, match="is not a fit"):
            pl.trajectory(course, key="other")
        with pytest.raises(KeyError, match=r"'X_tsne'.*found"):
            pl.trajectory(course, basis="tsne")
        with pytest.raises(KeyError, match="`color='nothing'`"):
            pl.trajectory(course, color="nothing")
        del course.obsm["X_genot"]
        with pytest.raises(KeyError, match=r"run `sg\.tl\.predict"):
            pl.trajectory(course)


class TestTransition:
    table = pd.DataFrame(
        [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]],
        index=["a", "b", "none"],
        columns=["a", "b", "none"],
    )

    def test_ribbons_are_as_thick_as_the_mass(self):
        ax = pl.transition(self.table)
        ribbons = [patch for patch in ax.patches if isinstance(patch, mpl.patches.PathPatch)]
        thick = [
            patch.get_path().vertices[7, 1] - patch.get_path().vertices[0, 1] for patch in ribbons
        ]
        np.testing.assert_allclose(thick, [0.375, 0.125, 0.5])
        bars = [patch for patch in ax.patches if isinstance(patch, mpl.patches.Rectangle)]
        np.testing.assert_allclose([bar.get_height() for bar in bars], [0.5, 0.5, 0.375, 0.625])
        # ribbons fill the bars they leave and reach
        for ribbon, (left, right) in zip(ribbons, [(0, 2), (0, 3), (1, 3)], strict=True):
            points = ribbon.get_path().vertices
            for bar, heights in ((bars[left], points[[0, 7], 1]), (bars[right], points[[3, 4], 1])):
                assert (
                    bar.get_y() - 1e-9
                    <= heights[0]
                    <= heights[1]
                    <= bar.get_y() + bar.get_height() + 1e-9
                )
        assert [text.get_text() for text in ax.texts] == ["a", "b", "source", "a", "b", "target"]
        assert ax.get_title() == "Where each source group's descendants are"

    @pytest.mark.parametrize("kind", ["alluvial", "heatmap"])
    def test_groups_have_their_counts(self, kind):
        table = self.table.copy()
        table.attrs = {"n_source": {"a": 1, "b": 1410}, "n_target": {"a": 3, "b": 2}}
        ax = pl.transition(table, kind=kind)
        labels = [*ax.get_yticklabels(), *ax.get_xticklabels(), *ax.texts]
        texts = [text.get_text() for text in labels]
        expected = ["a (n=1)", "b (n=1,410)", "a (n=3)", "b (n=2)"]
        assert [text for text in texts if "n=" in text] == expected

    def test_colors_of_the_source_group(self, course):
        ax = pl.transition(self.table, adata=course, groupby="type")
        ribbons = [patch for patch in ax.patches if isinstance(patch, mpl.patches.PathPatch)]
        found = [patch.get_facecolor()[:3] for patch in ribbons]
        assert found == [(1, 0, 0), (1, 0, 0), (0, 0, 1)]

    def test_heatmap(self):
        ax = pl.transition(self.table, kind="heatmap")
        np.testing.assert_allclose(ax.images[0].get_array(), [[75, 25], [0, 100]])
        assert [text.get_text() for text in ax.texts] == ["75", "25", "0", "100"]
        backward = pl.transition(self.table.T, kind="heatmap")
        assert backward.get_title() == "Where each target group's ancestors are"
        whole = pl.transition(self.table * 3, kind="heatmap")
        np.testing.assert_allclose(whole.images[0].get_array().sum(), 100)

    def test_labels_keep_apart(self):
        wanted = np.array([0.0, -0.01, -0.02, -3])
        found = spread(wanted, 0.2)
        assert (np.diff(found) <= -0.2 + 1e-12).all()
        np.testing.assert_allclose(found, [0.19, -0.01, -0.21, -3])  # the nearest that are apart
        np.testing.assert_allclose(spread(np.array([0.0, -1, -2]), 0.2), [0, -1, -2])

    def test_errors(self, course):
        with pytest.raises(ValueError, match="`kind='sankey'`"):
            pl.transition(self.table, kind="sankey")
        with pytest.raises(TypeError, match=r"run `sg\.tl\.cell_transition`"):
            pl.transition(course)
        with pytest.raises(ValueError, match="negative or missing"):
            pl.transition(-self.table)
        with pytest.raises(ValueError, match="no mass"):
            pl.transition(0 * self.table)
        with pytest.raises(ValueError, match="`adata` and `groupby` go together"):
            pl.transition(self.table, groupby="type")
        with pytest.raises(KeyError, match="`groupby='nothing'`"):
            pl.transition(self.table, adata=course, groupby="nothing")


class TestFate:
    def test_a_panel_for_each_group(self, course):
        ax = pl.fate(course)
        assert [panel.get_title() for panel in ax.child_axes] == ["a", "b", "other"]
        for panel, name in zip(ax.child_axes, ["a", "b", "other"], strict=True):
            unknown, known = scatters(panel)
            assert len(unknown.get_offsets()) == 1  # one cell has no fate
            values = np.sort(course.obsm["genot_fate"][name].dropna())
            np.testing.assert_allclose(known.get_array(), values)  # the highest on top
            assert known.get_clim() == (0, 1)

    def test_groups_in_the_order_asked(self, course):
        ax = pl.fate(course, groups=["b", "a"])
        assert [panel.get_title() for panel in ax.child_axes] == ["b", "a"]

    def test_two_groups_in_one_panel(self, course):
        table = course.obsm["genot_fate"]
        course.obsm["genot_fate"] = table[["a", "b"]].div(table[["a", "b"]].sum(axis=1), axis=0)
        ax = pl.fate(course)
        (panel,) = ax.child_axes
        cells = scatters(panel)[1]
        np.testing.assert_allclose(np.unique(cells.get_array()), [1 / 3, 1])
        (bar,) = panel.child_axes
        assert [label.get_text() for label in bar.get_xticklabels()] == ["all a", "half", "all b"]

    def test_bars_leave_out_the_last_time(self, course):
        ax = pl.fate(course, basis=None, groupby="type")
        (panel,) = ax.child_axes
        widths = [[bar.get_width() for bar in container] for container in panel.containers]
        np.testing.assert_allclose(widths, [[0.5, 0.5], [0.25, 0.25], [0.25, 0.25]])
        assert [label.get_text() for label in panel.get_yticklabels()] == ["a", "b"]
        assert [container[0].get_facecolor()[:3] for container in panel.containers[:2]] == [
            (1, 0, 0),
            (0, 0, 1),
        ]
        assert legend_texts(ax) == ["a", "b", "other"]
        assert len(pl.fate(course, groupby="type").child_axes) == 4

    def test_errors(self, course):
        with pytest.raises(
            ValueError, match=r"`groups=\['c'\]` must be terminal groups, of \['a', 'b', 'other'\]"
        ):
            pl.fate(course, groups=["c"])
        with pytest.raises(ValueError, match="both None"):
            pl.fate(course, basis=None)
        with pytest.raises(ValueError, match="no cell before the last time"):
            pl.fate(course[16:], basis=None, groupby="type")
        del course.obsm["genot_fate"]
        with pytest.raises(KeyError, match=r"run `sg\.tl\.fate`"):
            pl.fate(course)


class TestGrowth:
    def test_relative_to_the_median_of_the_time(self, course):
        growth = np.r_[np.repeat([1 / 16, 1 / 8, 1 / 8, 1 / 4], 4), np.full(8, np.nan)]
        course.obs["genot_growth"] = growth
        with pytest.warns(UserWarning, match="send 14% of their mass on average: the coupling"):
            ax = pl.growth(course, groupby="type", basis=None)
        # half of the cells of d2 have 1/16, half 1/8; of d10 half 1/8, half 1/4
        means = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "o"]
        values = growth[:16] / np.repeat([np.median(growth[:8]), np.median(growth[8:16])], 8)
        types = course.obs["type"][:16]
        np.testing.assert_allclose(
            means, [np.log2(values)[types == name].mean() for name in ("a", "b")]
        )
        assert ax.get_ylabel() == "growth relative to the median cell"

    def test_violins_by_time_on_a_scale_of_doublings(self, course):
        ax = pl.growth(course, relative=False)
        assert [label.get_text() for label in ax.get_xticklabels()] == [
            "d2\n(n=8)",
            "d10\n(n=8)",
        ]  # the last day is no source
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(
            [line.get_ydata() for line in dots], [[0], [0]]
        )  # 2 and 1/2 are equally far from 1
        assert (
            len([c for c in ax.collections if isinstance(c, mpl.collections.PolyCollection)]) == 2
        )
        labels = dict(
            zip(
                ax.get_yticks(),
                [ax.yaxis.get_major_formatter()(y, 0) for y in ax.get_yticks()],
                strict=True,
            )
        )
        assert (labels[-1], labels[0], labels[1]) == ("1/2", "1", "2")
        assert any(
            line.get_linestyle() == "--" and set(line.get_ydata()) == {0} for line in ax.lines
        )  # growth 1

    def test_groups_and_embedding(self, course):
        ax = pl.growth(course, basis="umap", groupby="type")
        embedding, violins = ax.child_axes
        rest, known = scatters(embedding)
        assert len(rest.get_offsets()) == 8
        assert len(known.get_offsets()) == 16
        assert known.norm(1) == 0.5  # as many is the middle
        assert known.norm.vmin == 1 / known.norm.vmax
        assert [label.get_text() for label in violins.get_xticklabels()] == [
            "a\n(n=4)",
            "b\n(n=12)",
        ]

    def test_zero_has_a_place(self, course):
        course.obs["genot_growth"] = np.r_[np.zeros(16), np.full(8, np.nan)]
        with pytest.warns(UserWarning, match="send 0% of their mass"):
            ax = pl.growth(course)
        assert {float(line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "o"} == {-6}

    def test_errors(self, course):
        with pytest.raises(KeyError, match="`groupby='nothing'`"):
            pl.growth(course, groupby="nothing")
        with pytest.raises(ValueError, match="NaN for every cell"):
            pl.growth(course[16:])
        del course.obs["genot_growth"]
        with pytest.raises(KeyError, match=r"solver=sg\.ot\.Sinkhorn\(tau="):
            pl.growth(course)


class TestInterpolation:
    rng = np.random.default_rng(1)
    true = rng.normal(size=(40, 5)) * [3, 2, 0.1, 0.1, 0.1]
    near = rng.normal(size=(30, 5)) * [3, 2, 0.1, 0.1, 0.1]

    def test_all_panels_have_the_same_axes(self):
        ax = pl.interpolation(
            {"model": self.near, "shifted": self.near + np.array([20, 0, 0, 0, 0])}, self.true
        )
        one, other = ax.child_axes
        assert (one.get_xlim(), one.get_ylim()) == (other.get_xlim(), other.get_ylim())
        (under, over), (under_other, shifted) = scatters(one), scatters(other)
        assert (len(under.get_offsets()), len(over.get_offsets())) == (40, 30)
        np.testing.assert_array_equal(under.get_offsets(), under_other.get_offsets())
        # the way the populations differ is among the axes
        moved = shifted.get_offsets().mean(axis=0) - over.get_offsets().mean(axis=0)
        np.testing.assert_allclose(np.linalg.norm(moved), 20, rtol=1e-3)
        assert legend_texts(ax) == ["true cell", "row of an array"]

    def test_measured_cells_are_not_called_predicted(self, course):
        made = course[8:16].copy()
        made.obs["genot_origin"] = pd.Categorical(["interpolated"] * 8)
        some = course[:8].copy()
        some.obs["genot_origin"] = [None] * 6 + ["simulated"] * 2
        cells = {"before": course[:8], "made": made, "some": some, "baseline": self.near[:, :4]}
        ax = pl.interpolation(cells)
        assert legend_texts(ax) == ["predicted cell", "measured cell", "row of an array"]
        colors = [
            [tuple(rgba[:3]) for rgba in np.resize(scatters(panel)[0].get_facecolors(), (n, 4))]
            for panel, n in zip(ax.child_axes, (8, 8, 8, 30), strict=True)
        ]
        measured, predicted, array = (to_rgba(c)[:3] for c in ("#0072B2", "#D55E00", "#009E73"))
        assert set(colors[0]) == {measured}
        assert set(colors[1]) == {predicted}
        assert colors[2] == [measured] * 6 + [predicted] * 2
        assert set(colors[3]) == {array}
        assert legend_texts(pl.interpolation({"before": course[:8]})) == ["measured cell"]

    def test_scores_are_in_the_titles(self):
        cells = {"model": self.near, "mean": self.near + 1}
        scores = pd.DataFrame({"energy": [0.123, 2], "W2": [1, 3.0]}, index=["model", "other"])
        titles = [
            panel.get_title()
            for panel in pl.interpolation(cells, self.true, scores=scores).child_axes
        ]
        assert titles == ["model\nenergy 0.123\nW2 1", "mean"]
        titles = [
            panel.get_title()
            for panel in pl.interpolation(cells, self.true, scores={"mean": 2}).child_axes
        ]
        assert titles == ["model", "mean\n2"]

    def test_anndata_without_truth(self, course):
        for basis in ("X_pca", "pca"):
            ax = pl.interpolation({"day 3": course[:8]}, basis=basis)
            (panel,) = ax.child_axes
            assert len(scatters(panel)) == 1
            # two axes that keep the most variance keep distances from the mean at best
            states = course.obsm["X_pca"][:8]
            kept = np.linalg.svd(states - states.mean(0))[1][:2]
            np.testing.assert_allclose(
                np.linalg.norm(scatters(panel)[0].get_offsets(), axis=0), kept
            )

    def test_errors(self, course):
        with pytest.raises(TypeError, match="`populations` must be"):
            pl.interpolation(self.near)
        with pytest.raises(ValueError, match="is empty"):
            pl.interpolation({})
        with pytest.raises(ValueError, match=r"different widths: \[5, 4\]"):
            pl.interpolation({"a": self.near}, self.near[:, :4])
        with pytest.raises(KeyError, match=r"`basis='X_lsi'` .* `populations\['day'\]`"):
            pl.interpolation({"day": course}, basis="lsi")
        with pytest.raises(TypeError, match="`true='day 3'` must be an AnnData or an array"):
            pl.interpolation({"a": self.near}, "day 3")
        with pytest.raises(ValueError, match="must be finite"):
            pl.interpolation({"a": self.near * np.nan})


@pytest.mark.medium
def test_axes_that_are_passed_are_used_and_drawn(course):
    figure, axes = plt.subplots(2, 3, figsize=(18, 9), layout="constrained")
    cells = {"a": np.eye(4)}
    drawn = [
        pl.trajectory(course, ax=axes[0, 0]),
        pl.fate(course, groupby="type", ax=axes[0, 1]),
        pl.growth(course, basis="umap", groupby="type", ax=axes[0, 2]),
        pl.interpolation(cells, ax=axes[1, 0]),
        pl.transition(TestTransition.table, ax=axes[1, 1]),
        pl.transition(TestTransition.table, kind="heatmap", ax=axes[1, 2]),
    ]
    assert drawn == list(axes.ravel())
    figure.canvas.draw()


def test_nothing_is_written(course):
    del course.uns["type_colors"]
    before = str(course), set(course.uns["genot"])
    pl.trajectory(course, color="type")
    pl.fate(course, groupby="type")
    pl.growth(course, groupby="type")
    assert (str(course), set(course.uns["genot"])) == before
