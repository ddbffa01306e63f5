"""Distances between a sampled conditional law and the true one."""

import numpy as np

from truth.gaussians import GaussianProblem, matrix_power


def bures_wasserstein(mean_a, cov_a, mean_b, cov_b) -> np.ndarray:
    """Squared Bures-Wasserstein distances of stacks of Gaussians.

    Means `(n, d)`, covariances `(n, d, d)`.
    """
    root = matrix_power(cov_b, 0.5)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_a @ root), 0)).sum(-1)
    traces = np.trace(cov_a, axis1=-2, axis2=-1) + np.trace(cov_b, axis1=-2, axis2=-1)
    return ((mean_a - mean_b) ** 2).sum(-1) + traces - 2 * cross


def cbw_uvp(problem: GaussianProblem, x: np.ndarray, samples: np.ndarray) -> float:
    """Conditional Bures-Wasserstein unexplained variance of samples `(n, n_samples, d)`.

    It is `100 * 2 E_x BW^2 / Tr B`.
    """
    means = samples.mean(1)
    centred = samples - means[:, None]
    covariances = np.swapaxes(centred, 1, 2) @ centred / (samples.shape[1] - 1)
    distances = bures_wasserstein(means, covariances, problem.mean(x), problem.S)
    return float(200 * distances.mean() / np.trace(problem.B))


def cbw_uvp_floor(
    problem: GaussianProblem, x: np.ndarray, n_samples: int, rng: np.random.Generator
) -> float:
    """The same estimator on exact draws: what a perfect model scores."""
    return cbw_uvp(problem, x, problem.sample_conditional(x, n_samples, rng))
