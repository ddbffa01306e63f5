"""Where the true match of each cell is known, or its label: is the prediction near it?"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier

from scgenot.metrics.inputs import one_label_a_cell, row_blocks, same_space


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

    Examples
    --------
    >>> sg.metrics.foscttm(matched, true)  # row i of both is the same cell
    """
    return float(match_fractions(predicted, true).mean())


def match_fractions(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return what :func:`foscttm` is the mean of: the fraction of each cell, in both directions, shape `(n,)`."""
    predicted, true = same_space(predicted, true)
    n = len(true)
    if len(predicted) != n:
        raise ValueError(
            f"`predicted` has {len(predicted)} cells, `true` {n}: row i of both must be the same cell."
        )
    batches = list(row_blocks(n, n))
    # the same routine as for the blocks, so that equal points have bitwise equal distances and count as ties
    own = np.concatenate([np.diagonal(cdist(predicted[rows], true[rows])) for rows in batches])
    closer = np.full(n, -1.0)  # each cell ties with itself, one half in each direction
    for rows in batches:
        distances = cdist(predicted[rows], true)
        for axis, match in ((1, own[rows, None]), (0, own[None, :])):
            found = np.count_nonzero(distances < match, axis) + 0.5 * np.count_nonzero(
                distances == match, axis
            )
            closer[rows if axis else slice(None)] += found
    return closer / (2 * (n - 1))


def label_transfer(
    predicted: np.ndarray,
    reference: np.ndarray,
    labels: Sequence,
    reference_labels: Sequence,
    *,
    n_neighbors: int = 5,
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
        When an array is unfit, a length does not match, a label is missing, or there are fewer than `n_neighbors`
        reference cells.

    Examples
    --------
    >>> sg.metrics.label_transfer(query, target, query_types, target_types)
    """
    predicted, reference = same_space(predicted, reference, "reference")
    labels = one_label_a_cell(labels, predicted, "labels")
    reference_labels = one_label_a_cell(reference_labels, reference, "reference_labels")
    if not 1 <= n_neighbors <= len(reference):
        raise ValueError(
            f"`n_neighbors={n_neighbors}` must be between 1 and the {len(reference)} reference cells."
        )
    classifier = KNeighborsClassifier(n_neighbors).fit(reference, reference_labels)
    return float(classifier.score(predicted, labels))
