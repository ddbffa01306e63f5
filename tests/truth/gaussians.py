"""Balanced entropic optimal transport between Gaussians, with its exact answer (Janati et al.

2020).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


def matrix_power(matrix: np.ndarray, power: float) -> np.ndarray:
    """Power of a symmetric positive definite matrix, or of a stack of them."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0)[..., None, :] ** power) @ np.swapaxes(vectors, -1, -2)


@dataclass(frozen=True)
class GaussianProblem:
    """N(a, A) to N(b, B), cost |x - y|^2, entropy `epsilon` KL(P | a b), in closed form.

    With s = epsilon / 2 and D = (4 A^.5 B A^.5 + s^2 I)^.5 the plan is Gaussian with
    cross-covariance C = (A^.5 D A^-.5 - s I) / 2, so y | x ~ N(b + C' A^-1 (x - a), B - C' A^-1 C).
    """

    a: np.ndarray
    A: np.ndarray
    b: np.ndarray
    B: np.ndarray
    epsilon: float

    @property
    def dim(self) -> int:
        return len(self.a)

    @property
    def s(self) -> float:
        return self.epsilon / 2

    @property
    def D(self) -> np.ndarray:
        root = matrix_power(self.A, 0.5)
        return matrix_power(4 * root @ self.B @ root + self.s**2 * np.eye(self.dim), 0.5)

    @property
    def C(self) -> np.ndarray:
        root, inverse_root = matrix_power(self.A, 0.5), matrix_power(self.A, -0.5)
        return (root @ self.D @ inverse_root - self.s * np.eye(self.dim)) / 2

    @property
    def slope(self) -> np.ndarray:
        """C' A^-1: what multiplies x - a in the conditional mean."""
        return np.linalg.solve(self.A, self.C).T

    @property
    def S(self) -> np.ndarray:
        """Conditional covariance, the same for every x."""
        covariance = self.B - self.slope @ self.C
        return (covariance + covariance.T) / 2

    @property
    def value(self) -> float:
        """<P, c> + epsilon KL(P | a b)."""
        shift, s, D, identity = self.a - self.b, self.s, self.D, np.eye(self.dim)
        transport = shift @ shift + np.trace(self.A) + np.trace(self.B) - np.trace(D)
        return (
            transport
            + self.dim * s * (1 - np.log(2 * s))
            + s * np.linalg.slogdet(D + s * identity)[1]
        )

    def mean(self, x: np.ndarray) -> np.ndarray:
        """Conditional means, `(n, d)` to `(n, d)`."""
        return self.b + (x - self.a) @ self.slope.T

    def sample_source(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.a + rng.standard_normal((n, self.dim)) @ matrix_power(self.A, 0.5)

    def sample_target(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.b + rng.standard_normal((n, self.dim)) @ matrix_power(self.B, 0.5)

    def sample_conditional(
        self, x: np.ndarray, n_samples: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Exact draws of y | x, shape `(n, n_samples, d)`."""
        noise = rng.standard_normal((len(x), n_samples, self.dim))
        return self.mean(x)[:, None] + noise @ matrix_power(self.S, 0.5)

    def log_prob(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log pi(y | x), shape `(n,)`."""
        residual = y - self.mean(x)
        squared = (residual * np.linalg.solve(self.S, residual.T).T).sum(1)
        return -0.5 * (squared + np.linalg.slogdet(2 * np.pi * self.S)[1])


def random_covariance(dim: int, rng: np.random.Generator) -> np.ndarray:
    """Wishart with 2 d degrees of freedom, mean identity: eigenvalues from about .1 to 3."""
    factor = rng.standard_normal((dim, 2 * dim))
    return factor @ factor.T / (2 * dim)


def random_problem(
    dim: int, rng: np.random.Generator, *, relative_epsilon: float = 0.05
) -> GaussianProblem:
    """Problem with generic covariances and means.

    Epsilon is relative to the mean cost of the product plan.
    """
    a, b = 0.5 * rng.standard_normal((2, dim))
    A, B = random_covariance(dim, rng), random_covariance(dim, rng)
    mean_cost = (a - b) @ (a - b) + np.trace(A) + np.trace(B)
    return GaussianProblem(a, A, b, B, relative_epsilon * mean_cost)


class OptimalField(nn.Module):
    """The best velocity field there is for y | x ~ N(intercept + slope x, S), noise N(0, I).

    With m = E[y | x] and V_t = (1 - t)^2 I + t^2 S, the covariance of z_t given x, regression of y
    - z on z_t gives v = m + (t S - (1 - t) I) V_t^-1 (z_t - t m). S commutes with V_t, so the flow
    has the solution z_t = t m + V_t^.5 z_0, and z_1 = m + S^.5 z_0.
    """

    def __init__(self, slope: np.ndarray, intercept: np.ndarray, S: np.ndarray):
        super().__init__()
        self.slope, self.intercept = torch.as_tensor(slope), torch.as_tensor(intercept)
        values, vectors = np.linalg.eigh(S)
        self.values, self.vectors = torch.as_tensor(values), torch.as_tensor(vectors)

    def forward(
        self, t: Tensor, z: Tensor, source: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        t, mean = t[:, None], source @ self.slope.T + self.intercept
        gain = (t * self.values - (1 - t)) / ((1 - t) ** 2 + t**2 * self.values)
        return mean + ((z - t * mean) @ self.vectors * gain) @ self.vectors.T


def optimal_field(
    problem: GaussianProblem, source_mean=0.0, source_std=1.0, target_mean=0.0, target_std=1.0
) -> OptimalField:
    """Best field for a problem whose cells are standardised by these moments of their columns."""
    source_mean, source_std, target_mean, target_std = (
        np.broadcast_to(np.asarray(value, dtype=float), problem.dim)
        for value in (source_mean, source_std, target_mean, target_std)
    )
    slope = problem.slope * source_std / target_std[:, None]
    intercept = (problem.mean(source_mean[None])[0] - target_mean) / target_std
    return OptimalField(slope, intercept, problem.S / np.outer(target_std, target_std))


class ExactCoupling:
    """The true plan as a coupling.

    `n_draws` exact targets for each source cell, `targets`, row by row.
    """

    def __init__(
        self, problem: GaussianProblem, source: np.ndarray, n_draws: int, rng: np.random.Generator
    ):
        self.n_source, self.n_draws = len(source), n_draws
        self.targets = (
            problem.sample_conditional(source, n_draws, rng)
            .reshape(-1, problem.dim)
            .astype(np.float32)
        )

    def sample_pairs(self, n_pairs: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        i = torch.randint(self.n_source, (n_pairs,), generator=generator)
        return i, i * self.n_draws + torch.randint(self.n_draws, (n_pairs,), generator=generator)
