"""Any metric within groups of cells."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from scgenot._check import check_labels
from scgenot._typed import typed
from scgenot.metrics.inputs import Weighted


@typed
def grouped(
    metric: Callable[..., float],
    predicted: np.ndarray,
    true: np.ndarray,
    predicted_groups: Sequence,
    true_groups: Sequence,
    *,
    min_cells: int = 10,
    predicted_weights: np.ndarray | None = None,
    true_weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """Mean over groups of a metric between predicted and true cells of the same group.

    It reveals a model that ignores its input: random treated cells are the correct population as a
    whole, but not within each cell type of the *source* cells. All groups have equal weight. Groups
    with fewer than `min_cells` cells on either side are left out.

    Parameters
    ----------
    metric
        Function from predicted and true cells to a number: any function of two populations in this
        module, with options bound by :func:`functools.partial`.
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    predicted_groups, true_groups
        One label per cell, lengths `n` and `m`, from one vocabulary; the group of a predicted cell
        is that of its source cell.
    min_cells
        Minimum number of cells of a group on both sides.
    predicted_weights, true_weights
        Weights of the cells as in :func:`energy_distance`, passed to `metric` where they are given.

    Returns
    -------
    The mean of the groups' values; an array of shape `(b,)` for `b` rows of weights.

    Raises
    ------
    ValueError
        When an array is not finite, a length does not match, a label is missing, weights are
        negative or all zero, or no group has enough cells on both sides.

    Examples
    --------
    >>> sg.metrics.grouped(sg.metrics.energy_distance, query, target, query_types, target_types)
    """
    sides = Weighted.of({"predicted": predicted, "true": true}, predicted_weights, true_weights)
    (x, y), (a, b) = sides.cells, sides.weights
    x_groups = check_labels(predicted_groups, len(x), "predicted_groups")
    y_groups = check_labels(true_groups, len(y), "true_groups")
    sizes, true_sizes = Counter(x_groups.tolist()), Counter(y_groups.tolist())
    shared = sizes & true_sizes  # the smaller number of each group
    found = []
    for group in sorted(group for group, n in shared.items() if n >= min_cells):
        i, j = x_groups == group, y_groups == group
        weights = {}
        if predicted_weights is not None:
            weights["predicted_weights"] = a[0, i] if sides.single else a[:, i]
        if true_weights is not None:
            weights["true_weights"] = b[0, j] if sides.single else b[:, j]
        found.append(metric(x[i], y[j], **weights))
    if not found:
        raise ValueError(
            f"No group has `min_cells={min_cells}` cells on both sides: `predicted_groups` has "
            f"{len(sizes)} groups, `true_groups` {len(true_sizes)}, and they share {len(shared)}."
        )
    mean = np.mean(found, axis=0)
    return mean if mean.ndim else float(mean)
