"""Principal components of cells that are not in memory, from sums over blocks of cells.

The mean and the scatter of features follow from `sum x` and `sum x x'`, which one pass adds up
exactly, in double precision; a second pass gives the scores. What adjusted scores need of the
components that are not computed follows from the scatter too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from anndata import AnnData
from scipy import linalg, sparse

from scgenot.cells.embedding.adjust import (
    adjusted_by,
    enough_components,
    level_of_image,
    probes_beyond,
    squared_norms,
)
from scgenot.cells.embedding.components import (
    check_varies,
    count_components,
    fit_components,
    shrinkage,
    warn_of_counts,
)
from scgenot.cells.embedding.features import (
    Summary,
    Values,
    check_counts,
    feature_blocks,
    read_features,
)
from scgenot.cells.lazy import MAX_AT_ONCE, in_memory
from scgenot.cells.read import layer_label, stored_matrix

MOST_FEATURES = 2**14  # whose scatter, 2 GB, is held

Fitted = tuple[np.ndarray, dict, dict, Summary]  # coordinates, embedding, report, kind of values


def fit_features(
    adata: AnnData,
    method: str,
    layer: str | None,
    used: np.ndarray,
    *,
    n_components: int | None,
    seed: int,
    scale: bool,
    adjust: bool,
) -> Fitted:
    """Fit the embedding of a method to some features, which are read block by block if need be."""
    stored, label, seen = stored_matrix(adata, layer), f"{layer_label(layer)} of `adata`", Summary()
    many = adata.n_obs * len(used) > MAX_AT_ONCE and len(used) <= MOST_FEATURES
    if method == "pca" and many and not in_memory(stored):
        return fit_pca_of_blocks(
            lambda: feature_blocks(adata, layer, used),
            n_components,
            label,
            seed=seed,
            scale=scale,
            adjust=adjust,
        )
    values = read_features(adata, layer, used)
    seen.add(values)
    if method != "pca":
        check_counts(values, method, label)
    return *fit_components(
        values, method, n_components, seed, label, scale=scale, adjust=adjust
    ), seen


@dataclass
class Scatter(Summary):
    """Sums of the values of features and of their products."""

    products: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    def add(self, values: Values) -> None:
        """Take in some cells."""
        super().add(values)
        if not self.products.size:
            g = values.shape[1]
            self.products = np.zeros((g, g), order="F")
        block = values.toarray() if sparse.issparse(values) else values
        block = np.asfortranarray(block.T, dtype=float)  # one triangle is added to in place
        self.products = linalg.blas.dsyrk(1.0, block, beta=1.0, c=self.products, overwrite_c=True)

    def about_mean(self) -> np.ndarray:
        """Sums of products of values less their means, shape `(g, g)`."""
        upper = np.triu(self.products)
        return upper + np.triu(upper, 1).T - self.n * np.outer(self.mean, self.mean)


def fit_pca_of_blocks(
    blocks: Callable[[], Iterator[Values]],
    n_components: int | None,
    label: str,
    *,
    seed: int,
    scale: bool,
    adjust: bool,
) -> Fitted:
    """Principal components of cells that `blocks` gives again and again, a part at a time."""
    sums = Scatter()
    for values in blocks():
        sums.add(values)
    warn_of_counts(sums, label)
    scatter, kind = sums.about_mean(), values.dtype
    k = count_components(n_components, min(sums.n - 1, len(scatter)))
    squares = np.diag(scatter).copy()
    # the difference of two large sums: what is left of a constant feature is rounding
    constant = squares <= 1e-12 * sums.n * (np.square(sums.mean) + 1)
    check_varies(constant, label, sums.n)
    divisor = np.ones(len(scatter))
    if scale:
        divisor = np.where(constant, 1, np.sqrt(squares / (sums.n - 1))).astype(kind)
    scatter /= np.outer(divisor, divisor)
    n = enough_components(k, min(sums.n - 1, len(scatter))) if adjust else k
    eigenvalues, components = largest(scatter, n)
    offset, center = sums.mean, sums.mean / divisor
    scores = np.empty((sums.n, n), kind)
    norms, start = np.empty(sums.n), 0
    for values in blocks():
        rows = slice(start, start + values.shape[0])
        scaled = (
            values.multiply(1 / divisor).tocsr() if sparse.issparse(values) else values / divisor
        )
        scores[rows] = scaled @ components - center @ components
        if adjust:
            norms[rows] = squared_norms(scaled, center)
        start = rows.stop
    variance = eigenvalues / (sums.n - 1)
    share = variance / (np.trace(scatter) / (sums.n - 1))
    report = {"variance": variance[:k].astype(kind), "variance_ratio": share[:k].astype(kind)}
    if adjust:
        probes = probes_beyond(components, seed)
        level = level_of_image(probes, scatter @ probes, components)
        adjusted = adjusted_by(scores, k, norms, level, centred=True)[:, :k]
        report["shrinkage"] = shrinkage(adjusted, scores[:, :k])
        scores = adjusted
    arrays = {"loadings": components[:, :k].astype(kind), "offset": offset.astype(kind)}
    arrays |= {"scale": divisor} if scale else {}
    return np.ascontiguousarray(scores), arrays, report, sums


def largest(scatter: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest eigenvalues and their vectors, each with its largest entry positive."""
    g = len(scatter)
    values, vectors = linalg.eigh(scatter, subset_by_index=[g - n, g - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(n)])
    return np.maximum(values, 0), vectors * signs
