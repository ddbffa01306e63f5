"""Distances between populations."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from scgenot._random import Rng, numpy_rng
from scgenot.population import bures
from scgenot.population.energy import energy_distances
from scgenot.population.gaussian import estimate
from scgenot.population.sinkhorn import divergences

# below, the distance of two samples of one population grows until it hides others: in 30
# dimensions, 100 cells a sample, it is 3.2 at .05 and .8 at .5, where Gaussians have 1.0
EPSILON = 0.5

Kind = Literal["bures", "sinkhorn", "energy"]


def pairwise(
    clouds: Sequence[np.ndarray],
    kind: Kind = "bures",
    *,
    epsilon: float = EPSILON,
    n_cells: int | None = 1000,
    names: Sequence[str] | None = None,
    rng: Rng = 0,
    device: str = "cpu",
    progress: bool = False,
    warn: bool = True,
) -> np.ndarray:
    """Distances between all pairs of populations.

    Parameters
    ----------
    clouds
        Cells of each population, shapes `(n_k, d)`.
    kind
        "bures": the 2-Wasserstein distance between Gaussians; "sinkhorn": the square root of the
        debiased transport cost; "energy": the square root of the energy distance.
    epsilon
        Regularization of "sinkhorn", in units of the mean squared distance between two cells of a
        population.
    n_cells
        Maximum number of cells per population for "sinkhorn" and "energy", drawn at random; None
        for all.
    names
        Names of the populations, for messages.
    rng
        Seed of the cells that are drawn.
    device
        Where to compute.
    progress
        Whether to show a progress bar.
    warn
        Whether to warn about populations with few cells.

    Returns
    -------
    A symmetric matrix with a diagonal of 0, shape `(n, n)`.
    """
    if kind == "bures":
        gaussians = estimate(clouds, names=names, warn=warn).to(device)
        return bures.distances(gaussians, progress=progress).cpu().numpy()
    clouds = subsample(clouds, n_cells, rng)
    options = {"device": device, "progress": progress}
    if kind == "energy":
        return np.sqrt(energy_distances(clouds, **options))
    return np.sqrt(divergences(clouds, epsilon=epsilon * scale_of(clouds), **options))


def subsample(clouds: Sequence[np.ndarray], n_cells: int | None, rng: Rng = 0) -> list[np.ndarray]:
    """Draw at most a number of cells of each population, without replacement."""
    rng = numpy_rng(rng)
    return [
        cloud
        if n_cells is None or len(cloud) <= n_cells
        else cloud[np.sort(rng.choice(len(cloud), n_cells, replace=False))]
        for cloud in clouds
    ]


def scale_of(clouds: Sequence[np.ndarray]) -> float:
    """Mean squared distance between two cells of a population; 1 if all are single points."""
    spreads = [np.asarray(cloud, dtype=float).var(0).sum() for cloud in clouds]
    return float(2 * np.mean(spreads)) or 1.0
