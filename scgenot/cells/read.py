"""Cells out of AnnData: a checked matrix of numbers, whatever it was stored as."""

import logging
import warnings
from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scgenot.cells.keys import USUAL_REPS

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
    """Read the representation that cells are compared and generated in."""
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
                f"`{argument}={use_rep!r}` is not in obsm of `{name}`; found {list(adata.obsm)}, or use 'X'."
            )
        values, label = adata.obsm[use_rep], f"obsm[{use_rep!r}] of `{name}`"
    values = _floats(values, label)
    _check_cells(values, adata.obs_names, label)
    if not adata.obs_names.is_unique:
        warnings.warn(
            f"obs names of `{name}` are not unique: call `.obs_names_make_unique()` before looking cells up by name.",
            stacklevel=2,
        )
    return values


def matrix(
    adata: AnnData, layer: str | None = None, *, name: str = "adata"
) -> np.ndarray | sparse.csr_matrix:
    """Read `X` or a layer into memory, sparse as CSR, of a backed file too."""
    if layer not in (None, "X") and layer not in adata.layers:
        raise KeyError(
            f"`layer={layer!r}` is not in layers of `{name}`; found {list(adata.layers)}."
        )
    values = adata.X if layer in (None, "X") else adata.layers[layer]
    if values is None:
        raise ValueError(
            f"`{name}` has no X: name a `layer`, of {list(adata.layers)}, or a key of obsm."
        )
    if hasattr(values, "to_memory"):  # sparse matrix of a backed file
        values = values.to_memory()
    return values.tocsr() if sparse.issparse(values) else np.asarray(values)


def check_column(adata: AnnData, key: str, argument: str, name: str = "") -> None:
    """Raise a KeyError that lists the columns of obs, unless `key` is one of them."""
    if not isinstance(key, Hashable) or key not in adata.obs:
        where = f" of `{name}`" if name else ""
        raise KeyError(f"`{argument}={key!r}` is not in obs{where}; found {list(adata.obs)}.")


def check_anndata(adata: AnnData, name: str = "adata") -> None:
    """Raise a TypeError that says what to pass, unless `adata` is an AnnData."""
    if isinstance(adata, AnnData):
        return
    # MuData, without importing mudata; the `mod` of a DataFrame is a method
    if isinstance(getattr(adata, "mod", None), Mapping):
        modalities = list(adata.mod)
        raise TypeError(
            f"`{name}` is a {type(adata).__name__} with the modalities {modalities}: pass one of them, "
            f"such as `{name}[{(modalities or ['rna'])[0]!r}]`."
        )
    raise TypeError(f"`{name}` must be an AnnData; found {type(adata).__name__}.")


def layer_label(layer: str | None) -> str:
    """Name `X` or a layer as users write it."""
    return "X" if layer in (None, "X") else f"layers[{layer!r}]"


def usual_rep(adata: AnnData, name: str, argument: str) -> str:
    """Return the first of the usual representations that is there, or raise a KeyError that says what to run."""
    found = [key for key in USUAL_REPS if key in adata.obsm]
    if not found:
        raise KeyError(
            f"`{name}` has none of {list(USUAL_REPS)} in obsm; found {list(adata.obsm)}. "
            f"Make one with `sg.tl.embed({name})` or name one with `{argument}`."
        )
    return found[0]


def named_rep(adata: AnnData, use_rep: str | None, layer: str | None) -> str:
    """Return the representation that :func:`representation` reads, by name; "X" for a layer."""
    return "X" if layer is not None else use_rep or usual_rep(adata, "adata", "use_rep")


def _floats(values, label: str) -> np.ndarray:
    """A dense floating point matrix of at least two cells."""
    if isinstance(values, pd.DataFrame):
        values = values.to_numpy()
    if sparse.issparse(values):
        if values.shape[0] * values.shape[1] > MAX_DENSE:
            size = f"{values.shape[0]} x {values.shape[1]}"
            raise ValueError(
                f"{label} is sparse, {size}: more than {MAX_DENSE:.0e} values to make dense; use `sg.tl.embed(...)`."
            )
        values = values.toarray()
    values = np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise ValueError(
            f"{label} must be numbers, cells x features; found {values.dtype} of shape {values.shape}."
        )
    if values.shape[0] < 2 or values.shape[1] == 0:
        raise ValueError(
            f"{label} has shape {values.shape}: at least 2 cells and 1 feature are needed."
        )
    return values.astype(np.promote_types(values.dtype, np.float32), copy=False)


def _check_cells(values: np.ndarray, names: pd.Index, label: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        shown = ", ".join(map(str, names[bad[:3]])) + (", ..." if len(bad) > 3 else "")
        raise ValueError(
            f"{label} has NaN or infinite values in {len(bad)} of {len(values)} cells ({shown}): drop or impute them."
        )
    constant = np.ptp(values, axis=0) == 0
    if constant.all():
        raise ValueError(
            f"{label} is the same in all {len(values)} cells: there is nothing to match."
        )
    if constant.any():
        # a log line, not a warning: such columns change no distance
        logger.warning(
            "%s has %d of %d columns that are the same in all cells.",
            label,
            constant.sum(),
            len(constant),
        )
