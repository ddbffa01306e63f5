"""Entropic plans whose conditional laws are Gaussian mixtures (Korotin et al.

2024, LightSB, arXiv 2310.01174).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MixturePlan:
    """Cost |x - y|^2 / 2 in one dimension.

    `pi(y | x) = sum_k w_k(x) N(y; r_k + S_k x, epsilon S_k)` for any source,
    with w_k proportional to alpha_k exp((S_k x^2 + 2 r_k x) / (2 epsilon)).
    """

    alpha: np.ndarray
    r: np.ndarray
    S: np.ndarray
    epsilon: float

    def density(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """pi(y | x), shape `(n, m)`."""
        log_w = np.log(self.alpha) + (self.S * x[:, None] ** 2 + 2 * self.r * x[:, None]) / (
            2 * self.epsilon
        )
        w = np.exp(log_w - log_w.max(1, keepdims=True))
        variance = self.epsilon * self.S
        residual = y[None, :, None] - (self.r + self.S * x[:, None])[:, None]
        normal = np.exp(-(residual**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        return (normal * (w / w.sum(1, keepdims=True))[:, None]).sum(2)
