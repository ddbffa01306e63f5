"""Public data sets that some tests and benchmarks use.

Where a set is absent its tests are skipped and its benchmarks stop.
"""

import os
from pathlib import Path
from typing import NoReturn

import pytest
from anndata import AnnData, read_h5ad


def absent(reason: str) -> NoReturn:
    """Skip the test, or end a benchmark, with the reason."""
    if "PYTEST_CURRENT_TEST" in os.environ:
        pytest.skip(reason)
    raise SystemExit(reason)


def data_dir() -> Path:
    """Folder with one folder a data set: `SCGENOT_DATA`, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("SCGENOT_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        absent(f"no data sets in {folder}: set SCGENOT_DATA to the folder that has them")
    return folder


def load(name: str) -> AnnData:
    """Read one file, such as `"citeseq_pbmc10k/rna"`, or skip the test."""
    file = data_dir() / f"{name}.h5ad"
    if not file.is_file():
        absent(f"{file} is not there")
    return read_h5ad(file)
