"""Energy distances between all pairs of many populations."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scgenot._progress import progress_bar

BLOCK = 2**20  # distances between cells held at once: 8 MB


def energy_distances(
    clouds: Sequence[np.ndarray], *, device: str = "cpu", progress: bool = False
) -> np.ndarray:
    """Squared energy distances `2 E|x - y| - E|x - x'| - E|y - y'|` of all pairs, shape `(n, n)`.

    Of the populations as they are (V-statistics), so that the square root is a distance (Székely,
    Rizzo 2013, *Energy statistics*).
    """
    n = len(clouds)
    center = np.mean([np.asarray(cloud, dtype=float).mean(0) for cloud in clouds], axis=0)
    # about the center: the squares of far cells would cancel
    cells = [torch.from_numpy(np.asarray(cloud, float) - center).to(device) for cloud in clouds]
    found = np.zeros((n, n))
    for i in progress_bar(range(n), shown=progress, desc="Energy distances"):
        found[i, i:] = _mean_distances(cells[i], cells[i:])
    found = np.triu(found) + np.triu(found, 1).T
    own = np.diag(found).copy()
    squared = 2 * found - (own[:, None] + own)
    squared[np.diag_indices(n)] = 0
    return np.maximum(squared, 0)


def _mean_distances(x: Tensor, others: list[Tensor]) -> np.ndarray:
    """Mean distance between the cells of one population and those of others."""
    sizes = torch.tensor(list(map(len, others)), device=x.device)
    y = torch.cat(others)
    received = torch.cat([torch.cdist(x, part).sum(0) for part in y.split(max(1, BLOCK // len(x)))])
    place = torch.repeat_interleave(torch.arange(len(others), device=x.device), sizes)
    total = torch.zeros(len(others), dtype=x.dtype, device=x.device).index_add_(0, place, received)
    return (total / (sizes * len(x))).cpu().numpy()
