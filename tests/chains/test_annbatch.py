"""Cells that annbatch streams from disk are placed and predicted batch by batch."""

import anndata as ad
import numpy as np
import pytest

import scgenot as sg

annbatch = pytest.importorskip("annbatch")
pytestmark = pytest.mark.filterwarnings("ignore")  # what neighbors warn of is theirs


@pytest.fixture
def fitted():
    cells = sg.datasets.screen(60)
    sg.tl.embed(cells, n_components=10)
    learner = sg.model.FlowMatching(steps=20)
    sg.tl.fit_perturbation(cells, "drug", "control", learner=learner, progress=False)
    return cells


def test_batches_from_disk_are_placed_as_the_whole_is(fitted, tmp_path):
    control = fitted[fitted.obs["drug"] == "control"]
    new = ad.AnnData(control.X.copy(), control.obs[["drug"]].assign(name=control.obs_names))
    new.var_names = control.var_names
    new.write_h5ad(tmp_path / "new.h5ad")
    collection = annbatch.DatasetCollection(tmp_path / "cells.zarr")
    collection.add_adatas(adata_paths=[tmp_path / "new.h5ad"])
    sg.tl.project(new, fitted)
    whole = dict(zip(new.obs_names, new.obsm["X_pca"], strict=True))

    loader = annbatch.Loader(batch_size=32, chunk_size=8, preload_nchunks=8, to=None)
    seen = []
    for batch in loader.use_collection(collection):
        values = batch["X"]
        values = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
        part = ad.AnnData(values, batch["obs"].astype({"name": str}).set_index("name"))
        part.var_names = new.var_names
        sg.tl.project(part, fitted)
        sg.tl.predict(part, target="A", model=fitted, progress=False)
        assert np.isfinite(part.obsm["X_genot"]).all()
        expected = np.stack([whole[name] for name in part.obs_names])
        np.testing.assert_allclose(part.obsm["X_pca"], expected, rtol=1e-4, atol=1e-4)
        seen += list(part.obs_names)
    assert sorted(seen) == sorted(new.obs_names)
