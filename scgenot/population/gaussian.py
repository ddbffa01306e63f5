"""A population as a Gaussian: its mean and its regularized covariance."""

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

    Each covariance is computed from the cells of the population and from `d` additional cells with
    the covariance within populations (Friedman 1989, *Regularized discriminant analysis*, eq. 7).
    The weight of the latter is the same for populations of the same size, which preserves the order
    of the distances between them: a weight estimated for each population, such as the oracle
    approximating one, has smaller errors of single covariances but larger errors of their
    differences. A population of one cell has the covariance within all populations.

    Parameters
    ----------
    clouds
        Cells of each population, shapes `(n_k, d)`.
    names
        Names of the populations, for messages; None for their positions.
    warn
        Whether to warn about populations of at most `d` cells, whose own covariance is singular.

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
    prior = len(within) * within
    scatter = np.array([cells.T @ cells for cells in centred])
    sizes = np.array(list(map(len, clouds)))
    covariances = (scatter + prior) / (sizes - 1 + len(within))[:, None, None]
    if warn:
        _warn_of_few(sizes, len(within), names)
    return Gaussians(torch.from_numpy(means), torch.from_numpy(covariances))


def unshrunk(covariance: torch.Tensor, n: int) -> torch.Tensor:
    """Covariances of `n` cells whose shrunk covariances are the given ones.

    In coordinates in which the covariance within populations is the identity. Eigenvalues are 0 if
    there is no such covariance.
    """
    values, vectors = torch.linalg.eigh(covariance)
    values = (values + (values - 1) * values.shape[-1] / (n - 1)).clamp(min=0)
    return vectors * values[..., None, :] @ vectors.mT


def _within(centred: list[np.ndarray]) -> np.ndarray:
    """Covariance within all populations; shrunk where even these have few cells."""
    cells = np.concatenate(centred)
    if not cells.any():
        raise ValueError(
            "`population_key`: no population has two different cells, which a covariance needs. "
            "Name a column with more cells for each label."
        )
    # columns of one size, so that shrinkage does not depend on their units
    spread = np.sqrt(np.square(cells).mean(0))
    spread[spread == 0] = spread[spread > 0].min()
    correlation = oas(cells / spread, assume_centered=True)[0]
    return correlation * np.outer(spread, spread) * len(cells) / (len(cells) - len(centred))


def _warn_of_few(sizes: np.ndarray, dim: int, names: Sequence[str] | None) -> None:
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
