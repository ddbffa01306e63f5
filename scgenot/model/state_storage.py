"""Training states in files: what is read may be damaged."""

import math
from pathlib import Path

import numpy as np
import torch

from scgenot.model.files import FORMAT, ModelFileError, read_file
from scgenot.model.storage import check_values, check_weights, is_size

STATE_GROUPS = ("weights", "average", "best", "moments", "generators")


def read_state(path: str | Path) -> tuple[dict, dict[str, dict[str, np.ndarray]]]:
    """Read and check a training state: its configuration, and its arrays by group."""
    config, arrays = read_file(path, "training state")
    groups = {group: {} for group in (*STATE_GROUPS, "losses")}
    for key, array in arrays.items():
        group, _, name = key.partition(":")
        if group not in groups:
            raise ModelFileError(f"{str(path)!r} has an unknown array {key!r}.")
        groups[group][name] = array
    losses, version = groups["losses"].get(""), config.pop("format", None)
    history, step = config.get("history"), config.get("step")
    if (
        version != FORMAT
        or set(config) != {"seed", "step", "history", "work"}
        or list(groups["losses"]) != [""]
        or losses.ndim != 1
        or losses.dtype.kind != "f"
        or not isinstance(config["seed"], int)
        or config["seed"] < 0
        or not isinstance(config["work"], str)
        or not (is_size(step) and step <= len(losses) and np.isfinite(losses[:step]).all())
        or not _is_history(history, step)
    ):
        raise ModelFileError(f"{str(path)!r} is damaged, or of another version of scgenot.")
    expected = {name: torch.as_tensor(array) for name, array in groups["weights"].items()}
    for group in ("weights", "average", "best"):
        if groups[group] or group != "best":
            check_weights(groups[group], expected, f"{str(path)!r} ({group})")
    for name, array in groups["moments"].items():
        check_values(name, torch.as_tensor(array), str(path))
    return config, groups


def _is_history(history: object, step: int) -> bool:
    """Whether a value is the list of lines that a training state has, steps in order."""
    names = {"step", "loss", "validation", "divergence"}
    if not isinstance(history, list):
        return False
    for line in history:
        if not isinstance(line, dict) or not {"step", "loss"} <= set(line) <= names:
            return False
        if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in line.values()):
            return False
    steps = [line["step"] for line in history]
    return all(is_size(k) and k <= step for k in steps) and steps == sorted(set(steps))
