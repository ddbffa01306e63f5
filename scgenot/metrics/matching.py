"""Where the true match or label of each cell is known: is the prediction near it?"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier

from scgenot._check import check_labels, check_one_space, check_weights
from scgenot._typed import typed
from scgenot.metrics.inputs import mean, row_blocks


@typed
def foscttm(
    predicted: np.ndarray, true: np.ndarray, *, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Fraction of samples closer than the true match (FOSCTTM): 0 best, 0.5 chance, 1 worst.

    For each predicted cell, the fraction of the other true cells that lie closer to it than its own
    true cell; the same from each true cell to the predictions; the mean of both. A tie counts one
    half, so predictions that are all the same point score 0.5. Distances are computed in blocks.

    Parameters
    ----------
    predicted, true
        Row `i` of both is the same cell, shapes `(n, d)`. Use predictions in target space; the
        score is meaningless on a concatenation that contains features shared by both sides.
    weights
        Non-negative weights of the cells in the mean, shape `(n,)`; None for equal ones. A shape of
        `(b, n)` gives `b` values at once. The fraction of a cell is always among all cells.

    Returns
    -------
    The mean fraction, in [0, 1]; an array of shape `(b,)` for `b` rows of weights.

    Raises
    ------
    ValueError
        When an array is not finite, the shapes differ, or weights are negative or all zero.

    References
    ----------
    Liu, Huang, Singh, Vert, Noble (2019), *Jointly embedding multiple single-cell omics
    measurements*.

    Examples
    --------
    >>> sg.metrics.foscttm(matched, true)  # row i of both is the same cell
    """
    predicted, true = check_one_space({"predicted": predicted, "true": true}, least=2)
    n = len(true)
    if len(predicted) != n:
        raise ValueError(
            f"`predicted` has {len(predicted)} cells, `true` {n}: "
            "row i of both must be the same cell."
        )
    blocks = list(row_blocks(n, n))
    # the same routine as for the blocks, so that equal points have bitwise equal distances and tie
    own = np.concatenate([np.diagonal(cdist(predicted[rows], true[rows])) for rows in blocks])
    closer = np.full(n, -1.0)  # each cell ties with itself, one half in each direction
    for rows in blocks:
        distances = cdist(predicted[rows], true)
        for axis, match in ((1, own[rows, None]), (0, own[None, :])):
            ties = np.count_nonzero(distances == match, axis)
            nearer = np.count_nonzero(distances < match, axis)
            closer[rows if axis else slice(None)] += nearer + 0.5 * ties
    return _mean_score(closer / (2 * (n - 1)), weights)


@typed
def label_transfer(
    predicted: np.ndarray,
    reference: np.ndarray,
    labels: Sequence,
    reference_labels: Sequence,
    *,
    n_neighbors: int = 5,
    weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """Accuracy of labels read from measured target cells onto predicted ones.

    A k-nearest-neighbor classifier (Euclidean, uniform votes) is trained on the measured target
    cells `reference` with `reference_labels`, applied to the predictions, and compared with
    `labels`, the labels of the source cells. The classifier is not trained on predictions. The true
    target of a cell may be in `reference`.

    Parameters
    ----------
    predicted
        Predicted target states, shape `(n, d)`.
    reference
        Measured target cells, shape `(m, d)`.
    labels, reference_labels
        One label per cell, lengths `n` and `m`, from one vocabulary.
    n_neighbors
        Number of neighbors that vote.
    weights
        Weights of the predicted cells as in :func:`foscttm`.

    Returns
    -------
    Fraction of cells whose label is recovered, in [0, 1]; an array of shape `(b,)` for `b` rows of
    weights. A constant prediction scores the share of the most common label.

    Raises
    ------
    ValueError
        When an array is not finite, a length does not match, a label is missing, weights are
        negative or all zero, or there are fewer than `n_neighbors` reference cells.

    Examples
    --------
    >>> sg.metrics.label_transfer(query, target, query_types, target_types)
    """
    populations = {"predicted": predicted, "reference": reference}
    predicted, reference = check_one_space(populations, least=2)
    labels = check_labels(labels, len(predicted), "labels")
    reference_labels = check_labels(reference_labels, len(reference), "reference_labels")
    if not 1 <= n_neighbors <= len(reference):
        raise ValueError(
            f"`n_neighbors={n_neighbors}` must be between 1 and the {len(reference)} "
            "reference cells."
        )
    classifier = KNeighborsClassifier(n_neighbors).fit(reference, reference_labels)
    return _mean_score(classifier.predict(predicted) == labels, weights)


def _mean_score(scores: np.ndarray, weights: np.ndarray | None) -> float | np.ndarray:
    """Weighted mean of a score per cell: a number, or one for each row of weights."""
    rows = check_weights(weights, len(scores), "weights", rows=True)
    found = mean(scores[:, None].astype(float), np.atleast_2d(rows))[:, 0]
    return found if rows.ndim == 2 else float(found[0])
