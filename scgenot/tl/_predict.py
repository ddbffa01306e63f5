"""Predict target states of source cells, seen in the fit or not."""

from os import PathLike

import numpy as np
from anndata import AnnData

from scgenot import get
from scgenot._rng import Rng
from scgenot.data.read import check_anndata, representation
from scgenot.data.write import write_prediction
from scgenot.model import Genot
from scgenot.tl._fit import best_device


def predict(
    adata: AnnData,
    *,
    key: str = "genot",
    model: Genot | AnnData | str | PathLike | None = None,
    use_rep: str | None = None,
    shared_rep: str | None = None,
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Predict target states of source cells: one possible cell, the mean of many, and how far they spread.

    Parameters
    ----------
    adata
        Source cells; those of the fit, or others with the same representation.
    key
        The `key_added` of the fit: where the model is looked for, and the prefix of what is written.
    model
        Where the model comes from: None for `uns[key]` of `adata`, another AnnData with the fit in its `uns[key]`, a
        :class:`~scgenot.Genot`, or a file that :meth:`~scgenot.Genot.save` wrote.
    use_rep, shared_rep
        Representations of `adata`. None takes those of the fit; name them with a model that comes without a fit.
    n_samples
        Draws per cell for mean and spread.
    rng
        Seed. The same seed gives the same draws.
    device
        Where to compute; None for CUDA when there is one.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obsm["X_genot"]`
        One sampled target state per cell, shape `(n, q)`: a possible cell.
    `obsm["X_genot_mean"]`
        Mean of the draws, shape `(n, q)`: for alignment and label transfer. It varies less than cells do.
    `obs["genot_uncertainty"]`
        Variance of the draws over the variance of all target cells: 0 is certain, 1 knows nothing of the cell.
    `obs["genot_growth"]`
        Mass sent over mass had, for an unbalanced fit.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData.
    KeyError
        When there is no such fit, or the representation is not there.
    ValueError
        When the representation does not have the dimension that the model was fitted with, or `n_samples` is under 2.
    """
    check_anndata(adata)
    if n_samples < 2:
        raise ValueError(f"`n_samples` is {n_samples}: at least 2 draws per cell are needed for a spread.")
    genot, params = get.resolve_model(adata, model, key)
    cells = source_cells(adata, params, use_rep=use_rep, shared_rep=shared_rep)
    if cells.shape[1] != genot.source_dim:
        raise ValueError(
            f"`use_rep` gives {cells.shape[1]} columns in `adata`, the model was fitted with {genot.source_dim}: "
            "project the cells with `sg.tl.project` onto the embedding of the fitted cells."
        )
    genot.to(device or best_device())
    draws = genot.sample(cells, n_samples=n_samples, rng=rng).numpy()
    total = float((genot.units.target.std.double() ** 2).sum())
    out = adata.copy() if copy else adata
    write_prediction(
        out,
        key,
        sample=draws[:, 0],
        mean=draws.mean(1),
        uncertainty=draws.var(1, ddof=1).sum(1) / total,
        growth=None if genot.eta is None else genot.growth(cells).numpy(),
    )
    return out if copy else None


def source_cells(adata: AnnData, params: dict, *, use_rep: str | None, shared_rep: str | None) -> np.ndarray:
    """Read what the network takes in: the representation, and shared features after it."""
    cells = representation(adata, use_rep or params.get("use_rep"))
    shared_rep = shared_rep or params.get("shared_rep")
    if shared_rep is None:
        return cells
    return np.hstack([cells, representation(adata, shared_rep, argument="shared_rep")])
