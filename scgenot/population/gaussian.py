"""A population as a Gaussian: its mean and a covariance that few cells do not make singular."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.covariance import oas

from scgenot._warn import warn_user
from scgenot.population.bures import Gaussians

MOST_NAMED = 5  # populations in a warning


def estimate(
    clouds: Sequence[np.ndarray], *, names: Sequence[str] | None = None, warn: bool = True
) -> Gaussians:
    """Mean and covariance of each population, in double precision.

    Covariances are shrunk towards the one within all populations, by the oracle approximating
    shrinkage of Chen et al. (2010), *Shrinkage algorithms for MMSE covariance estimation*, arXiv
    0907.4698, in coordinates in which that one is the identity. Many cells are hardly shrunk; a
    population of one cell, or whose cells coincide, has the covariance within all.

    Parameters
    ----------
    clouds
        Cells of each population, shapes `(n_k, d)`.
    names
        Names of the populations, for messages; None for their positions.
    warn
        Whether to warn of populations of at most `d` cells, whose own covariance is singular.

    Returns
    -------
    Means of shape `(n, d)` and positive covariances of shape `(n, d, d)`.

    Raises
    ------
    ValueError
        When no population has two different cells.
    """
    clouds = [np.asarray(cloud, dtype=np.float64) for cloud in clouds]
    means = np.array([cloud.mean(0) for cloud in clouds])
    centred = [cloud - mean for cloud, mean in zip(clouds, means, strict=True)]
    within = _within(centred)
    values, vectors = np.linalg.eigh(within)
    values = np.maximum(values, values[-1] * len(values) * np.finfo(float).eps)
    to_white, back = vectors / np.sqrt(values), (vectors * np.sqrt(values)).T
    shrunk = np.array([_shrunk(cloud @ to_white) for cloud in centred])
    covariances = back.T @ shrunk @ back
    if warn:
        _warn_of_few(list(map(len, clouds)), len(values), names)
    return Gaussians(torch.from_numpy(means), torch.from_numpy(covariances))


def _within(centred: list[np.ndarray]) -> np.ndarray:
    """Covariance within all populations."""
    cells = np.concatenate(centred)
    if not cells.any():
        raise ValueError(
            "A covariance needs two different cells: no population has two different cells."
        )
    # columns of one size, so that shrinkage does not depend on their units
    spread = np.sqrt(np.square(cells).mean(0))
    spread[spread == 0] = spread[spread > 0].min()
    correlation = oas(cells / spread, assume_centered=True)[0]
    return correlation * np.outer(spread, spread) * len(cells) / (len(cells) - len(centred))


def _shrunk(cells: np.ndarray) -> np.ndarray:
    """Shrink the covariance of centred cells towards a multiple of the identity."""
    n, d = cells.shape
    if not cells.any():
        return np.eye(d)
    return oas(cells, assume_centered=True)[0] * n / (n - 1)


def _warn_of_few(sizes: list[int], dim: int, names: Sequence[str] | None) -> None:
    """Name the populations whose own covariance would be singular."""
    few = [k for k, size in enumerate(sizes) if size <= dim]
    if not few:
        return
    shown = [f"{k if names is None else names[k]} ({sizes[k]})" for k in few[:MOST_NAMED]]
    warn_user(
        f"{len(few)} of {len(sizes)} populations have at most {dim} cells, the number of "
        f"dimensions: {', '.join(shown)}{', ...' * (len(few) > MOST_NAMED)}. Their covariances are "
        "shrunk towards that within all populations; take fewer dimensions or leave them out."
    )
