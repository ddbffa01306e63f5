"""Any metric within groups of cells."""

from collections.abc import Callable, Sequence

import numpy as np

from scgenot._check import check_labels, check_one_space, check_weights


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

    It exposes a model that ignores its input: random treated cells are the right population but,
    within each cell type of the *source* cells, the wrong one. Each group counts the same, however
    many cells it has. Groups that one side lacks, or has fewer than `min_cells` of, are left out.

    Parameters
    ----------
    metric
        Takes predicted and true cells, gives a number: any function of two populations in this
        module, its options bound with :func:`functools.partial`.
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    predicted_groups, true_groups
        One label per cell, lengths `n` and `m`, from one vocabulary; the group of a predicted cell
        is that of its source cell.
    min_cells
        Smallest number of cells of a group, on both sides, for it to count.
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
    cells = dict(
        zip(
            ("predicted", "true"),
            check_one_space({"predicted": predicted, "true": true}, least=2),
            strict=True,
        )
    )
    labels = {
        "predicted": check_labels(predicted_groups, len(predicted), "predicted_groups"),
        "true": check_labels(true_groups, len(true), "true_groups"),
    }
    given = {"predicted_weights": predicted_weights, "true_weights": true_weights}
    weights = {
        name: check_weights(values, len(cells[name.removesuffix("_weights")]), name, rows=True)
        for name, values in given.items()
        if values is not None
    }
    sizes = [
        dict(zip(*np.unique(side, return_counts=True), strict=True)) for side in labels.values()
    ]
    shared = [group for group in sizes[0] if group in sizes[1]]
    kept = [group for group in shared if min(side[group] for side in sizes) >= min_cells]
    if not kept:
        raise ValueError(
            f"No group has `min_cells={min_cells}` cells on both sides: `predicted_groups` has "
            f"{len(sizes[0])} groups, `true_groups` {len(sizes[1])}, and they share {len(shared)}."
        )
    found = []
    for group in kept:
        x, y = (cells[side][labels[side] == group] for side in cells)
        of_group = {
            name: values[..., labels[name.removesuffix("_weights")] == group]
            for name, values in weights.items()
        }
        found.append(metric(x, y, **of_group))
    mean = np.mean(found, axis=0)
    return mean if mean.ndim else float(mean)
