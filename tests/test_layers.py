"""The layers of the package: who may import whom, read from the source, and how long files and
functions may be.

This table is the one in `docs/contributing.md`; change both or neither.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

import scgenot

PACKAGE = Path(__file__).parents[1] / "scgenot"
FILES = sorted(PACKAGE.rglob("*.py"))

MAX_FILE, MAX_BODY, MAX_LINE = 300, 60, 100
# a verb reads a fit, asks, computes and writes; a docstring is for a user
MAX_VERB, MOST_DOCUMENTED = 25, 0.3

TASK_NAMES = {"trajectory", "perturbation", "translation"}
# who may index `uns`: fits, embeddings in their own entry, and the writer of any slot
OWNERS = ("scgenot/fit/", "scgenot/cells/embedding/", "scgenot/cells/write.py")

COMMON = {
    *("pair", "_check", "_random", "_outcome", "_progress"),
    *("_settings", "_typed", "_warn"),
}
EVERY_LAYER = COMMON | {
    *("ot", "flow", "population", "model", "course", "metrics", "baselines"),
    *("cells", "fit", "datasets"),
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
    "pair": Layer({"_check", "_typed"}, {"numpy"}),
    "_check": Layer({"_settings"}, {"numpy"}, lazily=TORCH),
    "_random": Layer(set(), {"numpy"}, lazily=TORCH),
    "_outcome": Layer(set(), set()),
    "_typed": Layer(set(), {"numpy"}),
    "_warn": Layer(set(), set()),
    "_progress": Layer({"_settings"}, set(), lazily=frozenset({"tqdm"})),
    # a device is checked when it is set
    "_settings": Layer(set(), set(), lazily=frozenset({"_check"})),
    # sparse plans are SciPy's; Triton, which PyTorch brings for CUDA, is for one file that is only
    # imported where a GPU is used
    "ot": Layer(COMMON, {"numpy", "scipy", "torch", "tqdm", "triton"}),
    "flow": Layer(COMMON, {"numpy", "torch"}),
    "population": Layer(COMMON | {"ot", "flow"}, NUMERIC | {"torch"}),
    "model": Layer(
        COMMON | {"ot", "flow", "population"},
        {"numpy", "pandas", "scipy", "torch", "tqdm", "safetensors"},
    ),
    "course": Layer(COMMON, NUMERIC, lazily=OT),
    "metrics": Layer(COMMON, NUMERIC, lazily=OT | TORCH),
    "baselines": Layer(COMMON, NUMERIC, lazily=OT | TORCH),
    # scanpy makes the PCA and scores gene sets
    "cells": Layer(COMMON, NUMERIC | {"anndata", "pandas"}, lazily=frozenset({"scanpy", "zarr"})),
    "fit": Layer(EVERY_LAYER - {"tl", "pl", "datasets"}, EVERYTHING),
    "get": Layer(
        COMMON | {"cells"}, {"anndata", "numpy", "pandas"}, lazily=frozenset({"fit", "model"})
    ),
    "tl": Layer(COMMON | {"fit", "cells", "course", "model", "ot", "population"}, EVERYTHING),
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
    """One import: the layer of scgenot or the third-party package, and where it stands."""

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


@pytest.mark.medium
def test_layers():
    found = []
    for file in FILES:
        place = file.relative_to(PACKAGE.parent)
        module = ".".join(place.parent.parts)
        found += [
            f"{place}:{offence}" for offence in offences(file.read_text(), layer_of(file), module)
        ]
    assert not found, "\n" + "\n".join(found)


def place_of(file: Path) -> str:
    return str(file.relative_to(PACKAGE.parent))


def is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def docstring_lines(node: ast.AST) -> int:
    """Lines of the docstring of a module, class or function."""
    if not is_function(node) and not isinstance(node, (ast.Module, ast.ClassDef)):
        return 0
    if ast.get_docstring(node) is None:
        return 0
    return node.body[0].end_lineno - node.body[0].lineno + 1


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function below its signature and docstring."""
    body = function.body[bool(docstring_lines(function)) :]
    return function.end_lineno - body[0].lineno + 1 if body else 0


def everywhere(look, files: Iterable[Path] = FILES) -> str:
    """What `look(tree, file)` finds in each file as (line, why), one a line; empty for nothing."""
    found = []
    for file in files:
        tree = ast.parse(file.read_text())
        found += [f"\n{place_of(file)}:{line}: {why}" for line, why in look(tree, file)]
    return "".join(found)


def test_files_and_lines_are_short():
    found = []
    for file in FILES:
        lines = file.read_text().splitlines()
        if len(lines) > MAX_FILE:
            found.append(f"\n{place_of(file)}: {len(lines)} lines, at most {MAX_FILE}")
        found += [
            f"\n{place_of(file)}:{k}: {len(line)} characters, at most {MAX_LINE}"
            for k, line in enumerate(lines, 1)
            if len(line) > MAX_LINE and "http" not in line and "noqa" not in line
        ]
    assert not found, "".join(found)


@pytest.mark.medium
def test_functions_are_short():
    def look(tree, file):
        for node in filter(is_function, ast.walk(tree)):
            most = MAX_BODY
            if layer_of(file) == "tl" and node in tree.body and not node.name.startswith("_"):
                most = MAX_VERB
            if body_length(node) > most:
                yield node.lineno, f"{node.name} has {body_length(node)} lines, at most {most}"

    found = everywhere(look)
    assert not found, found


@pytest.mark.medium
def test_docstrings_are_a_part_of_the_lines():
    lines = sum(len(file.read_text().splitlines()) for file in FILES)
    trees = [ast.parse(file.read_text()) for file in FILES]
    documented = sum(docstring_lines(node) for tree in trees for node in ast.walk(tree))
    assert documented <= MOST_DOCUMENTED * lines


@pytest.mark.medium
def test_private_functions_have_one_line_of_docstring():
    def look(tree, _file):
        for node in filter(is_function, ast.walk(tree)):
            if re.match("_[^_]", node.name) and docstring_lines(node) > 1:
                yield node.lineno, f"{node.name} has {docstring_lines(node)} lines of docstring"

    found = everywhere(look)
    assert not found, found


def lookups(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where `params[...]`, or `uns` by a name that is not spelled out, is read or written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            owner, key = node.value, node.slice
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("get", "pop", "setdefault")
            and node.args
        ):
            owner, key = node.func.value, node.args[0]
        else:
            continue
        name = getattr(owner, "attr", getattr(owner, "id", None))
        # Scanpy's colors and the slots that have a name of their own are not part of a fit
        text = ast.unparse(key)
        named = (
            isinstance(key, ast.Constant)
            or "_colors" in text
            or re.match(r"Keys\(|.*\.keys\.", text)
        )
        if name == "params" or (name == "uns" and not named):
            yield node.lineno, f"`{ast.unparse(node)}`: ask the fit, `scgenot.fit.fit.Fit`"


@pytest.mark.medium
def test_only_fits_read_what_is_stored_of_a_fit():
    files = [file for file in FILES if not place_of(file).startswith(OWNERS)]
    found = everywhere(lambda tree, _file: lookups(tree), files)
    assert not found, found


def comparisons_of_tasks(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where something is compared with the name of a task."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Compare, ast.MatchValue)):
            named = {
                part.value
                for part in ast.walk(node)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            }
            if named & TASK_NAMES:
                yield node.lineno, f"`{ast.unparse(node)}`: ask the task"


@pytest.mark.medium
def test_nobody_compares_the_name_of_a_task():
    # the key of a variable of the user's may be called like a task, but not in the package
    found = everywhere(lambda tree, _file: comparisons_of_tasks(tree))
    assert not found, found


def questions_of_kind(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where a plan is asked for its class or its form."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = getattr(node.func, "attr", getattr(node.func, "id", None))
        words = re.findall(r"\w+", " ".join(map(ast.unparse, node.args[-1:])))
        of_class = called == "isinstance" and re.search(r"(Coupling|Plan)\b", " ".join(words))
        if of_class or (called == "issparse" and "plan" in words):
            yield node.lineno, f"`{ast.unparse(node)}`: `ot.plan.require` what is needed of it"


@pytest.mark.medium
def test_nobody_asks_for_the_kind_of_a_plan():
    found = everywhere(lambda tree, _file: questions_of_kind(tree))
    assert not found, found


def test_tools_have_one_file_a_verb():
    verbs = set(scgenot.tl.__all__)
    assert {file.stem for file in (PACKAGE / "tl").glob("*.py")} == {"__init__"} | {
        f"_{verb}" for verb in verbs
    }


def test_one_prediction_looks_the_fit_up_once_and_reads_the_cells_once(monkeypatch):
    sg = scgenot
    adata = sg.datasets.branching(30, rng=0)
    learner = sg.model.FlowMatching(steps=2, validation_fraction=0)
    sg.tl.fit_trajectory(adata, "time", learner=learner, predict=False, progress=False)
    counts = {"fit": 0, "representation": 0}

    def counting(name, function):
        def counted(*args, **options):
            counts[name] += 1
            return function(*args, **options)

        return counted

    fit, read = (import_module(f"scgenot.{name}") for name in ("fit.storage", "cells.read"))
    monkeypatch.setattr(fit, "read", counting("fit", fit.read))
    representation = counting("representation", read.representation)
    for name, module in list(sys.modules.items()):
        if name.startswith("scgenot.") and hasattr(module, "representation"):
            monkeypatch.setattr(module, "representation", representation)
    sg.tl.predict(adata, progress=False)
    assert counts == {"fit": 1, "representation": 1}


# words that say little, and what takes their place
OUTDATED = {
    r"(?i)of (a|the) screen('s)?\b": "after `fit_perturbation`, or perturbations",
    r"(?i)of no (screen|time course)": "needs a fit from `fit_...`",
    r"is no (whole|number|finite|seed|screen|source|time|list|text|member)": "must be ...",
    r"(what|whatever) is no ": "must be ...",
    r"a whole number": "an integer",
    r"say little": "what is unknown",
    r"to be had": "there is no ...",
    r"this is a question to": "needs ...",
    r"question to one of": "needs ...",
    r"one of that name": "it",
}


def outdated(text: str) -> list[str]:
    """What should be said otherwise, with what to say."""
    words = [(re.search(pattern, text), instead) for pattern, instead in OUTDATED.items()]
    return [f"{found[0]!r}: {instead}" for found, instead in words if found]


@pytest.mark.medium
def test_messages_and_docstrings_are_in_plain_english():
    def look(tree, _file):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = " ".join(node.value.split())
                yield from ((node.lineno, words) for words in outdated(text))

    found = everywhere(look)
    assert not found, found


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


@pytest.mark.parametrize(
    ("look", "source", "n"),
    [
        (lookups, "params['time_key']; fit.params['task']; params.get('task')", 3),
        (lookups, "adata.uns[key]; adata.uns.get(key, {}); adata.uns['genot']; uns[f'{key}_x']", 3),
        (lookups, "self.fit.task.time_key; labels[key]", 0),
        (comparisons_of_tasks, "task.name == 'trajectory'; x in ('a', 'translation')", 2),
        (comparisons_of_tasks, "method == 'coupling'; name = 'trajectory'", 0),
        (questions_of_kind, "isinstance(plan, Coupling); isinstance(p, (dict, ot.SparsePlan))", 2),
        (questions_of_kind, "issparse(plan); sparse.issparse(part.plan); issparse(cells)", 2),
    ],
)
def test_the_test_sees_questions(look, source, n):
    assert len(list(look(ast.parse(source)))) == n


# of an expression between braces: `{x.shape}`, `{a[0]:.2f}`, not the text `{name: cells}`
EXPRESSION = re.compile(r"\{[^{}:]*[.\[!][^{}]*\}")


def without_prefix(tree: ast.AST) -> Iterator[str]:
    """Yield text of f-strings that has an expression in braces: a line without its `f`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts = (part.value for part in node.values if isinstance(part, ast.Constant))
            yield from (text for text in texts if EXPRESSION.search(text))


@pytest.mark.medium
@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_line_of_a_message_is_filled_in(file):
    assert list(without_prefix(ast.parse(file.read_text()))) == []


def test_the_test_sees_lines_without_prefix():
    assert list(without_prefix(ast.parse("""f"a {b}" "{c.d!r} {e[0]:.1f}\"""")))
    assert not list(without_prefix(ast.parse("""f"a {b}" "{name: cells}\"""")))


def test_the_test_sees_outdated_words():
    assert outdated("When the fit is of no screen.")
    assert outdated("Refuse what is no whole number")
    assert not outdated("`n` must be an integer >= 1.")
