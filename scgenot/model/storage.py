"""A model as JSON-able values and arrays, and those in one safetensors file: nothing in it can run code."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import nn

from scgenot.flow.condition import SetEncoder

SIZES = ("source_dim", "target_dim", "condition_dim", "width", "depth")


def take_apart(model) -> tuple[dict, dict[str, np.ndarray]]:
    """Turn a :class:`~scgenot.Genot` into configuration and weights."""
    config = {name: getattr(model, name) for name in SIZES}
    encoder = getattr(model.field, "encoder", None)
    config |= {
        "custom_field": model.custom_field,
        "encoder": encoder_config(encoder),
        "displacement": model.displacement,
        "condition_dropout": model.condition_dropout,
        "growth": model.eta is not None,
    }
    return config, {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}


def put_together(
    make, config: Mapping, arrays: Mapping[str, np.ndarray], *, field, encoder, device
):
    """Make a model of what :func:`take_apart` returned; `make` is the class, the rest as for its constructor."""
    if bool(config["custom_field"]) != (field is not None):
        raise ValueError(
            "This model was made with a field of its own: pass the same function as `field`."
            if field is None
            else "This model has the usual velocity field: `field` must not be given."
        )
    if config["encoder"] == "custom" and encoder is None:
        raise ValueError(
            "This model was made with an encoder of its own: pass one made alike as `encoder`."
        )
    with torch.random.fork_rng(
        devices=[]
    ):  # initial weights are made and replaced: the user's generator stays
        if encoder is None and config["encoder"]:
            encoder = SetEncoder(**config["encoder"])
        model = make(
            **{name: int(config[name]) for name in SIZES},
            field=field,
            encoder=encoder,
            displacement=bool(config["displacement"]),
            condition_dropout=float(config["condition_dropout"]),
        )
        if bool(config["growth"]):
            model.add_growth()
    model.load_state_dict({name: torch.tensor(np.asarray(array)) for name, array in arrays.items()})
    return model.to(device).eval()


def encoder_config(encoder: nn.Module | None) -> dict | str | None:
    """Sizes of a :class:`~scgenot.flow.SetEncoder`, or "custom"."""
    if not isinstance(encoder, SetEncoder):
        return None if encoder is None else "custom"
    return {name: getattr(encoder, name) for name in ("n_slots", "token_dim", "n_further", "width")}


def write_file(path: str | Path, config: dict, arrays: dict[str, np.ndarray]) -> None:
    """Write a safetensors file."""
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        path,
        {"config": json.dumps(config)},
    )


def read_file(path: str | Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Read what :func:`write_file` wrote."""
    with safe_open(path, framework="numpy") as file:
        config = json.loads(file.metadata()["config"])
        return config, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
