"""Every public function and class says what it does, what it takes and what it gives."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

import pytest

MODULES = ("baselines", "datasets", "flow", "get", "metrics", "model", "ot", "pl", "tl")


def public(module) -> Iterator[tuple[str, object]]:
    """Functions and classes of scgenot that a module offers: its `__all__`, or else its names without underscore."""
    for name in getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]:
        thing = getattr(module, name)
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__.startswith("scgenot"):
            yield f"{module.__name__}.{name}", thing


def sections(docstring: str) -> dict[str, str]:
    """Sections of a numpy docstring; the summary under the empty name."""
    heads = list(re.finditer(r"^(\w[\w ]*)\n-{3,}$", docstring, flags=re.MULTILINE))
    cuts = [*(head.start() for head in heads), len(docstring)]
    found = {head[1]: docstring[head.end() : end] for head, end in zip(heads, cuts[1:], strict=True)}
    return {"": docstring[: cuts[0]], **found}


def entries(section: str) -> list[str]:
    """Lines of a section that start an entry, those with no indent."""
    return [line for line in section.splitlines() if line and not line[0].isspace()]


def parameters(thing) -> list[str]:
    """Parameters of a function or a constructor, without `self` and without stars."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):  # a class whose constructor is written in C
        return []
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, value in signature.parameters.items() if value.kind not in stars]


def gives_something(function) -> bool:
    """Whether a function's own body, not that of a function inside, returns a value or yields."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body[0]
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
            return True
        waiting.extend(ast.iter_child_nodes(node))
    return False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def complaints(thing) -> Iterator[str]:
    """What is missing from a docstring."""
    # __doc__ and not getdoc: that of a parent class says nothing about this one
    found = sections(inspect.cleandoc(thing.__doc__ or ""))
    if not found[""].strip():
        yield "has no summary"
        return
    if "Examples" not in found and ">>>" in found[""]:
        yield "has an example outside an Examples section"
    named = entries(found.get("Parameters", ""))
    typed = [entry for entry in named if ":" in entry]
    if typed:
        yield f"has types in its docstring, they belong in the signature: {typed}"
    known = {name.strip().lstrip("*") for entry in named for name in entry.partition(":")[0].split(",")}
    missing = [name for name in parameters(thing) if name not in known]
    if missing:
        yield f"does not document the parameters {missing}"
    if inspect.isfunction(thing) and gives_something(thing) and not {"Returns", "Yields"} & set(found):
        yield "returns something but has no Returns or Yields section"


def test_docstrings():
    found = []
    for name in MODULES:
        if find_spec(f"scgenot.{name}") is not None:
            for where, thing in public(import_module(f"scgenot.{name}")):
                found += [f"{where} {complaint}" for complaint in complaints(thing)]
    assert not found, "\n" + "\n".join(found)


def _good(a, *, b=1):
    """Add.

    Parameters
    ----------
    a, b
        Numbers.

    Returns
    -------
    Their sum.
    """
    return a + b


def _bare(a):
    """Keep."""
    return a


def _typed(a):
    """Print.

    Parameters
    ----------
    a : int
        A number.
    """
    print(a)


def _silent(): ...


@pytest.mark.parametrize(("function", "n"), [(_good, 0), (_bare, 2), (_typed, 1), (_silent, 1)])
def test_the_test_sees_what_is_missing(function, n):
    assert len(list(complaints(function))) == n
