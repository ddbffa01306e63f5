"""One population seen through two instruments."""

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng, numpy_rng

# four types of different sizes and distances: no mirror image of the whole looks like the whole
CENTRES = np.array(
    [[6, 0, 0, 0, 0], [0, 4, 0, 0, 0], [0, 0, -3, 0, 0], [0, -2, 1, 5, 0]], dtype=float
)
SHARES = (0.45, 0.3, 0.15, 0.1)
SPREAD = np.array([1.5, 1.0, 0.6, 0.4, 0.2])


def twins(n_cells: int = 300, *, noise: float = 0.05, rng: Rng = 0) -> tuple[AnnData, AnnData]:
    """Simulate one population of cells measured by two instruments, with known pairs.

    Four cell types in five latent dimensions are rotated into 8 dimensions by one instrument and
    into 12 by the other, with noise. Distributions within a type are skewed, so that distances
    alone determine the pairs. The 8 coordinates of the first are in `X` and `obsm["X_pca"]`, the 12
    of the second in `X` and `obsm["X_lsi"]`. Both have `obs["cell_type"]`; `obs["partner"]` of the
    first is the name of the same cell in the second.

    Parameters
    ----------
    n_cells
        Number of cells.
    noise
        Standard deviation of the noise of each instrument, in latent units; that of a type is about
        1.
    rng
        Seed.

    Returns
    -------
    Two AnnData of the same cells in different orders.

    Examples
    --------
    >>> source, target = sg.datasets.twins()
    >>> sg.tl.fit_translation(source, target)
    """
    rng = numpy_rng(rng)
    kind = rng.choice(len(CENTRES), n_cells, p=SHARES)
    latent = CENTRES[kind] + (rng.gamma(1.0, size=(n_cells, 5)) - 1) * SPREAD
    order = rng.permutation(n_cells)
    source = _seen(latent, kind, "first", "X_pca", 8, noise, rng)
    target = _seen(latent[order], kind[order], "second", "X_lsi", 12, noise, rng)
    source.obs["partner"] = target.obs_names[np.argsort(order)].to_numpy()
    return source, target


def _seen(
    latent: np.ndarray, kind: np.ndarray, name: str, rep: str, dim: int, noise: float, rng
) -> AnnData:
    """What an instrument with `dim` orthogonal mixtures of the latent dimensions reads."""
    turn = np.linalg.qr(rng.normal(size=(dim, latent.shape[1])))[0].T
    values = (latent @ turn + noise * rng.normal(size=(len(latent), dim))).astype(np.float32)
    cell_type = pd.Categorical.from_codes(kind, ["A", "B", "C", "D"])
    obs = pd.DataFrame({"cell_type": cell_type}, index=[f"{name}-{i}" for i in range(len(latent))])
    return AnnData(values, obs=obs, obsm={rep: values.copy()})
