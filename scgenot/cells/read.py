"""Cells out of AnnData: one checked array of numbers, whatever it was stored as."""

import logging
from collections.abc import Hashable, Iterator

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scgenot._check import as_array
from scgenot._typed import check_type
from scgenot._warn import warn_user
from scgenot.cells.keys import USUAL_REPS
from scgenot.cells.lazy import in_memory, loaded, row_blocks

logger = logging.getLogger("scgenot")

MAX_DENSE = 2 * 10**8  # entries of X that are made dense: .8 GB in single precision


def representation(
    adata: AnnData,
    use_rep: str | None = None,
    *,
    layer: str | None = None,
    name: str = "adata",
    argument: str = "use_rep",
) -> np.ndarray:
    """Read the representation that cells are compared and generated in: finite, C-contiguous."""
    check_anndata(adata, name)
    if layer is not None and use_rep not in (None, "X"):
        raise ValueError(
            f"`{argument}={use_rep!r}` and `layer={layer!r}` exclude each other: pass one of them."
        )
    if use_rep == "X" or layer is not None:
        values, label = matrix(adata, layer, name=name), f"{layer_label(layer)} of `{name}`"
    else:
        use_rep = usual_rep(adata, name, argument) if use_rep is None else use_rep
        if use_rep not in adata.obsm:
            raise KeyError(
                f"`{argument}={use_rep!r}` is not in obsm of `{name}`; "
                f"found {list(adata.obsm)}, or use 'X'."
            )
        values, label = adata.obsm[use_rep], f"obsm[{use_rep!r}] of `{name}`"
    values = dense(values, label)
    _check_cells(values, adata.obs_names, label)
    if not adata.obs_names.is_unique:
        warn_user(
            f"obs names of `{name}` are not unique: call `.obs_names_make_unique()` before looking "
            "cells up by name."
        )
    return values


def layer_names(adata: AnnData) -> list[str]:
    """Return the names of the layers; anndata 0.13 lists X among them, as None."""
    return [name for name in adata.layers if name is not None]


def matrix(
    adata: AnnData, layer: str | None = None, *, name: str = "adata"
) -> np.ndarray | sparse.csr_matrix:
    """Read `X` or a layer into memory as floating point numbers, dense or CSR."""
    values = stored_matrix(adata, layer, name=name)
    return numbers(values, f"{layer_label(layer)} of `{name}`")


def stored_matrix(adata: AnnData, layer: str | None = None, *, name: str = "adata"):
    """Return `X` or a layer as it is stored, in memory or not."""
    if layer not in (None, "X") and layer not in adata.layers:
        raise KeyError(
            f"`layer={layer!r}` is not in layers of `{name}`; found {layer_names(adata)}."
        )
    values = adata.X if layer in (None, "X") else adata.layers[layer]
    if values is None:
        raise ValueError(
            f"`{name}` has no X: name a `layer`, of {layer_names(adata)}, or a key of obsm."
        )
    return values


def matrix_blocks(
    adata: AnnData, layer: str | None = None, *, name: str = "adata"
) -> Iterator[tuple[slice, np.ndarray | sparse.csr_matrix]]:
    """Read `X` or a layer a block of rows at a time, all of them where it is in memory."""
    values = stored_matrix(adata, layer, name=name)
    for rows in row_blocks(values, adata.n_vars):
        yield rows, numbers(values if in_memory(values) else values[rows], layer_label(layer))


def numbers(values, label: str) -> np.ndarray | sparse.csr_matrix:
    """Return a matrix in memory as floating point numbers, dense or CSR."""
    values = loaded(values)
    if not sparse.issparse(values):
        return dense(values, label)
    precision = _precision(values, label)
    values = sparse.csr_matrix(values)
    if not values.has_canonical_format:  # entries stored twice would be transformed one by one
        values = values.copy()
        values.sum_duplicates()
    return values.astype(precision, copy=False)


def dense(values, label: str) -> np.ndarray:
    """Return numbers as one dense, C-contiguous array of single or double precision."""
    values = loaded(values)
    if isinstance(values, pd.DataFrame):
        kinds = [getattr(kind, "numpy_dtype", kind) for kind in values.dtypes]  # of nullable ones
        kinds = [getattr(kind, "subtype", kind) for kind in kinds]  # of sparse ones
        numbers = all(isinstance(kind, np.dtype) and kind.kind in "biuf" for kind in kinds)
        kind = np.result_type(np.float32, *kinds) if numbers else object
        values = values.to_numpy(kind, na_value=np.nan)
    elif sparse.issparse(values):
        if values.shape[0] * values.shape[1] > MAX_DENSE:
            raise ValueError(
                f"{label} is sparse, {values.shape[0]} x {values.shape[1]}: more than "
                f"{MAX_DENSE:.0e} values to make dense; use `sg.tl.embed(...)`."
            )
        values = values.toarray()
    elif isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "biuf":
        values = values.astype(float).filled(np.nan)
    values = as_array(values, label)
    # torch refuses negative strides and foreign byte orders, and warns of read-only memory
    return np.require(values, _precision(values, label), ["C", "A", "W", "E"])


def check_column(adata: AnnData, key: str, argument: str, name: str = "") -> None:
    """Raise a KeyError that lists the columns of obs, unless `key` is one of them."""
    if not isinstance(key, Hashable) or key not in adata.obs:
        where = f" of `{name}`" if name else ""
        raise KeyError(f"`{argument}={key!r}` is not in obs{where}; found {list(adata.obs)}.")


def check_unique(adata: AnnData, axis: str, name: str = "adata") -> None:
    """Raise a ValueError unless the names of cells (axis "obs") or features ("var") are unique."""
    if not getattr(adata, f"{axis}_names").is_unique:
        raise ValueError(
            f"{axis} names of `{name}` are not unique: call `{name}.{axis}_names_make_unique()`."
        )


def check_anndata(adata: AnnData, name: str = "adata") -> None:
    """Raise a TypeError that says what to pass, unless `adata` is an AnnData not read lazily."""
    check_type(name, adata, AnnData)
    if not isinstance(adata.obs, pd.DataFrame):
        raise TypeError(
            f"`{name}` was read lazily, which `embed`, `project`, `predict` and `simulate` alone "
            f"can take: pass `{name}.to_memory()`."
        )


def check_writable(adata: AnnData, copy: bool = False, name: str = "adata") -> None:  # noqa: FBT001, FBT002
    """Refuse a view of a backed file, and warn that results of a backed file stay in memory."""
    check_anndata(adata, name)
    if copy or not adata.isbacked:
        return
    if adata.is_view:
        raise ValueError(
            f"`{name}` is a view of a backed file and cannot be written to: "
            f"pass `{name}.to_memory()`."
        )
    warn_user(
        f"`{name}` is backed by {adata.filename.name!r}: results are kept in memory and are not "
        f"written to that file. Save them with `{name}.to_memory().write_h5ad(...)` under another "
        f"name, or with `{name}.write()` into the file."
    )


def copy_of(adata: AnnData) -> AnnData:
    """Copy cells; those of a backed file into memory."""
    return adata.to_memory(copy=True) if adata.isbacked else adata.copy()


def unit_of(adata: AnnData, layer: str | None = None) -> str:
    """Name the values of X or of a layer in words that stand on an axis."""
    named = layer not in (None, "X")
    if not named and "log1p" in adata.uns:
        return "log-normalised expression"
    values = adata.layers[layer] if named else adata.X
    some = loaded(values[: min(100, adata.n_obs)])
    some = np.asarray(some.data if sparse.issparse(some) else some)
    if some.size and some.min() >= 0 and not (some % 1).any():
        return "counts"
    return f"value in {layer_label(layer)}"


def layer_label(layer: str | None) -> str:
    """Name `X` or a layer as users write it."""
    return "X" if layer in (None, "X") else f"layers[{layer!r}]"


def usual_rep(adata: AnnData, name: str, argument: str) -> str:
    """Return the first of the usual representations that is there, or raise a KeyError."""
    found = [key for key in USUAL_REPS if key in adata.obsm]
    if not found:
        raise KeyError(
            f"`{name}` has none of {list(USUAL_REPS)} in obsm; found {list(adata.obsm)}. "
            f"Make one with `sg.tl.embed({name})` or name one with `{argument}`."
        )
    return found[0]


def named_rep(adata: AnnData, use_rep: str | None, layer: str | None, name: str = "adata") -> str:
    """Return the representation that :func:`representation` reads, by name; "X" for a layer."""
    return "X" if layer is not None else use_rep or usual_rep(adata, name, "use_rep")


def _precision(values, label: str) -> type:
    """Single precision for what it holds exactly, else double; raise for what are no numbers."""
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise ValueError(
            f"{label} must be numbers, cells x features; found {values.dtype} of shape "
            f"{values.shape}."
        )
    single = np.promote_types(values.dtype, np.float32) == np.float32
    return np.float32 if single else np.float64


def _check_cells(values: np.ndarray, names: pd.Index, label: str) -> None:
    """Raise for too few cells, values that are not finite and columns that are all constant."""
    if values.shape[0] < 2 or values.shape[1] == 0:
        raise ValueError(
            f"{label} has shape {values.shape}: at least 2 cells and 1 feature are needed."
        )
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        shown = ", ".join(map(str, names[bad[:3]])) + (", ..." if len(bad) > 3 else "")
        raise ValueError(
            f"{label} has NaN or infinite values in {len(bad)} of {len(values)} cells ({shown}): "
            "drop or impute them."
        )
    constant = np.ptp(values, axis=0) == 0
    if constant.all():
        raise ValueError(
            f"{label} is the same in all {len(values)} cells: cells cannot be matched."
        )
    if constant.any():
        # a log line, not a warning: such columns change no distance
        share = f"{constant.sum()} of {len(constant)}"
        logger.warning(f"{label} has {share} columns that are the same in all cells.")
