"""Sinkhorn divergences between all pairs of many populations."""

from collections.abc import Iterator, Sequence

import numpy as np

from scgenot._progress import progress_bar
from scgenot._warn import warn_user
from scgenot.ot.batched import Batch, Settings, solve

# entries of the kernels of a batch: what stays in the cache of a core, and what fills a GPU
BLOCK, BLOCK_GPU = 2**18, 2**26


def divergences(
    clouds: Sequence[np.ndarray],
    *,
    epsilon: float,
    device: str = "cpu",
    progress: bool = False,
) -> np.ndarray:
    """Debiased transport costs between all pairs of populations, shape `(n, n)`.

    `W(x, y) - (W(x, x) + W(y, y)) / 2` with the squared Euclidean cost (Feydy et al. 2019, arXiv
    1810.08278, eq. 3), symmetric, 0 for equal populations and `|s|^2` for a shift by `s`. `epsilon`
    is in units of the squared distance.
    """
    settings = Settings(epsilon, device=device)
    n, sizes = len(clouds), np.array(list(map(len, clouds)))
    means = np.array([np.asarray(cloud, dtype=float).mean(0) for cloud in clouds])
    order = np.argsort(sizes)  # populations of similar size need little padding
    i, j = (order[side] for side in np.triu_indices(n))
    found, errors = np.zeros((n, n)), np.zeros(len(i))
    blocks = list(batches(sizes[i], sizes[j], device))
    for rows in progress_bar(blocks, shown=progress, desc="Sinkhorn distances"):
        sides = [Batch.of([clouds[k] for k in side[rows]], device) for side in (i, j)]
        plans = solve(*sides, settings)
        found[i[rows], j[rows]] = epsilon * plans.values().cpu().numpy()
        errors[rows] = plans.error.cpu().numpy()
    found = np.where(found == 0, found.T, found)
    if (errors > settings.tolerance).any():
        warn_user(
            f"{(errors > settings.tolerance).sum()} of {len(i)} Sinkhorn distances did not "
            f"converge: marginal error up to {errors.max():.2g}. Raise `epsilon`."
        )
    own = np.diag(found)
    squared = found - (own[:, None] + own) / 2
    squared += np.square(means[:, None] - means).sum(2)
    squared[np.diag_indices(n)] = 0
    return np.maximum((squared + squared.T) / 2, 0)


def batches(n: np.ndarray, m: np.ndarray, device: str) -> Iterator[slice]:
    """Yield runs of problems whose padded kernels have at most a block's entries."""
    most = BLOCK if str(device) == "cpu" else BLOCK_GPU
    start, rows, columns = 0, 0, 0
    for k in range(len(n)):
        rows, columns = max(rows, n[k]), max(columns, m[k])
        if k > start and (k + 1 - start) * rows * columns > most:
            yield slice(start, k)
            start, rows, columns = k, n[k], m[k]
    yield slice(start, len(n))
