"""Distances between two populations by a kernel of their cells."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.distance import cdist

from scgenot._typed import typed
from scgenot.metrics.inputs import Weighted, positive, row_blocks

_MEDIAN_CELLS = 2000  # cells between which the median distance is taken


@typed
def energy_distance(
    predicted: np.ndarray,
    true: np.ndarray,
    *,
    unbiased: bool = False,
    predicted_weights: np.ndarray | None = None,
    true_weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """Squared energy distance `2 E|x - y| - E|x - x'| - E|y - y'|`; 0 for equal populations.

    In one dimension this is the square of :func:`scipy.stats.energy_distance`. Distances are
    computed in blocks, so memory is bounded.

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    unbiased
        Exclude the distance of each cell to itself (U-statistic). The expectation is then that of
        the populations, and values may be negative; a V-statistic is never negative.
    predicted_weights, true_weights
        Non-negative weights, shapes `(n,)` and `(m,)`, of which only ratios matter; None for equal
        ones. Shapes `(b, n)` and `(b, m)` give `b` values at once, NaN for a row with no weight.

    Returns
    -------
    A distance in the units of the features; an array of shape `(b,)` for `b` rows of weights.

    Raises
    ------
    ValueError
        When an array is not finite or has a wrong shape, or weights are negative or all zero.

    References
    ----------
    Székely, Rizzo (2013), *Energy statistics*, eq. 5.

    Examples
    --------
    >>> sg.metrics.energy_distance(predicted, true)
    """
    sides = Weighted.of({"predicted": predicted, "true": true}, predicted_weights, true_weights)
    return sides.result(_two_sample(sides, lambda x, y: -cdist(x, y), 0.0, unbiased=unbiased))


@typed
def mmd(
    predicted: np.ndarray,
    true: np.ndarray,
    *,
    bandwidths: float | Sequence[float] | None = None,
    unbiased: bool = False,
    predicted_weights: np.ndarray | None = None,
    true_weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """Squared maximum mean discrepancy `E k(x, x') + E k(y, y') - 2 E k(x, y)`.

    It is 0 for equal populations. The kernel is Gaussian, `exp(-|x - y|^2 / (2 h^2))`, averaged
    over the bandwidths `h`. It is computed in blocks.

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    bandwidths
        One or several `h`, in the units of the features; None for the median distance between
        `true` cells (at most 2,000, evenly spaced, whatever their weights), so that different
        predictions are compared on one scale.
    unbiased
        Exclude the kernel of each cell with itself (U-statistic); values may then be negative.
    predicted_weights, true_weights
        Weights of the cells as in :func:`energy_distance`.

    Returns
    -------
    A number without units, at most 2; an array of shape `(b,)` for `b` rows of weights.

    Raises
    ------
    ValueError
        When an array is not finite or has a wrong shape, weights are negative or all zero, a
        bandwidth is not positive, or the median distance is 0.

    References
    ----------
    Gretton et al. (2012), *A kernel two-sample test*, eqs. 3 and 5.

    Examples
    --------
    >>> sg.metrics.mmd(predicted, true)
    """
    sides = Weighted.of({"predicted": predicted, "true": true}, predicted_weights, true_weights)
    if bandwidths is None:
        bandwidths = median_distance(sides.cells[1])
        if bandwidths == 0:
            raise ValueError(
                "`true` has a median distance of 0 (most cells are equal): give `bandwidths`."
            )
    widths = np.atleast_1d(np.asarray(bandwidths, dtype=float))
    if widths.ndim != 1 or widths.size == 0 or not (np.isfinite(widths) & (widths > 0)).all():
        raise ValueError(f"`bandwidths={bandwidths}` must be one or several positive numbers.")

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squared = cdist(x, y, "sqeuclidean")
        return sum(np.exp(-squared / (2 * width**2)) for width in widths) / len(widths)

    return sides.result(_two_sample(sides, kernel, 1.0, unbiased=unbiased))


def median_distance(cells: np.ndarray) -> float:
    """Median distance between cells, of at most 2,000 that are evenly spaced."""
    some = cells[:: -(-len(cells) // _MEDIAN_CELLS)]
    return float(np.median(cdist(some, some)[np.triu_indices(len(some), 1)]))


def _two_sample(
    sides: Weighted, kernel: Callable, diagonal: float, *, unbiased: bool
) -> np.ndarray:
    """`E k(x, x') + E k(y, y') - 2 E k(x, y)`; `unbiased` leaves out the diagonal of `k`."""
    (x, y), (a, b) = sides.cells, sides.weights

    def total(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        blocks = row_blocks(len(x), len(y))
        return sum(((a[:, rows] @ kernel(x[rows], y)) * b).sum(1) for rows in blocks)

    def within(x: np.ndarray, a: np.ndarray) -> np.ndarray:
        own = (a**2).sum(1) * unbiased
        return (total(x, x, a, a) - own * diagonal) / positive(a.sum(1) ** 2 - own)

    between = total(x, y, a, b) / positive(a.sum(1) * b.sum(1))
    return within(x, a) + within(y, b) - 2 * between
