"""How well means, variances and changes of single features are predicted."""

import numpy as np

from scgenot.metrics.inputs import same_space


def r2_means(predicted: np.ndarray, true: np.ndarray) -> float:
    r"""Coefficient of determination of the features' means; 1 best, below 0 worse than one number for all features.

    :math:`1 - \sum_k (m_k - \hat m_k)^2 / \sum_k (m_k - \bar m)^2` over features `k`, truth as reference. It is not the
    squared correlation, which a wrong scale leaves at 1. Features differ more from each other than a
    treatment moves most of them, so untreated cells score high too: read it beside theirs.

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.

    Returns
    -------
    A number, at most 1.

    Raises
    ------
    ValueError
        When an array is unfit or all features of `true` have the same mean.

    References
    ----------
    Lotfollahi et al. (2023), *Predicting cellular responses to complex perturbations in high-throughput screens*.

    Examples
    --------
    >>> sg.metrics.r2_means(predicted, true)
    """
    predicted, true = same_space(predicted, true)
    return _determination(predicted.mean(0), true.mean(0), "mean")


def r2_variances(predicted: np.ndarray, true: np.ndarray) -> float:
    """Coefficient of determination of the features' variances; 1 best, below 0 worse than one number for all features.

    As :func:`r2_means`, of the unbiased variance of each feature over cells. Conditional means and averaged cells vary
    less than cells do, and are found out here.

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.

    Returns
    -------
    A number, at most 1.

    Raises
    ------
    ValueError
        When an array is unfit or all features of `true` have the same variance.

    References
    ----------
    Lotfollahi et al. (2023), *Predicting cellular responses to complex perturbations in high-throughput screens*.

    Examples
    --------
    >>> sg.metrics.r2_variances(predicted, true)
    """
    predicted, true = same_space(predicted, true)
    return _determination(predicted.var(0, ddof=1), true.var(0, ddof=1), "variance")


def change_correlation(
    predicted: np.ndarray, true: np.ndarray, control: np.ndarray, *, n_features: int = 50
) -> float:
    """Pearson correlation of predicted and true mean changes from control, over the features that change most.

    The changes are `mean predicted - mean control` and `mean true - mean control`; the features are the `n_features`
    with the largest absolute true change. A prediction that changes all of them equally, such as none at all, scores 0.

    Parameters
    ----------
    predicted, true
        Predicted and measured treated cells, shapes `(n, d)` and `(m, d)`; rows need not match.
    control
        Untreated cells, shape `(k, d)`.
    n_features
        Features to look at; all of them when there are no more.

    Returns
    -------
    A correlation, in [-1, 1].

    Raises
    ------
    ValueError
        When an array is unfit, fewer than 2 features are asked for or there, or `true` changes all of them equally.

    References
    ----------
    Roohani, Huang, Leskovec (2024), *Predicting transcriptional outcomes of novel multigene perturbations with GEARS*.

    Examples
    --------
    >>> sg.metrics.change_correlation(predicted, true, control)
    """
    predicted, true = same_space(predicted, true)
    _, control = same_space(predicted, control, "control")
    if min(n_features, true.shape[1]) < 2:
        raise ValueError(
            f"`n_features={n_features}` of {true.shape[1]}: a correlation needs at least 2 features."
        )
    changes = np.stack([cells.mean(0) - control.mean(0) for cells in (predicted, true)])
    changes = changes[:, np.argsort(-np.abs(changes[1]), kind="stable")[:n_features]]
    centred = changes - changes.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1)
    # means of equal numbers differ by rounding, which would correlate with anything
    none = lengths <= 1e-12 * max(np.abs(cells).max() for cells in (predicted, true, control))
    if none[1]:
        raise ValueError(
            f"`true` changes all {changes.shape[1]} features equally: there is nothing to correlate with."
        )
    return 0.0 if none[0] else float(np.clip(centred[0] @ centred[1] / lengths.prod(), -1, 1))


def _determination(predicted: np.ndarray, true: np.ndarray, what: str) -> float:
    """1 - residual over total sum of squares."""
    total = ((true - true.mean()) ** 2).sum()
    if total == 0:
        raise ValueError(
            f"`true` has one {what} in all {len(true)} feature(s): an R2 over features needs a difference."
        )
    return float(1 - ((true - predicted) ** 2).sum() / total)
