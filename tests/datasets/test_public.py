"""Public data sets: made of the published files they equal those prepared, which are read first.

The published files stand in for a download; tests are skipped where they are not.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest
from anndata import AnnData
from scipy import sparse

import realdata
from scgenot import datasets
from scgenot.datasets import _time_courses, _two_modalities

SETS = {
    "klein_mesc": ["klein_mesc"],
    "larry_clones": ["larry"],
    "scgem_reprogramming": ["rna", "methylation"],
    "snareseq_celllines": ["rna_pca10", "atac_topics19"],
    "citeseq_pbmc10k": ["rna", "protein"],
}
BUILT = [
    pytest.param(name, marks=pytest.mark.slow) if name == "citeseq_pbmc10k" else name
    for name in SETS
]
ORIGINALS = {
    "klein_mesc": _time_courses.KLEIN,
    "larry_clones": _time_courses.LARRY,
    "scgem_reprogramming": _two_modalities.SCGEM,
    "snareseq_celllines": _two_modalities.SNARESEQ,
    "citeseq_pbmc10k": _two_modalities.CITESEQ,
}


def published() -> dict[str, Path]:
    """Local copies of the published files, by checksum."""
    lines = [
        (sums.parent, *line.split())
        for sums in realdata.data_dir().glob("*/orig/SHA256SUMS")
        for line in sums.read_text().splitlines()
    ]
    return {sha256: folder / name for folder, sha256, name in lines}


@pytest.fixture
def offline(monkeypatch):
    """In place of a download, the local copy with that checksum; and no prepared files."""
    files = published()

    def retrieve(_, known_hash, **__):
        file = files[known_hash.removeprefix("sha256:")]
        assert f"sha256:{pooch.file_hash(str(file))}" == known_hash
        return str(file)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    prepared = realdata.data_dir()
    monkeypatch.delenv("SCGENOT_DATA", raising=False)
    monkeypatch.setattr("realdata.data_dir", lambda: prepared)  # of the tests; loaders see none


def as_list(found) -> list[AnnData]:
    return list(found) if isinstance(found, tuple) else [found]


def assert_same(first: AnnData, second: AnnData):
    assert sparse.issparse(first.X) == sparse.issparse(second.X)
    assert first.X.dtype == second.X.dtype
    pd.testing.assert_frame_equal(first.obs, second.obs, check_like=True)
    pd.testing.assert_frame_equal(first.var, second.var)
    assert first.obsm.keys() == second.obsm.keys()
    assert first.uns.keys() == second.uns.keys()
    pairs = [(first.X, second.X), *((first.obsm[key], second.obsm[key]) for key in first.obsm)]
    for values in pairs:
        a, b = (sparse.csr_matrix(value) for value in values)
        assert (a != b).nnz == 0


@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_is_what_was_prepared(name, offline, monkeypatch):
    built = as_list(getattr(datasets, name)(progress=False))
    monkeypatch.setattr(pooch, "retrieve", None)  # not asked where there are prepared files
    monkeypatch.setenv("SCGENOT_DATA", str(realdata.data_dir()))
    read = as_list(getattr(datasets, name)())
    assert len(built) == len(read) == len(SETS[name])
    for ours, theirs, file in zip(built, read, SETS[name], strict=True):
        assert_same(ours, theirs)
        assert np.array_equal(theirs.obs_names, realdata.load(f"{name}/{file}").obs_names)


@pytest.mark.parametrize("name", SETS)
def test_addresses_are_those_of_the_notes(name):
    note = (realdata.data_dir() / name / "NOTE.md").read_text()
    owner, repository, commit = ORIGINALS[name].address.split("/")[3:6]
    assert f"{owner}/{repository} @{commit}" in note
    assert set(ORIGINALS[name].sha256.values()) <= set(published())


def test_gates():
    """The slow test of all of CITE-seq says the same."""
    prepared = realdata.load("citeseq_pbmc10k/protein")
    assert (np.asarray(_two_modalities._gated(prepared)) == prepared.obs["gated_type"]).all()


def test_stages_are_in_order(offline):
    rna, methylation = datasets.scgem_reprogramming(progress=False)
    assert list(rna.obs["stage"].cat.categories) == ["BJ", "d8", "d16T+", "d24T+", "iPS"]
    assert rna.obs["stage"].cat.ordered
    assert rna.obs_names.equals(methylation.obs_names)


def test_clones_are_cells_of_one_lineage(offline):
    adata = datasets.larry_clones(progress=False)
    assert set(adata.obs["day"]) == {2, 4, 6}
    assert adata.obsm["X_clone"].shape == (781, 339)
    assert adata.obsm["X_clone"].sum(1).max() == 1  # no cell has two clones


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "file", "shape"),
    [
        ("kang_ifnb", "kang_ifnb", (2000, 9015)),
        ("worm_embryo", "worm_embryo", (1805, 10_000)),
        ("ova_tcell_doses", "ova_flow", (48_000, 8)),
    ],
)
def test_sets_that_are_not_downloaded(name, file, shape, monkeypatch):
    prepared = realdata.load(f"{name}/{file}")
    monkeypatch.setenv("SCGENOT_DATA", str(realdata.data_dir()))
    adata = getattr(datasets, name)()
    assert adata.shape == shape
    assert_same(adata, prepared)
