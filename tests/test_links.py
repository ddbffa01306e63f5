"""What the documentation points to is there: pages, anchors, pictures and names; every page can be
reached.
"""

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import scgenot as sg
from test_docstrings import ALL
from test_layers import LAYERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md"]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
ROLES = "attr|class|func|meth|mod"


def text_of(page: Path) -> str:
    """The prose of a page or notebook: no code."""
    if page.suffix == ".ipynb":
        cells = json.loads(page.read_text())["cells"]
        return "\n\n".join(
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
        )
    # directives stay; what runs, and what is quoted in a line, does not
    text = re.sub(r"^```(?!\{).*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    role = r"(\{[\w:]+\}`[^`]+`)"
    return re.sub(rf"{role}|`[^`\n]+`", lambda found: found[1] or "", text)


def anchors(page: Path) -> set[str]:
    """Targets of a page: `(name)=`, labels of formulas, and headings of three levels as GitHub and
    MyST name them.
    """
    text = text_of(page) if page.suffix == ".ipynb" else page.read_text()
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"^\((\S+)\)=$", text, flags=re.MULTILINE)
    formulas = re.findall(r"^\$\$ \((\S+)\)$", text, flags=re.MULTILINE)
    headings = re.findall(r"^#{1,3} (.+)$", text, flags=re.MULTILINE)
    slugs = [
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    ]
    return {*named, *formulas, *slugs}


def placed(page: Path) -> Path:
    """Folder that a page's links start from: notebooks are copied to docs/tutorials to be built."""
    return DOCS / "tutorials" if page.suffix == ".ipynb" else page.parent


def source_of(target: Path) -> Path:
    """The file that is committed, for one in docs/tutorials."""
    target = target.resolve()
    within = (
        target.relative_to(DOCS / "tutorials")
        if target.is_relative_to(DOCS / "tutorials")
        else None
    )
    return target if within is None else ROOT / "tutorials" / within


def broken(page: Path) -> Iterator[str]:
    """Links and pictures that lead nowhere."""
    text = text_of(page)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(
        r"^[`:]{3,}\{(?:figure|image)\} (\S+)$", text, re.MULTILINE
    )
    for link in links:
        if re.match(r"(https?|mailto):", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = source_of(placed(page) / path) if path else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            yield link
    for label in re.findall(r"\{(?:eq|ref)\}`([^`]+)`", text):
        if label not in anchors(page):
            yield label


def test_links_lead_somewhere():
    found = [f"{page.name}: {link}" for page in (*PAGES, *NOTEBOOKS) for link in broken(page)]
    assert not found, "\n" + "\n".join(found)


def exists(name: str, near: list) -> bool:
    """Whether a name can be found: from the top, or in one of the modules and classes around it."""
    name = re.sub(r".*<(.+)>$", r"\1", name).lstrip("~!").removesuffix("()")
    return find(name) is not None or any(find(name, thing) is not None for thing in near)


def find(name: str, thing=None):
    """The thing of this name, from a module or class, or from the outermost module on; None where
    there is none.
    """
    parts = name.split(".")
    if thing is None:
        for n in range(len(parts), 0, -1):
            try:
                thing = importlib.import_module(".".join(parts[:n]))
            except ImportError:
                continue
            parts = parts[n:]
            break
    for part in parts:
        thing = (
            inspect.getattr_static(thing, part, None)
            if inspect.isclass(thing)
            else getattr(thing, part, None)
        )
    return thing


def test_names_in_pages_are_there():
    named = rf"\{{(?:py:)?(?:{ROLES})\}}`([^`]+)`"
    found = [
        f"{page.name}: {name}"
        for page in (*PAGES, *NOTEBOOKS)
        for name in re.findall(named, text_of(page))
        if not exists(name, [])
    ]
    assert not found, "\n" + "\n".join(found)


def test_names_in_docstrings_are_there():
    found = [f"{where}: {name}" for where, thing in ALL for name in unknown_names(where, thing)]
    assert not found, "\n" + "\n".join(found)


def unknown_names(where: str, thing) -> list[str]:
    """Names in the docstrings of a function or class that Sphinx would not find."""
    # as Sphinx looks: in the class, in the module whose page it is on, then from the top
    near = [
        importlib.import_module(where.rpartition(".")[0]),
        *([thing] if inspect.isclass(thing) else []),
    ]
    own = (
        [getattr(value, "__func__", value) for value in vars(thing).values()]
        if inspect.isclass(thing)
        else []
    )
    texts = [
        part.__doc__ or "" for part in (thing, *own) if part is thing or inspect.isfunction(part)
    ]
    names = re.findall(rf":(?:{ROLES}):`([^`]+)`", "\n".join(texts))
    return [name for name in names if not exists(name, near)]


def test_every_page_can_be_reached():
    trees = re.findall(
        r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), flags=re.DOTALL
    )
    entries = [line for tree in trees for line in tree.splitlines() if line and line[0] != ":"]
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert set(entries) == pages | {f"tutorials/{notebook.stem}" for notebook in NOTEBOOKS}
    assert len(entries) == len(set(entries))


def test_the_api_lists_every_public_name_once():
    listed = re.findall(r"^   ([a-z]\w+\.[\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    face = [getattr(sg, name) for name in sg.__all__]
    modules = [thing for thing in face if inspect.ismodule(thing)]
    names = [f"{module.__name__}.{name}" for module in modules for name in module.__all__]
    names += [f"scgenot.pair.{name}" for name in ("Pair", "Link", "Question")]
    assert sorted(f"scgenot.{name}" for name in listed) == sorted(names)


def test_the_table_of_modules_is_that_of_the_layers():
    text = (DOCS / "contributing.md").read_text()
    rows = [row.split("|")[1] for row in text.splitlines() if re.match(r"\| `\w+`", row)]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    layers = {name for name in LAYERS if not name.startswith("__")}
    assert named == layers
    drawn = (DOCS / "_static" / "architecture.svg").read_text()
    assert not [name for name in layers if not re.search(rf"\b{name}\b", drawn)]


def test_the_pages_of_modules_name_what_is_public():
    names = {where for where, _ in ALL}
    expected = (
        *("scgenot.tl.fit", "scgenot.get.fit", "scgenot.Pair", "scgenot.Link", "scgenot.Question"),
        *(f"scgenot.model.{name}" for name in ("FlowMatching", "Run", "Learned")),
        *(f"scgenot.ot.{name}" for name in ("Plan", "SparsePlan")),
        *(f"scgenot.cells.tasks.{name}" for name in ("TimeCourse", "Screen", "Translation")),
    )
    assert not [name for name in expected if name not in names]
