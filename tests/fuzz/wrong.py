"""Wrong and unusual values: of arguments, of arrays, and of AnnData."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad
from scipy import sparse


class Something:
    """An object that no argument wants."""

    def __repr__(self):
        return "<something>"


VALUES = {
    "object": Something(),
    "None": None,
    "True": True,
    "NaN": np.nan,
    "NA": pd.NA,
    "inf": np.inf,
    "-inf": -np.inf,
    "negative": -1,
    "zero": 0,
    "fraction": 0.5,
    "count": 2,
    "huge": 10**12,
    "overflow": 10**400,
    "1e300": 1e300,
    "single": np.float32(1),
    "complex": 1j,
    "text": "no such thing",
    "number as text": "1",
    "empty text": "",
    "slash": "a/b",
    "bytes": b"A",
    "list of text": ["no such thing"],
    "list": [1, "a", None],
    "list of NaN": [np.nan],
    "empty list": [],
    "nested": [[1, 2], [3]],
    "unhashable": [{}],
    "tuple": (0.5, 0.5),
    "three": (1, 2, 3),
    "dict": {"a": 1},
    "set": {"A"},
    "empty array": np.array([]),
    "vector": np.arange(3.0),
    "bools": np.array([True, False]),
    "objects": np.array(["a", None], dtype=object),
    "frame": pd.DataFrame({"a": ["x", "y"]}),
    "series": pd.Series([1.0, 2.0]),
    "type": int,
    "function": len,
    "sparse": sparse.csr_matrix(np.eye(3)),
}


def arrays(good: np.ndarray) -> dict[str, object]:
    """Variants of a matrix, cells x features: some are right, others damaged."""
    good = np.asarray(good, dtype=float)
    bad, far = good.copy(), good.copy()
    bad[0, 0], far[0, 0] = np.nan, np.inf
    return {
        "NaN": bad,
        "inf": far,
        "float16": good.astype(np.float16),
        "int": good.astype(int),
        "bool": good > 0,
        "text": good.astype(str),
        "complex": good.astype(complex),
        "object": good.astype(object),
        "fortran": np.asfortranarray(good),
        "reversed": good[::-1, ::-1],
        "strided": np.repeat(good, 2, axis=1)[:, ::2],
        "read-only": np.broadcast_to(good, good.shape),
        "big endian": good.astype(">f8"),
        "masked": np.ma.masked_invalid(good),
        "list": good.tolist(),
        "sparse": sparse.csr_matrix(good),
        "frame": pd.DataFrame(good),
        "one cell": good[:1],
        "no cells": good[:0],
        "no features": good[:, :0],
        "fewer features": good[:, :1],
        "fewer cells": good[:-3],
        "vector": good[0],
        "cube": good[None],
        "constant": np.ones_like(good),
        "1e300": good * 1e300,
        "1e-300": good * 1e-300,
        "1e30": good * 1e30,
    }


def _set(slot: str, name: str, change: Callable) -> Callable[[AnnData], AnnData]:
    """Change one entry of a copy; entries that are lacking stay so."""

    def damaged(adata: AnnData) -> AnnData:
        adata = adata.copy()
        entries = getattr(adata, slot)
        if name in entries:
            entries[name] = change(entries[name])
        return adata

    return damaged


def _drop(slot: str, name: str) -> Callable[[AnnData], AnnData]:
    """Remove one entry of a copy."""

    def damaged(adata: AnnData) -> AnnData:
        adata = adata.copy()
        getattr(adata, slot).pop(name, None)
        return adata

    return damaged


def _doubled(axis: str) -> Callable[[AnnData], AnnData]:
    """Give two cells or features one name."""

    def damaged(adata: AnnData) -> AnnData:
        adata = adata.copy()
        names = list(getattr(adata, f"{axis}_names"))
        setattr(adata, f"{axis}_names", [names[1], *names[1:]])
        return adata

    return damaged


def _column(names: tuple[str, ...], change: Callable[[pd.Series], object]):
    """Change the columns of labels, doses and times of a copy."""

    def damaged(adata: AnnData) -> AnnData:
        adata = adata.copy()
        for name in names:
            if name in adata.obs:
                adata.obs[name] = change(adata.obs[name])
        return adata

    return damaged


def _x(change: Callable) -> Callable[[AnnData], AnnData]:
    """Change X of a copy."""

    def damaged(adata: AnnData) -> AnnData:
        adata = adata.copy()
        adata.X = None if change is None else change(adata.X)
        return adata

    return damaged


def _no_columns(adata: AnnData) -> AnnData:
    """The same cells, of which nothing is said."""
    adata = adata.copy()
    adata.obs = adata.obs[[]]
    return adata


def _backed(adata: AnnData) -> AnnData:
    """The same cells in a file."""
    import tempfile

    path = Path(tempfile.mkdtemp(prefix="scgenot_fuzz_")) / "cells.h5ad"
    adata.write_h5ad(path)
    backed = read_h5ad(path, backed="r")
    path.unlink()  # the open file stays readable
    path.parent.rmdir()
    return backed


def _array(x) -> np.ndarray:
    """A dense X."""
    return x.toarray() if sparse.issparse(x) else np.asarray(x)


def _nan_first(values) -> np.ndarray:
    """One value that is not a number."""
    values = np.array(values, dtype=float)
    values.flat[0] = np.nan
    return values


LABELS, NUMBERS = ("type", "batch", "drug"), ("dose", "day", "rate", "weight")
EMBEDDED = ("X_pca", "X_genot", "X_umap")
ANNDATA = {
    "a view": lambda adata: adata[::-1],
    "half": lambda adata: adata[::2].copy(),
    "one cell": lambda adata: adata[:1].copy(),
    "no cells": lambda adata: adata[:0].copy(),
    "no features": lambda adata: adata[:, :0].copy(),
    "backed": _backed,
    "double cells": _doubled("obs"),
    "double features": _doubled("var"),
    "dense X": _x(_array),
    "CSC X": _x(sparse.csc_matrix),
    "X of NaN": _x(lambda x: _nan_first(_array(x))),
    "int X": _x(lambda x: x.astype(int)),
    "no X": _x(None),
    "no columns": _no_columns,
    "no fit": _drop("uns", "genot"),
    "no embedding": _drop("uns", "pca"),
    "fit of text": _set("uns", "genot", lambda _: "text"),
    "empty fit": _set("uns", "genot", lambda _: {}),
    **{f"no {name}": _drop("obsm", name) for name in EMBEDDED},
    **{
        f"{name} {kind}": _set("obsm", name, change)
        for name in EMBEDDED
        for kind, change in {
            "sparse": sparse.csr_matrix,
            "float16": lambda x: np.asarray(x).astype(np.float16),
            "reversed": lambda x: np.asarray(x)[:, ::-1][:, ::-1],
            "NaN": _nan_first,
            "int": lambda x: np.nan_to_num(x).astype(int),
            "narrow": lambda x: np.asarray(x)[:, :1],
            "text": lambda x: np.asarray(x).astype(str),
            "moved": lambda x: np.asarray(x) + 100,
        }.items()
    },
    "integer labels": _column(LABELS, lambda c: pd.factorize(c)[0]),
    "boolean labels": _column(LABELS, lambda c: pd.factorize(c)[0] > 0),
    "nullable labels": _column(LABELS, lambda c: c.astype(str).astype("string")),
    "unused labels": _column(LABELS, lambda c: c.astype("category").cat.add_categories(["unused"])),
    "NaN labels": _column(LABELS, lambda _: np.nan),
    "missing labels": _column(LABELS, lambda c: c.astype(object).where(np.arange(len(c)) > 3)),
    "one label": _column(LABELS, lambda _: "same"),
    "nullable numbers": _column(NUMBERS, lambda c: c.astype("Float64")),
    "category numbers": _column(NUMBERS, lambda c: c.astype("category")),
    "text numbers": _column(NUMBERS, lambda c: c.astype(str)),
    "NaN numbers": _column(NUMBERS, lambda c: c * np.nan),
    "infinite numbers": _column(NUMBERS, lambda c: c + np.inf),
    "negative numbers": _column(NUMBERS, lambda c: -1 - c.abs()),
    "object numbers": _column(NUMBERS, lambda c: c.astype(object)),
}
