"""A translation between two modalities of a MuData, through its file."""

import numpy as np
import pytest

import scgenot as sg

md = pytest.importorskip("mudata")
pytestmark = pytest.mark.filterwarnings("ignore")  # what neighbors warn of is theirs

FEW = {"learner": sg.model.FlowMatching(steps=20), "progress": False}


@pytest.fixture
def mdata():
    rna, atac = sg.datasets.twins(60)
    atac.obs_names = [f"atac-{name}" for name in atac.obs_names]
    return md.MuData({"rna": rna, "atac": atac})


def test_by_the_names_of_the_modalities_and_by_the_modalities(mdata):
    rna, atac = (mdata[name].copy() for name in ("rna", "atac"))
    sg.tl.fit_translation(mdata, "rna", "atac", **FEW)
    sg.tl.fit_translation(rna, atac, **FEW)
    np.testing.assert_array_equal(mdata["rna"].obsm["X_genot"], rna.obsm["X_genot"])
    assert "genot" not in mdata["atac"].uns


def test_a_fit_survives_the_file_of_a_mudata(mdata, tmp_path):
    sg.tl.fit_translation(mdata, "rna", "atac", **FEW)
    before = mdata["rna"].obsm["X_genot"]
    mdata.write(tmp_path / "cells.h5mu")
    again = md.read(tmp_path / "cells.h5mu")
    sg.tl.predict(again["rna"], progress=False)
    np.testing.assert_array_equal(again["rna"].obsm["X_genot"], before)


def test_other_functions_say_which_modality_to_pass(mdata):
    with pytest.raises(TypeError, match=r"`adata` is a MuData .* such as `adata\['rna'\]`"):
        sg.tl.embed(mdata)
    with pytest.raises(KeyError, match=r"`target_modality='protein'` is not a modality"):
        sg.tl.fit_translation(mdata, "rna", "protein", **FEW)
