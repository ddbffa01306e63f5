"""Names of cells that several links have are kept once, in memory and in a file."""

import anndata as ad
import numpy as np
import pytest

import scgenot as sg
from scgenot.fit.shared import Shared, digest_of

QUICK = sg.model.FlowMatching(steps=2)


@pytest.fixture(scope="module")
def fitted():
    adata = sg.datasets.screen(40, drugs=("A", "B", "C"), doses=(1.0,))
    options = {"learner": QUICK, "predict": False, "progress": False}
    sg.tl.fit_perturbation(adata, "drug", "control", **options)
    return adata


@pytest.mark.medium
def test_control_cells_are_kept_once(fitted, tmp_path):
    entry = fitted.uns["genot"]
    assert len(entry["links"]) == 6
    assert len({link["source_names"] for link in entry["links"].values()}) == 1
    # names of control cells and of three drugs and three pairs of them, and equal weights
    assert len(entry["shared"]) == 8
    found = sg.get.fit(fitted)
    assert found.links[0].source_names is found.links[2].source_names
    fitted.write_h5ad(tmp_path / "cells.h5ad")
    again = sg.get.fit(ad.read_h5ad(tmp_path / "cells.h5ad"))
    assert again.links[0].source_names is again.links[2].source_names
    for one, other in zip(found.links, again.links, strict=True):
        for name in ("source_names", "target_names", "source_weights"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("change", ["renamed", "missing", "reference"])
def test_damage_is_told(fitted, change):
    adata = fitted.copy()
    entry = adata.uns["genot"]
    key = entry["links"]["0"]["source_names"]
    if change == "renamed":
        entry["shared"][key] = entry["shared"][key][::-1]
    elif change == "missing":
        del entry["shared"][key]
    else:
        entry["links"]["0"]["source_names"] = 3
    with pytest.raises(ValueError, match="is damaged"):
        sg.get.fit(adata)


def test_digests_are_those_of_what_arrays_hold():
    names = np.array(["a", "bc"])
    assert digest_of(names) == digest_of(names.astype(object)) == digest_of(names.astype("<U7"))
    numbers = np.array([0.25, 0.75])
    assert digest_of(numbers) == digest_of(numbers.astype(np.float32).astype(float))
    assert digest_of(numbers) != digest_of(numbers[::-1])
    shared = Shared()
    assert shared.put(names) == shared.put(names.copy())
    assert list(shared.names(shared.put(names))) == ["a", "bc"]
