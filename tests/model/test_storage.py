"""Model files: written whole or not at all, and refused by name when damaged."""

import json
import os
import stat
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from scgenot.flow import SetEncoder
from scgenot.model import FlowMatching, Genot, ModelFileError, TrainState, train
from scgenot.model.files import read_file
from scgenot.pair import Pair


def make(growth=True, encoder=True):
    torch.manual_seed(0)
    if encoder:
        made = SetEncoder(2, 3, 1, width=4)
        model = Genot(3, 2, made.in_dim - 1, width=8, depth=2, encoder=made, condition_dropout=0.1)
    else:
        model = Genot(3, 2, width=8, depth=2)
    if growth:
        model.add_growth()
    return model


def damaged(**changes):
    config, arrays = make().to_arrays()
    return config | changes, arrays


def test_mode_link_and_old_file_stay(tmp_path):
    path = tmp_path / "model.safetensors"
    make().save(path)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o664)
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    make().save(link)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert link.is_symlink()
    assert sorted(file.name for file in tmp_path.iterdir()) == [link.name, path.name]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    make().save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        make(growth=False).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth", 100_000),
        ("depth", 1),
        ("width", 10**6),
        ("width", 10**12),
        ("width", -8),
        ("width", 8.0),
        ("width", True),
        ("source_dim", 10**9),
        ("target_dim", 3),
        ("condition_dim", 10**9),
        ("condition_dim", 0),
        ("condition_dropout", 0),
        ("condition_dropout", float("nan")),
        ("displacement", True),
        ("displacement", "no"),
        ("growth", False),
        ("growth", 1),
        ("field", 3),
        ("encoder", None),
        ("encoder", []),
        ("encoder", {"n_slots": 2}),
        ("encoder", {"n_slots": 10**9, "token_dim": 3, "n_further": 1, "width": 4}),
        ("encoder", {"n_slots": 2, "token_dim": 3, "n_further": 1, "width": 10**9}),
        ("encoder", {"n_slots": 2, "token_dim": 3, "n_further": 1, "width": 4, "more": 1}),
        ("format", 2),
        ("format", None),
        ("surprise", 1),
    ],
)
def test_a_wrong_configuration_is_refused_at_once(name, value):
    started = time.perf_counter()
    with pytest.raises(ModelFileError):
        Genot.from_arrays(*damaged(**{name: value}))
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("name", make().to_arrays()[0])
def test_what_the_configuration_lacks_is_refused(name):
    config, arrays = make().to_arrays()
    del config[name]
    with pytest.raises(ModelFileError):
        Genot.from_arrays(config, arrays)


@pytest.mark.medium
def test_each_damaged_array_is_refused():
    config, arrays = make().to_arrays()
    changes = (
        lambda a: np.full_like(a, np.nan),
        lambda a: a.astype("float64"),
        lambda a: a.astype("int64"),
        lambda a: a[..., None],
        lambda a: a.ravel()[:-1],
        lambda a: np.full(a.shape, "x"),
    )
    for name in arrays:
        for change in changes:
            with pytest.raises(ModelFileError):
                Genot.from_arrays(config, arrays | {name: change(arrays[name])})
        with pytest.raises(ModelFileError):
            Genot.from_arrays(config, {key: arrays[key] for key in arrays if key != name})
    for std in (0.0, -1.0):
        wrong = arrays | {"units.target.std": np.full(2, std, dtype="float32")}
        with pytest.raises(ModelFileError, match="not positive"):
            Genot.from_arrays(config, wrong)
    with pytest.raises(ModelFileError, match="is missing or invalid"):
        Genot.from_arrays(config, arrays | {"more": np.zeros(1, dtype="float32")})


def test_double_precision_stays():
    model = make(encoder=False).double()
    copy = Genot.from_arrays(*model.to_arrays())
    x = np.random.default_rng(0).normal(size=(5, 3))
    assert torch.equal(copy.sample(x), model.sample(x))
    assert copy.sample(x).dtype == torch.float64


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match=r"model.safetensors"):
        Genot.load(path)
    make().save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in (0, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelFileError):
            Genot.load(path)
    x, condition = rng.normal(size=(4, 3)), np.ones(8)
    for _ in range(60):
        # one damaged byte of the header, or of the exponents of the weights
        place = int(rng.integers(len(whole)))
        path.write_bytes(whole[:place] + bytes([rng.integers(256)]) + whole[place + 1 :])
        try:
            model = Genot.load(path)
        except ModelFileError:
            continue
        try:
            assert model.sample(x, condition[: model.condition_dim]).isfinite().all()
        except FloatingPointError:
            continue
    for config in ("{", "[]", "null", "3", "[" * 100_000):
        save_file({"a": np.zeros(1)}, path, {"kind": "model", "config": config})
        with pytest.raises(ModelFileError):
            Genot.load(path)
    save_file({"a": np.zeros(1)}, path)
    with pytest.raises(ModelFileError, match="is not a scgenot model"):
        Genot.load(path)


def state_file(path):
    rng = np.random.default_rng(0)
    pair = Pair(rng.normal(size=(40, 2)), rng.normal(size=(40, 2)))

    class Plan:
        def sample_pairs(self, n_pairs, *, generator):
            return torch.randint(40, (2, n_pairs), generator=generator)

    model = Genot(2, 2, width=8, depth=1)
    learner = FlowMatching(steps=4, batch_size=8, validation_every=2)
    train(model, [pair], [Plan()], learner, progress=False).save(path)


def test_damaged_training_states_are_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    state_file(path)
    config, arrays = read_file(path, "training state")
    assert TrainState.load(path).step == 4
    with pytest.raises(ModelFileError, match="is not a scgenot model but"):
        Genot.load(path)
    lines = config["history"]
    changes = [
        {"step": -1},
        {"step": 5},
        {"step": 10**12},
        {"seed": "x"},
        {"format": 7},
        {"history": {}},
        {"history": [{"step": 1}]},
        {"history": lines[::-1]},
        {"history": [line | {"loss": float("nan")} for line in lines]},
        {"__class__": 1},
    ]
    for change in changes:
        meta = {"kind": "training state", "config": json.dumps(config | change)}
        save_file(arrays, path, meta)
        with pytest.raises(ModelFileError):
            TrainState.load(path)
    first = next(name for name in arrays if name.startswith("weights:field"))
    odd = [
        arrays | {"__init__:x": np.zeros(1)},
        arrays | {"restore:x": np.zeros(1)},
        arrays | {first: np.full_like(arrays[first], np.nan)},
        {name: array for name, array in arrays.items() if name != first},
        {name: array for name, array in arrays.items() if name != "losses"},
        arrays | {"losses": arrays["losses"][:2]},
    ]
    for wrong in odd:
        save_file(wrong, path, {"kind": "training state", "config": json.dumps(config)})
        with pytest.raises(ModelFileError):
            TrainState.load(path)


def test_models_that_are_not_finite_are_not_used():
    model = make(encoder=False, growth=False)
    x, y = np.zeros((3, 3)), np.zeros((3, 2))
    uses = (
        lambda: model.sample(x),
        lambda: model.mean(x),
        lambda: model.log_prob(x, y),
        lambda: model.growth(x),
        lambda: model.target_growth(y),
    )
    for use in uses:
        use()
    model.field.out.weight.data[0, 0] = torch.nan
    for use in uses:
        with pytest.raises(ValueError, match=r"not finite \('field.out.weight'\): fit the model"):
            use()
    model.field.out.weight.data[0, 0] = 0.0
    with pytest.raises(FloatingPointError, match="sample of 1 of 3 cells is not finite"):
        model.sample(np.array([[0.0] * 3, [np.nan] * 3, [0.0] * 3]))


def test_the_mean_is_that_of_draws():
    model = make(encoder=False)
    x = np.random.default_rng(0).normal(size=(5, 3))
    assert torch.equal(
        model.mean(x, rng=3), model.sample(x, n_samples=32, rng=3, antithetic=True).mean(1)
    )
