"""Small random populations."""

import numpy as np

from scgenot.pair import Pair


def random_pair(seed=0, *, n=60, m=45, p=3, q=3, shared=0, weights=True) -> Pair:
    """Two populations of different sizes, with uneven weights and, if wanted, shared features."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, p)), 1.3 * rng.normal(size=(m, q)) + 0.4
    s, t = (rng.normal(size=(k, shared)) for k in (n, m)) if shared else (None, None)
    a, b = (rng.uniform(0.5, 1.5, size=k) for k in (n, m)) if weights else (None, None)
    return Pair(x, y, s, t, source_weights=a, target_weights=b)


def lopsided(n: int, rng: np.random.Generator, dim: int = 3) -> np.ndarray:
    """Cells without a symmetry.

    Clusters of different sizes at unequal distances along each axis.
    """
    centres = np.array([[0, 0, 0], [4, 0, 0], [0, 7, 0], [2, 2, 11], [9, 1, 3]], dtype=float)[
        :, :dim
    ]
    label = rng.choice(5, size=n, p=[0.4, 0.25, 0.15, 0.12, 0.08])
    return centres[label] + rng.normal(size=(n, dim)) * np.array([0.6, 0.5, 0.4])[:dim]


def rotation(dim: int, rng: np.random.Generator) -> np.ndarray:
    """Random orthogonal matrix."""
    q, r = np.linalg.qr(rng.normal(size=(dim, dim)))
    return q * np.sign(np.diag(r))
