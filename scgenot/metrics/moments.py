"""How well means, variances and changes of single features are predicted."""

import numpy as np

from scgenot._typed import typed
from scgenot.metrics.inputs import Weighted, mean, positive


@typed
def r2_means(
    predicted: np.ndarray,
    true: np.ndarray,
    *,
    predicted_weights: np.ndarray | None = None,
    true_weights: np.ndarray | None = None,
) -> float | np.ndarray:
    r"""Coefficient of determination of the features' means; 1 is best.

    :math:`1 - \sum_k (m_k - \hat m_k)^2 / \sum_k (m_k - \bar m)^2` over features `k`; below 0 it is
    worse than a constant for all features. It is not the squared correlation, which is 1 also with
    a wrong scale. Differences between features are usually larger than the effect of a treatment,
    so that untreated cells have a high score, too: compare with their score.

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    predicted_weights, true_weights
        Weights of the cells as in :func:`energy_distance`.

    Returns
    -------
    A number, at most 1; an array of shape `(b,)` for `b` rows of weights.

    Raises
    ------
    ValueError
        When an array is not finite or has a wrong shape, weights are negative or all zero, or all
        features of `true` have the same mean.

    References
    ----------
    Lotfollahi et al. (2023), *Predicting cellular responses to complex perturbations in
    high-throughput screens*.

    Examples
    --------
    >>> sg.metrics.r2_means(predicted, true)
    """
    sides = Weighted.of({"predicted": predicted, "true": true}, predicted_weights, true_weights)
    return _r2(sides, *sides.means, "mean")


@typed
def r2_variances(
    predicted: np.ndarray,
    true: np.ndarray,
    *,
    predicted_weights: np.ndarray | None = None,
    true_weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """Coefficient of determination of the features' variances; 1 is best.

    As :func:`r2_means`, for the unbiased variance of each feature over cells. Conditional means and
    averaged cells vary less than cells, which lowers this score.

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    predicted_weights, true_weights
        Weights of the cells as in :func:`energy_distance`; the variance is half the mean squared
        difference between different cells.

    Returns
    -------
    A number, at most 1; an array of shape `(b,)` for `b` rows of weights.

    Raises
    ------
    ValueError
        When an array is not finite or has a wrong shape, weights are negative or all zero, or all
        features of `true` have the same variance.

    References
    ----------
    Lotfollahi et al. (2023), *Predicting cellular responses to complex perturbations in
    high-throughput screens*.

    Examples
    --------
    >>> sg.metrics.r2_variances(predicted, true)
    """
    sides = Weighted.of({"predicted": predicted, "true": true}, predicted_weights, true_weights)
    variances = [_variance(*side) for side in zip(sides.cells, sides.weights, strict=True)]
    return _r2(sides, *variances, "variance")


@typed
def squared_error_means(
    predicted: np.ndarray,
    true: np.ndarray,
    *,
    predicted_weights: np.ndarray | None = None,
    true_weights: np.ndarray | None = None,
) -> float | np.ndarray:
    r"""Squared error of the features' means, corrected for the sampling noise of both sides; 0 is
    best.

    :math:`\sum_k (m_k - \hat m_k)^2 - \sum_k \hat s_k^2 / n - \sum_k s_k^2 / m` over features `k`,
    where :math:`\hat s_k^2` and :math:`s_k^2` are unbiased variances over the `n` predicted and the
    `m` true cells: a variance divided by `n` is the jackknife variance of a mean. Without the
    correction, another sample of the true population has a positive error. The expectation is the
    squared distance between the population means if all cells are independent, which excludes
    predictions in which row `i` belongs to the true cell `i`. Values may be negative.

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    predicted_weights, true_weights
        Weights of the cells as in :func:`energy_distance`; the noise is then
        :math:`\sum_i w_i^2 / (\sum_i w_i)^2` of the variance in :func:`r2_variances`.

    Returns
    -------
    A sum over features, in their squared units; an array of shape `(b,)` for `b` rows of weights.

    Raises
    ------
    ValueError
        When an array is not finite or has a wrong shape, or weights are negative or all zero.

    References
    ----------
    Efron, Stein (1981), *The jackknife estimate of variance*.

    Examples
    --------
    >>> sg.metrics.squared_error_means(predicted, true)
    """
    sides = Weighted.of({"predicted": predicted, "true": true}, predicted_weights, true_weights)
    noise = [_noise(*side) for side in zip(sides.cells, sides.weights, strict=True)]
    predicted, true = sides.means
    return sides.result(((predicted - true) ** 2).sum(1) - sum(noise))


@typed
def change_correlation(
    predicted: np.ndarray,
    true: np.ndarray,
    control: np.ndarray,
    *,
    n_features: int = 50,
    predicted_weights: np.ndarray | None = None,
    true_weights: np.ndarray | None = None,
    control_weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """Pearson correlation of predicted and true mean changes from control.

    The changes are `mean predicted - mean control` and `mean true - mean control`, over the
    `n_features` with the largest absolute true change. A prediction that changes all of them
    equally, such as no change at all, scores 0.

    Parameters
    ----------
    predicted, true
        Predicted and measured treated cells, shapes `(n, d)` and `(m, d)`; rows need not match.
    control
        Untreated cells, shape `(k, d)`.
    n_features
        Number of features to compare; all features if there are fewer.
    predicted_weights, true_weights, control_weights
        Weights of the cells as in :func:`energy_distance`.

    Returns
    -------
    A correlation, in [-1, 1]; an array of shape `(b,)` for `b` rows of weights.

    Raises
    ------
    ValueError
        When an array is not finite or has a wrong shape, weights are negative or all zero, there
        are fewer than 2 features, or `true` changes all of them equally.

    References
    ----------
    Roohani, Huang, Leskovec (2024), *Predicting transcriptional outcomes of novel multigene
    perturbations with GEARS*.

    Examples
    --------
    >>> sg.metrics.change_correlation(predicted, true, control)
    """
    populations = {"predicted": predicted, "true": true, "control": control}
    sides = Weighted.of(populations, predicted_weights, true_weights, control_weights)
    if min(n_features, sides.cells[1].shape[1]) < 2:
        raise ValueError(
            f"`n_features={n_features}` of {sides.cells[1].shape[1]}: "
            "a correlation needs at least 2 features."
        )
    predicted, true, control = sides.means
    x, y = np.broadcast_arrays(predicted - control, true - control)
    largest = np.argsort(-np.abs(y), axis=1, kind="stable")[:, :n_features]
    x, y = (np.take_along_axis(changes, largest, 1) for changes in (x, y))
    x, y = (changes - changes.mean(1, keepdims=True) for changes in (x, y))
    lengths = np.stack([np.linalg.norm(changes, axis=1) for changes in (x, y)])
    # means of equal numbers differ by rounding, which would correlate with anything
    none = lengths <= 1e-12 * max(np.abs(cells).max() for cells in sides.cells)
    if sides.single and none[1, 0]:
        raise ValueError(
            f"`true` changes all {x.shape[1]} features equally: there is nothing to correlate with."
        )
    lengths = np.where(none, np.nan, lengths).prod(0)
    correlation = np.clip((x * y).sum(1) / lengths, -1, 1)
    return sides.result(np.where(none[0] & ~none[1], 0, correlation))


def determination(
    predicted: np.ndarray, true: np.ndarray, feature_weights: np.ndarray | None = None
) -> np.ndarray:
    """1 - residual over total sum of squares of each row; NaN where the total is 0."""
    g = true.shape[1]
    weights = np.full(g, 1 / g) if feature_weights is None else feature_weights
    total = (true - (true @ weights)[:, None]) ** 2 @ weights
    return 1 - (true - predicted) ** 2 @ weights / positive(total)


def weighted_mse(
    predicted: np.ndarray, true: np.ndarray, feature_weights: np.ndarray
) -> np.ndarray:
    """Squared error of each row of means, with a weight for each feature."""
    return (predicted - true) ** 2 @ feature_weights


def welch_weights(true: np.ndarray, mean: np.ndarray, variance: np.ndarray, n: int) -> np.ndarray:
    """Weight of each feature, sum 1: scaled square of Welch's t of `true` against `n` others."""
    error = np.sqrt(true.var(0, ddof=1) / len(true) + variance / n)
    score = np.abs(true.mean(0) - mean) / np.where(error > 0, error, np.inf)
    span = score.max() - score.min()
    weights = np.ones_like(score) if span == 0 else ((score - score.min()) / span) ** 2
    return weights / weights.sum()


def _variance(cells: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Unbiased variance of each feature: half the mean square between different cells."""
    cells, square = cells - cells.mean(0), weights.sum(1, keepdims=True) ** 2
    biased = mean(cells**2, weights) - mean(cells, weights) ** 2
    return biased * square / positive(square - (weights**2).sum(1, keepdims=True))


def _noise(cells: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Variance of the mean, by the jackknife, summed over features."""
    share = (weights**2).sum(1) / positive(weights.sum(1) ** 2)
    return _variance(cells, weights).sum(1) * share


def _r2(sides: Weighted, predicted: np.ndarray, true: np.ndarray, what: str) -> float | np.ndarray:
    """Coefficient of determination of a moment of the features."""
    if sides.single and np.ptp(true) == 0:
        raise ValueError(
            f"`true` has one {what} in all {true.shape[1]} feature(s): "
            "an R2 over features needs a difference."
        )
    return sides.result(determination(predicted, true))
