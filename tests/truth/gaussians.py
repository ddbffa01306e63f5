"""Balanced entropic optimal transport between Gaussians, with its exact answer (Janati et al. 2020)."""

from dataclasses import dataclass

import numpy as np


def matrix_power(matrix: np.ndarray, power: float) -> np.ndarray:
    """Power of a symmetric positive definite matrix, or of a stack of them."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0)[..., None, :] ** power) @ np.swapaxes(vectors, -1, -2)


@dataclass(frozen=True)
class GaussianProblem:
    """N(a, A) to N(b, B), cost |x - y|^2, entropy `epsilon` KL(P | a b); everything about its plan in closed form.

    With s = epsilon / 2 and D = (4 A^.5 B A^.5 + s^2 I)^.5 the plan is Gaussian with cross-covariance
    C = (A^.5 D A^-.5 - s I) / 2, so y | x ~ N(b + C' A^-1 (x - a), B - C' A^-1 C).
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
        return transport + self.dim * s * (1 - np.log(2 * s)) + s * np.linalg.slogdet(D + s * identity)[1]

    def mean(self, x: np.ndarray) -> np.ndarray:
        """Conditional means, `(n, d)` to `(n, d)`."""
        return self.b + (x - self.a) @ self.slope.T

    def sample_source(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.a + rng.standard_normal((n, self.dim)) @ matrix_power(self.A, 0.5)

    def sample_target(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.b + rng.standard_normal((n, self.dim)) @ matrix_power(self.B, 0.5)

    def sample_conditional(self, x: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
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


def random_problem(dim: int, rng: np.random.Generator, *, relative_epsilon: float = 0.05) -> GaussianProblem:
    """Problem with generic covariances and means; epsilon is relative to the mean cost of the product plan."""
    a, b = 0.5 * rng.standard_normal((2, dim))
    A, B = random_covariance(dim, rng), random_covariance(dim, rng)
    mean_cost = (a - b) @ (a - b) + np.trace(A) + np.trace(B)
    return GaussianProblem(a, A, b, B, relative_epsilon * mean_cost)
