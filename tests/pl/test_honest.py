"""What a picture must not hide: where crosses stand, how many cells, what is by construction."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from scipy import sparse

from scgenot import pl, tl
from scgenot.pl._velocity import grid_means


@pytest.fixture(scope="module")
def fitted(short):
    """Thirty cells at each of three times, three genes; donors are coupled among themselves."""
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(90, 3))).astype(np.float32)
    obs = pd.DataFrame(
        {
            "day": np.repeat([0, 1, 2], 30),
            "type": pd.Categorical((["a"] * 27 + ["b"] * 3) * 3, categories=["z", "b", "a"]),
            "donor": pd.Categorical(np.tile(["p", "q"], 45)),
        },
        index=[f"c{i}" for i in range(90)],
    )
    adata = AnnData(x, obs=obs, var=pd.DataFrame(index=["CD3", "CD19", "GFP"]))
    adata.obsm["X_pca"], adata.obsm["X_umap"] = x.astype(float), rng.normal(size=(90, 2))
    tl.fit_trajectory(adata, "day", use_rep="X_pca", covariates=["donor"], **short)
    # a prediction that is far from all measured cells
    states = np.full((90, 3), np.nan)
    states[:60] = x[30:] + 100
    adata.obsm["X_genot"] = states
    tl.coupling(adata)
    return adata


@pytest.fixture
def course(fitted):
    return fitted.copy()


def scatters(ax):
    return [c for c in ax.collections if isinstance(c, mpl.collections.PathCollection)]


def legend_text(ax):
    return " ".join(text.get_text() for text in ax.get_legend().get_texts())


class TestPlaces:
    def test_a_basis_that_hides_errors_says_so(self, course):
        assert "an error cannot be seen here" in legend_text(pl.trajectory(course, basis="umap"))
        assert "an error cannot be seen here" in legend_text(pl.trajectory(course, basis="X_umap"))
        assert "cannot be seen" not in legend_text(pl.trajectory(course, basis="pca"))

    @pytest.mark.parametrize("basis", ["joint", "object"])
    @pytest.mark.slow
    def test_an_error_is_seen_in_an_honest_one(self, course, basis):
        class Plane:
            def transform(self, cells):
                return cells[:, :2]

        ax = pl.trajectory(course, basis=Plane() if basis == "object" else basis, n_arrows=0)
        discs, crosses = (found.get_offsets() for found in scatters(ax))
        assert (len(discs), len(crosses)) == (90, 60)
        # measured and predicted cells are apart: the nearest neighbor is of one's own kind
        between = np.linalg.norm(crosses[:, None] - discs, axis=2).min(axis=1)
        among = np.linalg.norm(crosses[:, None] - crosses, axis=2) + 1e9 * np.eye(60)
        assert (among.min(axis=1) < between).all()
        assert "cannot be seen" not in legend_text(ax)

    def test_errors(self, course):
        with pytest.raises(TypeError, match="an object with `transform`"):
            pl.trajectory(course, basis=3)


class TestColors:
    def test_a_gene_is_a_color(self, course):
        course.raw = course.copy()
        other = course[:, ["CD3"]].copy()
        for adata, gene in ((course, "CD19"), (other, "GFP")):  # of raw, as in Scanpy
            ax = pl.trajectory(adata, basis="pca", color=gene)
            (bar,) = (axes for axes in ax.figure.axes if axes is not ax)
            assert bar.get_xlabel() == gene
            values = course[:, gene].X
            np.testing.assert_allclose(bar.get_xlim(), [values.min(), values.max()], rtol=1e-6)
        with pytest.raises(KeyError, match=r"'CD4'` is not in obs of `adata`.*no gene"):
            pl.trajectory(course, color="CD4")

    def test_a_label_has_one_color_everywhere(self, course):
        def of_legend(ax):
            handles = ax.get_legend().legend_handles
            return {one.get_label(): one.get_color() for one in handles}

        by_type = of_legend(pl.trajectory(course, basis="pca", color="type"))
        table = tl.cell_transition(course, "type", "type", start=0, end=1)
        bars = [p for p in pl.transition(table).patches if isinstance(p, Rectangle)]
        found = [bar.get_facecolor() for bar in bars[:2]]
        assert found == [to_rgba(by_type["b"]), to_rgba(by_type["a"])]
        tl.fate(course, "type")
        ax = pl.fate(course, basis=None, groupby="donor")
        bars = ax.child_axes[0].containers
        assert [bar[0].get_facecolor() for bar in bars] == found
        course.uns["type_colors"] = ["#000000", "#ff0000", "#00ff00"]
        table = tl.cell_transition(course, "type", "type", start=0, end=1)
        bars = [p for p in pl.transition(table).patches if isinstance(p, Rectangle)]
        assert [bar.get_facecolor() for bar in bars[:2]] == [(1, 0, 0, 1), (0, 1, 0, 1)]

    def test_stored_colors_of_times(self, course):
        course.uns["day_colors"] = ["#111111", "#222222", "#333333"]
        handles = pl.trajectory(course, basis="pca").get_legend().legend_handles[:3]
        assert [handle.get_color() for handle in handles] == ["#111111", "#222222", "#333333"]


class TestCounts:
    def test_groups_are_as_wide_as_they_have_cells(self, course):
        table = tl.cell_transition(course, "type", "type", start=0, end=2)
        assert table.attrs["n_source"] == {"b": 3, "a": 27}
        assert table.attrs["n_target"] == {"b": 3, "a": 27}
        np.testing.assert_allclose(table.sum(axis=1), 1)
        heights = [
            bar.get_height() for bar in pl.transition(table).patches if isinstance(bar, Rectangle)
        ][:2]
        np.testing.assert_allclose(heights, [0.1, 0.9])
        back = tl.cell_transition(course, "type", "type", start=0, end=2, direction="backward")
        rectangles = [bar for bar in pl.transition(back).patches if isinstance(bar, Rectangle)]
        np.testing.assert_allclose([bar.get_height() for bar in rectangles[2:]], [0.1, 0.9])

    @pytest.mark.medium
    def test_by_construction_is_hatched(self, course):
        table = tl.cell_transition(course, "donor", "donor", start=0, end=1)
        assert table.attrs["within"] == "donor"
        np.testing.assert_allclose(table, np.eye(2), atol=1e-9)
        for ax in (
            pl.transition(table, kind="heatmap"),
            pl.coupling(course, groupby="donor").child_axes[0],
        ):
            hatched = [patch for patch in ax.patches if patch.get_hatch()]
            assert [patch.get_xy() for patch in hatched] == [(-0.5, -0.5), (0.5, 0.5)]
        assert "coupled within donor" in pl.transition(table).get_title()
        assert tl.cell_transition(course, "type", "donor", start=0, end=1).attrs["within"] is None

    def test_a_panel_for_each_step(self, course):
        ax = pl.coupling(course, groupby="type")
        assert [panel.get_title() for panel in ax.child_axes] == ["day: 0 to 1", "day: 1 to 2"]
        times, mass = course.obs["day"].to_numpy(), sparse.csr_matrix(course.obsp["genot_coupling"])
        for panel, (before, after) in zip(ax.child_axes, ((0, 1), (1, 2)), strict=True):
            part = mass[times == before][:, times == after].toarray()
            is_b = (course.obs["type"] == "b").to_numpy()[times == before]
            expected = part[is_b][:, is_b].sum() / part[is_b].sum()
            assert panel.images[0].get_array()[0, 0] == pytest.approx(100 * expected)
            assert panel.get_yticklabels()[0].get_text() == "b (n=3)"


class TestMass:
    def test_push_and_pull(self, course):
        tl.push(course, "b", groupby="type", end=1)
        ax = pl.push(course)
        assert len(ax.child_axes) == 2
        start, end = ax.child_axes
        assert start.get_title() == "day 0\nover 3 of 30 cells"
        values = scatters(start)[1].get_array()
        np.testing.assert_allclose(sorted(values), [0] * 27 + [10] * 3)  # of 30 cells
        assert np.mean(scatters(end)[1].get_array()) == pytest.approx(1)
        tl.pull(course, "b", groupby="type", start=0, key_added="mine")
        assert len(pl.pull(course, basis="X_umap", column="mine").child_axes) == 3
        with pytest.raises(KeyError, match=r"run `sg\.tl\.pull`"):
            pl.pull(course)
        course.obs["mine"] = 0.0
        with pytest.raises(ValueError, match="no mass"):
            pl.push(course, column="mine")

    def test_velocity(self, course):
        with pytest.raises(KeyError, match=r"sg\.tl\.velocity\(adata, basis='umap'"):
            pl.velocity(course)
        tl.velocity(course, basis="umap", n_samples=2)
        ax = pl.velocity(course, color="CD3", n_squares=4)
        assert any(isinstance(c, mpl.quiver.Quiver) for c in ax.collections)
        assert "mean place" in legend_text(ax)
        assert "mean place" not in legend_text(pl.velocity(course, basis="pca", n_squares=4))
        with pytest.raises(ValueError, match="lower `n_squares`"):
            pl.velocity(course, n_squares=1000)

    def test_arrows_are_means(self):
        # four squares of side 1, four cells each; the arrows of one cancel
        corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
        xy = np.repeat(corners, 4, axis=0) * 1.2 + np.tile(
            [[0, 0], [0.2, 0], [0, 0.2], [0.2, 0.2]], (4, 1)
        )
        arrows = np.repeat([[1.0, 0], [2, 0], [0, 0], [0, np.nan]], 4, axis=0)
        arrows[8:12] = [[3, 0], [-3, 0], [0, 3], [0, -3]]
        start, mean = grid_means(xy, arrows, 2)
        assert len(start) == 3
        np.testing.assert_allclose(start[np.argsort(start[:, 0])][-1], [1.3, 0.1])
        lengths = np.sort(np.linalg.norm(mean, axis=1))
        np.testing.assert_allclose(lengths[0], 0, atol=1e-9)
        # the second is half of the longest, which is cut at two squares, those of 1.4 / 2
        assert lengths[2] == pytest.approx(2 * 0.7)
        assert lengths[1] == pytest.approx(2 * 0.7 / np.quantile([0, 1, 2], 0.9))


class TestUnits:
    @pytest.fixture(scope="class")
    @classmethod
    def screen(cls, short):
        rng = np.random.default_rng(0)
        obs = pd.DataFrame(
            {"drug": np.repeat(["no", "yes"], 40)}, index=[f"c{i}" for i in range(80)]
        )
        adata = AnnData(rng.poisson(3, (80, 6)).astype(np.float32), obs=obs)
        adata.var_names = [f"g{i}" for i in range(6)]
        adata.layers["counts"] = adata.X.copy()
        sc.pp.normalize_total(adata)
        sc.pp.log1p(adata)
        tl.embed(adata, n_components=3)
        tl.fit_perturbation(adata, "drug", "no", **short)
        return adata

    def test_axes_have_units(self, screen):
        made = tl.simulate(screen, "yes")
        assert pl.response(screen, made, ["g0"]).get_ylabel() == "log-normalised expression"
        assert pl.response(screen, made, ["g0"], layer="counts").get_ylabel() == "counts"
        table = tl.response(screen, "yes", n_samples=2)
        ax = pl.response_heatmap(table)
        labels = {axes.get_ylabel() for panel in ax.child_axes for axes in panel.child_axes}
        assert "change of the mean (log-normalised expression)" in labels

    def test_response_takes_the_table_of_its_verb(self, screen):
        screen.obs["type"] = ["x", "y"] * 40
        table = tl.response(screen, "yes", n_samples=2, groupby="type")
        ax = pl.response(table, features=["g1", "g0"])
        for panel, group in zip(ax.child_axes, ("x", "y"), strict=True):
            rows = table[table["group"] == group].set_index("feature").loc[["g1", "g0"]]
            (lines,) = (c for c in panel.collections)
            ends = np.array([line[:, 1] for line in lines.get_segments()])
            np.testing.assert_allclose(ends, rows[["lower", "upper"]])
            assert panel.get_title() == f"{group} (20 control cells)"
        assert pl.response(table[table["group"] == "x"]).get_title() == "x (20 control cells)"
        with pytest.raises(KeyError, match=r"`features` \['nothing'\] are not in `table`"):
            pl.response(table, features="nothing")
        with pytest.raises(TypeError, match="`features` is missing"):
            pl.response(screen, screen)
