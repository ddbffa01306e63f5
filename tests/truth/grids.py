"""Gaussians as quadrature grids: their plan is the continuous one to many digits.

The trapezoidal rule on a grid of step h errs on a Gaussian of standard deviation s by about exp(-2
pi^2 s^2 / h^2), and by the mass beyond the ends. The narrowest Gaussian here is the conditional
law, so that its width sets the error.
"""

import numpy as np


def normal_grid(
    mean: float, variance: float, n: int, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of N(mean, variance): `n` even steps over `width` deviations a side."""
    u = np.linspace(-width, width, n)
    weights = np.exp(-(u**2) / 2)
    return (mean + np.sqrt(variance) * u)[:, None], weights / weights.sum()


def tensor_grid(
    mean: np.ndarray, root: np.ndarray, n: int, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of N(mean, root root') on a grid along the columns of `root`."""
    u = np.linspace(-width, width, n)
    points = np.stack(np.meshgrid(*[u] * len(mean), indexing="ij"), -1).reshape(-1, len(mean))
    weights = np.exp(-(points**2).sum(1) / 2)
    return mean + points @ root.T, weights / weights.sum()


def quadrature_error(relative_variance: float, n: int, width: float) -> float:
    """Bound on the relative error of a grid for a Gaussian of `relative_variance`."""
    step = 2 * width / (n - 1)
    return float(2 * np.exp(-2 * np.pi**2 * relative_variance / step**2) + np.exp(-(width**2) / 2))
