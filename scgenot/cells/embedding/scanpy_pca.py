"""Back to features from a PCA that Scanpy made, which keeps its loadings but not its means."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.read import matrix

# cells that the stored coordinates are compared on
N_CHECKED = 50


def scanpy_decoder(adata: AnnData, rep: str) -> Callable[[np.ndarray], pd.DataFrame] | None:
    """Return the inverse of `scanpy.pp.pca`."""
    if rep != "X_pca" or "PCs" not in adata.varm or rep not in adata.obsm:
        return None
    loadings = np.asarray(adata.varm["PCs"], dtype=float)
    used = np.flatnonzero(np.nan_to_num(loadings).any(axis=1))
    loadings, states = loadings[used], np.asarray(adata.obsm[rep], dtype=float)
    if loadings.shape[1] != states.shape[1]:
        return None
    values = matrix(adata)[:, used]
    mean = np.asarray(values.mean(axis=0)).ravel()
    some = values[:N_CHECKED].toarray() if hasattr(values, "toarray") else values[:N_CHECKED]
    # the mean is that of all cells only while X is what it was and no cell has gone
    if not np.allclose((some - mean) @ loadings, states[:N_CHECKED], atol=1e-2 * states.std()):
        return None
    return lambda cells: pd.DataFrame(cells @ loadings.T + mean, columns=adata.var_names[used])
