"""Look through the built pages for what a reader should not meet: `python docs/check.py FOLDER`.

Stray markup (roles, backticks and links that were not rendered), and links and pictures that lead
nowhere.
"""

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

STRAY = re.compile(
    r":(?:py:)?(?:attr|class|doc|eq|exc|func|math|meth|mod|obj|ref|term):"  # roles
    r"|\{(?:py:)?(?:attr|class|doc|eq|func|meth|mod|ref)\}"
    r"|\]\(|`|\*\*\w|^\s*\.\. \w+::|:::|\$\$",  # links, code, bold, directives, fences, formulas
    re.MULTILINE,
)
CODE = "pre, script, style, code, .sig, .math, .highlight, .cell_output, .headerlink"


def stray_markup(article: Tag) -> Iterator[str]:
    """Markup in the text of a page, with some words around it; takes the code out of the page."""
    for code in article.select(CODE):
        # what is quoted as code may hold anything but a role that was cut short
        text = "" if code.name != "code" else code.get_text()
        code.replace_with("" if text.count("`") == 0 else text)
    text = article.get_text()
    for found in STRAY.finditer(text):
        around = text[max(found.start() - 40, 0) : found.end() + 40]
        yield f"stray markup {found[0]!r} in {' '.join(around.split())!r}"


@cache
def anchors(file: Path) -> set[str]:
    """What a link to a page may point at."""
    return {"", *re.findall(r'\sid="([^"]+)"', file.read_text())}


def broken_links(file: Path, page: Tag) -> Iterator[str]:
    """Links and pictures of a page that are not in the folder."""
    for tag in page.find_all(["a", "img"]):
        yield from _broken(file, tag)


def _broken(file: Path, tag: Tag) -> Iterator[str]:
    address = urlsplit(unquote(tag.get("href") or tag.get("src") or ""))
    if address.scheme or address.netloc or not (address.path or address.fragment):
        return
    target = (file.parent / address.path).resolve() if address.path else file
    if not target.is_file():
        yield f"{address.path} is not there"
    elif target.suffix == ".html" and address.fragment not in anchors(target):
        yield f"{address.path}#{address.fragment} is not there"


def complaints(folder: Path) -> Iterator[str]:
    """What is wrong in a folder of built pages."""
    files = [file for file in sorted(folder.rglob("*.html")) if "_modules" not in file.parts]
    if not files:
        yield f"no pages in {folder}"
    for file in files:
        page = BeautifulSoup(file.read_text(), "html.parser").find("article")
        if page is None:
            continue
        found = [*broken_links(file, page), *stray_markup(page)]
        yield from (f"{file.relative_to(folder)}: {what}" for what in found)


if __name__ == "__main__":
    found = list(complaints(Path(sys.argv[1]).resolve()))
    print("\n".join(found) or "no stray markup, no broken links")
    sys.exit(bool(found))
