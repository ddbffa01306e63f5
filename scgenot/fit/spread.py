"""What the draws of a cell say of it: how far they spread, which way and how far they go."""

import numpy as np


def total_variance(model, draws: np.ndarray) -> float:
    """Variance of all target cells of the fit, added over columns; of the draws where unknown."""
    if not hasattr(model, "units"):
        return float(draws.reshape(-1, draws.shape[2]).var(0).sum()) or 1.0
    return float((model.units.target.std.double() ** 2).sum())


def variances(draws: np.ndarray, *, antithetic: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Variances of draws `(n, k, q)` and of their mean, unbiased and added over columns, `(n,)`.

    The two of an antithetic pair are exchangeable, so that the mean of a pair and half of its
    difference have no covariance, and the latter has mean 0.
    """
    if not antithetic:
        found = draws.var(1, ddof=1).sum(1)
        return found, found / draws.shape[1]
    n_pairs = draws.shape[1] // 2
    first, second = draws[:, :n_pairs], draws[:, -n_pairs:]
    mean, half = (first + second) / 2, (first - second) / 2
    of_mean = mean.var(1, ddof=1).sum(1)
    return of_mean + (half**2).sum(2).mean(1), of_mean / n_pairs


def spread(draws: np.ndarray, total: float, *, antithetic: bool = False) -> np.ndarray:
    """Variance of the draws `(n, k, q)` of each cell over that of all target cells."""
    return variances(draws, antithetic=antithetic)[0] / total


def cosine_variance(displacements: np.ndarray) -> np.ndarray:
    """One less the mean cosine between the displacements of a cell and their mean."""
    mean = displacements.mean(1, keepdims=True)
    lengths = np.linalg.norm(displacements, axis=2) * np.linalg.norm(mean, axis=2)
    along = (displacements * mean).sum(2)
    return 1 - np.divide(along, lengths, out=np.zeros_like(along), where=lengths > 0).mean(1)


def response_size(
    displacements: np.ndarray, total: float, *, antithetic: bool = False
) -> np.ndarray:
    """Length of the mean displacement of each cell, in units of the spread of target cells."""
    noise = variances(displacements, antithetic=antithetic)[1]
    square = (displacements.mean(1) ** 2).sum(1) - noise
    return np.sqrt(np.maximum(square, 0) / total)
