"""A model as JSON-able values and arrays, and those in one safetensors file: nothing in it can run code."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

SIZES = ("source_dim", "target_dim", "condition_dim", "width", "depth")


def take_apart(model) -> tuple[dict, dict[str, np.ndarray]]:
    """Turn a :class:`~scgenot.Genot` into configuration and weights."""
    sizes = {name: getattr(model, name) for name in SIZES}
    config = {**sizes, "custom_field": model.custom_field, "growth": model.eta is not None}
    return config, {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}


def put_together(make, config: Mapping, arrays: Mapping[str, np.ndarray], *, field, device):
    """Make a model of what :func:`take_apart` returned; `make` is the class, `field` as for its constructor."""
    if bool(config["custom_field"]) != (field is not None):
        raise ValueError(
            "This model was made with a field of its own: pass the same function as `field`."
            if field is None
            else "This model has the usual velocity field: `field` must not be given."
        )
    model = make(**{name: int(config[name]) for name in SIZES}, field=field)
    if bool(config["growth"]):
        model.add_growth()
    model.load_state_dict({name: torch.tensor(np.asarray(array)) for name, array in arrays.items()})
    return model.to(device).eval()


def write_file(path: str | Path, config: dict, arrays: dict[str, np.ndarray]) -> None:
    """Write a safetensors file.

    Parameters
    ----------
    path
        File to write.
    config
        JSON-able values, kept in the file's metadata.
    arrays
        Arrays by name.
    """
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, {"config": json.dumps(config)}
    )


def read_file(path: str | Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Read what :func:`write_file` wrote.

    Parameters
    ----------
    path
        File to read.

    Returns
    -------
    `config` and `arrays`.
    """
    with safe_open(path, framework="numpy") as file:
        config = json.loads(file.metadata()["config"])
        return config, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
