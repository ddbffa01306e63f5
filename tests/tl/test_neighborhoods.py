"""Populations of a spatial data set: each cell's neighbours."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scgenot as sg
from scgenot.cells.populations import read_populations


def tissue(side: int = 20, seed: int = 0) -> ad.AnnData:
    """A grid of two types in halves; the state of a cell follows the type around it."""
    rng = np.random.default_rng(seed)
    x, y = map(np.ravel, np.meshgrid(np.arange(side), np.arange(side)))
    kind = x < side / 2
    cells = rng.normal(size=(len(x), 2)) + np.stack([3.0 * kind, 0 * kind], 1)
    obs = pd.DataFrame(
        {"type": np.where(kind, "A", "B"), "section": np.where(y < side / 2, "s1", "s2")},
        index=[f"c{k}" for k in range(len(x))],
    )
    places = np.stack([x, y], 1) + rng.uniform(-0.1, 0.1, size=(len(x), 2))
    return ad.AnnData(
        np.zeros((len(x), 2), dtype=np.float32),
        obs=obs,
        obsm={"spatial": places, "X_pca": cells.astype(np.float32)},
    )


def test_the_neighbours_are_the_nearest_cells():
    adata = tissue()
    sg.tl.neighborhoods(adata, n_neighbors=7)
    found, places = adata.obsp["neighborhoods"], adata.obsm["spatial"]
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(apart, np.inf)
    for k in (0, 57, 399):
        assert set(found[k].indices) == set(np.argsort(apart[k])[:7])
    assert found.nnz == 7 * adata.n_obs


def test_neighbours_are_of_the_same_section():
    adata = tissue()
    sg.tl.neighborhoods(adata, n_neighbors=9, library_key="section")
    rows, columns = adata.obsp["neighborhoods"].nonzero()
    section = adata.obs["section"].to_numpy()
    assert (section[rows] == section[columns]).all()


def test_cells_in_one_place_are_neighbours_but_not_of_themselves():
    adata = tissue(4)
    adata.obsm["spatial"][:] = 0
    sg.tl.neighborhoods(adata, n_neighbors=5)
    found = adata.obsp["neighborhoods"]
    assert (np.diff(found.indptr) == 5).all()
    assert found.diagonal().sum() == 0


def test_they_are_read_as_populations(tmp_path):
    adata = tissue()
    sg.tl.neighborhoods(adata, n_neighbors=6, n_centers=50, rng=1)
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata = ad.read_h5ad(tmp_path / "a.h5ad")
    read = read_populations(adata, "neighborhoods", constant=["type"])
    assert len(read) == 50
    assert (read.sizes == 6).all()
    assert list(read.obs["type"]) == list(adata.obs.loc[read.names, "type"])
    center = adata.obs_names.get_loc(read.names[3])
    assert set(read.rows[3]) == set(adata.obsp["neighborhoods"][center].indices)
    table = sg.tl.population_distances(adata, "neighborhoods", progress=False, kind="energy")
    assert table.shape == (50, 50)


@pytest.mark.medium
def test_surroundings_are_generated_given_the_type_of_the_center():
    adata = tissue()
    sg.tl.neighborhoods(adata, n_neighbors=30, n_centers=120)
    learner = sg.model.GaussianPopulations(steps=100)
    sg.tl.fit_populations(adata, "neighborhoods", condition="type", learner=learner, progress=False)
    new = sg.tl.simulate_populations(adata, [{"type": "A"}, {"type": "B"}], n_populations=50)
    means = pd.Series(new.obsm["X_pca"][:, 0]).groupby(new.obs["type"].to_numpy()).mean()
    read = read_populations(adata, "neighborhoods")
    real = pd.Series([cells[:, 0].mean() for cells in read]).groupby(read.obs["type"].to_numpy())
    real = real.mean()
    np.testing.assert_allclose(means, real, atol=0.3)
    assert new.obs["neighborhoods"].nunique() == 100


def test_bad_input():
    adata = tissue(4)
    with pytest.raises(KeyError, match="`spatial_key='xy'` is not in obsm"):
        sg.tl.neighborhoods(adata, "xy")
    with pytest.raises(ValueError, match="`n_neighbors=16`: there are 16 cells, and"):
        sg.tl.neighborhoods(adata, n_neighbors=16)
    with pytest.raises(ValueError, match="8 cells of 'section' = s1"):
        sg.tl.neighborhoods(adata, n_neighbors=8, library_key="section")
    with pytest.raises(ValueError, match="`key_added='type'` is a column of obs"):
        sg.tl.neighborhoods(adata, n_neighbors=3, key_added="type")
    adata.obsm["spatial"][3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        sg.tl.neighborhoods(adata, n_neighbors=3)
    assert "neighborhoods" not in adata.obsp
    adata.obsp["empty"] = sparse.csr_matrix((16, 16))
    with pytest.raises(ValueError, match="obsp has no neighborhoods"):
        sg.tl.fit_populations(adata, "empty", progress=False)


def test_a_center_without_its_condition_is_named():
    adata = tissue()
    adata.obs["type"] = adata.obs["type"].where(np.arange(400) > 2)
    sg.tl.neighborhoods(adata, n_neighbors=5)
    with pytest.raises(ValueError, match="`condition='type'` is missing for 3 of 400 centers"):
        sg.tl.fit_populations(adata, "neighborhoods", condition="type", progress=False)


def test_another_matrix_is_not_lost():
    adata = tissue(5)
    adata.obsp["connectivities"] = 0.5 * sparse.eye(adata.n_obs, format="csr")
    with pytest.raises(ValueError, match=r"`key_added='connectivities'`.*would be lost"):
        sg.tl.neighborhoods(adata, n_neighbors=3, key_added="connectivities")
    assert (adata.obsp["connectivities"].data == 0.5).all()
    for n in (3, 4):
        sg.tl.neighborhoods(adata, n_neighbors=n)
    assert adata.obsp["neighborhoods"].nnz == 4 * adata.n_obs


@pytest.mark.filterwarnings("ignore:.*have at most|.*are not unique")
def test_colors_partners_and_cells_of_one_name():
    adata = tissue(8)
    sg.tl.neighborhoods(adata, n_neighbors=6, n_centers=10)
    sg.tl.population_distances(adata, "neighborhoods")
    sg.pl.population_distances(adata, color="type", show=False)
    with pytest.raises(ValueError, match="names neighborhoods in obsp"):
        sg.tl.fit_populations(adata, "neighborhoods", paired_with={"type": "A"})
    expected = sg.tl.embed_populations(adata, "neighborhoods").X
    adata.obs_names = ["c"] * adata.n_obs
    found = sg.tl.embed_populations(adata, "neighborhoods")
    np.testing.assert_array_equal(found.X, expected)
    assert found.obs["neighborhoods"].tolist() == ["c"] * 10
