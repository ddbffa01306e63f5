"""Unbalanced entropic transport between one-dimensional Gaussians (Janati et al.

2020, arXiv 2006.02572, Thm 3).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UnbalancedGaussians:
    """N(a, A) to N(b, B): the plan is a scaled Gaussian.

    The cost is `|x - y|^2 + 2s KL(P | ab) + g KL(P1 | a) + g KL(P'1 | b)`.

    With lam = s + g / 2, X = A + B + lam, the relaxed variances A~ = g / 2 (1 - lam / (A + lam))
    and likewise B~, and C = (A~ B~ / tau + s^2 / 4)^.5 - s / 2, tau = g / (g + 2 s).
    """

    s: float
    g: float
    a: float = 0.0
    A: float = 1.5
    b: float = 1.0
    B: float = 0.7

    @property
    def epsilon(self) -> float:
        return 2 * self.s

    @property
    def tau(self) -> float:
        return self.g / (self.g + 2 * self.s)

    @property
    def _lam(self) -> float:
        return self.s + self.g / 2

    @property
    def _X(self) -> float:
        return self.A + self.B + self._lam

    @property
    def _C(self) -> float:
        relaxed = [self.g / 2 * (1 - self._lam / (v + self._lam)) for v in (self.A, self.B)]
        return np.sqrt(relaxed[0] * relaxed[1] / self.tau + self.s**2 / 4) - self.s / 2

    @property
    def means(self) -> tuple[float, float]:
        return self.a + self.A / self._X * (self.b - self.a), self.b + self.B / self._X * (
            self.a - self.b
        )

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of (x, y) under the normalised plan."""
        stretch = 1 + self._C / self._lam
        own = [stretch * (v - v**2 / self._X) for v in (self.A, self.B)]
        cross = self._C + stretch * self.A * self.B / self._X
        return np.array([[own[0], cross], [cross, own[1]]])

    def growth(self, x: np.ndarray, mass: float) -> np.ndarray:
        """Mass sent over mass had, mass N(x; m1, H11) / N(x; a, A)."""
        return (
            mass * _density(x, self.means[0], self.covariance[0, 0]) / _density(x, self.a, self.A)
        )

    def objective(self, mass: float) -> float:
        """Value at the optimum.

        Scaling the plan by t has derivative 0 at t = 1, so all terms but the masses cancel.
        """
        return (2 * self.s + 2 * self.g) * (1 - mass)


def _density(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


# masses of the fixtures A = 1.5, B = .7, b - a = 1
MASSES = {(0.25, 1.0): 0.696227, (0.5, 5.0): 0.866006}
