"""What is refused before any work."""

import numpy as np
import pytest
import torch

from scgenot._check import best_device, check_count, check_number, usable_device
from scgenot._random import numpy_rng, seed_of, torch_rng


def test_counts():
    check_count("n", 2, 2)
    check_count("n", np.int64(3), 2)
    for value in ("x", 2.0, None, [2], np.nan, True):
        with pytest.raises(TypeError, match=r"`n=.*` must be an integer >= 1\."):
            check_count("n", value, 1)
    with pytest.raises(ValueError, match=r"`n=1` must be an integer >= 2 for a spread\."):
        check_count("n", 1, 2, "for a spread")


def test_numbers():
    def share(value):
        check_number("share", value, "between 0 and 1", lambda v: 0 < v < 1)

    share(0.5)
    share(np.float32(0.5))
    for value in ("x", None, [0.5], True):
        with pytest.raises(TypeError, match=r"`share=.*` must be a number, between 0 and 1\."):
            share(value)
    for value in (0, 1.5, np.nan):
        with pytest.raises(ValueError, match=r"`share=.*` must be between 0 and 1\."):
            share(value)


@pytest.mark.parametrize("value", ["x", 1.5, np.nan, [0.5]])
@pytest.mark.parametrize("function", [numpy_rng, seed_of, torch_rng])
def test_no_seed(function, value):
    with pytest.raises(
        TypeError,
        match=r"`rng=.*` must be a seed \(an integer >= 0\), a generator or None\.",
    ):
        function(value)


@pytest.mark.parametrize("function", [numpy_rng, seed_of, torch_rng])
def test_a_negative_seed(function):
    with pytest.raises(ValueError, match=r"`rng=-1` must be a seed \(an integer >= 0\)"):
        function(-1)


def test_devices():
    assert usable_device(None) == best_device()
    assert usable_device("cpu") == "cpu"
    assert usable_device(torch.device("cpu")) == torch.device("cpu")
    for device in ("gpu", 1.5):
        with pytest.raises(ValueError, match=r"`device=.*` is not available \(.*\); use 'cpu'"):
            usable_device(device)


def test_a_device_without_double_precision_is_refused(monkeypatch):
    """As Apple's GPUs are; torch says so with a TypeError."""

    def empty(*size, device, dtype):
        assert dtype == torch.float64
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(ValueError, match="`device='mps'` is not available"):
        usable_device("mps")


def test_each_process_of_a_machine_has_a_card_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = []
    for own in ("0", "1", "2", "3"):
        monkeypatch.setenv("LOCAL_RANK", own)
        found.append(best_device())
    assert found == ["cuda", "cuda:1", "cuda:0", "cuda:1"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda():
    with pytest.raises(ValueError, match=r"`device='cuda'` is not available .*CUDA"):
        usable_device("cuda")
