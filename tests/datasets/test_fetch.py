"""Files are fetched once, checked, and asked for in words where they are not to be had."""

from hashlib import sha256
from pathlib import Path

import anndata as ad
import numpy as np
import pooch
import pytest
import requests

from scgenot import datasets
from scgenot.datasets._fetch import Originals, fetch, prepared

CONTENT = b"1,2,3\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache and no folder of prepared files."""
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    monkeypatch.delenv("SCGENOT_DATA", raising=False)
    return tmp_path / "scgenot"


@pytest.fixture
def downloads(monkeypatch) -> list[tuple[str, bool]]:
    """A network that has counts.txt only; what was asked of it, and whether with a progress bar."""
    asked = []

    def download(self, url, output_file, *_, **__):
        asked.append((url, self.progressbar))
        if not url.endswith("/counts.txt"):
            raise requests.exceptions.ConnectionError("no such host")
        Path(output_file).write_bytes(CONTENT)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)
    return asked


def originals(content: bytes = CONTENT, name: str = "counts.txt") -> Originals:
    return Originals("https://example.org/commit", {name: sha256(content).hexdigest()})


def test_fetched_once(cache, downloads, monkeypatch):
    monkeypatch.setattr("scgenot.datasets._fetch.somebody_looks", lambda: True)
    (first,) = fetch(originals(), "set/file", progress=True)
    assert first.read_bytes() == CONTENT
    assert first.parent == cache
    assert fetch(originals(), "set/file", progress=False) == [first]
    assert downloads == [("https://example.org/commit/counts.txt", True)]


def test_another_file_is_refused(cache, downloads):
    with pytest.raises(ValueError, match="does not match"):
        fetch(originals(content=b"other"), "set/file", progress=False)
    assert not any(file.is_file() for file in cache.glob("*"))


def test_no_network_and_no_cache(cache, downloads, monkeypatch):
    monkeypatch.setenv("SCGENOT_DATA", "/elsewhere")
    asked = originals(name="missing.txt")
    expected = (
        "^set/rna.h5ad and set/atac.h5ad not in SCGENOT_DATA=/elsewhere, "
        ".*could not be downloaded.*no such host"
    )
    with pytest.raises(FileNotFoundError, match=expected) as raised:
        fetch(asked, "set/rna", "set/atac", progress=False)
    parts = (
        "https://example.org/commit/missing.txt",
        str(cache),
        "SCGENOT_DATA",
        "set/rna.h5ad and set/atac.h5ad",
    )
    for part in (*parts, *asked.sha256.values()):
        assert part in str(raised.value)


def test_prepared_files_are_read_when_all_are_there(tmp_path, monkeypatch):
    adata = ad.AnnData(np.eye(3, dtype=np.float32))
    (tmp_path / "set").mkdir()
    adata.write_h5ad(tmp_path / "set" / "rna.h5ad")
    monkeypatch.delenv("SCGENOT_DATA", raising=False)
    assert prepared("set/rna") is None
    monkeypatch.setenv("SCGENOT_DATA", str(tmp_path))
    assert prepared("set/rna", "set/atac") is None
    (found,) = prepared("set/rna")
    assert np.array_equal(found.X, adata.X)


@pytest.mark.parametrize("name", ["kang_ifnb", "ova_tcell_doses", "worm_embryo"])
def test_what_cannot_be_downloaded_says_so(name, tmp_path, monkeypatch):
    monkeypatch.delenv("SCGENOT_DATA", raising=False)
    with pytest.raises(
        FileNotFoundError, match=rf"{name}/\w+\.h5ad was not found: .*Set SCGENOT_DATA.*https://"
    ):
        getattr(datasets, name)()
    monkeypatch.setenv("SCGENOT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"is not in {tmp_path}"):
        getattr(datasets, name)()
