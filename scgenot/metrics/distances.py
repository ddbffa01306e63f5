"""Distances between two populations, whose cells need not match."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from scgenot._random import Rng, numpy_rng
from scgenot.metrics.inputs import row_blocks, same_space

_MEDIAN_CELLS = 2000  # cells between which the median distance is taken


def energy_distance(predicted: np.ndarray, true: np.ndarray, *, unbiased: bool = False) -> float:
    """Squared energy distance `2 E|x - y| - E|x - x'| - E|y - y'|`; 0 when the populations are the same.

    In one dimension this is the square of :func:`scipy.stats.energy_distance`. Computed in blocks.

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    unbiased
        Leave each cell's distance to itself out (U-statistic). The expectation is then that of the populations, and a
        value may fall below 0; else (V-statistic) it never does.

    Returns
    -------
    A distance, in the units of the features.

    Raises
    ------
    ValueError
        When an array is unfit.

    References
    ----------
    Székely, Rizzo (2013), *Energy statistics*, eq. 5.

    Examples
    --------
    >>> sg.metrics.energy_distance(predicted, true)
    """
    predicted, true = same_space(predicted, true)
    return _two_sample(predicted, true, lambda x, y: -cdist(x, y), 0.0, unbiased=unbiased)


def mmd(
    predicted: np.ndarray,
    true: np.ndarray,
    *,
    bandwidths: float | Sequence[float] | None = None,
    unbiased: bool = False,
) -> float:
    """Squared maximum mean discrepancy `E k(x, x') + E k(y, y') - 2 E k(x, y)`; 0 when the populations are the same.

    The kernel is Gaussian, `exp(-|x - y|^2 / (2 h^2))`, averaged over the bandwidths `h`. Computed in blocks.

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    bandwidths
        One or several `h`, in the units of the features; None for the median distance between `true` cells (of at most
        2,000, evenly spaced), so that different predictions are measured with one ruler.
    unbiased
        Leave each cell's kernel with itself out (U-statistic); a value may then fall below 0.

    Returns
    -------
    A number without units, at most 2.

    Raises
    ------
    ValueError
        When an array is unfit, a bandwidth not positive, or the median distance 0.

    References
    ----------
    Gretton et al. (2012), *A kernel two-sample test*, eqs. 3 and 5.

    Examples
    --------
    >>> sg.metrics.mmd(predicted, true)
    """
    predicted, true = same_space(predicted, true)
    if bandwidths is None:
        some = true[:: -(-len(true) // _MEDIAN_CELLS)]
        bandwidths = np.median(cdist(some, some)[np.triu_indices(len(some), 1)])
        if bandwidths == 0:
            raise ValueError(
                "`true` has a median distance of 0 (most cells are one point): give `bandwidths`."
            )
    widths = np.atleast_1d(np.asarray(bandwidths, dtype=float))
    if widths.ndim != 1 or widths.size == 0 or not (np.isfinite(widths) & (widths > 0)).all():
        raise ValueError(f"`bandwidths={bandwidths}` must be one or several positive numbers.")

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squared = cdist(x, y, "sqeuclidean")
        return sum(np.exp(-squared / (2 * width**2)) for width in widths) / len(widths)

    return _two_sample(predicted, true, kernel, 1.0, unbiased=unbiased)


def wasserstein(
    predicted: np.ndarray, true: np.ndarray, *, n_cells: int = 1000, rng: Rng = 0
) -> float:
    r"""2-Wasserstein distance between two populations, exact by assignment; 0 when they are the same.

    :math:`W_2 = (\min_\sigma \frac{1}{k} \sum_i |x_i - y_{\sigma(i)}|^2)^{1/2}` over assignments of `k` cells to `k`
    cells, where `k` is the smallest of both numbers of cells and `n_cells`. A side with more than `k` cells is replaced
    by `k` of them, drawn without replacement; a side with `k` cells is taken whole, so nothing is random when the sizes
    are equal and at most `n_cells`. In many dimensions two samples of one population are far from each other: read the
    value beside that of two halves of the real cells, as many of them. 1,000 cells a side take .2 seconds (one core).

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    n_cells
        Most cells of a side that are assigned.
    rng
        Seed of the subsets.

    Returns
    -------
    A distance, in the units of the features.

    Raises
    ------
    ValueError
        When an array is unfit or `n_cells` is below 1.

    References
    ----------
    Peyré, Cuturi (2019), *Computational optimal transport*, arXiv 1803.00567, eq. 2.3 and prop. 2.1.

    Examples
    --------
    >>> sg.metrics.wasserstein(predicted, true)
    """
    predicted, true = same_space(predicted, true)
    if n_cells < 1:
        raise ValueError(f"`n_cells={n_cells}` must be at least 1.")
    k = min(len(predicted), len(true), n_cells)
    generator = numpy_rng(rng)
    x, y = (
        c if len(c) == k else c[generator.choice(len(c), k, replace=False)]
        for c in (predicted, true)
    )
    # a shift between the means costs all assignments the same; without it the search takes a fraction of the time
    shift = x.mean(0) - y.mean(0)
    costs = cdist(x - shift, y, "sqeuclidean")
    return float(np.sqrt(costs[linear_sum_assignment(costs)].mean() + shift @ shift))


def sinkhorn_divergence(predicted: np.ndarray, true: np.ndarray, *, epsilon: float = 0.05) -> float:
    r"""Debiased entropic transport cost between two populations, squared Euclidean cost; 0 when they are the same.

    :math:`OT_\epsilon(x, y) - OT_\epsilon(x, x) / 2 - OT_\epsilon(y, y) / 2`, where :math:`OT_\epsilon` includes the
    penalty :math:`\epsilon KL(P | ab^T)`. A shift of a population by `s` gives exactly `|s|^2`.
    It is computed in double precision on dense matrices: 1,000 cells a side take .15 seconds and 2,000 .6 (one core),
    ten times that or more at `epsilon=0.005`, where Sinkhorn may give up after 10,000 iterations and logs it. Subsample
    large populations first.

    Parameters
    ----------
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    epsilon
        Entropic strength relative to the mean squared distance between `true` cells; taken from `true` alone so that
        different predictions are measured with one ruler.

    Returns
    -------
    A squared distance, in the squared units of the features.

    Raises
    ------
    ValueError
        When an array is unfit or too large, all `true` cells are one point, or `epsilon` is not positive.

    References
    ----------
    Feydy et al. (2019), *Interpolating between optimal transport and MMD using Sinkhorn divergences*, arXiv 1810.08278,
    eq. 3.

    Examples
    --------
    >>> sg.metrics.sinkhorn_divergence(predicted, true)
    """
    import torch

    from scgenot import ot

    predicted, true = same_space(predicted, true)
    return float(
        ot.sinkhorn_divergence(torch.from_numpy(predicted), torch.from_numpy(true), epsilon=epsilon)
    )


def _two_sample(x: np.ndarray, y: np.ndarray, kernel, diagonal: float, *, unbiased: bool) -> float:
    """`E k(x, x') + E k(y, y') - 2 E k(x, y)`; `diagonal` is k(x, x), left out of the means when `unbiased`."""

    def total(x, y):
        return sum(kernel(x[rows], y).sum() for rows in row_blocks(len(x), len(y)))

    def within(x):
        n = len(x)
        return (total(x, x) - n * diagonal) / (n * (n - 1)) if unbiased else total(x, x) / n**2

    return float(within(x) + within(y) - 2 * total(x, y) / (len(x) * len(y)))
