"""Models of populations as values and arrays, and back: what is read may be damaged."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from scgenot.model.storage import (
    FORMAT,
    MAX_SIZE,
    ModelFileError,
    check_weights,
    read_file,
    write_file,
)


def put_together(make, names: Sequence[str], config: Mapping, arrays: Mapping):
    """Make a model of its sizes and arrays; `make` is the class."""
    sizes = {name: config.get(name) for name in names} if isinstance(config, Mapping) else {}
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    n_values = sum(array.size for array in arrays.values())
    right = [type(size) is int and 0 <= size < min(MAX_SIZE, n_values) for size in sizes.values()]
    if not right or not all(right):
        raise ModelFileError(f"The sizes {sizes} of the model are not those of its arrays.")
    # initial weights are made and replaced: the user's generator stays
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                shape = make(**sizes)
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError(f"The sizes {sizes} of the model are impossible.") from error
        check_weights(arrays, shape.state_dict(), "the model")
        model = make(**sizes)
    model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return model.eval()


def write_model(path: str | Path, kind: str, model) -> None:
    """Write a model to a safetensors file."""
    config, arrays = model.to_arrays()
    write_file(path, kind, config, arrays)


def read_model(make, path: str | Path, kind: str):
    """Read what :func:`write_model` wrote."""
    config, arrays = read_file(path, kind)
    if config.pop("format", None) != FORMAT:
        raise ModelFileError(f"{str(path)!r} is of another version of scgenot: fit and save again.")
    return make.from_arrays(config, arrays)
