"""Every public function and class says what it does, what it takes and what it gives."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch

import scgenot as sg
from scgenot.pair import Pair

MODULES = ("baselines", "datasets", "flow", "get", "metrics", "model", "ot", "pl", "tasks", "tl")
# what a user's input may lead to; others are accidents
ERRORS = {"KeyError", "TypeError", "ValueError"}


def public(module) -> Iterator[tuple[str, object]]:
    """Functions and classes of scgenot that a module offers: its `__all__`, or else its names
    without underscore.
    """
    for name in getattr(module, "__all__", None) or [
        name for name in vars(module) if not name.startswith("_")
    ]:
        thing = getattr(module, name)
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__.startswith(
            "scgenot"
        ):
            yield f"{module.__name__}.{name}", thing


def sections(docstring: str) -> dict[str, str]:
    """Sections of a numpy docstring; the summary under the empty name."""
    heads = list(re.finditer(r"^(\w[\w ]*)\n-{3,}$", docstring, flags=re.MULTILINE))
    cuts = [*(head.start() for head in heads), len(docstring)]
    found = {
        head[1]: docstring[head.end() : end] for head, end in zip(heads, cuts[1:], strict=True)
    }
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


@cache
def tree_of(function) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def raised(function, seen: set) -> set[str]:
    """Errors that a function raises, itself or in functions of scgenot that it calls by name."""
    function = inspect.unwrap(function)
    if function in seen:
        return set()
    seen.add(function)
    found, known = set(), function.__globals__
    for node in ast.walk(tree_of(function)):
        if (
            isinstance(node, ast.Raise)
            and isinstance(node.exc, ast.Call)
            and isinstance(node.exc.func, ast.Name)
        ):
            found |= {node.exc.func.id} & ERRORS
        if isinstance(node, ast.Call):
            called = known.get(node.func.id) if isinstance(node.func, ast.Name) else None
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                called = getattr(
                    known.get(node.func.value.id), node.func.attr, None
                )  # such as `get.model`
            if inspect.isfunction(called) and called.__module__.startswith(("scgenot", __name__)):
                found |= raised(called, seen)
    return found


def makers(thing) -> list:
    """What runs when a function is called or an object is made."""
    if inspect.isfunction(thing):
        return [thing]
    # those that a dataclass writes itself have no source, and raise nothing
    written = [vars(thing).get(name) for name in ("__init__", "__post_init__")]
    ours = [
        maker
        for maker in written
        if inspect.isfunction(maker) and maker.__module__.startswith("scgenot")
    ]
    return [maker for maker in ours if maker.__code__.co_filename != "<string>"]


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
    known = {
        name.strip().lstrip("*") for entry in named for name in entry.partition(":")[0].split(",")
    }
    missing = [name for name in parameters(thing) if name not in known]
    if missing:
        yield f"does not document the parameters {missing}"
    if (
        inspect.isfunction(thing)
        and gives_something(thing)
        and not {"Returns", "Yields"} & set(found)
    ):
        yield "returns something but has no Returns or Yields section"
    stated = re.findall(r"\w+", " ".join(entries(found.get("Raises", ""))))
    errors = set().union(*(raised(maker, set()) for maker in makers(thing)))
    if silent := sorted(errors - set(stated)):
        yield f"may raise {silent} and does not say when"
    if not {"Examples", "See Also", "References"} & set(found):
        yield "has no example and no link"


FACE = [sg, *(getattr(sg, name) for name in MODULES)]
ALL = [found for module in FACE for found in public(module)]


@pytest.mark.medium
def test_docstrings():
    found = [f"{where} {complaint}" for where, thing in ALL for complaint in complaints(thing)]
    assert not found, "\n" + "\n".join(found)


def test_methods_say_what_they_do():
    found = []
    for where, thing in ALL:
        if inspect.isclass(thing):
            named = {name: value for name, value in vars(thing).items() if not name.startswith("_")}
            functions = {name: getattr(value, "__func__", value) for name, value in named.items()}
            of_interest = {
                name: f
                for name, f in functions.items()
                if inspect.isfunction(f) or isinstance(f, property)
            }
            found += [
                f"{where}.{name}" for name, function in of_interest.items() if not function.__doc__
            ]
    assert not found, f"no docstring: {found}"


def example(thing) -> str:
    """Code of the Examples section."""
    lines = sections(inspect.cleandoc(thing.__doc__ or "")).get("Examples", "").splitlines()
    return "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))


def unknown(code: str) -> Iterator[str]:
    """What code asks of scgenot that is not there: names, and arguments of calls."""
    for node in ast.walk(ast.parse(code)):
        name = (
            ast.unparse(node.func if isinstance(node, ast.Call) else node)
            if isinstance(node, ast.expr)
            else ""
        )
        if isinstance(node, (ast.Attribute, ast.Call)) and re.fullmatch(r"sg(\.\w+)+", name):
            try:
                thing = eval(name)
                if isinstance(node, ast.Call):
                    inspect.signature(thing).bind(
                        *node.args, **{word.arg: word.value for word in node.keywords}
                    )
            except (AttributeError, TypeError) as error:
                yield f"{ast.unparse(node)}: {error}"


EXAMPLES = {where: example(thing) for where, thing in ALL if example(thing)}


def test_examples_name_what_there_is():
    found = [f"{where}: {name}" for where, code in EXAMPLES.items() for name in unknown(code)]
    assert not found, "\n" + "\n".join(found)


def test_the_test_sees_names_that_are_not_there():
    # an argument, a name, its call
    assert len(list(unknown("sg.tl.embed(adata, methods='pca')\nsg.tl.fits(adata)"))) == 3


ARRAYS = ("baselines", "flow", "metrics", "model", "ot")


@pytest.fixture
def arrays():
    """The names that examples on arrays take as given."""
    rng = np.random.default_rng(0)
    names = ("source", "target", "query", "treated", "predicted", "true", "control", "matched")
    given = {name: rng.normal(size=(24, 5)) for name in names}
    given |= {f"{side}_types": np.repeat(["B", "T"], 12) for side in ("source", "target", "query")}
    x, y = (torch.from_numpy(given[side]).float() for side in ("source", "target"))
    pair = Pair(given["source"], given["target"])
    shared = Pair(
        given["source"], given["target"], source_shared=given["query"], target_shared=given["true"]
    )
    given |= {
        "x": x,
        "y": y,
        "pair": pair,
        "pair_with_shared": shared,
        "coupling": sg.ot.Sinkhorn()(pair),
    }
    given["model"] = sg.Genot(5, 5, width=16, depth=1)
    given["model"].units.fit([pair])
    return given | {"sg": sg, "np": np, "torch": torch}


@pytest.mark.medium
def test_examples_on_arrays_run(arrays, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for where, code in EXAMPLES.items():
        if where.split(".")[1] in ARRAYS:
            try:
                exec(code, dict(arrays))
            except Exception as error:  # noqa: BLE001
                found.append(f"{where}: {error!r}")
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

    Raises
    ------
    ValueError
        When they are not.

    Examples
    --------
    >>> _good(1)
    """
    _check(a)
    return a + b


def _check(a):
    raise ValueError(a)


def _careless(a):
    """Check.

    Parameters
    ----------
    a
        A number.

    References
    ----------
    A book.
    """
    _check(a)


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


@pytest.mark.parametrize(
    ("function", "n"), [(_good, 0), (_bare, 3), (_typed, 2), (_silent, 1), (_careless, 1)]
)
def test_the_test_sees_what_is_missing(function, n):
    assert len(list(complaints(function))) == n
