"""Cells of backed files or read lazily, processed in blocks of rows."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._typed import check_type

MAX_VALUES = 2**25  # dense values of a block: 128 MB in single precision
# dense values of the selected features that are read into memory at once: 1 GB
MAX_AT_ONCE = 2**28


def readable(adata: AnnData, name: str = "adata") -> AnnData:
    """Return cells with annotations in memory; X and layers are not read.

    A new object for :func:`anndata.experimental.read_lazy`, otherwise the same object.
    """
    check_type(name, adata, AnnData)
    if isinstance(adata.obs, pd.DataFrame):
        return adata
    axes = {axis: getattr(adata, axis).to_memory() for axis in ("obs", "var")}
    slots = {slot: loaded(dict(getattr(adata, slot))) for slot in ("obsm", "varm", "uns")}
    layers = {key: values for key, values in adata.layers.items() if key is not None}
    return AnnData(adata.X, **axes, **slots, layers=layers)


def loaded(values):
    """Load arrays that are read lazily, also within dictionaries."""
    if isinstance(values, Mapping) and not hasattr(values, "to_memory"):
        return {key: loaded(entry) for key, entry in values.items()}
    for load in ("to_memory", "compute"):
        if hasattr(values, load):
            return getattr(values, load)()
    return values


def in_memory(values) -> bool:
    """Whether an array is in memory and not in a file or a dask graph."""
    lazy = any(hasattr(values, name) for name in ("to_memory", "compute"))
    # arrays of h5py and zarr are neither NumPy's nor SciPy's, and have a name in their file
    return not lazy and not (hasattr(values, "chunks") and hasattr(values, "name"))


def row_blocks(values, n_columns: int) -> Iterator[slice]:
    """Yield slices of rows with a limited number of dense values; all rows for CSC."""
    n = values.shape[0]
    if in_memory(values) or getattr(values, "format", "csr") == "csc":
        yield slice(0, n)
        return
    most, start = max(1, MAX_VALUES // max(1, n_columns)), 0
    for stop in _ends(values, n, most):
        yield slice(start, stop)
        start = stop


def _ends(values, n: int, most: int) -> Iterator[int]:
    """Yield ends of blocks, aligned with dask chunks, which are loaded as a whole."""
    chunks = getattr(values, "chunks", None)
    sizes = chunks[0] if chunks and isinstance(chunks[0], tuple) else [most] * (n // most)
    edges, last = np.append(np.cumsum(sizes, dtype=int), n), 0
    for edge, following in zip(edges, [*edges[1:], n + most + 1], strict=True):
        if edge > last and following - last > most:
            yield int(edge)
            last = edge
