"""Two Gaussian populations whose entropic coupling is known in closed form."""

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng, numpy_rng

SPREAD = (1.2, 0.4)  # standard deviation along the longest and the shortest axis of a population
SHIFT = 3.0  # between the means


def gaussians(n_cells: int = 1000, *, dim: int = 2, epsilon: float = 0.5, rng: Rng = 0) -> AnnData:
    """Simulate two Gaussian populations with an exactly known conditional distribution.

    Source and target are elongated in different directions, and their means are 3 apart. With cost
    `|x - y|^2` and the entropy `epsilon KL(P | a b)` the coupling is Gaussian, too: given a source
    cell `x`,

        `y ~ N(intercept + slope @ x, covariance)`

    (Janati et al. 2020, arXiv 2006.02572). The coupling of finitely many cells, and a model fitted
    to it, converge to this distribution.

    Parameters
    ----------
    n_cells
        Number of cells of each population.
    dim
        Number of dimensions.
    epsilon
        Entropic regularization, in units of the squared distance.
    rng
        Seed. The distributions do not depend on the number of cells.

    Returns
    -------
    AnnData of `2 n_cells` cells, their coordinates in `X` and `obsm["X_pca"]`, and

    `obs["time"]`
        0 for source, 1 for target; `obs["population"]` says the same in words.
    `obsm["X_conditional_mean"]`
        The exact conditional mean of a source cell; NaN for target cells.
    `uns["truth"]`
        `slope` (dim x dim), `intercept` (dim) and `covariance` (dim x dim) of the conditional law,
        `epsilon`, and `source_mean`, `source_covariance`, `target_mean` and `target_covariance` of
        the populations.

    Raises
    ------
    ValueError
        When there are fewer than 2 cells or no dimension, or `epsilon` is not positive.

    Examples
    --------
    >>> adata = sg.datasets.gaussians()
    >>> solver = sg.ot.Sinkhorn(epsilon=adata.uns["truth"]["epsilon"], relative=False)
    >>> sg.tl.fit_trajectory(adata, "time", solver=solver)
    >>> sg.tl.predict(adata)
    """
    if n_cells < 2 or dim < 1:
        raise ValueError(f"`n_cells={n_cells}` must be at least 2 and `dim={dim}` at least 1.")
    if not 0 < epsilon < np.inf:
        raise ValueError(f"`epsilon={epsilon}` must be a positive number.")
    law, cells = numpy_rng(rng).spawn(2)
    covariance = _covariance(dim, law), _covariance(dim, law)
    direction = law.normal(size=dim)
    mean = np.zeros(dim), SHIFT * direction / np.linalg.norm(direction)
    slope, spread = _conditional(*covariance, epsilon)
    truth = {
        "slope": slope,
        "intercept": mean[1] - slope @ mean[0],
        "covariance": spread,
        "epsilon": float(epsilon),
        "source_mean": mean[0],
        "source_covariance": covariance[0],
        "target_mean": mean[1],
        "target_covariance": covariance[1],
    }
    moments = zip(mean, covariance, strict=True)
    source, target = (m + cells.normal(size=(n_cells, dim)) @ _power(c, 0.5) for m, c in moments)
    unknown = np.full((n_cells, dim), np.nan)
    expected = np.concatenate([truth["intercept"] + source @ slope.T, unknown])
    values = np.concatenate([source, target]).astype(np.float32)
    side = np.repeat([0, 1], n_cells)
    obs = pd.DataFrame(
        {
            "time": side.astype(float),
            "population": pd.Categorical.from_codes(side, ["source", "target"]),
        },
        index=[f"cell-{i}" for i in range(2 * n_cells)],
    )
    return AnnData(
        values,
        obs=obs,
        var=pd.DataFrame(index=[f"axis{i + 1}" for i in range(dim)]),
        obsm={"X_pca": values.copy(), "X_conditional_mean": expected},
        uns={"truth": truth},
    )


def _covariance(dim: int, rng: np.random.Generator) -> np.ndarray:
    """Random axes of different lengths."""
    axes = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return (axes * np.linspace(*SPREAD, dim) ** 2) @ axes.T


def _conditional(
    source: np.ndarray, target: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Slope and covariance of the conditional law, of those of the populations (Janati et al."""
    s, identity = epsilon / 2, np.eye(len(source))
    root, inverse_root = _power(source, 0.5), _power(source, -0.5)
    inner = _power(4 * root @ target @ root + s**2 * identity, 0.5)
    slope = inverse_root @ (inner - s * identity) @ inverse_root / 2
    return slope, s * slope


def _power(matrix: np.ndarray, power: float) -> np.ndarray:
    """Power of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T
