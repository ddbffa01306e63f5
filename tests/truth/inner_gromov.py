"""Entropic Gromov-Wasserstein of inner products between centred Gaussians (Le et al.

2022, arXiv 2108.10961).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class InnerGromov:
    """N(0, diag l) to N(0, diag b), eigenvalues falling.

    Minimises `sum (<x, x'> - <y, y'>)^2 P P + epsilon KL(P | ab)`.

    Axis k of one side goes with axis k of the other, with covariance (l_k b_k - epsilon / 4)_+^.5
    up to sign.
    """

    source: np.ndarray
    target: np.ndarray
    epsilon: float

    @property
    def cross(self) -> np.ndarray:
        """Absolute covariance of the matched axes; 0 where they are independent."""
        k = min(len(self.source), len(self.target))
        return np.sqrt(np.maximum(self.source[:k] * self.target[:k] - self.epsilon / 4, 0))

    @property
    def conditional_variance(self) -> np.ndarray:
        """Var(y_k | x_k).

        Epsilon / (4 l_k) while the axes are matched, that of y where they are not.
        """
        k = len(self.cross)
        return np.where(self.cross > 0, self.epsilon / (4 * self.source[:k]), self.target[:k])
