"""Values and arrays in a safetensors file, of a model or a training: nothing there is run."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

# of configurations and states; one more when older files can no longer be read
FORMAT = 1


class ModelFileError(ValueError):
    """A stored model or training state is damaged, or has another type or version.

    See Also
    --------
    :meth:`scgenot.Genot.load` : raises it.
    """


def digest(arrays: Mapping, text: str = "") -> str:
    """Return what tells whether arrays and a text are those that were written."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        found.update(f"{name} {array.dtype.name} {array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def write_file(path: str | Path, kind: str, config: dict, arrays: Mapping) -> None:
    """Write a safetensors file as a whole or not at all; the mode of an older file is kept."""
    path = Path(path).resolve()  # a link stays a link
    text = json.dumps({"format": FORMAT, **config})
    content = save(
        {name: np.asarray(array, order="C") for name, array in arrays.items()},
        {
            "kind": kind,
            "config": text,
            "digest": digest(arrays, text),
        },
    )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o7777)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def kind_of(path: str | Path) -> str | None:
    """Return what a file says it holds; None where it cannot be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("kind")
    except (OSError, SafetensorError):
        return None


def read_file(path: str | Path, kind: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Read configuration and arrays that :func:`write_file` wrote."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = json.loads(metadata.get("config", "null"))
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{str(path)!r} cannot be read: {error}.") from error
    if metadata.get("kind") != kind or not isinstance(config, dict):
        raise ModelFileError(
            f"{str(path)!r} is not a scgenot {kind} but {metadata.get('kind', 'something else')}."
        )
    if metadata.get("digest") not in (None, digest(arrays, metadata["config"])):
        raise ModelFileError(f"{str(path)!r} is damaged: its content differs from what was saved.")
    return config, arrays
