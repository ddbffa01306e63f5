"""Damaged model files and entries of `uns` are refused by name, or harmless."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import scgenot as sg
from fuzz import damage, worlds
from scgenot.model import ModelFileError


def test_damage():
    made, failures = worlds.quietly(damage.run, 60, seed=1)
    assert not failures, "\n".join(f"{what}: {wrong}" for what, wrong in failures)
    assert sum(made.values()) == 60


def test_one_changed_bit_of_a_weight_is_seen(tmp_path):
    raw = bytearray(worlds.quietly(worlds.model_file).read_bytes())
    raw[-1] ^= 1
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw)
    with pytest.raises(ModelFileError, match="does not hold what was saved"):
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
