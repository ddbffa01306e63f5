"""Distances between populations, and populations as points, of AnnData and back to a file."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import read_h5ad

import scgenot as sg


@pytest.fixture(scope="module")
def cohort():
    """Twelve patients on a line, of two groups."""
    rng = np.random.default_rng(0)
    place = np.linspace(0, 6, 12)
    cells = [p + np.array([1, 2, 0.5]) * rng.normal(size=(60 + k, 3)) for k, p in enumerate(place)]
    sizes = list(map(len, cells))
    obs = pd.DataFrame(
        {
            "patient": np.repeat(np.arange(12) * 10, sizes),
            "group": pd.Categorical(np.repeat(["low/a", "high"], [sum(sizes[:6]), sum(sizes[6:])])),
            "type": rng.choice(["T", "B"], sum(sizes)),
        }
    )
    obs.index = [f"c{k}" for k in range(len(obs))]
    x = np.concatenate(cells).astype(np.float32)
    return sc.AnnData(x, obs=obs, obsm={"X_pca": x})


@pytest.mark.parametrize("kind", ["bures", "sinkhorn", "energy"])
def test_distances_of_a_cohort(cohort, kind, tmp_path):
    adata = cohort.copy()
    table = sg.tl.population_distances(adata, "patient", kind=kind, progress=False)
    assert table.shape == (12, 12)
    assert table.index.tolist() == table.columns.tolist() == (np.arange(12) * 10).tolist()
    assert table.loc[0, 10] < table.loc[0, 50] < table.loc[0, 110]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    stored = read_h5ad(tmp_path / "cells.h5ad").uns["population_distances"]
    np.testing.assert_array_equal(stored["distances"], table)
    assert list(stored["names"]) == [str(k) for k in table.index]
    assert stored["kind"] == kind
    again = sg.tl.population_distances(adata, "patient", kind=kind, progress=False, key_added="b")
    pd.testing.assert_frame_equal(table, again)
    assert "b_distances" in adata.uns


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gaussian", "transport"])
def test_populations_as_points(cohort, kind, tmp_path):
    before = cohort.copy()
    found = sg.tl.embed_populations(cohort, "patient", kind=kind, progress=False)
    assert found.n_obs == 12
    assert list(found.obs) == ["patient", "group", "n_cells"]
    assert found.obs["n_cells"].tolist() == list(range(60, 72))
    assert found.obs["group"].tolist() == ["low/a"] * 6 + ["high"] * 6
    assert cohort.obs.equals(before.obs)
    assert list(cohort.uns) == list(before.uns)
    found.write_h5ad(tmp_path / "samples.h5ad")
    few = sg.tl.embed_populations(cohort, "patient", kind=kind, n_components=2, progress=False)
    # patients stand on a line
    assert abs(np.corrcoef(few.X[:, 0], np.arange(12))[0, 1]) > 0.99
    sc.pp.neighbors(few, n_neighbors=4, use_rep="X")
    assert "distances" in few.obsp


def test_views_and_missing_labels(cohort):
    adata = cohort.copy()
    adata.obs["patient"] = adata.obs["patient"].astype(str).where(adata.obs["patient"] != 20)
    with pytest.warns(UserWarning, match="missing for 31 of"):
        table = sg.tl.population_distances(adata[::2], "patient", progress=False)
    assert table.shape == (11, 11)


def test_small_patients_are_said(cohort):
    adata = cohort[[0, 1, *range(60, 181)]].copy()
    with pytest.warns(UserWarning, match=r"1 of 3 populations have at most 3 cells.*0 \(2\)"):
        sg.tl.population_distances(adata, "patient", progress=False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"population_key": "x"}, KeyError, "`population_key='x'` is not in obs"),
        ({"use_rep": "X_y"}, KeyError, "`use_rep='X_y'` is not in obsm"),
        ({"kind": "other"}, ValueError, "`kind='other'` must be one of"),
        ({"epsilon": 0}, ValueError, "`epsilon=0` must be positive"),
        ({"n_cells": 0}, ValueError, "`n_cells=0` must be an integer >= 1"),
        ({"population_key": "cell"}, ValueError, "Name a column with more cells"),
    ],
)
def test_bad_options(cohort, options, error, message):
    cohort = cohort.copy()
    cohort.obs["cell"] = cohort.obs_names
    for verb in (sg.tl.population_distances, sg.tl.embed_populations):
        with pytest.raises(error, match=message):
            verb(cohort, **{"population_key": "patient", **options})


def test_more_components_than_there_are(cohort):
    with pytest.raises(ValueError, match=r"`n_components=12` must be at most 9 for 12 populations"):
        sg.tl.embed_populations(cohort, "patient", n_components=12)


@pytest.mark.parametrize(
    "labels", [["1", 1, 2], pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"])]
)
def test_labels_that_a_file_cannot_hold_are_text(cohort, labels, tmp_path):
    adata = cohort[:60].copy()
    adata.obs["batch"] = pd.Series(list(labels) * 20, index=adata.obs_names)
    found = sg.tl.embed_populations(adata, "batch")
    assert found.obs["batch"].tolist() == found.obs_names.tolist()
    found.write_h5ad(tmp_path / "samples.h5ad")
