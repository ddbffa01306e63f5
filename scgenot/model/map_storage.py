"""A map as values and arrays, and back: what is read may be damaged."""

from collections.abc import Mapping

import numpy as np
import torch

from scgenot._check import usable_device
from scgenot.flow.condition import SetEncoder
from scgenot.model.files import FORMAT, ModelFileError
from scgenot.model.storage import ENCODER_SIZES, MAX_SIZE, check_weights, has_strengths

SIZES = ("source_dim", "condition_dim", "width", "depth")


def take_apart(model) -> tuple[dict, dict[str, np.ndarray]]:
    """Turn a :class:`~scgenot.model.TransportMap` into configuration and weights."""
    encoder = model.encoder
    config = {
        "format": FORMAT,
        **{name: getattr(model, name) for name in SIZES},
        "encoder": None
        if encoder is None
        else {name: getattr(encoder, name) for name in ENCODER_SIZES},
        "threshold": model.threshold,
        "growth": model.eta is not None,
    }
    if model.strengths is not None:
        config["strengths"] = len(model.strengths)
    return config, {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}


def put_together(make, config: Mapping, arrays: Mapping, *, device):
    """Make a model of what :func:`take_apart` returned; `make` is the class."""
    if not isinstance(config, Mapping) or config.get("format") != FORMAT:
        raise ModelFileError(f"The map is not of format {FORMAT}: fit and save it again.")
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    device = "cpu" if device is None else usable_device(device)

    def build():
        encoder = None if config["encoder"] is None else SetEncoder(**config["encoder"])
        sizes = {name: config[name] for name in SIZES}
        model = make(**sizes, encoder=encoder, threshold=config["threshold"])
        if config["growth"]:
            model.add_growth()
        if "strengths" in config:
            model.add_strengths(config["strengths"])
        return model

    try:
        _check_sizes(config, arrays)
        with torch.device("meta"):
            shape = build()
    except (KeyError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"The map's configuration is damaged: {error}") from error
    check_weights(arrays, shape.state_dict(), "the map")
    # initial weights are made and replaced: the user's generator stays
    with torch.random.fork_rng(devices=[]):
        model = build()
    model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return model.to(device).eval()


def _check_sizes(config: Mapping, arrays: Mapping) -> None:
    """Compare what could make a large model with the arrays, before anything is made."""
    numbers = [config[name] for name in SIZES] + list(dict(config["encoder"] or {}).values())
    if not all(type(value) is int and 0 <= value < MAX_SIZE for value in numbers):
        raise ValueError("a size must be an integer >= 0.")
    for name, found in {
        "depth": len({name.split(".")[1] for name in arrays if name.startswith("blocks.")}),
        "source_dim": arrays["unit"].size,
        "width": arrays["leave.weight"].shape[-1],
    }.items():
        if config[name] != found:
            raise ValueError(f"`{name}` is {config[name]}, the arrays have {found}.")
    if "strengths" in config and not has_strengths(config):
        raise ValueError("`strengths` needs a number of 2 or more and an encoder.")
    if sum([*numbers, config.get("strengths", 0)]) > sum(array.size for array in arrays.values()):
        raise ValueError("the arrays are too small for its sizes.")
