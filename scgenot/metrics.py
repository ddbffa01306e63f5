"""How far predicted cells are from true ones: one formula a function, arrays in, a number out."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils import gen_batches

__all__ = ["energy_distance", "foscttm", "label_transfer", "mmd", "sinkhorn_divergence"]

_BLOCK = 2**22  # entries of a distance matrix held at once: 32 MB
_MEDIAN_CELLS = 2000  # cells between which the median distance is taken


def foscttm(predicted: np.ndarray, true: np.ndarray) -> float:
    """Fraction of samples closer than the true match (FOSCTTM): 0 best, 0.5 chance, 1 worst.

    For each predicted cell, the fraction of the other true cells that lie closer to it than its own true cell; the same
    from each true cell to the predictions; the mean of both. A tie counts one half, so predictions that are all the
    same point score 0.5. Memory is bounded: distances are computed in blocks.

    Parameters
    ----------
    predicted, true
        Row `i` of both is the same cell, shapes `(n, d)`. Use predictions in target space; on a concatenation that
        contains features shared by both sides the number says nothing.

    Returns
    -------
    The mean fraction, in [0, 1].

    Raises
    ------
    ValueError
        When an array is unfit (NaN, one cell, not a matrix) or the shapes differ.

    References
    ----------
    Liu, Huang, Singh, Vert, Noble (2019), *Jointly embedding multiple single-cell omics measurements*.
    """
    predicted, true = _same_space(predicted, true)
    n = len(true)
    if len(predicted) != n:
        raise ValueError(f"`predicted` has {len(predicted)} cells, `true` {n}: row i of both must be the same cell.")
    batches = list(gen_batches(n, max(1, _BLOCK // n)))
    # the same routine as for the blocks, so that equal points have bitwise equal distances and count as ties
    own = np.concatenate([np.diagonal(cdist(predicted[rows], true[rows])) for rows in batches])
    closer = 0.0
    for rows in batches:
        distances = cdist(predicted[rows], true)
        for match in (own[rows, None], own[None, :]):
            closer += np.count_nonzero(distances < match) + 0.5 * np.count_nonzero(distances == match)
    ties_with_itself = n  # one half per cell and direction
    return float((closer - ties_with_itself) / (2 * n * (n - 1)))


def label_transfer(
    predicted: np.ndarray, reference: np.ndarray, labels: Sequence, reference_labels: Sequence, *, n_neighbors: int = 5
) -> float:
    """Accuracy of labels read from measured target cells onto predicted ones.

    Protocol: a k-nearest-neighbour classifier (Euclidean, uniform votes) is trained on the measured target cells
    `reference` with `reference_labels`, applied to the predictions, and compared with `labels`, those of the source
    cells that were translated. Nothing is trained on predictions. A cell's own target may be in `reference`.

    Parameters
    ----------
    predicted
        Predicted target states, shape `(n, d)`.
    reference
        Measured target cells, shape `(m, d)`.
    labels, reference_labels
        One label a cell, lengths `n` and `m`, from one vocabulary.
    n_neighbors
        Neighbours that vote.

    Returns
    -------
    Fraction of cells whose label is recovered, in [0, 1]. The share of the commonest label is what a constant scores.

    Raises
    ------
    ValueError
        When an array is unfit, a length does not match, or there are fewer than `n_neighbors` reference cells.
    """
    predicted, reference = _same_space(predicted, reference, "reference")
    labels, reference_labels = np.asarray(labels).astype(str), np.asarray(reference_labels).astype(str)
    for name, found, cells in (("labels", labels, predicted), ("reference_labels", reference_labels, reference)):
        if found.shape != (len(cells),):
            raise ValueError(f"`{name}` has shape {found.shape}, expected ({len(cells)},): one label a cell.")
    if not 1 <= n_neighbors <= len(reference):
        raise ValueError(f"`n_neighbors={n_neighbors}` must be between 1 and the {len(reference)} reference cells.")
    classifier = KNeighborsClassifier(n_neighbors).fit(reference, reference_labels)
    return float(classifier.score(predicted, labels))


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
    """
    import torch

    from scgenot import ot

    predicted, true = _same_space(predicted, true)
    return float(ot.sinkhorn_divergence(torch.from_numpy(predicted), torch.from_numpy(true), epsilon=epsilon))


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
    """
    predicted, true = _same_space(predicted, true)
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
    """
    predicted, true = _same_space(predicted, true)
    if bandwidths is None:
        some = true[:: -(-len(true) // _MEDIAN_CELLS)]
        bandwidths = np.median(cdist(some, some)[np.triu_indices(len(some), 1)])
        if bandwidths == 0:
            raise ValueError("`true` has a median distance of 0 (most cells are one point): give `bandwidths`.")
    widths = np.atleast_1d(np.asarray(bandwidths, dtype=float))
    if widths.ndim != 1 or widths.size == 0 or not (np.isfinite(widths) & (widths > 0)).all():
        raise ValueError(f"`bandwidths={bandwidths}` must be one or several positive numbers.")

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squared = cdist(x, y, "sqeuclidean")
        return sum(np.exp(-squared / (2 * width**2)) for width in widths) / len(widths)

    return _two_sample(predicted, true, kernel, 1.0, unbiased=unbiased)


def _two_sample(x: np.ndarray, y: np.ndarray, kernel, diagonal: float, *, unbiased: bool) -> float:
    """`E k(x, x') + E k(y, y') - 2 E k(x, y)`; `diagonal` is k(x, x), left out of the means when `unbiased`."""

    def total(x, y):
        return sum(kernel(x[rows], y).sum() for rows in gen_batches(len(x), max(1, _BLOCK // len(y))))

    def within(x):
        n = len(x)
        return (total(x, x) - n * diagonal) / (n * (n - 1)) if unbiased else total(x, x) / n**2

    return float(within(x) + within(y) - 2 * total(x, y) / (len(x) * len(y)))


def _same_space(predicted, true, other: str = "true") -> tuple[np.ndarray, np.ndarray]:
    """Both as finite float64 matrices with as many columns; the messages name the argument."""
    checked = []
    for name, values in (("predicted", predicted), (other, true)):
        cells = np.asarray(values)
        if cells.ndim != 2 or not np.issubdtype(cells.dtype, np.number):
            raise ValueError(f"`{name}` must be numbers, cells x features; found {cells.dtype} of shape {cells.shape}.")
        if len(cells) < 2 or cells.shape[1] == 0:
            raise ValueError(f"`{name}` has shape {cells.shape}: at least 2 cells and 1 feature are needed.")
        if not np.isfinite(cells).all():
            bad = int((~np.isfinite(cells)).any(1).sum())
            raise ValueError(f"`{name}` has NaN or infinite values in {bad} of {len(cells)} cells: drop those cells.")
        checked.append(cells.astype(np.float64))
    if checked[0].shape[1] != checked[1].shape[1]:
        widths = checked[0].shape[1], checked[1].shape[1]
        raise ValueError(f"`predicted` has {widths[0]} features, `{other}` {widths[1]}: give both in one space.")
    return checked[0], checked[1]
