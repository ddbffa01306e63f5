"""Plots: what is on them, read back from the axes."""

import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.colors import to_rgba
from scipy import sparse

from scgenot import pl, tl


@pytest.fixture(scope="module")
def fitted_target():
    """Thirty cells of three types at the corners of a triangle in a plane of four dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["B", "T", "mono"], 10)
    corners = dict(zip(("B", "T", "mono"), np.eye(3, 4) * 10, strict=True))
    states = np.stack([corners[label] for label in labels]) + rng.normal(size=(30, 4)) * 0.3
    adata = AnnData(
        obs=pd.DataFrame({"type": pd.Categorical(labels)}, index=[f"t{i}" for i in range(30)]),
        obsm={"X_pca": states, "X_umap": states[:, :2] ** 2},
    )
    adata.uns["type_colors"] = np.array(["#ff0000", "#00ff00", "#0000ff"])
    return adata


@pytest.fixture
def target(fitted_target):
    return fitted_target.copy()


@pytest.fixture
def source(fitted_source):
    return fitted_source.copy()


@pytest.fixture(scope="module")
def fitted_source(fitted_target, short):
    """Twelve source cells; one has no prediction. Cell i goes to targets 2i and, less, 2i + 1."""
    target, labels = fitted_target, ["B"] * 5 + ["T"] * 5 + ["mono"] * 2
    adata = AnnData(
        obs=pd.DataFrame(
            {"type": labels, "score": np.arange(12.0)}, index=[f"s{i}" for i in range(12)]
        ),
        obsm={"X_genot": target.obsm["X_pca"][: 2 * 12 : 2].copy()},
    )
    adata.obsm["X_genot"][11] = np.nan
    adata.obsm["X_lsi"] = np.random.default_rng(1).normal(size=(12, 3))
    predicted = adata.obsm.pop("X_genot")
    tl.fit_translation(adata, target, use_rep=("X_lsi", "X_pca"), **short)
    adata.obsm["X_genot"] = predicted
    rows = np.repeat(np.arange(12), 2)
    mass = np.tile([0.75, 0.25], 12) / 12
    adata.obsm["genot_coupling"] = sparse.csr_matrix((mass, (rows, np.arange(24))), shape=(12, 30))
    history = {
        "step": np.arange(1, 101),
        "loss": np.linspace(2, 1, 100),
        "validation": np.full(100, np.nan),
    }
    history["validation"][24::25] = 0.5, 0.2, 0.3, 0.4
    adata.uns["genot"]["history"] = pd.DataFrame(history)
    return adata


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


class TestTranslation:
    @pytest.mark.medium
    def test_contents(self, source, target):
        ax = pl.translation(source, target, color="type")
        discs, crosses = (
            c for c in ax.collections if isinstance(c, mpl.collections.PathCollection)
        )
        assert len(discs.get_offsets()) == 30
        assert len(crosses.get_offsets()) == 11  # one cell is NaN
        assert legend_texts(ax)[:5] == [
            "B",
            "T",
            "mono",
            "measured target cell",
            "translated source cell",
        ]
        assert "X_pca" in ax.get_xlabel()
        assert ax.get_title()

    def test_same_label_same_stored_color(self, source, target):
        ax = pl.translation(source, target, color="type")
        discs, crosses = (
            c for c in ax.collections if isinstance(c, mpl.collections.PathCollection)
        )
        colors = {tuple(color[:3]) for color in crosses.get_edgecolors()}
        assert colors == {to_rgba(c)[:3] for c in target.uns["type_colors"]}
        assert colors == {tuple(color[:3]) for color in discs.get_facecolors()}
        # a prediction lies on a measured cell here: both must have one color
        measured = {
            tuple(np.round(xy, 6)): c[:3]
            for xy, c in zip(discs.get_offsets(), discs.get_facecolors(), strict=True)
        }
        for xy, color in zip(crosses.get_offsets(), crosses.get_edgecolors(), strict=True):
            np.testing.assert_array_equal(measured[tuple(np.round(xy, 6))], color[:3])

    def test_lines_lead_to_the_best_match(self, source, target):
        ax = pl.translation(source, target, n_lines=5)
        (lines,) = (c for c in ax.collections if isinstance(c, mpl.collections.LineCollection))
        assert len(lines.get_segments()) == 5
        for start, end in lines.get_segments():
            np.testing.assert_allclose(
                start, end, atol=1e-9
            )  # cell i lies on target 2i, its best match
        assert any("best match" in text for text in legend_texts(ax))

    def test_no_lines_without_a_coupling(self, source, target):
        del source.obsm["genot_coupling"]
        ax = pl.translation(source, target)
        assert not any(isinstance(c, mpl.collections.LineCollection) for c in ax.collections)

    def test_plane_is_that_of_the_target(self, source, target):
        states = target.obsm["X_pca"]
        ax = pl.translation(source, target, n_lines=0)
        discs = ax.collections[0].get_offsets()
        expected = np.linalg.svd(states - states.mean(0))[1][:2]
        np.testing.assert_allclose(
            np.sort(np.linalg.norm(discs, axis=0)), np.sort(expected), rtol=1e-6
        )

    def test_outsiders_are_seen_outside(self, source, target):
        source.obsm["X_genot"][0] = target.obsm["X_pca"].mean(0) + 100 * np.array([1, -1, 0, 0])
        ax = pl.translation(source, target, n_lines=0)
        discs, crosses = ax.collections
        assert np.abs(crosses.get_offsets()).max() > 5 * np.abs(discs.get_offsets()).max()

    @pytest.mark.parametrize("basis", ["X_umap", "umap"])
    def test_other_basis(self, source, target, basis):
        ax = pl.translation(source, target, basis=basis, n_lines=0)
        discs, crosses = ax.collections
        np.testing.assert_allclose(
            np.sort(discs.get_offsets(), axis=0), np.sort(target.obsm["X_umap"], axis=0), rtol=1e-6
        )
        assert np.asarray(crosses.get_offsets()).max() <= target.obsm["X_umap"].max()
        assert ax.get_xlabel() == "UMAP 1"

    def test_numbers_have_one_scale(self, source, target):
        target.obs["score"] = np.arange(30.0)
        ax = pl.translation(source, target, color="score")
        (bar,) = (other for other in ax.figure.axes if other is not ax)
        assert bar.get_xlabel() == "score"
        assert bar.get_xlim() == (0, 29)

    def test_many_cells_are_thinned(self, source, target, monkeypatch):
        monkeypatch.setattr(sys.modules["scgenot.pl._translation"], "MOST_CROSSES", 4)
        ax = pl.translation(source, target, n_lines=0)
        assert len(ax.collections[1].get_offsets()) == 4
        assert "translated source cell\n(4 of 11 drawn)" in legend_texts(ax)

    def test_nothing_is_written(self, source, target):
        del target.uns["type_colors"]
        before = str(source), str(target), set(source.uns["genot"])
        pl.translation(source, target, color="type")
        assert (str(source), str(target), set(source.uns["genot"])) == before

    def test_errors(self, source, target):
        with pytest.raises(
            KeyError,
            match=r"`key='other'` is not a fit in uns; found \['genot'\]",
        ):
            pl.translation(source, target, key="other")
        with pytest.raises(
            KeyError,
            match=r"`color='batch'` is not in obs of `adata_source`; found \['type', 'score'\]",
        ):
            pl.translation(source, target, color="batch")
        with pytest.raises(KeyError, match=r"`basis='X_tsne'` .* found \['X_pca', 'X_umap'\]"):
            pl.translation(source, target, basis="tsne")
        with pytest.raises(ValueError, match="must both be labels or both numbers"):
            pl.translation(source, target, color="score", target_color="type")
        source.obsm["X_genot"] = source.obsm["X_genot"][:, :3]
        with pytest.raises(
            ValueError, match="'X_genot' has 3 columns, 'X_pca' of `adata_target` 4"
        ):
            pl.translation(source, target)
        source.obsm["X_genot"] = np.full((12, 4), np.nan)
        with pytest.raises(ValueError, match="NaN for every cell"):
            pl.translation(source, target)
        del target.obsm["X_pca"]
        with pytest.raises(KeyError, match="`target_rep='X_pca'` is not in obsm of `adata_target`"):
            pl.translation(source, target)


class TestCoupling:
    def test_percentages_by_hand(self, source, target):
        # source cells 0-4 are B and reach targets 0-9, all B; 5-9 T and 10-19, T; 10, 11 mono and
        # 20-23, mono
        ax = pl.coupling(source, target, groupby="type")
        np.testing.assert_allclose(ax.images[0].get_array(), 100 * np.eye(3), atol=1e-9)
        assert [text.get_text() for text in ax.texts] == [
            "100",
            "0",
            "0",
            "0",
            "100",
            "0",
            "0",
            "0",
            "100",
        ]

    def test_rows_or_columns_or_all_sum_to_100(self, source, target):
        target.obs["type"] = target.obs["type"].to_numpy()[np.random.default_rng(0).permutation(30)]
        for normalize, axis in (("source", 1), ("target", 0), (None, None)):
            ax = pl.coupling(source, target, groupby="type", normalize=normalize)
            np.testing.assert_allclose(ax.images[0].get_array().sum(axis=axis), 100)

    def test_labels_and_order(self, source, target):
        target.obs["kind"] = target.obs["type"].cat.reorder_categories(["mono", "T", "B"])
        ax = pl.coupling(source, target, groupby="type", target_groupby="kind")
        assert [text.get_text() for text in ax.get_xticklabels()] == [
            "mono (n=4)",
            "T (n=10)",
            "B (n=10)",
        ]
        rows = [text.get_text() for text in ax.get_yticklabels()]
        assert rows == ["B (n=5)", "T (n=5)", "mono (n=2)"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("target: kind", "source: type")
        (bar,) = (other for other in ax.figure.axes if other is not ax)
        assert bar.get_ylabel() == "% of the source group's mass"

    def test_columns_are_found_by_name(self, source, target):
        shuffled = target[np.random.default_rng(0).permutation(30)].copy()
        found = pl.coupling(source, shuffled, groupby="type").images[0].get_array()
        np.testing.assert_allclose(found, 100 * np.eye(3), atol=1e-9)

    def test_within_one_anndata(self):
        adata = AnnData(obs=pd.DataFrame({"day": list("aabb")}, index=list("wxyz")))
        adata.obsp["genot_coupling"] = sparse.csr_matrix(
            [[0, 0, 0.5, 0], [0, 0, 0, 0.5], [0] * 4, [0] * 4]
        )
        ax = pl.coupling(adata, groupby="day")
        assert ax.images[0].get_array().tolist() == [[100]]  # groups without mass are left out
        assert [text.get_text() for text in ax.get_xticklabels()] == ["b (n=2)"]

    def test_cells_without_a_label_are_left_out(self, source, target):
        source.obs.loc["s0", "type"] = None
        np.testing.assert_allclose(
            pl.coupling(source, target, groupby="type", normalize=None).images[0].get_array().sum(),
            100,
        )

    def test_errors(self, source, target):
        with pytest.raises(ValueError, match="`adata_target` is missing"):
            pl.coupling(source, groupby="type")
        with pytest.raises(ValueError, match="lacks 2 of the 30 cells"):
            pl.coupling(source, target[2:], groupby="type")
        with pytest.raises(
            KeyError, match="`target_groupby='batch'` is not in obs of `adata_target`"
        ):
            pl.coupling(source, target, groupby="type", target_groupby="batch")
        with pytest.raises(ValueError, match="`normalize='rows'`"):
            pl.coupling(source, target, groupby="type", normalize="rows")
        del source.obsm["genot_coupling"]
        with pytest.raises(KeyError, match=r"no 'genot_coupling' in `adata`.*sg\.tl\.coupling"):
            pl.coupling(source, target, groupby="type")


class TestTraining:
    def test_contents(self, source):
        ax = pl.training(source)
        twin = next(other for other in ax.figure.axes if other is not ax)
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(1, 101))
        validation, best = twin.lines[:2]
        np.testing.assert_array_equal(
            validation.get_xydata(), [[25, 0.5], [50, 0.2], [75, 0.3], [100, 0.4]]
        )
        np.testing.assert_array_equal(best.get_xydata(), [[50, 0.2]])
        assert legend_texts(twin) == [
            "loss, mean of 5 records",
            "validation",
            "best: 0.2 at step 50",
        ]
        assert "validation rises after step 50: the weights of the star" in ax.get_title()
        source.uns["genot"]["history"].loc[99, "validation"] = 0.1
        assert pl.training(source).get_title() == "Training"

    def test_the_legend_covers_no_curve(self, source):
        ax = pl.training(source)
        ax.figure.canvas.draw()
        twin = next(other for other in ax.figure.axes if other is not ax)
        box = twin.get_legend().get_window_extent()
        assert box.y1 < ax.get_window_extent().y0
        assert box.y1 < ax.xaxis.label.get_window_extent().y0

    def test_without_validation(self, source):
        source.uns["genot"]["history"]["validation"] = np.nan
        ax = pl.training(source)
        assert ax.figure.axes == [ax]
        del source.uns["genot"]["history"]["validation"]
        ax = pl.training(source)
        assert ax.figure.axes == [ax]

    def test_errors(self, source):
        with pytest.raises(KeyError, match="is not a fit"):
            pl.training(source, key="other")
        del source.uns["genot"]["history"]
        with pytest.raises(ValueError, match=r"damaged.*history"):
            pl.training(source)


def test_axes_that_are_passed_are_used(source, target):
    _, axes = plt.subplots(1, 3, figsize=(16, 5), layout="constrained")
    assert pl.translation(source, target, ax=axes[0]) is axes[0]
    assert pl.coupling(source, target, groupby="type", ax=axes[1]) is axes[1]
    assert pl.training(source, ax=axes[2]) is axes[2]
    axes[0].figure.canvas.draw()


def test_no_grid_over_fields_nor_twice(source, target):
    with mpl.rc_context({"axes.grid": True}):  # as `sc.set_figure_params` leaves it
        pl.coupling(source, target, groupby="type")
        fields = plt.gcf().axes[0]
        pl.training(source)
        loss, validation = plt.gcf().axes
    drawn = [
        any(line.get_visible() for line in ax.get_xgridlines()) for ax in (fields, loss, validation)
    ]
    assert drawn == [False, True, False]


@pytest.mark.medium
def test_show_only_when_asked(source, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(True))
    pl.training(source)
    pl.training(source, show=False)
    assert not shown
    pl.training(source, show=True)
    assert shown


def test_survive_a_file(source, target, tmp_path):
    from anndata import read_h5ad

    source.write_h5ad(tmp_path / "source.h5ad")
    again = read_h5ad(tmp_path / "source.h5ad")
    pl.translation(again, target, color="type")
    pl.coupling(again, target, groupby="type")
    pl.training(again)
