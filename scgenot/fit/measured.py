"""Features of cells as they were measured, and what states leave out of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scgenot.cells.read import matrix
from scgenot.fit.decoder import embedding_in
from scgenot.fit.sample import BLOCK
from scgenot.model.generate import blocks


def measured(fit, adata: AnnData, rep: str | None, names: pd.Index):
    """Return features of all cells, dense or CSR; None where states decode to something else."""
    embedding = embedding_in(fit, rep)
    if getattr(embedding, "method", "pca") != "pca" or not names.isin(adata.var_names).all():
        return None
    layer = layer_of(fit, rep)
    if (adata.X is None) if layer is None else (layer not in adata.layers):
        return None
    return matrix(adata, layer)[:, adata.var_names.get_indexer(names)]


def layer_of(fit, rep: str | None) -> str | None:
    """Return the layer that was fitted, or embedded; None for X."""
    if rep == "X":
        return getattr(fit.task, "layer", None)
    return getattr(embedding_in(fit, rep), "layer", None)


@dataclass(frozen=True)
class Values:
    """Features of cells: as measured, or decoded from their states where they are not."""

    measured: np.ndarray | sparse.csr_matrix | None
    cells: np.ndarray
    to_features: Callable[[np.ndarray], pd.DataFrame]
    layer: str | None = None

    @classmethod
    def of(cls, fit, adata: AnnData, rep, cells, to_features, decoder=None) -> "Values":
        """Read features of cells; those of a decoder of the user's are decoded."""
        names = to_features(cells[:1]).columns
        found = None if decoder is not None else measured(fit, adata, rep, names)
        return cls(found, cells, to_features, layer_of(fit, rep))

    def decoded(self, rows: np.ndarray) -> np.ndarray:
        """Return features of cells as their states have them, `(n, g)`."""
        return self.to_features(self.cells[rows]).to_numpy(dtype=float)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Return features of some cells, `(n, g)`."""
        if self.measured is None:
            return self.decoded(rows)
        found = self.measured[rows]
        return np.asarray(found.toarray() if sparse.issparse(found) else found, dtype=float)

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean of each feature over some cells; NaN of no cells."""
        if len(rows) == 0:
            return np.full(1, np.nan)
        if self.measured is not None:
            return np.asarray(self.measured[rows].mean(0, dtype=float)).ravel()
        parts = (self.decoded(rows[part]) for part in blocks(len(rows), BLOCK))
        return sum(part.sum(0) for part in parts) / len(rows)

    def left_out(self, rows: np.ndarray) -> np.ndarray:
        """Return what the states of some cells leave out of their features, `(n, g)`."""
        return self.at(rows) - self.decoded(rows)


def links_of_answer(fit, answer: dict) -> list[int]:
    """Return the positions of the fitted links of a perturbation and dose, none of other tasks."""
    conditions = getattr(fit.task, "conditions", None)
    if conditions is None:
        return []
    asked = answer[fit.task.perturbation_key], answer.get(fit.task.dose_key)
    return [k for k, link in enumerate(fit.links) if conditions.same(link.labels, *asked)]
