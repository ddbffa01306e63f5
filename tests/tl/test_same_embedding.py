"""New cells are taken in the space of the fit, or refused: one name says nothing of the axes."""

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

import scgenot as sg
from scgenot.cells.tasks import TimeCourse
from scgenot.fit.fit import Fit

REMOVE = r"Remove `obsm\['X_pca'\]` of the new cells.*`sg.tl.project\(adata, fitted, key='pca'\)`"


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    return ad.AnnData(
        np.log1p(rng.gamma(2.0, size=(160, 6)) @ rng.gamma(1.0, size=(6, 20))).astype(np.float32)
    )


@pytest.fixture
def halves(cells):
    """Cells of a fit that were embedded, and others."""
    fitted, new = cells[:100].copy(), cells[100:].copy()
    fitted.obs["kind"] = "fitted"
    sg.tl.embed(fitted, n_components=4)
    return fitted, new


def read(new, fitted, use_rep="X_pca", **options):
    """Source cells of a fit of these cells, whose model takes any number of columns."""
    fit = Fit(TimeCourse("day", use_rep=use_rep), adata=fitted, make_model=object)
    return fit.cells(new, **options)


def test_scanpys_components_of_other_cells_are_refused(halves):
    fitted, new = halves
    sc.pp.pca(new, n_comps=4)
    with pytest.raises(
        ValueError,
        match=rf"`use_rep='X_pca'` of `adata` is another embedding.*coordinates.*{REMOVE}",
    ):
        read(new, fitted)
    with pytest.raises(ValueError, match="`shared_rep='X_pca'`"):
        read(new, fitted, use_rep="X", shared_rep="X_pca")


def test_components_of_all_cells_are_refused(cells):
    sc.pp.pca(cells, n_comps=4)
    fitted, new = cells[:100].copy(), cells[100:].copy()
    sg.tl.embed(fitted, n_components=4)
    with pytest.raises(ValueError, match="its coordinates are not those"):
        read(new, fitted)
    with pytest.raises(ValueError, match="its coordinates are not those"):
        read(new[:2], fitted)


def test_flipped_axes_are_refused(halves):
    fitted, new = halves
    sg.tl.project(new, fitted)
    del new.uns["pca"]
    new.obsm["X_pca"][:, 1] *= -1
    with pytest.raises(ValueError, match="its coordinates are not those"):
        read(new, fitted)


def test_cells_of_the_same_embedding_are_taken(halves):
    fitted, new = halves
    expected = sg.tl.project(new, fitted, copy=True).obsm["X_pca"]
    np.testing.assert_array_equal(read(new, fitted), expected)
    new.obsm["X_pca"] = expected
    for cells in (
        sg.tl.project(new, fitted, copy=True),
        new,
        new[:, ::-1].copy(),
    ):  # with and without its origin
        np.testing.assert_array_equal(read(cells, fitted), expected)
    for subset in (fitted[10:40], ad.concat([fitted[10:40]])):  # concat drops uns
        np.testing.assert_array_equal(read(subset, fitted), fitted.obsm["X_pca"][10:40])


def test_without_the_features_nothing_is_compared(halves):
    fitted, new = halves
    given = np.random.default_rng(1).normal(size=(60, 4))
    for cells in (
        ad.AnnData(obsm={"X_pca": given}),
        ad.AnnData(new.X[:, :5].copy(), obsm={"X_pca": given}),
    ):
        np.testing.assert_array_equal(read(cells, fitted), given)


def test_scanpys_components_on_both_sides(cells):
    fitted, new = cells[:100].copy(), cells[100:].copy()
    sc.pp.pca(fitted, n_comps=4)
    np.testing.assert_array_equal(read(fitted[:30].copy(), fitted), fitted.obsm["X_pca"][:30])
    new.obsm["X_pca"], new.varm["PCs"] = np.ones((60, 4)) + np.eye(60, 4), fitted.varm["PCs"].copy()
    read(new, fitted)
    new.varm["PCs"] = fitted.varm["PCs"] * [1, 1, -1, 1]
    for refused in (new, new[:, ::-1].copy()):
        with pytest.raises(
            ValueError, match=r"loadings in `varm\['PCs'\]` differ. Run `sg.tl.embed` in place"
        ):
            read(refused, fitted)
    read(new[:, :10].copy(), fitted)  # other genes: nothing to compare
