"""Two populations whose entropic coupling has mixtures as conditional laws, in closed form."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.special import logsumexp

from scgenot._random import Rng, numpy_rng

N_COMPONENTS = 5
RADIUS = 5.0  # of the sphere that the centers of the components lie on
CURVATURES = (0.5**0.5, 2**0.5)  # smallest and largest eigenvalue, over epsilon


def mixtures(dim: int = 2, epsilon: float = 1.0, rng: Rng = 0, *, n_cells: int = 1000) -> AnnData:
    """Simulate a Gaussian population and its target under a known entropic coupling, with five
    modes.

    With cost `|x - y|^2 / 2` and the entropy `epsilon KL(P | a b)`, given a source cell `x ~ N(0,
    I)`,

        `y ~ sum_k w_k(x) N(intercepts_k + slopes_k @ x, epsilon slopes_k)`,
        `w_k(x) ~ weights_k exp((x' slopes_k x + 2 intercepts_k' x) / (2 epsilon))`

    (Gushchin et al. 2023, arXiv 2306.10161; Korotin et al. 2024, arXiv 2310.01174). The potential
    of the target is a mixture of Gaussians centered at random points of a sphere of radius 5. Their
    inverse covariances, times epsilon, have random axes and eigenvalues from .71 to 1.41. Target
    cells are sampled given other source cells, so that cells are not paired.

    Parameters
    ----------
    dim
        Number of dimensions.
    epsilon
        Entropic regularization, in the units of the cost. Use twice this value for
        :class:`~scgenot.ot.Sinkhorn`, whose cost is `|x - y|^2`.
    rng
        Seed. The distributions do not depend on the number of cells.
    n_cells
        Number of cells of each population.

    Returns
    -------
    AnnData of `2 n_cells` cells, their coordinates in `X` and `obsm["X_pca"]`, and

    `obs["time"]`
        0 for source, 1 for target; `obs["population"]` says the same in words.
    `obsm["X_conditional_mean"]`
        The exact mean of what a source cell becomes; NaN for target cells.
    `uns["truth"]`
        `weights` (5), `intercepts` (5 x dim), `slopes` (5 x dim x dim) and `epsilon`: what
        :class:`~scgenot.model.MixtureLaw` takes, which samples the exact law and has its density.

    Raises
    ------
    ValueError
        When there are fewer than 2 cells or no dimension, or `epsilon` is not positive.

    Examples
    --------
    >>> adata = sg.datasets.mixtures(dim=2, epsilon=1.0)
    >>> law = sg.model.MixtureLaw.from_dict(adata.uns["truth"])
    >>> solver = sg.ot.Sinkhorn(epsilon=2 * law.epsilon, relative=False)
    >>> sg.tl.fit_trajectory(adata, "time", solver=solver)
    """
    if n_cells < 2 or dim < 1:
        raise ValueError(f"`n_cells={n_cells}` must be at least 2 and `dim={dim}` at least 1.")
    if not 0 < epsilon < np.inf:
        raise ValueError(f"`epsilon={epsilon}` must be a positive number.")
    law, cells = numpy_rng(rng).spawn(2)
    truth = _truth(dim, epsilon, law)
    source, unseen = cells.standard_normal((2, n_cells, dim))
    weights, means = _components(truth, unseen)
    component = (cells.random((n_cells, 1)) > weights.cumsum(1)[:, :-1]).sum(1)
    roots = np.linalg.cholesky(epsilon * truth["slopes"])[component]
    noise = (roots @ cells.standard_normal((n_cells, dim, 1)))[..., 0]
    target = means[np.arange(n_cells), component] + noise
    weights, means = _components(truth, source)
    expected = (weights[..., None] * means).sum(1)
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
        obsm={
            "X_pca": values.copy(),
            "X_conditional_mean": np.concatenate([expected, np.full_like(expected, np.nan)]),
        },
        uns={"truth": truth},
    )


def _truth(dim: int, epsilon: float, rng: np.random.Generator) -> dict:
    """Draw a law whose components have like shares whatever the dimension."""
    directions = rng.normal(size=(N_COMPONENTS, dim))
    centers = RADIUS * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    axes = np.linalg.qr(rng.normal(size=(N_COMPONENTS, dim, dim)))[0]
    # of the potential N(center, epsilon A^-1): S = (I + A)^-1, r = S A center = center - S center
    slopes = (axes / (1 + np.linspace(*CURVATURES, dim))) @ axes.swapaxes(1, 2)
    return {
        "weights": np.full(N_COMPONENTS, 1 / N_COMPONENTS),
        "intercepts": centers - (slopes @ centers[..., None])[..., 0],
        "slopes": slopes,
        "epsilon": float(epsilon),
    }


def _components(truth: dict, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights `(n, k)` and means `(n, k, d)` of the components given source cells."""
    intercepts, slopes = truth["intercepts"], truth["slopes"]
    moved = np.einsum("kij,nj->nki", slopes, x)
    log_w = ((moved + 2 * intercepts) * x[:, None]).sum(2) / (2 * truth["epsilon"])
    log_w += np.log(truth["weights"])
    return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True)), intercepts + moved
