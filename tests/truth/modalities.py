"""Two modalities of the same cells whose pairing is known: one population seen through two instruments."""

import numpy as np
import pandas as pd
from anndata import AnnData


def two_modalities(n: int = 300, *, noise: float = 0.05, seed: int = 0) -> tuple[AnnData, AnnData, np.ndarray]:
    """Clusters of unlike sizes and distances in 5-D, seen rotated into 8-D and into 12-D.

    Parameters
    ----------
    n
        Number of cells.
    noise
        Standard deviation of the noise of both instruments, in units of the latent clusters' spread.
    seed
        Seed.

    Returns
    -------
    Source (obsm `X_pca`), target (obsm `X_lsi`) in another order, and each source cell's partner's position there.
    """
    rng = np.random.default_rng(seed)
    centres = np.array([[6, 0, 0, 0, 0], [0, 4, 0, 0, 0], [0, 0, -3, 0, 0], [0, -2, 1, 5, 0]], dtype=float)
    group = rng.choice(4, n, p=[0.45, 0.3, 0.15, 0.1])
    # skewed, so that no mirror image of a cluster looks like the cluster
    latent = centres[group] + (rng.gamma(1.0, size=(n, 5)) - 1) * np.array([1.5, 1.0, 0.6, 0.4, 0.2])
    order = rng.permutation(n)
    cells = []
    for dim, rows in ((8, np.arange(n)), (12, order)):
        turn = np.linalg.qr(rng.normal(size=(dim, 5)))[0].T
        seen = latent @ turn + noise * rng.normal(size=(n, dim))
        obs = pd.DataFrame({"group": pd.Categorical.from_codes(group[rows], list("ABCD"))}, index=names(dim, n))
        cells.append((seen[rows].astype(np.float32), obs))
    (x, obs_x), (y, obs_y) = cells
    return AnnData(obs=obs_x, obsm={"X_pca": x}), AnnData(obs=obs_y, obsm={"X_lsi": y}), np.argsort(order)


def names(dim: int, n: int) -> list[str]:
    """Names of cells that differ between the modalities."""
    return [f"d{dim}-{i}" for i in range(n)]
