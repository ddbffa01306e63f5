"""Generated populations of a known law, copies and trivial ones, told apart."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, concat

import scgenot as sg


def cohort(n: int, seed: int, d: int = 4, n_cells: int = 80) -> AnnData:
    """Gaussian populations on a curve, with a label whose share varies."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 3, n)
    axes = np.array([np.cos(place), np.sin(place), place / 2, 0 * place]).T
    scale = 0.3 + 0.2 * place[:, None] * np.array([1, 0.5, 0.2, 1])
    cells = (3 * axes)[:, None] + scale[:, None] * rng.normal(size=(n, n_cells, d))
    obs = pd.DataFrame(
        {
            "patient": np.repeat([f"{seed}-{k}" for k in range(n)], n_cells),
            "type": np.where(rng.uniform(size=(n, n_cells)) < place[:, None] / 3, "T", "B").ravel(),
        },
        index=[f"{seed}-{k}" for k in range(n * n_cells)],
    )
    x = cells.reshape(-1, d)
    return AnnData(x, obs=obs, obsm={"X_pca": x})


@pytest.fixture(scope="module")
def measured():
    return cohort(40, 1)


@pytest.fixture(scope="module")
def train():
    return cohort(60, 2)


def table(measured, generated, train=None, **options):
    options = {"label_key": "type", "progress": False, **options}
    return sg.tl.evaluate_populations(measured, generated, "patient", train=train, **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bures", "sinkhorn", "energy"])
def test_populations_of_the_right_law_are_right(measured, train, kind):
    options = {"kind": kind, "n_cells": 40}
    found = table(measured, cohort(40, 3), train, **options)
    ours = found.loc["generated"]
    # a standard error of 80 neighbours is .06, and more as they are not independent
    assert 0.3 < ours["nearest_neighbor_accuracy"] < 0.7
    assert abs(ours["mmd"]) < 0.05
    assert ours["coverage"] > 0.45
    assert ours["composition_error"] < 0.1
    assert "no indication of copies" in found.attrs["verdict"]
    trivial = found.loc[["mean population", "mixture"], "nearest_neighbor_accuracy"]
    assert (trivial > 0.9).all()
    assert found["kind"].tolist() == ["model", "baseline", "baseline", "baseline", "ceiling"]
    pd.testing.assert_frame_equal(table(measured, cohort(40, 3), train, **options), found)


@pytest.mark.medium
def test_copies_are_found(measured, train):
    rng = np.random.default_rng(0)
    copies = train[train.obs["patient"].isin(train.obs["patient"].unique()[:40])].copy()
    copies.obsm["X_pca"] += 0.01 * rng.normal(size=copies.shape)
    found = table(measured, copies, train)
    assert "nearer than new populations" in found.attrs["verdict"]
    assert found.loc["generated", "nearest_training"] < 0.1
    # training populations whose cells are drawn anew are copies too
    assert found.loc["resampled training populations", "nearest_training"] < 0.5


def test_without_training_populations(measured):
    found = table(measured, cohort(50, 3), label_key=None)
    assert found.index.tolist() == ["generated", "ceiling, halves"]
    assert found["n_populations"].tolist() == [40, 20]
    assert not {"composition_error", "nearest_training"} & set(found)
    assert "1-nearest-neighbor accuracy" in found.attrs["verdict"]


def test_trivial_populations_have_the_moments_that_they_say(measured, train):
    found = table(measured, train, train, n_cells=None)
    # training populations are the nearest ones of themselves
    assert found.loc["generated", "nearest_training"] < 1e-12
    assert found.loc["mixture", "composition_error"] < 0.15
    assert found.loc["mean population", "composition_error"] < 0.15


def test_populations_on_both_sides_are_refused(measured, train):
    both = concat([train, measured[measured.obs["patient"] == "1-3"]])
    with pytest.raises(ValueError, match=r"1 of 40 .* also in `train` \(1-3\)"):
        table(measured, measured, both)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"generated": cohort(3, 4)}, ValueError, "`generated` 3 populations: at least 4"),
        ({"label_key": "x"}, KeyError, "`label_key='x'` is not in obs of `measured`"),
        ({"use_rep": "X_y"}, KeyError, "`use_rep='X_y'` is not in obsm of `measured`"),
        ({"n_cells": 1}, ValueError, "`n_cells=1` must be an integer >= 2"),
    ],
)
def test_what_is_refused(measured, options, error, message):
    with pytest.raises(error, match=message):
        table(measured, **{"generated": cohort(5, 3), **options})


def test_cells_in_different_spaces_are_refused(measured):
    generated = cohort(5, 3)
    with pytest.raises(ValueError, match=r"pass `generated\[:, measured.var_names\]`"):
        table(measured, generated[:, ::-1].copy(), use_rep="X")
    measured = measured.copy()
    for adata in (measured, generated):
        sg.tl.embed(adata, n_components=3)
    for call in (table, sg.pl.populations):
        options = {} if call is table else {"population_key": "patient"}
        with pytest.raises(ValueError, match="'X_pca' of `generated` is another embedding"):
            call(measured, generated=generated, **options)
    del generated.obsm["X_pca"]
    sg.tl.project(generated, measured, key="pca")
    assert len(table(measured, generated)) == 2
    generated.obsm["X_lsi"] = generated.obsm.pop("X_pca")
    with pytest.raises(KeyError, match=r"'X_pca'.*is not in obsm of `generated`"):
        table(measured, generated)
