"""Damaged model files and entries of `uns` are refused by name, or harmless."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import scgenot as sg
from fuzz import damage, worlds
from scgenot.fit.regions_found import Calibration
from scgenot.model import ModelFileError


@pytest.mark.medium
def test_damage():
    made, failures = worlds.quietly(damage.run, 60, seed=1)
    assert not failures, "\n".join(f"{what}: {wrong}" for what, wrong in failures)
    assert sum(made.values()) == 60


def test_one_changed_bit_of_a_weight_is_seen(tmp_path):
    raw = bytearray(worlds.quietly(worlds.model_file).read_bytes())
    raw[-1] ^= 1
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw)
    with pytest.raises(ModelFileError, match="its content differs from what was saved"):
        sg.Genot.load(path)


def test_a_file_without_a_digest_is_read(tmp_path):
    known = worlds.quietly(worlds.model_file)
    meta = damage.metadata_of(known)
    del meta["digest"]
    path = tmp_path / "model.safetensors"
    save_file(load_file(known), path, meta)
    assert damage.drawn(sg.Genot.load(path)).tobytes() == damage.drawn(worlds.model()).tobytes()


def test_one_changed_weight_in_uns_is_seen():
    adata = worlds.quietly(worlds.source).copy()
    weights = adata.uns["genot"]["model"]["weights"]
    name = next(name for name in weights if np.size(weights[name]) > 1)
    weights[name] = weights[name] + 1
    with pytest.raises(ModelFileError, match="fit again"):
        sg.get.model(adata)


@pytest.mark.parametrize("level", [0.0, 1e12, -0.5])
def test_an_impossible_level_of_a_calibration_is_named(level):
    table = pd.DataFrame({"level": [level], "raw_threshold": [1.0], "threshold": [1.0]})
    features = pd.DataFrame({"level": [0.9], "correction": [0.0]})
    tables = {"calibration": table, "calibration_features": features}
    entry = tables | {"calibration_strata": [], "calibration_names": np.array(["a"])}
    with pytest.raises(ValueError, match="levels of the calibration are not between 0 and 1"):
        Calibration.read(entry)
    table["level"] = 0.9
    assert Calibration.read(entry).levels == [0.9]


@pytest.mark.parametrize("version", [np.array(["a", "b"]), "1", None])
def test_a_layout_that_is_none_is_named(version):
    adata = worlds.quietly(worlds.source).copy()
    adata.uns["genot"]["version"] = version
    with pytest.raises(ValueError, match="written by another version of scgenot"):
        sg.get.fit(adata)
