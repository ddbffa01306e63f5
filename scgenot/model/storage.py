"""Arrays and JSON in one safetensors file: nothing in it can run code."""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file


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
