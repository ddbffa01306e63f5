"""Baselines that return real cells unchanged, and the ceiling."""

import numpy as np

from scgenot._check import check_count, check_memory, check_one_space, check_unit
from scgenot._random import Rng, numpy_rng
from scgenot._typed import typed


@typed
def identity(query: np.ndarray) -> np.ndarray:
    """Predict no change: the cells themselves.

    Parameters
    ----------
    query
        Cells to predict for, shape `(n, d)`.

    Returns
    -------
    A copy of them, shape `(n, d)`.

    Raises
    ------
    ValueError
        When the array is empty or not finite.

    Examples
    --------
    >>> predicted = sg.baselines.identity(query)
    >>> sg.metrics.energy_distance(predicted, treated)
    """
    return check_one_space({"query": query})[0]


@typed
def random_targets(target: np.ndarray, n: int, *, rng: Rng = 0) -> np.ndarray:
    """Predict random target cells, independently of the source cell.

    The population is correct, but the prediction for each cell is not. No method has a smaller
    distance to the population of the target cells; :func:`scgenot.metrics.grouped` reveals the
    error. Each cell is drawn `n / m` times, rounded up or down. With the target cells of the
    nearest dose, this is the nearest-dose baseline.

    Parameters
    ----------
    target
        Target cells, shape `(m, d)`.
    n
        Cells to draw.
    rng
        Seed of the draw.

    Returns
    -------
    Target cells in random order, shape `(n, d)`.

    Raises
    ------
    TypeError
        When `n` is not an integer.
    ValueError
        When the array is empty or not finite, or `n` is below 1.

    Examples
    --------
    >>> predicted = sg.baselines.random_targets(target, len(query))
    """
    (target,) = check_one_space({"target": target})
    check_count("n", n, 1)
    check_memory("n", n, n)
    return target[_evenly(len(target), n, numpy_rng(rng))]


@typed
def mixture(
    source: np.ndarray, target: np.ndarray, s: float, n: int, *, rng: Rng = 0
) -> np.ndarray:
    r"""Predict the population between two time points as a mixture of both.

    :math:`(1 - s) \mu + s \nu` for source :math:`\mu` and target :math:`\nu`: a cell is from the
    target with probability `s`. The number of target cells is `n s`, rounded up or down at random,
    and on each side cells are drawn as in :func:`random_targets`.

    Parameters
    ----------
    source, target
        Cells before and after, shapes `(k, d)` and `(m, d)`.
    s
        Fraction of the time that has passed, in [0, 1].
    n
        Cells to draw.
    rng
        Seed of the draw.

    Returns
    -------
    Source and target cells in random order, shape `(n, d)`.

    Raises
    ------
    TypeError
        When `s` is not a number or `n` is not an integer.
    ValueError
        When an array is empty or not finite, the numbers of features differ, `s` is outside [0, 1]
        or `n` is below 1.

    Examples
    --------
    >>> predicted = sg.baselines.mixture(source, target, 0.5, 500)
    """
    source, target = check_one_space({"source": source, "target": target})
    check_unit("s", s)
    check_count("n", n, 1)
    check_memory("n", n, n)
    generator = numpy_rng(rng)
    n_target = min(n, int(n * s + generator.random()))
    before = source[_evenly(len(source), n - n_target, generator)]
    after = target[_evenly(len(target), n_target, generator)]
    return generator.permutation(np.vstack([before, after]))


@typed
def random_pairs(
    n_source: int, n_target: int, n: int, *, rng: Rng = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw independent pairs of a source and a target cell: the product plan, for :func:`straight`.

    Each cell appears its expected number of times, give or take one.

    Parameters
    ----------
    n_source, n_target
        Cells on each side.
    n
        Pairs to draw.
    rng
        Seed of the draw.

    Returns
    -------
    Indices of source and of target cells, two arrays of shape `(n,)`, in random order.

    Raises
    ------
    TypeError
        When a number is not an integer.
    ValueError
        When a number is below 1.

    Examples
    --------
    >>> pairs = sg.baselines.random_pairs(len(source), len(target), 500)
    >>> predicted = sg.baselines.straight(source, target, 0.5, pairs=pairs)
    """
    for name, value in (("n_source", n_source), ("n_target", n_target), ("n", n)):
        check_count(name, value, 1)
        check_memory(name, value, value)
    generator = numpy_rng(rng)
    return _evenly(n_source, n, generator), _evenly(n_target, n, generator)


@typed
def halves(cells: np.ndarray, *, rng: Rng = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split real cells into two random halves; the score between them is the ceiling.

    No method can be expected to come closer to a population than other cells of that population.
    The halves have half as many cells: compare unbiased metrics, or equal numbers of cells.

    Parameters
    ----------
    cells
        Real cells, shape `(n, d)`.
    rng
        Seed of the split.

    Returns
    -------
    Shapes `(n // 2, d)` and `(n - n // 2, d)`, each cell in one of them.

    Raises
    ------
    ValueError
        When the array is not finite or has fewer than 2 cells.

    Examples
    --------
    >>> first, second = sg.baselines.halves(treated)
    >>> ceiling = sg.metrics.energy_distance(first, second)
    """
    (cells,) = check_one_space({"cells": cells})
    if len(cells) < 2:
        raise ValueError("`cells` has 1 cell: two halves need at least 2.")
    shuffled = numpy_rng(rng).permutation(cells)
    return shuffled[: len(cells) // 2], shuffled[len(cells) // 2 :]


def _evenly(n_cells: int, n: int, generator: np.random.Generator) -> np.ndarray:
    """Indices of `n` draws from `n_cells` in random order, each as often give or take one."""
    return generator.permutation(np.resize(generator.permutation(n_cells), n))
