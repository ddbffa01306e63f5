"""Whether a picture was drawn by the code as it is now: each PNG carries a digest of that code.

The code is that of the function in `pictures.py`, of what it calls there, and of the plots of
`scgenot.pl` that it draws with, without comments and docstrings. What the fits compute is not part
of it.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

HERE = Path(__file__).parent
PLOTS = HERE.parent / "scgenot" / "pl"
FIELD = "Source"


def code_of(tree: ast.AST) -> str:
    """Code without comments, docstrings and layout."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            node.body = body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)


def called(name: str, functions: dict[str, ast.FunctionDef], seen: set[str]) -> Iterator[str]:
    """Names of a function and of those of its file that it calls."""
    if name in functions and name not in seen:
        seen.add(name)
        yield name
        for node in ast.walk(functions[name]):
            if isinstance(node, ast.Name):
                yield from called(node.id, functions, seen)


@cache
def plot_files(stem: str) -> frozenset[Path]:
    """The file of a plot, and those of the folder that it imports."""
    file = PLOTS / f"{stem}.py"
    inside = re.findall(r"^from scgenot\.pl\.(_\w+) import", file.read_text(), re.MULTILINE)
    return frozenset({file}.union(*map(plot_files, inside)))


def digest(name: str) -> str:
    """Digest of the code that draws a picture."""
    tree = ast.parse((HERE / "pictures.py").read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    parts = [code_of(functions[each]) for each in sorted(called(name, functions, set()))]
    plots = set(re.findall(r"\bsg\.pl\.(\w+)", "\n".join(parts)))
    files = set().union(*(plot_files(f"_{plot}") for plot in plots))
    parts += [code_of(ast.parse(file.read_text())) for file in sorted(files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def stamp(name: str) -> PngInfo:
    """What a PNG says of the code that drew it."""
    info = PngInfo()
    info.add_text(FIELD, digest(name))
    return info


def is_current(file: Path) -> bool:
    """Whether a picture was drawn by the code as it is now."""
    with Image.open(file) as image:
        return image.info.get(FIELD) == digest(file.stem)
