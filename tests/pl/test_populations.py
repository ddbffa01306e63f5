"""Pictures of populations show the numbers that they are made of."""

import numpy as np
import pytest
from matplotlib.patches import Ellipse

import scgenot as sg


@pytest.fixture
def adata():
    adata = sg.datasets.cohort(8, n_cells=30, dim=5, n_types=2)
    sg.tl.population_distances(adata, "patient", progress=False)
    return adata


def test_distances_are_in_the_order_of_the_tree(adata):
    ax = sg.pl.population_distances(adata, color=["outcome", "place"], show=False)
    names = [label.get_text() for label in ax.get_yticklabels()]
    stored = adata.uns["population_distances"]
    order = [list(stored["names"]).index(name) for name in names]
    assert sorted(order) == list(range(8))
    np.testing.assert_array_equal(
        ax.images[0].get_array(), stored["distances"][np.ix_(order, order)]
    )
    strips = [child for child in ax.child_axes if child.get_ylabel() in ("outcome", "place")]
    assert len(strips) == 2
    labels = {text.get_text() for text in ax.get_legend().get_texts()}
    assert labels <= {"outcome: 0", "outcome: 1", *(label for label in labels if "place" in label)}


def test_distances_are_missing(adata):
    with pytest.raises(KeyError, match=r"'other_distances' is not in uns.*population_distances"):
        sg.pl.population_distances(adata, key="other", show=False)
    with pytest.raises(ValueError, match="`color='cell_type'` varies within the population"):
        sg.pl.population_distances(adata, color="cell_type", show=False)
    some = adata[adata.obs["patient"] != "patient-3"].copy()
    with pytest.raises(ValueError, match=r"no cells of the populations \['patient-3'\]"):
        sg.pl.population_distances(some, color="outcome", show=False)


def test_ellipses_have_the_moments_of_their_cells(adata):
    ax = sg.pl.populations(adata, "patient", show=False)
    panel = ax.child_axes[0]
    shapes = [patch for patch in panel.patches if isinstance(patch, Ellipse)]
    assert len(shapes) == 8
    own = adata[adata.obs["patient"] == "patient-0"].obsm["X_pca"][:, :2]
    np.testing.assert_allclose(shapes[0].center, own.mean(0), rtol=1e-5)
    area = np.pi * 2 * np.log(2) * np.sqrt(np.linalg.det(np.cov(own.T)))
    assert np.pi * shapes[0].width * shapes[0].height / 4 == pytest.approx(area, rel=1e-4)


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["ellipses", "cells"])
@pytest.mark.parametrize("color", [None, "outcome", "place", "patient"])
def test_generated_populations_are_beside_measured_ones(adata, kind, color):
    other = sg.datasets.cohort(5, n_cells=30, dim=5, n_types=2, rng=1)
    ax = sg.pl.populations(adata, "patient", generated=other, kind=kind, color=color, show=False)
    titles = [panel.get_title() for panel in ax.child_axes[:2]]
    assert titles == ["measured (n = 8)", "generated (n = 5)"]
    assert ax.child_axes[0].get_xlim() == ax.child_axes[1].get_xlim()


def test_a_color_that_varies(adata):
    with pytest.raises(ValueError, match="`color='cell_type'` varies within the population"):
        sg.pl.populations(adata, "patient", color="cell_type", show=False)
