"""An AnnData that goes with that of a fit: its features, embedding and parameters."""

from copy import deepcopy

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.embedding import embedding_key, embedding_of


def like_fitted(
    fit, rep: str | None, obs: pd.DataFrame, names: pd.Index, features: np.ndarray | None = None
) -> AnnData:
    """Make an AnnData of named features whose var and uns are those of the fitted cells."""
    fitted = fit.adata
    known = fit.one_space and fitted is not None and names.isin(fitted.var_names).all()
    var = fitted.var.loc[names] if known else pd.DataFrame(index=names)
    out = AnnData(features, obs=obs, var=var.copy())
    out.obs_names_make_unique()
    if rep is not None and rep != "X":
        if not fit.one_space and fit.target_embedding is not None:
            out.uns[embedding_key(rep)] = fit.target_embedding.to_dict()
        elif fit.one_space and fitted is not None and embedding_of(fitted, rep) is not None:
            key = embedding_key(rep)
            if key in fitted.uns:
                out.uns[key] = deepcopy(dict(fitted.uns[key]))
    if fit.links:
        out.uns[fit.key] = {"params": deepcopy(fit.params)}
    return out
