"""Cells of Gaussian populations."""

import numpy as np

from scgenot.population.bures import Gaussians, root


def draw_cells(populations: Gaussians, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Sample normal cells of each population, shapes `(n, d)`.

    With more cells than dimensions, they have exactly the mean and covariance of their population:
    these are, as in measured populations, the moments of the cells.
    """
    d = populations.mean.shape[1]
    normal = rng.normal(size=(len(populations), n, d))
    if n > d:
        normal = normal - normal.mean(1, keepdims=True)
        _, vectors = np.linalg.eigh(normal.swapaxes(1, 2) @ normal)
        along = normal @ vectors
        along /= np.sqrt(np.square(along).sum(1, keepdims=True) / (n - 1))
        normal = along @ vectors.swapaxes(1, 2)
    roots = root(populations.covariance).numpy()
    cells = normal @ roots + populations.mean.numpy()[:, None]
    return list(cells)
