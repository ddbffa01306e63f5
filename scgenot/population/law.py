"""A linear-Gaussian model of vectors given features, for few samples in many dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

PENALTIES = 10.0 ** np.arange(-6, 3)  # of ridge regression
N_FOLDS = 5
MOST_FACTORS = 16
LEAST = 1e-12  # variance
NO_SPREAD = 1e-9


@dataclass(frozen=True)
class GaussianLaw:
    """The distribution `N(intercept + features @ weights, C)`.

    `C = rest^2 I + basis diag(scales^2 - rest^2) basis'`; shapes `(D,)`, `(f, D)`, `(D, k)`,
    `(k,)` and `()`.
    """

    intercept: np.ndarray
    weights: np.ndarray
    basis: np.ndarray
    scales: np.ndarray
    rest: float


def fit_law(
    values: np.ndarray, candidates: Sequence[np.ndarray], groups: np.ndarray, *, seed: int = 0
) -> tuple[GaussianLaw, int]:
    """Fit a linear-Gaussian model by ridge regression and probabilistic PCA.

    Features, penalty and number of factors are chosen by cross-validation.

    Parameters
    ----------
    values
        One row per sample, shape `(n, D)`.
    candidates
        Candidate features of the mean, shapes `(n, f)`; `f` may be 0. The first of equally good
        ones is used.
    groups
        Samples that are left out together when features and penalty are chosen, shape `(n,)`.
    seed
        Seed of the folds for the number of factors.

    Returns
    -------
    The model, and the index of the chosen candidate.
    """
    found = [ridge(values, features, groups) for features in candidates]
    chosen = int(np.argmin([one.error for one in found]))
    best, n = found[chosen], len(values)
    residuals = values - best.intercept - candidates[chosen] @ best.weights
    residuals = residuals * np.sqrt(n / max(n - best.freedom, 1.0))
    basis, variances, rest = factors(residuals, count_factors(residuals, seed))
    law = GaussianLaw(best.intercept, best.weights, basis, np.sqrt(variances), float(np.sqrt(rest)))
    return law, chosen


class Regression(NamedTuple):
    """A linear regression, its degrees of freedom, and its error for left-out groups."""

    intercept: np.ndarray
    weights: np.ndarray
    freedom: float
    error: float


def ridge(values: np.ndarray, features: np.ndarray, groups: np.ndarray) -> Regression:
    """Ridge regression with the penalty that has the smallest error for left-out groups.

    An infinite penalty, which gives the mean alone, is among the candidates.
    """
    center, offset = features.mean(0), values.mean(0)
    u, s, vt = np.linalg.svd(features - center, full_matrices=False)
    known = s > NO_SPREAD * max(s.max(initial=0), 1.0)
    u, s, vt, y = u[:, known], s[known], vt[known], values - offset
    # the penalty is in units of the mean variance of the features
    unit = np.square(s).sum() / max(features.shape[1], 1)
    tried = [np.zeros(len(s))]
    tried += [s**2 / (s**2 + penalty * unit) for penalty in PENALTIES if len(s)]
    rows = members(groups)
    errors = [_left_out(y, u, share, rows) for share in tried]
    best = int(np.argmin(errors))
    weights = vt.T @ ((tried[best] / s)[:, None] * (u.T @ y))
    freedom = 1.0 + float(tried[best].sum())
    return Regression(offset - center @ weights, weights, freedom, errors[best])


def _left_out(y: np.ndarray, u: np.ndarray, share: np.ndarray, groups: list[np.ndarray]) -> float:
    """Squared error of groups in fits without them, from the hat matrix of all samples."""
    n = len(y)
    residuals = y - u @ (share[:, None] * (u.T @ y))
    # a group that decides its own fit has no error without it
    one = 1 + NO_SPREAD
    alone = np.array([rows[0] for rows in groups if len(rows) == 1], dtype=np.intp)
    hat = np.square(u[alone]) @ share + 1 / n
    error = float(np.square(residuals[alone] / (one - hat)[:, None]).sum())
    for rows in groups:
        if len(rows) > 1:
            hat = (u[rows] * share) @ u[rows].T + 1 / n
            left = np.linalg.solve(one * np.eye(len(rows)) - hat, residuals[rows])
            error += float(np.square(left).sum())
    return error


def members(groups: np.ndarray) -> list[np.ndarray]:
    """Positions of the members of each group."""
    codes = np.unique(groups, return_inverse=True)[1]
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])


def factors(residuals: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Probabilistic PCA (Tipping, Bishop 1999): axes, their variances, variance of the rest."""
    n, dim = residuals.shape
    _, s, vt = np.linalg.svd(residuals, full_matrices=False)
    variances = s**2 / n
    rest = max(float(variances[k:].sum()) / max(dim - k, 1), LEAST)
    return vt[:k].T, np.maximum(variances[:k], rest), rest


def count_factors(residuals: np.ndarray, seed: int) -> int:
    """Choose the number of factors by the likelihood of left-out samples."""
    n, dim = residuals.shape
    folds = np.random.default_rng(seed).permutation(n) % min(N_FOLDS, n)
    most = min(MOST_FACTORS, n - int(np.bincount(folds).max()) - 1, dim - 1)
    if n < 4 or most < 1:
        return 0
    scores = sum(_log_likelihoods(residuals, folds == fold, most) for fold in np.unique(folds))
    return int(scores.argmax())


def _log_likelihoods(residuals: np.ndarray, out: np.ndarray, most: int) -> np.ndarray:
    """Log-likelihoods of left-out samples under 0 to `most` factors of the others."""
    kept, left = residuals[~out], residuals[out]
    basis, variances, _ = factors(kept, min(kept.shape))
    total, dim = np.square(kept).sum() / len(kept), residuals.shape[1]
    explained = np.append(0, np.cumsum(variances[:most]))
    rest = np.maximum((total - explained) / (dim - np.arange(most + 1)), LEAST)
    inside = np.square(left @ basis[:, :most])
    outside = np.square(left).sum() - np.append(0, np.cumsum(inside.sum(0)))
    terms = len(left) * np.log(variances[:most]) + (inside / variances[:most]).sum(0)
    terms = np.append(0, np.cumsum(terms))
    return -0.5 * (terms + len(left) * (dim - np.arange(most + 1)) * np.log(rest) + outside / rest)
