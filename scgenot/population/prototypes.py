"""Features of populations: the mass that prototypes receive by partial transport."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans

from scgenot._progress import progress_bar
from scgenot._random import Rng, numpy_rng, seed_of
from scgenot.ot import Sinkhorn
from scgenot.pair import Pair
from scgenot.population.distances import subsample

TRAINING_CELLS = 20_000  # cells that prototypes are found among


def pooled(
    clouds: Sequence[np.ndarray],
    *,
    n_prototypes: int = 16,
    keep: float = 0.5,
    epsilon: float = 0.05,
    n_cells: int | None = 1000,
    rng: Rng = 0,
    device: str = "cpu",
    progress: bool = False,
) -> np.ndarray:
    """Mass and mean displacement that prototypes receive from each population.

    Prototypes are cluster centers of all cells, weighted by the number of nearest cells. The share
    `keep` of the cells of a population with the lowest cost is coupled with them, so that
    prototypes receive all, part or little of their mass (after OTSurv, arXiv 2506.20741).

    Parameters
    ----------
    clouds
        Cells of each population, shapes `(n_k, d)`.
    n_prototypes
        Number of prototypes.
    keep
        Share of the mass that is coupled.
    epsilon
        Regularization, in units of the mean cost.
    n_cells
        Maximum number of cells per population; None for all.
    rng
        Seed.
    device
        Where to compute.
    progress
        Whether to show a progress bar.

    Returns
    -------
    Features of shape `(n, n_prototypes * (1 + d))`: the mass that each prototype receives, times
    the spread of the prototypes, and the displacement of this mass, all in the units of cells.
    """
    rng = numpy_rng(rng)
    clouds = [np.asarray(cloud, dtype=float) for cloud in subsample(clouds, n_cells, rng)]
    cells = np.concatenate(subsample(clouds, max(2, TRAINING_CELLS // len(clouds)), rng))
    if n_prototypes > len(cells):
        raise ValueError(f"`n_prototypes={n_prototypes}` is more than {len(cells)} cells.")
    found = KMeans(n_prototypes, n_init=3, random_state=seed_of(rng) % 2**31).fit(cells)
    prototypes = found.cluster_centers_
    weights = np.bincount(found.labels_, minlength=n_prototypes) / len(cells)
    spread = np.sqrt(weights @ np.square(prototypes - weights @ prototypes).sum(1))
    solver = Sinkhorn(epsilon=epsilon, keep=keep, device=device, dtype=torch.float64)
    features = []
    with warnings.catch_warnings():
        # blurred plans are meant here, and there is one for each population
        warnings.filterwarnings("ignore", message="Coupling of ")
        for cloud in progress_bar(clouds, shown=progress, desc="Prototypes"):
            # a pair has two cells or more on a side; a cell twice is the same population
            cloud = cloud if len(cloud) > 1 else np.repeat(cloud, 2, axis=0)
            plan = solver(Pair(cloud, prototypes, target_weights=weights))
            mass = torch.cat([block for _, block in plan.mass_blocks()]).cpu().numpy()
            received = mass.sum(0)
            moved = mass.T @ cloud - received[:, None] * prototypes
            features.append(np.concatenate([received * spread, moved.ravel()]))
    return np.array(features)
