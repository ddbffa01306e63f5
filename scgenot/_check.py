"""What a caller passes is checked before any work; messages give its name and what was found."""

import math
import os
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np

if TYPE_CHECKING:
    import torch


def check_count(name: str, value, least: int, why: str = "") -> None:
    """Raise unless a value is an integer of at least some size."""
    expected = f"an integer >= {least}{why and ' '}{why}"
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"`{name}={value!r}` must be {expected}.")
    if value < least:
        raise ValueError(f"`{name}={value}` must be {expected}.")


def check_number(name: str, value, expected: str, allowed: Callable[[float], bool]) -> None:
    """Raise unless a value is a number, and an allowed one."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"`{name}={value!r}` must be a number, {expected}.")
    if not allowed(value):
        raise ValueError(f"`{name}={value}` must be {expected}.")


def check_share(name: str, value) -> None:
    """Raise unless a value is a number between 0 and 1, the ends excluded."""
    check_number(name, value, "between 0 and 1", lambda share: 0 < share < 1)


def check_unit(name: str, value) -> None:
    """Raise unless a value is a number between 0 and 1, the ends included."""
    check_number(name, value, "between 0 and 1", lambda share: 0 <= share <= 1)


def check_hidden_share(value) -> None:
    """Refuse a share of hidden conditions that is neither None nor in [0, 1)."""
    if value is None:
        return
    check_number("condition_dropout", value, "at least 0 and below 1", lambda share: 0 <= share < 1)


def check_guidance(guidance) -> None:
    """Raise unless the strength of guidance is a finite number."""
    check_number("guidance", guidance, "finite; 1 is the fit's own law", math.isfinite)


def check_matrix(values, name: str, least: int = 2) -> np.ndarray:
    """Return finite numbers, cells x features, of at least so many cells; raises a ValueError."""
    cells = np.asarray(values)
    if cells.ndim != 2 or not np.issubdtype(cells.dtype, np.number):
        raise ValueError(
            f"`{name}` must be numbers, cells x features; "
            f"found {cells.dtype} of shape {cells.shape}."
        )
    if len(cells) < least or cells.shape[1] == 0:
        raise ValueError(
            f"`{name}` has shape {cells.shape}: at least {least} cell(s) and 1 feature are needed."
        )
    if not np.isfinite(cells).all():
        bad = int((~np.isfinite(cells)).any(1).sum())
        raise ValueError(
            f"`{name}` has NaN or infinite values in {bad} of {len(cells)} cells: "
            "drop or impute them."
        )
    return cells


def check_one_space(populations: Mapping[str, object], least: int = 1) -> list[np.ndarray]:
    """Return float64 copies of matrices by name, all with as many features."""
    checked = [
        check_matrix(cells, name, least).astype(np.float64) for name, cells in populations.items()
    ]
    first = next(iter(populations))
    for name, cells in zip(populations, checked, strict=True):
        if cells.shape[1] != checked[0].shape[1]:
            raise ValueError(
                f"`{first}` has {checked[0].shape[1]} features, `{name}` {cells.shape[1]}: "
                "give all in one space."
            )
    return checked


def check_weights(values, n: int, name: str, *, rows: bool = False) -> np.ndarray:
    """Return weights of `n` cells, ones for None; `rows` also allows a matrix of shape (b, n)."""
    if values is None:
        return np.ones(n)
    weights = np.asarray(values, dtype=float)
    if weights.shape[-1:] != (n,) or weights.ndim > 1 + rows:
        expected = f"({n},)" + rows * f" or (b, {n})"
        raise ValueError(
            f"`{name}` has shape {weights.shape}, expected {expected}: one weight per cell."
        )
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"`{name}` must be finite, non-negative and not all zero.")
    return weights


def check_labels(values: Sequence, n: int, name: str) -> np.ndarray:
    """Return labels of `n` cells as strings; raises a ValueError when one is missing."""
    labels = np.asarray(values, dtype=object)
    if labels.shape != (n,):
        raise ValueError(f"`{name}` has shape {labels.shape}, expected ({n},): one label per cell.")
    # NaN alone differs from itself
    missing = sum(label is None or label != label for label in labels)
    if missing:
        raise ValueError(
            f"`{name}` is missing for {missing} of {n} cells: drop those cells or name the group."
        )
    return labels.astype(str)


def best_device() -> str:
    """Return "cuda" when there is one, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_device(device: "str | torch.device | None") -> "str | torch.device":
    """Return a device to compute on."""
    import torch

    if device is None:
        return best_device()
    try:
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"`device={device!r}` cannot be used here ({reason}); 'cpu' always can, None takes "
            "CUDA where there is one."
        ) from error
    return device


def check_dose(dose) -> None:
    """Refuse a dose, or one of several, that is not a number of 0 or more; None is no dose."""
    for value in dose if isinstance(dose, (list, tuple)) else [dose]:
        if value is not None:
            check_number("dose", value, "a number >= 0", lambda each: 0 <= each < math.inf)


def typed(function: Callable) -> Callable:
    """Have a public function refuse arguments that its own annotations do not allow."""
    parameters = signature(function)
    kinds = {name: value.annotation for name, value in parameters.parameters.items()}

    @wraps(function)
    def checked(*args, **options):
        try:
            given = parameters.bind(*args, **options).arguments
        except TypeError:  # an argument too many or too few: Python says which
            given = {}
        for name, value in given.items():
            check_type(name, value, kinds[name])
        return function(*args, **options)

    return checked


def check_fields(options) -> None:
    """Refuse options, the fields of a dataclass, that its annotations do not allow."""
    for entry in fields(options):
        check_type(entry.name, getattr(options, entry.name), entry.type)


def check_type(name: str, value, kind) -> None:
    """Raise unless an annotation allows a value: a ValueError for text that is no choice."""
    if allows(kind, value):
        return
    choices = [choice for each in _kinds(kind) for choice in get_args(each) * _is_choice(each)]
    if choices and (isinstance(value, str) or value is None):
        raise ValueError(f"`{name}={value!r}` must be one of {choices}.")
    modalities = getattr(value, "mod", None)  # of MuData, without importing it
    if isinstance(modalities, Mapping):
        found = list(modalities)
        raise TypeError(
            f"`{name}` is a {type(value).__name__} with the modalities {found}: pass one of "
            f"them, such as `{name}[{(found or ['rna'])[0]!r}]`."
        )
    expected = " or ".join(dict.fromkeys(_words(each) for each in _kinds(kind)))
    shown = type(value).__name__ if len(repr(value)) > 60 else f"{value!r}"
    raise TypeError(f"`{name}` must be {expected}; found {shown}.")


def allows(kind, value) -> bool:
    """Whether an annotation allows a value."""
    if kind in (object, Any, Parameter.empty) or isinstance(kind, (str, TypeVar)):
        return True
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return any(allows(each, value) for each in get_args(kind))
    if _is_choice(kind):
        return isinstance(value, Hashable) and any(
            value is each or (isinstance(value, str) and value == each) for each in get_args(kind)
        )
    home, inner = get_origin(kind) or kind, get_args(kind)
    if home in _PLAIN:
        return _PLAIN[home](value)
    if not isinstance(home, type):
        return True
    if issubclass(home, tuple) and inner and inner[-1] is not Ellipsis:
        # how many there are is said better where they are used
        return _is_list(value) and (len(value) != len(inner) or all(map(allows, inner, value)))
    if home in (Sequence, Collection, Iterable, list, tuple):
        return _is_list(value) and all(allows(inner[0], each) for each in value if inner)
    if issubclass(home, Mapping):
        return isinstance(value, Mapping) and all(
            allows(inner[1], each) for each in value.values() if inner
        )
    if getattr(home, "_is_protocol", False) and not issubclass(home, os.PathLike):
        return all(hasattr(value, each) for each in _asked(home))
    return isinstance(value, os.PathLike if issubclass(home, os.PathLike) else home)


def _asked(protocol: type) -> list[str]:
    """Methods of an object that is used for what it offers."""
    return [each for each in vars(protocol) if not each.startswith("_")]


def _is_choice(kind) -> bool:
    """Whether an annotation lists its values."""
    return get_origin(kind) is Literal


def _kinds(kind) -> tuple:
    """What an annotation is a union of."""
    is_union = isinstance(kind, UnionType) or get_origin(kind) is Union
    return get_args(kind) if is_union else (kind,)


def _is_list(value) -> bool:
    """Whether a value is several values in a row."""
    several = isinstance(value, Iterable) and hasattr(value, "__len__")
    odd = (str, bytes, Mapping)
    return several and not isinstance(value, odd) and getattr(value, "ndim", 1) == 1


def _is_array(value) -> bool:
    """Whether a value is, or may become, an array of numbers or labels."""
    arrays = hasattr(value, "__array__") or hasattr(value, "toarray")
    return (arrays and not np.isscalar(value)) or isinstance(value, (list, tuple))


def _words(kind) -> str:
    """Name what an annotation allows."""
    home = get_origin(kind) or kind
    if _is_choice(kind):
        return f"one of {list(get_args(kind))}"
    if home in (Sequence, Collection, Iterable, list, tuple):
        inner = get_args(kind)
        of = _words(inner[0]) if inner else "values"
        return f"{len(inner)} values" if home is tuple and inner else f"a list, each {of}"
    name = getattr(home, "__name__", str(home))
    if getattr(home, "_is_protocol", False) and home not in _WORDS and _asked(home):
        return f"an object with {' and '.join(f'`{each}`' for each in _asked(home))}"
    return _WORDS.get(home, f"{'an' if name[0] in 'AEIOU' else 'a'} {name}")


_PLAIN = {
    bool: lambda value: isinstance(value, (bool, np.bool_)),
    int: lambda value: isinstance(value, Integral) and not isinstance(value, (bool, np.bool_)),
    float: lambda value: isinstance(value, Real) and not isinstance(value, (bool, np.bool_)),
    str: lambda value: isinstance(value, str),
    NoneType: lambda value: value is None,
    np.ndarray: _is_array,
    Callable: callable,
}
_WORDS = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "text",
    NoneType: "None",
    np.ndarray: "an array",
    Callable: "a function",
    Mapping: "a dictionary",
    np.random.Generator: "a generator",
}
