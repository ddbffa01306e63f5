"""What a fit left in AnnData, looked up with messages that say what is missing."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scgenot.cells.keys import COUPLING_NAMES, PARAMS, Keys


def fit_slot(adata: AnnData, key: str, entry: str, name: str = "adata"):
    """One entry of `uns[key]`, or a KeyError that says what is there and what to run."""
    if key not in adata.uns:
        fits = [
            found
            for found, value in adata.uns.items()
            if isinstance(value, dict) and PARAMS in value
        ]
        raise KeyError(
            f"`key={key!r}` names no fit in uns of `{name}`; found {fits}: run one of `sg.tl.fit_*` first."
        )
    if entry not in adata.uns[key]:
        raise KeyError(f"uns[{key!r}] of `{name}` has no {entry!r}; found {list(adata.uns[key])}.")
    return adata.uns[key][entry]


def obs_column(adata: AnnData, column: str, argument: str, name: str) -> pd.Series:
    """One column of obs, or a KeyError that lists them."""
    if column not in adata.obs:
        raise KeyError(
            f"`{argument}={column!r}` is not in obs of `{name}`; found {list(adata.obs)}."
        )
    return adata.obs[column]


def has_coupling(adata: AnnData, key: str) -> bool:
    """Whether the fit's coupling to other cells was written."""
    return Keys(key).coupling in adata.obsm and COUPLING_NAMES in adata.uns.get(key, {})


def joint_mass(
    adata: AnnData, adata_target: AnnData | None, key: str
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Joint mass, rows the cells of `adata`, and for each column the position of its cell among the targets."""
    slot = Keys(key).coupling
    if adata_target is None:
        if slot in adata.obsp:
            return sparse.csr_matrix(adata.obsp[slot]), np.arange(adata.n_obs)
        if slot in adata.obsm:
            raise ValueError(
                f"`adata_target` is missing: obsm[{slot!r}] leads to the cells of another AnnData."
            )
    elif slot in adata.obsm:
        names = fit_slot(adata, key, COUPLING_NAMES)
        if not adata_target.obs_names.is_unique:
            raise ValueError(
                "obs names of `adata_target` are not unique: the coupling's columns cannot be found."
            )
        positions = adata_target.obs_names.get_indexer(names)
        if (positions < 0).any():
            raise ValueError(
                f"`adata_target` lacks {(positions < 0).sum()} of the {len(names)} cells that the coupling leads to: "
                "pass the AnnData that was fitted, with its obs names."
            )
        return sparse.csr_matrix(adata.obsm[slot]), positions
    found = {"obsm": list(adata.obsm), "obsp": list(adata.obsp)}
    raise KeyError(
        f"`key={key!r}` has no {slot!r} in `adata`; found {found}: run `sg.tl.coupling(..., key={key!r})`."
    )
