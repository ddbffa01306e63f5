"""Metrics between generated and measured populations."""

from collections.abc import Sequence

import numpy as np

from scgenot._check import as_array, check_labels
from scgenot._typed import typed


@typed
def nearest_neighbor_accuracy(distances: np.ndarray, is_generated: Sequence[bool]) -> float:
    """Accuracy of a 1-nearest-neighbor classifier of generated and measured populations.

    With as many generated as measured populations, 1 means that they can be distinguished, and 0
    that each generated population is a copy of a measured one. For `n` populations each from the
    same distribution, the expected value is `(n - 1) / (2 n - 1)`, about .5 (Lopez-Paz, Oquab 2017,
    *Revisiting classifier two-sample tests*, arXiv 1610.06545). Ties are counted in equal parts.

    Parameters
    ----------
    distances
        Distances between all populations, of both kinds, shape `(n, n)`.
    is_generated
        Whether each population was generated, shape `(n,)`.

    Returns
    -------
    A number between 0 and 1.

    Raises
    ------
    ValueError
        When distances are not a finite symmetric matrix, or one kind has fewer than 2 populations.

    Examples
    --------
    >>> sg.metrics.nearest_neighbor_accuracy([[0, 1, 3, 4], [1, 0, 2, 3], [3, 2, 0, 1],
    ...                                       [4, 3, 1, 0]], [False, False, True, True])
    1.0
    """
    distances, generated = _checked(distances, is_generated, least=2)
    others = distances + np.diag(np.full(len(distances), np.inf))
    nearest = others == others.min(1, keepdims=True)
    same = generated[:, None] == generated
    return float(((nearest & same).sum(1) / nearest.sum(1)).mean())


@typed
def population_mmd(
    distances: np.ndarray, is_generated: Sequence[bool], *, bandwidth: float | None = None
) -> float:
    """Unbiased squared maximum mean discrepancy between two sets of populations.

    The kernel is `exp(-distance^2 / (2 bandwidth^2))`. The expected value for two sets from the
    same distribution is 0, so values can be negative (Gretton et al. 2012, *A kernel two-sample
    test*, eq. 3).

    Parameters
    ----------
    distances
        Distances between all populations, of both kinds, shape `(n, n)`.
    is_generated
        Whether each population was generated, shape `(n,)`.
    bandwidth
        In the units of the distances; None for the median distance between measured ones.

    Returns
    -------
    A number without units.

    Raises
    ------
    ValueError
        When distances are not a finite symmetric matrix, one kind has fewer than 2 populations, or
        the bandwidth is not positive.

    Examples
    --------
    >>> distances = abs(np.subtract.outer(np.arange(6.0), np.arange(6)))
    >>> sg.metrics.population_mmd(distances, [False] * 3 + [True] * 3)
    """
    distances, generated = _checked(distances, is_generated, least=2)
    own = distances[~generated][:, ~generated]
    if bandwidth is None:
        bandwidth = float(np.median(own[np.triu_indices(len(own), 1)]))
    if not 0 < bandwidth < np.inf:
        raise ValueError(
            f"`bandwidth={bandwidth}` must be positive; None uses the median distance between "
            "measured populations."
        )
    kernel = np.exp(-np.square(distances / bandwidth) / 2)

    def within(side: np.ndarray) -> float:
        block, n = kernel[side][:, side], side.sum()
        return (block.sum() - np.trace(block)) / (n * (n - 1))

    between = kernel[generated][:, ~generated].mean()
    return float(within(generated) + within(~generated) - 2 * between)


@typed
def population_coverage(distances: np.ndarray, is_generated: Sequence[bool]) -> float:
    """Share of measured populations that are the nearest one of any generated population.

    For `n` measured and `n` generated populations from the same distribution, the expected value is
    about .6; identical generated populations have `1 / n` (Achlioptas et al. 2018, *Learning
    representations and generative models for 3D point clouds*, arXiv 1707.02392).

    Parameters
    ----------
    distances
        Distances between all populations, of both kinds, shape `(n, n)`.
    is_generated
        Whether each population was generated, shape `(n,)`.

    Returns
    -------
    A number between 0 and 1.

    Raises
    ------
    ValueError
        When distances are not a finite symmetric matrix, or one kind has no population.

    Examples
    --------
    >>> distances = abs(np.subtract.outer(np.arange(6.0), np.arange(6)))
    >>> sg.metrics.population_coverage(distances, [False] * 3 + [True] * 3)
    """
    distances, generated = _checked(distances, is_generated, least=1)
    nearest = distances[generated][:, ~generated].argmin(1)
    return len(np.unique(nearest)) / int((~generated).sum())


@typed
def composition_error(predicted: Sequence, true: Sequence) -> float:
    """Total variation distance between the compositions of two sets of cells.

    It is half the sum of the absolute differences of the proportions of labels.

    Parameters
    ----------
    predicted, true
        Label of each cell, such as its type, in the two sets.

    Returns
    -------
    A number between 0 (equal proportions) and 1 (no common label).

    Raises
    ------
    ValueError
        When there are no labels, or some are missing.

    Examples
    --------
    >>> sg.metrics.composition_error(["T", "T", "B", "B"], ["T", "T", "T", "B"])
    0.25
    """
    sides = [
        check_labels(labels, len(labels), name)
        for name, labels in (("predicted", predicted), ("true", true))
    ]
    if not all(map(len, sides)):
        raise ValueError("`predicted` or `true` has no labels: give one for each cell.")
    codes = np.unique(np.concatenate(sides), return_inverse=True)[1]
    n = codes.max() + 1
    first, second = np.split(codes, [len(sides[0])])
    shares = [np.bincount(side, minlength=n) / len(side) for side in (first, second)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _checked(distances, is_generated, *, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances as a matrix and kinds as a mask, of at least so many populations each."""
    distances = as_array(distances, "distances", float)
    generated = np.asarray(is_generated)
    n = len(generated)
    if distances.shape != (n, n) or not np.isfinite(distances).all():
        raise ValueError(
            f"`distances` has shape {distances.shape}, expected ({n}, {n}), finite: one row and "
            "column for each of `is_generated`."
        )
    if generated.dtype != bool:
        raise ValueError(f"`is_generated` must be booleans; found {generated.dtype}.")
    if not np.allclose(distances, distances.T, atol=1e-6 * np.abs(distances).max()):
        raise ValueError("`distances` must be symmetric.")
    if min(generated.sum(), (~generated).sum()) < least:
        raise ValueError(
            f"`is_generated` has {generated.sum()} generated and {(~generated).sum()} measured "
            f"populations: at least {least} of each are needed."
        )
    return distances, generated
