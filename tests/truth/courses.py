"""Small courses of development, and their transport by brute force."""

import anndata as ad
import numpy as np
import pandas as pd
import torch
from scipy.special import logsumexp

import scgenot as sg

SIZES = {"day 2": 30, "day 4": 41, "day 6": 36}


def small_course(seed: int = 0) -> ad.AnnData:
    """Cells of three times in mixed order, with groups, a rate of growth and a stratum.

    There is no structure to be found.
    """
    rng = np.random.default_rng(seed)
    day = rng.permutation(np.repeat(list(SIZES), list(SIZES.values())))
    cells = (
        rng.normal(size=(len(day), 3)) + 0.3 * np.array([int(text[-1]) for text in day])[:, None]
    )
    obs = pd.DataFrame(
        {
            "day": day,
            "state": pd.Categorical(
                rng.choice(["a", "b", "c"], len(day)), categories=["c", "a", "b", "unused"]
            ),
            "rate": rng.normal(scale=0.3, size=len(day)),
            "donor": np.where(np.arange(len(day)) % 2, "x", "y"),
            "score": rng.normal(size=len(day)),
        },
        index=[f"cell-{i}" for i in range(len(day))],
    )
    return ad.AnnData(obs=obs, obsm={"X_pca": cells, "X_umap": rng.normal(size=(len(day), 2))})


def fit_quickly(adata: ad.AnnData, **options) -> ad.AnnData:
    """Fit for the coupling's sake; the model has seen next to nothing."""
    learner = sg.model.FlowMatching(steps=2, validation_fraction=0)
    solver = sg.ot.Sinkhorn(epsilon=0.1, tolerance=1e-6, dtype=torch.float64)
    options = {"solver": solver, "learner": learner, "progress": False, "predict": False} | options
    sg.tl.fit_trajectory(adata, options.pop("time_key", "day"), **options)
    return adata


def dense_step(adata: ad.AnnData, row: int) -> np.ndarray:
    """Expected descendants `K_ij` of a balanced pair, cells x cells, 0 where there is no pair.

    `K_ij = n a_i softmax_j(log b_j + (g_j - |x_i - y_j|^2) / eps)`, from what the fit stored and
    nothing else.
    """
    stored, shared = adata.uns["genot"]["links"][str(row)], adata.uns["genot"]["shared"]
    source, target = (
        adata.obs_names.get_indexer(shared[stored[f"{side}_names"]])
        for side in ("source", "target")
    )
    weights = shared[stored["source_weights"]]
    dual, x, y = stored["plan"], adata.obsm["X_pca"][source], adata.obsm["X_pca"][target]
    cost = ((x[:, None] - y) ** 2).sum(-1)
    logits = np.log(dual["target_weights"]) + (dual["potential"] - cost) / dual["epsilon"]
    rows = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    out = np.zeros((adata.n_obs, adata.n_obs))
    out[np.ix_(source, target)] = len(source) * weights[:, None] * rows
    return out


def ancestors(step: np.ndarray) -> np.ndarray:
    """Each column over its sum, 0 for cells that receive nothing."""
    received = step.sum(0)
    return np.divide(step, received, out=np.zeros_like(step), where=received > 0)


def shares(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Values over their sum."""
    return values / values.sum(axis=axis, keepdims=True)
