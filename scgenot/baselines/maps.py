"""Baselines that move each cell by a formula: means, and means with covariances."""

from collections.abc import Sequence

import numpy as np
from sklearn.covariance import ledoit_wolf

from scgenot._check import check_count, check_labels, check_one_space, check_unit
from scgenot._typed import typed

_CELLS_PER_COLUMN = 10  # with fewer, on either side, covariances are shrunk
_FLAT = 1e-10  # directions with less than this share of the largest variance have none


@typed
def mean_shift(
    source: np.ndarray,
    target: np.ndarray,
    query: np.ndarray,
    *,
    groups: tuple[Sequence, Sequence, Sequence] | None = None,
    min_cells: int = 10,
) -> np.ndarray:
    """Predict by the change of the mean: `query + mean target - mean source`.

    Parameters
    ----------
    source, target
        Training cells, shapes `(k, d)` and `(m, d)`.
    query
        Cells to predict for, shape `(n, d)`.
    groups
        Labels of the source, the target and the query cells, lengths `k`, `m` and `n`: each group
        then has its own shift. Groups without cells on either side use the shift of all cells. None
        for a single shift.
    min_cells
        Minimum number of training cells of a group on both sides for its own shift.

    Returns
    -------
    Predicted cells, shape `(n, d)`.

    Raises
    ------
    TypeError
        When `min_cells` is not an integer.
    ValueError
        When an array is empty or not finite, the numbers of features differ, or `groups` are not
        three lists with one label per cell.

    Examples
    --------
    >>> predicted = sg.baselines.mean_shift(source, target, query)
    >>> labels = source_types, target_types, query_types
    >>> predicted = sg.baselines.mean_shift(source, target, query, groups=labels)
    """
    source, target, query = check_one_space({"source": source, "target": target, "query": query})
    check_count("min_cells", min_cells, 1)
    shifts = np.tile(target.mean(0) - source.mean(0), (len(query), 1))
    if groups is not None:
        if len(groups) != 3:
            raise ValueError(
                f"`groups` has {len(groups)} parts: give the labels of source, target and query "
                "cells."
            )
        named = zip(groups, (source, target, query), ("source", "target", "query"), strict=True)
        of_source, of_target, of_query = (
            check_labels(g, len(cells), f"groups of {name}") for g, cells, name in named
        )
        for group in np.unique(of_query):
            before, after = source[of_source == group], target[of_target == group]
            if min(len(before), len(after)) >= min_cells:
                shifts[of_query == group] = after.mean(0) - before.mean(0)
    return query + shifts


@typed
def interpolated_shift(
    source: np.ndarray, low: np.ndarray, high: np.ndarray, fraction: float, query: np.ndarray
) -> np.ndarray:
    """Predict an unmeasured dose by the mean shifts of the doses below and above it.

    `query + (1 - fraction) (mean low - mean source) + fraction (mean high - mean source)`.

    Parameters
    ----------
    source
        Untreated training cells, shape `(k, d)`.
    low, high
        Cells treated with the lower and with the higher dose, shapes `(l, d)` and `(h, d)`.
    fraction
        Position of the dose between the two, on any scale: 0 for the lower, 1 for the higher dose.
    query
        Cells to predict for, shape `(n, d)`.

    Returns
    -------
    Predicted cells, shape `(n, d)`.

    Raises
    ------
    TypeError
        When `fraction` is not a number.
    ValueError
        When an array is empty or not finite, the numbers of features differ, or `fraction` is
        outside [0, 1].

    Examples
    --------
    >>> fraction = np.log(3 / 1) / np.log(10 / 1)  # dose 3 between 1 and 10, on a logarithmic scale
    >>> predicted = sg.baselines.interpolated_shift(source, target, treated, fraction, query)
    """
    populations = {"source": source, "low": low, "high": high, "query": query}
    source, low, high, query = check_one_space(populations)
    check_unit("fraction", fraction)
    return query + (1 - fraction) * low.mean(0) + fraction * high.mean(0) - source.mean(0)


@typed
def gaussian_map(source: np.ndarray, target: np.ndarray, query: np.ndarray) -> np.ndarray:
    r"""Predict by the optimal map between Gaussians with the moments of both populations.

    :math:`T(x) = b + A^{-1/2} (A^{1/2} B A^{1/2})^{1/2} A^{-1/2} (x - a)` maps N(a, A) to N(b, B)
    at the least squared distance. With fewer than 10 cells per column on either side, both
    covariances are shrunk toward a multiple of the identity (Ledoit and Wolf). Otherwise they are
    empirical, and the mean and covariance of the mapped source cells equal those of the target
    cells. Along directions in which source cells do not vary, all cells are mapped to the mean of
    the target.

    Parameters
    ----------
    source, target
        Training cells, shapes `(k, d)` and `(m, d)`, at least 2 each.
    query
        Cells to predict for, shape `(n, d)`.

    Returns
    -------
    Predicted cells, shape `(n, d)`.

    Raises
    ------
    ValueError
        When an array is empty or not finite, the numbers of features differ, or a side has fewer
        than 2 cells.

    References
    ----------
    Peyré, Cuturi (2019), *Computational optimal transport*, arXiv 1803.00567, remark 2.31; Ledoit,
    Wolf (2004), *A well-conditioned estimator for large-dimensional covariance matrices*.

    Examples
    --------
    >>> predicted = sg.baselines.gaussian_map(source, target, query)
    """
    source, target, query = check_one_space({"source": source, "target": target, "query": query})
    for name, cells in (("source", source), ("target", target)):
        if len(cells) < 2:
            raise ValueError(f"`{name}` has 1 cell: a covariance needs at least 2.")
    few = min(len(source), len(target)) < _CELLS_PER_COLUMN * source.shape[1]
    sides = source, target
    A, B = (ledoit_wolf(side)[0] if few else np.atleast_2d(np.cov(side.T)) for side in sides)
    root, inverse_root = _power(A, 0.5), _power(A, -0.5)
    slope = inverse_root @ _power(root @ B @ root, 0.5) @ inverse_root
    return target.mean(0) + (query - source.mean(0)) @ slope


def _power(matrix: np.ndarray, power: float) -> np.ndarray:
    """Power of a symmetric positive semi-definite matrix where it is not 0."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > _FLAT * values.max()
    return (vectors[:, kept] * values[kept] ** power) @ vectors[:, kept].T
