"""Simulated cells go to pertpy, beside measured ones."""

import anndata as ad
import numpy as np
import pytest

import scgenot as sg

pt = pytest.importorskip("pertpy")
pytestmark = pytest.mark.filterwarnings("ignore")  # what neighbors warn of is theirs


@pytest.fixture
def groups():
    cells = sg.datasets.screen(60)
    sg.tl.embed(cells, n_components=10)
    learner = sg.model.FlowMatching(steps=200)
    sg.tl.fit_perturbation(cells, "drug", "control", learner=learner, progress=False)
    treated = sg.tl.simulate(cells, target="A", progress=False)
    parts = {
        "control": cells[cells.obs["drug"] == "control"],
        "measured": cells[cells.obs["drug"] == "A"],
        "predicted": treated,
    }
    both = ad.concat(parts, label="origin", index_unique="-")
    sg.tl.project(both, cells)
    return both


def test_distances_of_pertpy_rank_as_ours(groups):
    theirs = pt.tl.Distance("edistance", obsm_key="X_pca").pairwise(groups, groupby="origin")
    cells = {name: groups.obsm["X_pca"][groups.obs["origin"] == name] for name in theirs.index}
    pairs = [("control", "measured"), ("control", "predicted"), ("predicted", "measured")]
    found = [theirs.loc[pair] for pair in pairs]
    ours = [sg.metrics.energy_distance(*(cells[name] for name in pair)) for pair in pairs]
    assert np.argsort(found).tolist() == np.argsort(ours).tolist()
    assert theirs.loc["predicted", "measured"] < theirs.loc["control", "measured"]
