"""Linear parts of the embeddings: coordinates, arrays to project and decode with, and a report."""

import logging

import numpy as np
from anndata import AnnData
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis

from scgenot._check import check_count
from scgenot._warn import warn_user
from scgenot.cells.embedding.adjust import adjusted_scores, enough_components
from scgenot.cells.embedding.features import (
    MAX_LOGARITHM,
    Summary,
    Values,
    clr,
    depth,
    inverse_frequency,
    tfidf,
)
from scgenot.cells.embedding.topics import fit_topics
from scgenot.cells.read import check_anndata, check_unique

logger = logging.getLogger("scgenot")

METHODS = ("pca", "lsi", "topics", "clr")
DEFAULT_COMPONENTS = 30
# absolute; LSI components that follow log depth more closely are dropped
MAX_DEPTH_CORRELATION = 0.8

Fit = tuple[np.ndarray, dict, dict]  # coordinates, embedding, further entries of uns


def check_options(adata: AnnData, method: str, key: str | None, *, scale: bool) -> None:
    """Refuse options and cells that cannot be embedded."""
    check_anndata(adata)
    if method not in METHODS:
        raise ValueError(f"`method={method!r}` must be 'pca', 'lsi', 'topics' or 'clr'.")
    if scale and method in ("lsi", "topics"):
        raise ValueError(
            f"`scale=True` is not for `method={method!r}`, which weighs the features itself."
        )
    if key is not None and (not isinstance(key, str) or "/" in key):
        raise ValueError(
            f"`key_added={key!r}` must be text without '/': AnnData files cannot hold another key."
        )
    if adata.n_obs < 2:
        raise ValueError(f"`adata` has {adata.n_obs} cell(s): an embedding needs at least 2.")
    check_unique(adata, "var")


def fit_components(
    values: Values,
    method: str,
    n_components: int | None,
    seed: int,
    label: str,
    *,
    scale: bool,
    adjust: bool,
) -> Fit:
    """Fit the embedding of a method."""
    if method == "topics":
        k = count_components(n_components, min(values.shape))
        return fit_topics(values, k, seed, label)
    if method == "lsi":
        return fit_lsi(values, n_components, seed, label, adjust=adjust)
    fit = fit_pca if method == "pca" else fit_clr
    return fit(values, n_components, seed, label, scale=scale, adjust=adjust)


def count_components(n_components: int | None, most: int) -> int:
    """Number of components, or an error that says how many there can be."""
    if n_components is None and most >= 1:
        return min(DEFAULT_COMPONENTS, most)
    if n_components is not None:
        check_count("n_components", n_components, 1)
    if n_components is None or n_components > most:
        raise ValueError(
            f"`n_components={n_components}` must be between 1 and {most} for this many cells and "
            "features."
        )
    return n_components


def fit_pca(
    values: Values, n_components: int | None, seed: int, label: str, *, scale: bool, adjust: bool
) -> Fit:
    """Principal components; warns of what does not look like logarithms."""
    seen = Summary()
    seen.add(values)
    warn_of_counts(seen, label)
    k = count_components(n_components, min(values.shape[0] - 1, values.shape[1]))
    return _principal_components(values, k, seed, label, scale=scale, adjust=adjust)


def warn_of_counts(seen: Summary, label: str) -> None:
    """Warn of values that do not look like logarithms."""
    # logarithms of counts are not whole numbers, few exceed 10 and none 30
    if seen.smallest >= 0 and seen.largest > 10 and (seen.largest > MAX_LOGARITHM or seen.whole):
        odd = f"values without a logarithm, up to {seen.largest:.0f}"
        warn_user(
            f"{label} looks like {'raw counts' if seen.whole else odd}: run "
            "`sc.pp.normalize_total` and `sc.pp.log1p` before `method='pca'`."
        )


def check_varies(constant: np.ndarray, label: str, n: int) -> None:
    """Raise where all features are constant."""
    if constant.all():
        raise ValueError(f"{label} is the same in all {n} cells: there is nothing to embed.")


def _principal_components(
    values: Values, k: int, seed: int, label: str, *, scale: bool, adjust: bool
) -> Fit:
    """Principal components of (scaled) values."""
    offset = np.asarray(values.mean(axis=0)).ravel()
    constant = are_constant(values)
    check_varies(constant, label, values.shape[0])
    scaling = {}
    if scale:
        scaling["scale"] = spread(values)
        # centring is left to the components: sparse stays sparse
        if sparse.issparse(values):
            values = values.multiply(1 / scaling["scale"]).tocsr()
        else:
            values = values / scaling["scale"]
    computed = enough_components(k, min(values.shape[0] - 1, values.shape[1])) if adjust else k
    scores, components, ratio, variance = scanpy_components(values, computed, seed)
    if scale:
        components[:, constant] = 0  # where iterative solvers may leave rounding
    report = {"variance": variance[:k], "variance_ratio": ratio[:k]}
    if adjust:
        center = offset / scaling["scale"] if scale else offset
        raw, loadings = scores[:, :k], components.T
        scores = adjusted_scores(scores, k, values, loadings, offset=center, seed=seed)[:, :k]
        report["shrinkage"] = shrinkage(scores, raw)
    embedding = {"loadings": components[:k].T, "offset": offset.astype(values.dtype), **scaling}
    return scores, embedding, report


def scanpy_components(values: Values, n: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return scores, components, shares of variance and variances, by Scanpy."""
    import scanpy as sc

    solver = "arpack"
    if n == min(values.shape):  # all components: beyond the iterative solver
        values, solver = values.toarray() if sparse.issparse(values) else values, "full"
    options = {"n_comps": n, "svd_solver": solver, "random_state": seed, "dtype": values.dtype}
    return sc.pp.pca(values, return_info=True, **options)


def shrinkage(adjusted: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Standard deviation of adjusted scores in units of that without; 1 where there is none."""
    before = scores.std(axis=0, dtype=float)
    varies = before > 0
    return np.divide(adjusted.std(axis=0, dtype=float), before, np.ones(len(before)), where=varies)


def fit_lsi(
    counts: Values, n_components: int | None, seed: int, label: str, *, adjust: bool
) -> Fit:
    """Components of TF-IDF that do not follow depth."""
    idf = inverse_frequency(counts)
    values = tfidf(counts, idf, label)
    most = min(values.shape) - 1
    k = count_components(n_components, most)
    computed = enough_components(k, most) if adjust else k
    svd = TruncatedSVD(computed, algorithm="arpack", random_state=seed).fit(values)
    components = svd.components_.T
    scores, loadings = values @ components, components[:, :k]
    coordinates = raw = scores[:, :k]
    if adjust:
        coordinates = adjusted_scores(scores, k, values, components, offset=None, seed=seed)[:, :k]

    log_depth = np.log(depth(counts, label)[:, 0])
    spreads = log_depth.std() * coordinates.std(axis=0)
    centered = coordinates - coordinates.mean(axis=0)
    covariance = (log_depth - log_depth.mean()) @ centered / len(log_depth)
    correlation = np.divide(covariance, spreads, out=np.zeros(k), where=spreads > 0)
    dropped = np.abs(correlation) > MAX_DEPTH_CORRELATION
    if dropped.all():
        raise ValueError(
            f"all {k} LSI components are correlated with sequencing depth: increase `n_components`."
        )
    shown = [f"{i + 1} ({correlation[i]:+.2f})" for i in np.flatnonzero(dropped)]
    found = ", ".join(shown) or "none"
    logger.info(f"LSI components dropped for their correlation with log depth: {found}")
    # decoding puts the dropped components back at their mean: cells of average depth
    offset = coordinates[:, dropped].mean(axis=0) @ loadings[:, dropped].T
    embedding = {"loadings": loadings[:, ~dropped], "offset": offset, "idf": idf}
    report = {"depth_correlation": correlation, "dropped": np.flatnonzero(dropped)}
    if adjust:
        report["shrinkage"] = shrinkage(coordinates, raw)[~dropped]
    return coordinates[:, ~dropped], embedding, report


def fit_clr(
    counts: Values, n_components: int | None, seed: int, label: str, *, scale: bool, adjust: bool
) -> Fit:
    """Centred log ratios, all columns of them or their principal components."""
    values = clr(counts)
    if n_components is None or n_components == values.shape[1]:
        if not scale:
            return values, {"offset": np.zeros(values.shape[1], dtype=values.dtype)}, {}
        offset = values.mean(axis=0, dtype=np.float64).astype(values.dtype)
        scaling = spread(values)
        return (values - offset) / scaling, {"offset": offset, "scale": scaling}, {}
    # rows sum to 0: one dimension fewer than columns
    k = count_components(n_components, min(len(values) - 1, values.shape[1] - 1))
    return _principal_components(values, k, seed, label, scale=scale, adjust=adjust)


def spread(values: Values) -> np.ndarray:
    """Standard deviation of each column; 1 where it does not vary, so that it can be divided by."""
    if sparse.issparse(values):
        variance = mean_variance_axis(values, axis=0)[1]
    else:
        variance = values.var(axis=0, dtype=np.float64)
    deviation = np.sqrt(variance * values.shape[0] / (values.shape[0] - 1))
    return np.where(are_constant(values), 1, deviation).astype(values.dtype)


def are_constant(values: Values) -> np.ndarray:
    """Whether each column is the same in all cells, shape `(g,)`."""
    if sparse.issparse(values):
        return np.equal(*min_max_axis(values, axis=0))
    return values.min(0) == values.max(0)
