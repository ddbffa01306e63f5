"""What is embedded: values of chosen features, and the two transforms of counts."""

import numpy as np
from anndata import AnnData
from scipy import sparse

from scgenot.cells.read import layer_label, matrix

TF_SCALE = 1e4  # Signac's scale factor

Values = np.ndarray | sparse.csr_matrix

# logarithms of normalised counts do not reach this
MAX_LOGARITHM = 30


def read_features(
    adata: AnnData, layer: str | None, columns: np.ndarray | slice, name: str = "adata"
) -> Values:
    """Read some columns of `X` or a layer as finite floating point numbers, dense or CSR, or raise."""
    values, label = matrix(adata, layer, name=name), f"{layer_label(layer)} of `{name}`"
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{label} must be numbers; found {values.dtype}.")
    values = values[:, columns].astype(np.promote_types(values.dtype, np.float32))
    finite = np.isfinite(values.data if sparse.issparse(values) else values)
    if not finite.all():
        raise ValueError(
            f"{label} has {(~finite).sum()} NaN or infinite values: drop or impute them."
        )
    return values


def are_whole(values: Values) -> bool:
    """Whether all values are whole numbers, as counts are."""
    stored = values.data if sparse.issparse(values) else values
    return not (stored % 1).any()


def check_counts(values: Values, method: str, label: str) -> None:
    """Raise when there are negative values, which neither TF-IDF nor CLR can take."""
    if values.min() < 0:
        raise ValueError(
            f"`method={method!r}` needs counts; {label} has negative values: name the counts with `layer`."
        )


def depth(counts: Values, label: str) -> np.ndarray:
    """Total counts of each cell, shape `(n, 1)`; raises when a cell has none."""
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).reshape(-1, 1)
    if (empty := int((total == 0).sum())) > 0:
        raise ValueError(
            f"{label} has {empty} cells without counts in the features used: filter those cells out."
        )
    return total


def inverse_frequency(counts: Values) -> np.ndarray:
    """IDF of each feature, cells / total counts, shape `(g,)`; 0 for a feature that was never seen."""
    total = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()
    return np.divide(counts.shape[0], total, out=np.zeros_like(total), where=total > 0)


def tfidf(counts: Values, idf: np.ndarray, label: str) -> Values:
    """Signac's TF-IDF (`RunTFIDF`, method 1): `log(1 + 1e4 * counts / depth * idf)`; sparse stays sparse."""
    tf = (
        sparse.csr_matrix(counts)
        .multiply(1 / depth(counts, label))
        .multiply(idf * TF_SCALE)
        .tocsr()
    )
    logged = tf.log1p().astype(counts.dtype)
    return logged if sparse.issparse(counts) else logged.toarray()


def clr(counts: Values) -> np.ndarray:
    """Centred log ratio of each cell with a pseudo-count of 1: `log(1 + x)` less its mean over features; dense."""
    logged = np.log1p(counts.toarray() if sparse.issparse(counts) else counts)
    return logged - logged.mean(axis=1, keepdims=True)
