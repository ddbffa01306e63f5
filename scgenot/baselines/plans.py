"""Baselines that follow pairs of training cells: those of an entropic plan, or any others."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from scgenot._check import check_count, check_memory, check_one_space, check_unit
from scgenot._random import Rng, numpy_rng, seed_of, torch_rng
from scgenot._typed import typed
from scgenot.pair import Pair


@typed
def plan_nearest(
    source: np.ndarray,
    target: np.ndarray,
    query: np.ndarray,
    *,
    epsilon: float = 0.05,
    n_neighbors: int = 1,
    displacement: bool = False,
    rng: Rng = 0,
) -> np.ndarray:
    """Predict by a discrete plan: a target cell drawn from the row of the nearest training cell.

    The plan is that of :class:`scgenot.ot.Sinkhorn` between the training cells. For a query cell,
    one of its nearest source cells (Euclidean) is drawn, and one target cell from the row of that
    cell. The nearest cell of a source cell is itself.

    Parameters
    ----------
    source, target
        Training cells, shapes `(k, d)` and `(m, d)`, at least 2 each.
    query
        Cells to predict for, shape `(n, d)`.
    epsilon
        Entropic regularization in units of the mean cost.
    n_neighbors
        Number of nearest source cells from which one is drawn.
    displacement
        Predict `query + drawn target - nearest source` instead of the drawn target.
    rng
        Seed.

    Returns
    -------
    Predicted cells, shape `(n, d)`: target cells, unless `displacement`.

    Raises
    ------
    ValueError
        When an array is empty or not finite, the numbers of features differ, or there are fewer
        source cells than `n_neighbors`.

    Examples
    --------
    >>> predicted = sg.baselines.plan_nearest(source, target, query)
    >>> moved = sg.baselines.plan_nearest(source, target, query, displacement=True)
    """
    source, target, query = check_one_space({"source": source, "target": target, "query": query})
    if not 1 <= n_neighbors <= len(source):
        raise ValueError(
            f"`n_neighbors={n_neighbors}` must be between 1 and the {len(source)} source cells."
        )
    generator = numpy_rng(rng)
    coupling = _plan(source, target, epsilon, generator)
    search = NearestNeighbors(n_neighbors=n_neighbors).fit(source)
    neighbors = search.kneighbors(query, return_distance=False)
    nearest = neighbors[np.arange(len(query)), generator.integers(n_neighbors, size=len(query))]
    drawn = coupling.sample(nearest, generator=torch_rng(generator, coupling.device))
    drawn = drawn[:, 0].cpu().numpy()
    return query + target[drawn] - source[nearest] if displacement else target[drawn]


@typed
def plan_pairs(
    source: np.ndarray, target: np.ndarray, n: int, *, epsilon: float = 0.05, rng: Rng = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs of a source and a target cell from a discrete plan, for :func:`straight`.

    The plan is that of :class:`scgenot.ot.Sinkhorn`; each source cell appears its expected number
    of times, give or take one.

    Parameters
    ----------
    source, target
        Cells before and after, shapes `(k, d)` and `(m, d)`, at least 2 each.
    n
        Pairs to draw.
    epsilon
        Entropic regularization in units of the mean cost.
    rng
        Seed of the draw.

    Returns
    -------
    Indices of source and of target cells, two arrays of shape `(n,)`, in random order.

    Raises
    ------
    TypeError
        When `n` is not an integer.
    ValueError
        When an array is empty or not finite, the numbers of features differ, or `n` is below 1.

    Examples
    --------
    >>> pairs = sg.baselines.plan_pairs(source, target, 500)
    >>> predicted = sg.baselines.straight(source, target, 0.5, pairs=pairs)
    """
    source, target = check_one_space({"source": source, "target": target})
    check_count("n", n, 1)
    check_memory("n", n, n)
    generator = numpy_rng(rng)
    coupling = _plan(source, target, epsilon, generator)
    i, j = coupling.sample_pairs(n, generator=torch_rng(generator, coupling.device))
    return i.cpu().numpy(), j.cpu().numpy()


@typed
def straight(
    source: np.ndarray,
    target: np.ndarray,
    s: float,
    *,
    pairs: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Predict the population between two time points along straight lines between pairs.

    The cells are `(1 - s) x_i + s y_j` over pairs `(i, j)`.

    With :func:`random_pairs` the pairing carries no information; with :func:`plan_pairs` it is
    displacement interpolation of the plan.

    Parameters
    ----------
    source, target
        Cells before and after, shapes `(k, d)` and `(m, d)`.
    s
        Fraction of the time that has passed, in [0, 1].
    pairs
        Indices of source and of target cells, two arrays of one length `n`; None pairs row `i` with
        row `i`.

    Returns
    -------
    Predicted cells, shape `(n, d)`.

    Raises
    ------
    TypeError
        When `s` is not a number.
    ValueError
        When an array is empty or not finite, the numbers of features differ, `s` is outside [0, 1],
        or `pairs` are not indices of the cells.

    References
    ----------
    McCann (1997), *A convexity principle for interacting gases*.

    Examples
    --------
    >>> pairs = sg.baselines.plan_pairs(source, target, 500)
    >>> halfway = sg.baselines.straight(source, target, 0.5, pairs=pairs)
    """
    source, target = check_one_space({"source": source, "target": target})
    check_unit("s", s)
    if pairs is None:
        if len(source) != len(target):
            raise ValueError(
                f"`source` has {len(source)} cells, `target` {len(target)}: give `pairs`."
            )
        return (1 - s) * source + s * target
    if len(pairs) != 2:
        raise ValueError(
            f"`pairs` has {len(pairs)} parts: give indices of source and of target cells."
        )
    i, j = (np.asarray(indices) for indices in pairs)
    if i.shape != j.shape or i.ndim != 1:
        raise ValueError(
            f"`pairs` have shapes {i.shape} and {j.shape}: one source and one target cell per pair."
        )
    for name, indices, cells in (("source", i, source), ("target", j, target)):
        is_index = np.issubdtype(indices.dtype, np.integer)
        if not is_index or not ((indices >= 0) & (indices < len(cells))).all():
            raise ValueError(f"`pairs` must be indices of the {len(cells)} `{name}` cells, from 0.")
    return (1 - s) * source[i] + s * target[j]


def _plan(source: np.ndarray, target: np.ndarray, epsilon: float, generator: np.random.Generator):
    from scgenot import ot

    return ot.Sinkhorn(epsilon=epsilon, rng=seed_of(generator))(Pair(source, target))
