"""What a caller passes is held against the annotations of what was called."""

import os
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import fields
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Number, Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np


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
    # those who draw a table say best which one
    if allows(kind, value) or getattr(kind, "__name__", "") == "DataFrame":
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
    if isinstance(value, str) and any(map(_is_several, _kinds(kind))):
        raise TypeError(
            f"`{name}={value!r}` is text: give a list, such as {[value]}; it must be {expected}."
        )
    if value is None or isinstance(value, (str, bytes, Number)):
        shown = repr(value) if isinstance(value, (str, bytes)) else value
        single = isinstance(value, str) and allows(kind, [value])
        such = f", such as [{shown}]" if single else ""
        raise TypeError(f"`{name}={shown}` must be {expected}{such}.")
    raise TypeError(f"`{name}` must be {expected}; found {type(value).__name__}.")


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
    if _is_several(kind):
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


def _is_several(kind) -> bool:
    """Whether an annotation is that of several values in a row."""
    return (get_origin(kind) or kind) in (Sequence, Collection, Iterable, list, tuple)


def _is_choice(kind) -> bool:
    """Whether an annotation lists its values."""
    return get_origin(kind) is Literal


def _kinds(kind) -> tuple:
    """What an annotation is a union of."""
    is_union = isinstance(kind, UnionType) or get_origin(kind) is Union
    return get_args(kind) if is_union else (kind,)


def _is_number(value, kind: type) -> bool:
    """Whether a value is a number that 64 bits can hold."""
    number = isinstance(value, kind) and not isinstance(value, (bool, np.bool_))
    return number and (not isinstance(value, Integral) or -(2**63) <= value < 2**63)


def _is_list(value) -> bool:
    """Whether a value is several values in a row."""
    several = isinstance(value, Iterable) and hasattr(value, "__len__")
    odd = (str, bytes, Mapping, Set)  # a set has no order
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
    if _is_several(kind):
        inner = get_args(kind)
        of = " or ".join(map(_words, _kinds(inner[0]))) if inner else "values"
        return f"{len(inner)} values" if home is tuple and inner else f"a list, each {of}"
    name = getattr(home, "__name__", str(home))
    if getattr(home, "_is_protocol", False) and home not in _WORDS and _asked(home):
        return f"an object with {' and '.join(f'`{each}`' for each in _asked(home))}"
    return _WORDS.get(home, f"{'an' if name[0] in 'AEIOU' else 'a'} {name}")


_PLAIN = {
    bool: lambda value: isinstance(value, (bool, np.bool_)),
    int: lambda value: _is_number(value, Integral),
    float: lambda value: _is_number(value, Real),
    str: lambda value: isinstance(value, str),
    NoneType: lambda value: value is None,
    np.ndarray: _is_array,
    Callable: callable,
}
_WORDS = {
    Hashable: "a label",
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
