"""The layers of the package: who may import whom, read from the source, and how long files and
functions may be.

This table is the one in `docs/contributing.md`; change both or neither.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "scgenot"
FILES = sorted(PACKAGE.rglob("*.py"))

MAX_FILE = 300
MAX_BODY = 60

COMMON = {"pair", "_check", "_random", "_outcome", "_warn"}
EVERY_LAYER = COMMON | {
    *("ot", "flow", "model", "course", "metrics", "baselines", "cells", "fit", "datasets"),
    *("get", "tl", "pl"),
    "",  # the package itself: `import scgenot`
}
EVERYTHING = None  # in place of a set: no limit


@dataclass(frozen=True)
class Layer:
    """What one module or folder may import; `lazily`: inside functions only."""

    scgenot: set[str] | None
    third_party: set[str] | None
    lazily: frozenset[str] = frozenset()


OT, TORCH = frozenset({"ot"}), frozenset({"torch"})
NUMERIC = {"numpy", "scipy", "sklearn"}
LAYERS = {
    "pair": Layer({"_check"}, {"numpy"}),
    "_check": Layer(set(), {"numpy"}, lazily=TORCH),
    "_random": Layer(set(), {"numpy"}, lazily=TORCH),
    "_outcome": Layer(set(), set()),
    "_warn": Layer(set(), set()),
    # sparse plans are SciPy's
    "ot": Layer(COMMON, {"numpy", "scipy", "torch", "tqdm"}),
    "flow": Layer(COMMON, {"numpy", "torch"}),
    "model": Layer(
        COMMON | {"ot", "flow"}, {"numpy", "pandas", "scipy", "torch", "tqdm", "safetensors"}
    ),
    "course": Layer(COMMON, NUMERIC, lazily=OT),
    "metrics": Layer(COMMON, NUMERIC, lazily=OT | TORCH),
    "baselines": Layer(COMMON, NUMERIC, lazily=OT | TORCH),
    # scanpy makes the PCA and scores gene sets
    "cells": Layer(COMMON, NUMERIC | {"anndata", "pandas"}, lazily=frozenset({"scanpy"})),
    "fit": Layer(EVERY_LAYER - {"tl", "pl", "datasets"}, EVERYTHING),
    "get": Layer({"cells"}, {"anndata", "numpy", "pandas"}, lazily=frozenset({"fit", "model"})),
    "tl": Layer(COMMON | {"fit", "cells", "course", "model", "ot"}, EVERYTHING),
    "pl": Layer(
        COMMON | {"cells", "get"},
        {"anndata", "matplotlib", "numpy", "pandas", "scanpy", "scipy"},
    ),
    "datasets": Layer(
        COMMON,
        NUMERIC | {"anndata", "pandas"},
        lazily=frozenset({"pooch", "scanpy"}),
    ),
    "__init__": Layer(EVERY_LAYER, set()),
    "__main__": Layer(EVERYTHING, EVERYTHING),
}


@dataclass(frozen=True)
class Import:
    """One import: the layer of scgenot or the third-party package it reaches, and where it stands."""

    target: str
    ours: bool
    line: int
    deferred: bool


def layer_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str, module: str) -> Iterator[Import]:
    """Imports of a file, those inside functions too; `module` is its package, to resolve relative
    ones.
    """
    tree = ast.parse(source)
    deferred = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        # what only type checkers read is not imported at all
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    inside = {id(node) for block in deferred for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for name in _full_names(node, module):
                top, _, rest = name.partition(".")
                if top not in sys.stdlib_module_names:
                    ours = top == "scgenot"
                    target = rest.partition(".")[0] if ours else top
                    yield Import(target, ours, node.lineno, id(node) in inside)


def _full_names(node: ast.Import | ast.ImportFrom, module: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    parts = module.split(".")[: len(module.split(".")) - node.level + 1] if node.level else []
    origin = ".".join([*parts, *([node.module] if node.module else [])])
    return [f"{origin}.{alias.name}" for alias in node.names] if origin == "scgenot" else [origin]


def offences(source: str, layer: str, module: str) -> list[str]:
    """Imports that the table forbids, as `line: why`."""
    rules, found = LAYERS[layer], []
    for item in imports(source, module):
        allowed = rules.scgenot if item.ours else rules.third_party
        if allowed is EVERYTHING or item.target in allowed or (item.ours and item.target == layer):
            continue
        if item.target in rules.lazily and item.deferred:
            continue
        hint = " (allowed inside a function only)" if item.target in rules.lazily else ""
        name = f"scgenot.{item.target}".removesuffix(".") if item.ours else item.target
        found.append(f"{item.line}: `{layer}` may not import `{name}`{hint}")
    return found


def test_every_file_has_a_layer():
    assert {layer_of(file) for file in FILES} <= set(LAYERS)


def test_layers():
    found = []
    for file in FILES:
        place = file.relative_to(PACKAGE.parent)
        module = ".".join(place.parent.parts)
        found += [
            f"{place}:{offence}" for offence in offences(file.read_text(), layer_of(file), module)
        ]
    assert not found, "\n" + "\n".join(found)


def test_files_are_short():
    lengths = {
        file.relative_to(PACKAGE.parent): len(file.read_text().splitlines()) for file in FILES
    }
    found = [
        f"{place}:{n}: {n} lines, at most {MAX_FILE}"
        for place, n in lengths.items()
        if n > MAX_FILE
    ]
    assert not found, "\n" + "\n".join(found)


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function below its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


def test_functions_are_short():
    found = [
        f"{file.relative_to(PACKAGE.parent)}:{node.lineno}: {node.name}, {body_length(node)} lines, at most {MAX_BODY}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and body_length(node) > MAX_BODY
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("source", "layer", "n_offences"),
    [
        ("import torch", "cells", 1),
        ("def f():\n    import torch", "pl", 1),
        ("def f():\n    from torch import nn", "_random", 0),
        ("from torch import nn", "_random", 1),
        ("import anndata, scanpy\nimport matplotlib.pyplot as plt", "flow", 3),
        ("from scgenot import tl", "model", 1),
        ("from ..flow import field", "ot", 1),
        ("from .. import flow", "ot", 1),
        ("from . import cost\nfrom .cost import squared_euclidean", "ot", 0),
        ("import ot", "metrics", 1),
        ("import ot", "cells", 1),
        ("from scgenot.model import Genot", "get", 1),
        ("def f():\n    from scgenot.model import Genot", "get", 0),
        ("import json, numpy", "pair", 0),
        ("import scgenot", "ot", 1),
        ("from scgenot import pl", "tl", 1),
        ("from scgenot import pl, tl\nimport rich", "__main__", 0),
    ],
)
def test_the_test_sees_offences(source, layer, n_offences):
    assert len(offences(source, layer, f"scgenot.{layer}")) == n_offences
