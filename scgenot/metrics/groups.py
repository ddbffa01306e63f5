"""Any metric within groups of cells."""

from collections.abc import Callable, Sequence

import numpy as np

from scgenot.metrics.inputs import one_label_a_cell, same_space


def grouped(
    metric: Callable[[np.ndarray, np.ndarray], float],
    predicted: np.ndarray,
    true: np.ndarray,
    predicted_groups: Sequence,
    true_groups: Sequence,
    *,
    min_cells: int = 10,
) -> float:
    """Mean over groups of a metric between predicted and true cells of the same group.

    Exposes a model that ignores its input: random treated cells are the right population but, within each cell type of
    the *source* cells, the wrong one. Each group has the same weight, however many cells it has. Groups that one side
    lacks, or has fewer than `min_cells` of, are left out.

    Parameters
    ----------
    metric
        Takes predicted and true cells, gives a number: any function of two populations here, its options bound with
        :func:`functools.partial`.
    predicted, true
        Two populations, shapes `(n, d)` and `(m, d)`; rows need not match.
    predicted_groups, true_groups
        One label a cell, lengths `n` and `m`, from one vocabulary; of a predicted cell, the label of its source cell.
    min_cells
        Fewest cells of a group, on both sides, for it to count.

    Returns
    -------
    The mean of the groups' values.

    Raises
    ------
    ValueError
        When an array is unfit, a length does not match, a label is missing, or no group has enough cells on both sides.

    Examples
    --------
    >>> sg.metrics.grouped(sg.metrics.energy_distance, query, target, query_types, target_types)
    """
    predicted, true = same_space(predicted, true)
    members = [
        one_label_a_cell(predicted_groups, predicted, "predicted_groups"),
        one_label_a_cell(true_groups, true, "true_groups"),
    ]
    sizes = [dict(zip(*np.unique(labels, return_counts=True), strict=True)) for labels in members]
    shared = [group for group in sizes[0] if group in sizes[1]]
    kept = [group for group in shared if min(side[group] for side in sizes) >= min_cells]
    if not kept:
        raise ValueError(
            f"No group has `min_cells={min_cells}` cells on both sides: `predicted_groups` has {len(sizes[0])} groups, "
            f"`true_groups` {len(sizes[1])}, and they share {len(shared)}."
        )
    return float(
        np.mean(
            [metric(predicted[members[0] == group], true[members[1] == group]) for group in kept]
        )
    )
