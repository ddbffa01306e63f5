"""A training goes on from its checkpoint, to the bits of one that was not interrupted."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import scgenot as sg
from scgenot.model import Checkpoint, FlowMatching, TrainState
from scgenot.model.files import write_file

LOOP = import_module("scgenot.model.train")
QUICK = FlowMatching(steps=120, batch_size=32, validation_every=25, warmup=10)

# what the process that is killed runs, and the one that goes on
SCRIPT = """
import sys
import numpy as np
import scgenot as sg
adata = sg.datasets.branching(60, rng=0)
checkpoint = sg.model.Checkpoint(sys.argv[1], minutes=0)
size = {"steps": 300, "width": 16, "depth": 1, "validation_every": 50}
learner = sg.model.FlowMatching(**size, checkpoint=checkpoint)
sg.tl.fit_trajectory(adata, "time", learner=learner, predict=False, progress=False)
np.savez(sys.argv[2], **adata.uns["genot"]["model"]["weights"])
"""


class Noisy(nn.Module):
    """A field that draws from PyTorch's global generator."""

    def __init__(self, source_dim, target_dim, condition_dim):
        super().__init__()
        n = 1 + target_dim + source_dim + condition_dim
        self.net = nn.Sequential(nn.Linear(n, 16), nn.SiLU(), nn.Dropout(0.3))
        self.out = nn.Linear(16, target_dim)

    def forward(self, t, z, source, condition=None):
        parts = [t[:, None], z, source] + ([] if condition is None else [condition])
        return self.out(self.net(torch.cat(parts, dim=1)))


def fit(learner, **options):
    """Fit a branching process; return weights and history."""
    adata = sg.datasets.branching(60, rng=0)
    sg.tl.fit_trajectory(adata, "time", learner=learner, predict=False, progress=False, **options)
    entry = adata.uns["genot"]
    return entry["model"]["weights"], entry["history"]


def assert_same(one, other):
    assert one[0].keys() == other[0].keys()
    for name, array in one[0].items():
        np.testing.assert_array_equal(array, other[0][name])
    np.testing.assert_array_equal(one[1], other[1])


def stop_at(monkeypatch, step):
    """Have Ctrl-C pressed before a step."""
    made = LOOP._step

    def stopping(gradients, draws, state):
        if state.step == step:
            raise KeyboardInterrupt
        made(gradients, draws, state)

    monkeypatch.setattr(LOOP, "_step", stopping)


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 50, 77, 119])
@pytest.mark.parametrize("field", [None, Noisy])
def test_a_fit_goes_on_to_the_same_bits(monkeypatch, tmp_path, at, field):
    learner = replace(QUICK, field=field)
    whole = fit(learner)
    kept = replace(learner, checkpoint=Checkpoint(tmp_path / "run.safetensors", minutes=0))
    with monkeypatch.context() as patch:
        stop_at(patch, at)
        with pytest.raises(KeyboardInterrupt):
            fit(kept)
    assert TrainState.load(tmp_path / "run.safetensors").step == at
    with monkeypatch.context() as patch:
        stop_at(patch, at - 1)  # a step that was made is not made again
        assert_same(fit(kept), whole)
    # a fit that has ended is not trained again
    with monkeypatch.context() as patch:
        stop_at(patch, 0)
        assert_same(fit(kept), whole)


def test_a_checkpoint_is_of_a_machine_and_not_stored(tmp_path):
    adata = sg.datasets.branching(60, rng=0)
    learner = replace(QUICK, steps=2, checkpoint=Checkpoint(tmp_path / "run.safetensors"))
    sg.tl.fit_trajectory(adata, "time", learner=learner, predict=False, progress=False)
    assert "checkpoint" not in sg.get.params(adata)["learner"]


@pytest.mark.medium
def test_it_is_written_when_it_is_time(monkeypatch, tmp_path):
    now, written = [0.0], []
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("scgenot.model.checkpoint.time", clock)
    save = TrainState.save
    monkeypatch.setattr(
        TrainState, "save", lambda self, path: (written.append(self.step), save(self, path))
    )
    step = LOOP._step

    def slow(*args):
        now[0] += 60
        step(*args)

    monkeypatch.setattr(LOOP, "_step", slow)
    checkpoint = Checkpoint(tmp_path / "run.safetensors", minutes=50)
    fit(replace(QUICK, checkpoint=checkpoint))
    assert written == [50, 100, 120]


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_checkpoint(tmp_path):
    def start(path, out):
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(path), str(out)]
        return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})

    assert start(tmp_path / "whole.safetensors", tmp_path / "whole.npz").wait() == 0
    path, steps = tmp_path / "run.safetensors", []
    for moment in (0.03, 0.11, 0.4):
        process = start(path, tmp_path / "no.npz")
        while not path.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        steps.append(TrainState.load(path).step)
    assert steps == sorted(steps)
    assert start(path, tmp_path / "resumed.npz").wait() == 0
    whole, resumed = (np.load(tmp_path / f"{name}.npz") for name in ("whole", "resumed"))
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name])


@pytest.mark.medium
@pytest.mark.parametrize(
    "other",
    [
        {"rng": 1},
        {"learner": {"learning_rate": 1e-3}},
        {"learner": {"steps": 130}},
        {"solver": sg.ot.Sinkhorn(epsilon=0.2)},
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(tmp_path, other):
    path = tmp_path / "run.safetensors"
    learner = replace(QUICK, checkpoint=Checkpoint(path))
    fit(learner)
    before = path.read_bytes()
    changed = replace(learner, **other.get("learner", {}))
    options = {name: value for name, value in other.items() if name != "learner"}
    with pytest.raises(ValueError, match=r"run.safetensors' belongs to another fit"):
        fit(changed, **options)
    assert path.read_bytes() == before


@pytest.mark.medium
def test_candidates_leave_the_checkpoint_to_the_one_that_is_chosen(tmp_path):
    path = tmp_path / "run.safetensors"
    learner = replace(QUICK, steps=20, checkpoint=Checkpoint(path, minutes=0))
    fit([learner, replace(learner, source_noise=0.5)], n_folds=2)
    assert TrainState.load(path).step == 20


@pytest.mark.medium
def test_a_full_disk_ends_no_training(monkeypatch, tmp_path):
    def full(*args):
        raise OSError(28, "No space left on device")

    whole = fit(QUICK)
    monkeypatch.setattr("scgenot.model.state.write_file", full)
    learner = replace(QUICK, checkpoint=Checkpoint(tmp_path / "run.safetensors"))
    with pytest.warns(UserWarning, match="could not be written .*No space left"):
        assert_same(fit(learner), whole)


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"folder of .* does not exist"):
        Checkpoint(tmp_path / "nowhere" / "run.safetensors")
    with pytest.raises(ValueError, match="`minutes=-1` must be 0 or more"):
        Checkpoint(tmp_path / "run.safetensors", minutes=-1)
    with pytest.raises(TypeError, match="`path=3` must be"):
        Checkpoint(3)
    (tmp_path / "notes.txt").write_text("mine")
    write_file(tmp_path / "model.safetensors", "model", {}, {"a": np.ones(2)})
    for name in ("notes.txt", "model.safetensors"):
        with pytest.raises(ValueError, match="is not a training state: choose another name"):
            Checkpoint(Path(tmp_path) / name)
