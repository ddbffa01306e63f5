"""What the check of the built pages sees."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
sys.path.append(str(DOCS))  # its scripts are no package


@pytest.fixture
def complaints(tmp_path):
    """What the check says of a page with this text."""
    check = pytest.importorskip(
        "check", reason="the check needs beautifulsoup4", exc_type=ImportError
    )

    def complaints(html: str) -> list[str]:
        (tmp_path / "page.html").write_text(f"<body><article>{html}</article></body>")
        check.anchors.cache_clear()
        return list(check.complaints(tmp_path))

    return complaints


@pytest.mark.parametrize(
    "html",
    [
        "<p>:py:class:<code>uns[`</code>",
        "<p>see {func}<code>fit</code>",
        "<p>a `name`",
        "<p>a <code>name`]</code>",
        "<p>**not bold",
        "<p>[text](page.md)",
        "<p>.. note:: this",
        "<p>$$x$$",
        '<a href="other.html">other</a>',
        '<a href="#nowhere">here</a>',
        '<img src="picture.png">',
    ],
)
def test_what_is_wrong_is_seen(complaints, html):
    assert complaints(html)


@pytest.mark.parametrize(
    "html",
    [
        "<pre>:py:class:`x` **kwargs</pre>",
        "<p>a ratio of 1:2, <code>{func}</code>",
        '<p id="here"><a href="#here">here</a>',
        '<a href="https://example.org/nowhere">out</a>',
        "<script>`a`</script>",
    ],
)
def test_what_is_right_is_left_alone(complaints, html):
    assert not complaints(html)


def test_an_empty_folder_is_no_success(tmp_path):
    check = pytest.importorskip("check", exc_type=ImportError)
    assert list(check.complaints(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("myst_nb") is None, reason="needs the group `docs`")
def test_built_pages_have_no_stray_markup_and_no_broken_links(tmp_path):
    source, html = tmp_path / "docs", tmp_path / "html"
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("_build", "generated", "tutorials"))
    shutil.copytree(DOCS.parent / "tutorials", source / "tutorials")
    (tmp_path / "CHANGELOG.md").symlink_to(DOCS.parent / "CHANGELOG.md")
    build = (sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", source, html)
    for command in (build, (sys.executable, DOCS / "check.py", html)):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
