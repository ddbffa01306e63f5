"""What is embedded: values of chosen features, and the two transforms of counts."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scgenot._check import as_array
from scgenot.cells.read import check_unique, layer_label, matrix_blocks

TF_SCALE = 1e4  # Signac's scale factor

Values = np.ndarray | sparse.csr_matrix

# how far the same coordinates may be apart, in units of their size
TOLERANCE = 1e-3

# logarithms of normalised counts do not reach this
MAX_LOGARITHM = 30


def read_features(adata: AnnData, layer: str | None, columns: np.ndarray | slice) -> Values:
    """Read some columns of `X` or a layer as finite numbers, dense or CSR; always a copy."""
    blocks = list(feature_blocks(adata, layer, columns))
    if len(blocks) == 1:
        return blocks[0]
    return sparse.vstack(blocks, "csr") if sparse.issparse(blocks[0]) else np.concatenate(blocks)


def feature_blocks(
    adata: AnnData, layer: str | None, columns: np.ndarray | slice
) -> Iterator[Values]:
    """Read some columns a block of cells at a time, all cells where they are in memory."""
    for _, block in matrix_blocks(adata, layer):
        values = block[:, columns]
        values = values.astype(values.dtype)
        finite = np.isfinite(entries(values))
        if not finite.all():
            raise ValueError(
                f"{layer_label(layer)} of `adata` has {(~finite).sum()} NaN or infinite values: "
                "drop or impute them."
            )
        yield values


@dataclass
class Summary:
    """What kind of values features have, gathered block by block."""

    n: int = 0
    total: np.ndarray | float = 0.0
    smallest: float = np.inf
    largest: float = -np.inf
    whole: bool = True

    def add(self, values: Values) -> None:
        """Take in some cells."""
        self.n += values.shape[0]
        self.total = self.total + np.asarray(values.sum(axis=0, dtype=float)).ravel()
        self.smallest = min(self.smallest, float(values.min()))
        self.largest = max(self.largest, float(values.max()))
        self.whole = self.whole and are_whole(values)

    @property
    def mean(self) -> np.ndarray:
        """Mean of each feature."""
        return self.total / self.n


def features_used(adata: AnnData, mask_var: str | np.ndarray | None) -> np.ndarray:
    """Return the positions of the features to embed."""
    absent = isinstance(mask_var, str) and mask_var not in adata.var
    if mask_var is None or (absent and mask_var == "highly_variable"):
        return np.arange(adata.n_vars)
    if absent:
        raise KeyError(
            f"`mask_var={mask_var!r}` is not in var of `adata`; found {list(adata.var)}."
        )
    mask = as_array(adata.var[mask_var] if isinstance(mask_var, str) else mask_var, "mask_var")
    if mask.dtype == object and mask.ndim == 1:  # a nullable column; missing values keep it so
        mask = pd.Series(mask).infer_objects().to_numpy()
    if mask.dtype != bool or mask.shape != (adata.n_vars,) or not mask.any():
        raise ValueError(
            f"`mask_var` must be boolean, of length {adata.n_vars}, without missing values and "
            f"true somewhere; found {mask.dtype} of shape {mask.shape}."
        )
    return np.flatnonzero(mask)


def columns_of(adata: AnnData, features: Sequence[str], of: str) -> np.ndarray:
    """Return the positions in `adata` of the features of an embedding or a fit, by name."""
    check_unique(adata, "var")
    columns = adata.var_names.get_indexer(features)
    if (missing := np.asarray(features)[columns < 0]).size:
        raise ValueError(
            f"`adata` lacks {len(missing)} of {len(features)} features of {of}: {some(missing)}."
        )
    return columns


def positions(names: pd.Index, features: Sequence[str] | None, of: str) -> np.ndarray:
    """Return the positions of chosen features, all for None; raise for others and for text."""
    if features is None:
        return np.arange(len(names))
    if isinstance(features, str) or not isinstance(features, Collection):
        raise TypeError(
            f"`features={features!r}` must be a list of features, such as [{features!r}]."
        )
    if len(features) == 0:
        raise ValueError("`features` is empty: name one or more, or None for all.")
    if unknown := [feature for feature in features if feature not in names]:
        raise KeyError(f"`features` {some(unknown)} are not in the {len(names)} {of}.")
    return names.get_indexer(features)


def some(names: Sequence[str]) -> str:
    """List the first names."""
    return ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")


def entries(values: Values) -> np.ndarray:
    """Return the values that are stored: all but the zeros of a sparse matrix."""
    return values.data if sparse.issparse(values) else values


def are_whole(values: Values) -> bool:
    """Whether all values are whole numbers, as counts are."""
    return not (entries(values) % 1).any()


def check_counts(values: Values, method: str, label: str) -> None:
    """Raise when there are negative values, which neither TF-IDF nor CLR can take."""
    if values.min() < 0:
        raise ValueError(
            f"`method={method!r}` needs counts; {label} has negative values: name the counts with "
            "`layer`."
        )


def check_prepared(values: Summary, label: str, *, whole: bool, largest: float) -> None:
    """Raise for counts, or values without a logarithm, where those embedded are known not to be."""
    if values.whole and not whole:
        raise ValueError(
            f"{label} holds whole numbers, such as raw counts, but the embedded values are not "
            "whole: preprocess both in the same way, with `sc.pp.normalize_total` and "
            "`sc.pp.log1p` if those were."
        )
    if values.largest > MAX_LOGARITHM >= largest:
        raise ValueError(
            f"{label} goes up to {values.largest:.0f}, no logarithm of counts, but the embedded "
            f"values go up to {largest:.1f}: run `sc.pp.log1p` if those were."
        )


def depth(counts: Values, label: str) -> np.ndarray:
    """Total counts of each cell, shape `(n, 1)`; raises when a cell has none."""
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).reshape(-1, 1)
    if (empty := int((total == 0).sum())) > 0:
        raise ValueError(
            f"{label} has {empty} cells without counts in the features used: "
            "filter those cells out."
        )
    return total


def inverse_frequency(counts: Values) -> np.ndarray:
    """IDF of each feature, cells / total counts, shape `(g,)`; 0 for a feature never seen."""
    total = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()
    return np.divide(counts.shape[0], total, out=np.zeros_like(total), where=total > 0)


def tfidf(counts: Values, idf: np.ndarray, label: str) -> Values:
    """Signac's TF-IDF (`RunTFIDF`, method 1), `log(1 + 1e4 * counts / depth * idf)`."""
    tf = sparse.csr_matrix(counts).multiply(1 / depth(counts, label)).multiply(idf * TF_SCALE)
    logged = tf.tocsr().log1p().astype(counts.dtype)
    return logged if sparse.issparse(counts) else logged.toarray()


def clr(counts: Values) -> np.ndarray:
    """Centred log ratio of each cell, `log(1 + x)` less its mean over features; dense."""
    logged = np.log1p(counts.toarray() if sparse.issparse(counts) else counts)
    return logged - logged.mean(axis=1, keepdims=True)


def transformed(values: Values, method: str, idf: np.ndarray | None, label: str) -> Values:
    """Transform values as the linear part of a method takes them."""
    if method == "lsi":
        return tfidf(values, idf, label)
    return clr(values) if method == "clr" else values


def unit_rows(cells: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; a row of zeros stays."""
    length = np.linalg.norm(cells, axis=1, keepdims=True)
    return cells / np.where(length == 0, 1, length)


def fingerprints(cells: np.ndarray) -> np.ndarray:
    """Return one number for each cell's coordinates in single precision, shape `(n,)`."""
    rows = np.ascontiguousarray(cells, dtype=np.float32)
    digests = b"".join(blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, dtype=np.uint64).copy()


def alike(found: np.ndarray, expected: np.ndarray) -> bool:
    """Say whether two arrays are the same up to rounding."""
    if found.shape != expected.shape:
        return False
    size = np.sqrt(np.mean(np.square(expected, dtype=float)))
    return np.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * size)
