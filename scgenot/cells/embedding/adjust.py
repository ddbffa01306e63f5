"""Scores of the cells that components were fitted to, as those of new cells are distributed.

Components fit the noise of their own cells, whose scores are too large therefore (Lee, Zou and
Wright 2010, Annals of Statistics 38:3605). Each cell gets here the score that components of all
other cells give it. Removing one cell is a change of rank one, whose eigenvectors are known in
closed form (Bunch, Nielsen and Sorensen 1978, Numerische Mathematik 31:31), so that no further
decomposition is needed.

With scores `z` of a cell, eigenvalues `l` of the scatter matrix and `a = n / (n - 1)`, the
eigenvalues `x_j` without the cell are the roots of `a sum_k z_k^2 / (l_k - x) = 1`, one between
any two `l`; eigenvectors have coordinates `c_jk = z_k / (l_k - x_j)`. The cell's score on these,
projected onto the components of all cells, is `z_k (sum_j 1 / (l_k - x_j) / |c_j|^2 - 1 / n')`,
`n' = n - 1`, where the last term is the shift of the mean. Without centring, `a = 1` and the last
term is absent.
"""

import numpy as np
from scipy import sparse

from scgenot.cells.embedding.features import Values

# of more cells than this plain scores are kept: they fit hardly any noise
MOST_CELLS = 100_000
N_BISECTIONS = 40
N_PROBES = 32
MAX_ENTRIES = 2**18  # of one block: what the cache of a processor holds
# of the largest eigenvalue; below are components of rounding
SMALLEST = 1e-6


def enough_components(k: int, most: int) -> int:
    """Components to compute so that those beyond can be taken for one eigenvalue."""
    return min(2 * k + 10, most)


def adjusted_scores(
    scores: np.ndarray,
    k: int,
    values: Values,
    loadings: np.ndarray,
    *,
    offset: np.ndarray | None,
    seed: int,
) -> np.ndarray:
    """Scores on the first `k` components, each cell's by the components of all others.

    `scores` and `loadings` are those of all components known, `offset` the mean of `values`, None
    for components that were not centred.
    """
    norms = squared_norms(values, offset)
    level = _level_of_rest(values, loadings.astype(float), offset, seed)
    return adjusted_by(scores, k, norms, level, centred=offset is not None)


def adjusted_by(
    scores: np.ndarray, k: int, norms: np.ndarray, level: float, *, centred: bool
) -> np.ndarray:
    """Adjust by the squared lengths of cells and the level of the components not computed."""
    z = scores.astype(float)
    eigenvalues = np.square(z).sum(axis=0)
    k = min(k, int((eigenvalues > SMALLEST * eigenvalues[0]).sum()))
    rest = np.maximum(norms - np.square(z).sum(axis=1), 0)
    out = scores.copy()
    size = max(1, MAX_ENTRIES // (k * len(eigenvalues)))
    for start in range(0, len(z), size):
        cells = slice(start, start + size)
        factors = _factors(z[cells], eigenvalues, rest[cells], level, k, len(z), centred)
        out[cells, :k] *= factors
    return out


def _factors(z, eigenvalues, rest, level, k, n, centred) -> np.ndarray:
    """Return what each score is multiplied by, shape `(cells, k)`."""
    weight = n / (n - 1) if centred else 1.0
    gaps = eigenvalues[None, None] - _roots(z, eigenvalues, rest, level, k, weight)[..., None]
    beyond = level - (eigenvalues[0] - gaps[:, :, 0])
    closest = np.finfo(float).eps * eigenvalues[0]  # a score of 0 leaves the component as it is
    gaps[np.abs(gaps) < closest] = closest
    norms = np.square(z[:, None] / gaps).sum(axis=-1)
    norms += np.divide(rest[:, None], beyond**2, out=np.zeros_like(norms), where=beyond != 0)
    norms[norms == 0] = np.inf  # a cell in the mean has no direction
    factors = (1 / (gaps[:, :, :k] * norms[..., None])).sum(axis=1)
    return factors - 1 / (n - 1) if centred else factors


def _roots(z, eigenvalues, rest, level, k, weight) -> np.ndarray:
    """Return the `k` largest eigenvalues without each cell, by bisection, shape `(cells, k)`."""
    squares = np.square(z)[:, None]
    low = np.tile(np.append(eigenvalues, level)[1 : k + 1], (len(z), 1))
    high = np.tile(eigenvalues[:k], (len(z), 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(N_BISECTIONS):
            middle = (low + high) / 2
            total = (squares / (eigenvalues - middle[..., None])).sum(axis=-1)
            total += rest[:, None] / (level - middle)
            above = weight * total > 1
            high, low = np.where(above, middle, high), np.where(above, low, middle)
    return (low + high) / 2


def squared_norms(values: Values, offset: np.ndarray | None) -> np.ndarray:
    """Squared lengths of cells, about the mean where there is one, shape `(n,)`."""
    if not sparse.issparse(values):
        centred = values if offset is None else values - offset
        return np.einsum("ij,ij->i", centred, centred, dtype=float)
    squares = np.asarray(values.multiply(values).sum(axis=1), dtype=float).ravel()
    if offset is None:
        return squares
    offset = offset.astype(float)
    return squares - 2 * (values @ offset) + offset @ offset


def _level_of_rest(values, loadings, offset, seed) -> float:
    """Mean eigenvalue of the components not computed, weighted by itself; 0 when none are left."""
    probes = probes_beyond(loadings, seed)
    image = values @ probes - (0 if offset is None else offset @ probes)
    back = values.T @ image - (0 if offset is None else np.outer(offset, image.sum(axis=0)))
    return level_of_image(probes, back, loadings, np.square(image).sum())


def probes_beyond(loadings: np.ndarray, seed: int) -> np.ndarray:
    """Random signs less what the components see of them, shape `(g, N_PROBES)`."""
    probes = np.random.default_rng(seed).choice([-1.0, 1.0], (len(loadings), N_PROBES))
    return probes - loadings @ (loadings.T @ probes)


def level_of_image(probes, image, loadings, total: float | None = None) -> float:
    """Ratio of the traces of the square of a matrix and itself, by its image of random signs."""
    # Hutchinson 1989
    total = (probes * image).sum() if total is None else total
    image = image - loadings @ (loadings.T @ image)
    return float(np.square(image).sum() / total) if total > 0 else 0.0
