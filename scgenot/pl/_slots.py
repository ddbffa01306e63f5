"""What a fit left in AnnData, looked up with messages that say what is missing."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scgenot.cells.keys import COUPLING_NAMES, PARAMS, Keys


def fit_slot(adata: AnnData, key: str, entry: str, name: str = "adata"):
    """Return one entry of `uns[key]`, or raise a KeyError that says what to run."""
    if key not in adata.uns:
        fits = [
            found
            for found, value in adata.uns.items()
            if isinstance(value, dict) and PARAMS in value
        ]
        raise KeyError(
            f"`key={key!r}` names no fit in uns of `{name}`; found {fits}: "
            "run one of `sg.tl.fit_*` first."
        )
    if entry not in adata.uns[key]:
        raise KeyError(f"uns[{key!r}] of `{name}` has no {entry!r}; found {list(adata.uns[key])}.")
    return adata.uns[key][entry]


def obs_column(adata: AnnData, column: str, argument: str, name: str) -> pd.Series:
    """Return one column of obs, or raise a KeyError that lists them."""
    if column not in adata.obs:
        raise KeyError(
            f"`{argument}={column!r}` is not in obs of `{name}`; found {list(adata.obs)}."
        )
    return adata.obs[column]


def has_coupling(adata: AnnData, key: str) -> bool:
    """Return whether the coupling to the cells of another AnnData was written."""
    return Keys(key).coupling in adata.obsm and COUPLING_NAMES in adata.uns.get(key, {})


def joint_mass(
    adata: AnnData, adata_target: AnnData | None, key: str
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return joint mass, rows the cells of `adata`, and the target cell of each column."""
    slot = Keys(key).coupling
    if adata_target is None:
        if slot in adata.obsp:
            return sparse.csr_matrix(adata.obsp[slot]), np.arange(adata.n_obs)
        if slot in adata.obsm:
            raise ValueError(
                f"`adata_target` is missing: the columns of obsm[{slot!r}] are its cells."
            )
    elif slot in adata.obsm:
        names = fit_slot(adata, key, COUPLING_NAMES)
        if not adata_target.obs_names.is_unique:
            raise ValueError(
                "obs names of `adata_target` are not unique: call "
                "`adata_target.obs_names_make_unique()` before the fit."
            )
        positions = adata_target.obs_names.get_indexer(names)
        if (positions < 0).any():
            raise ValueError(
                f"`adata_target` lacks {(positions < 0).sum()} of the {len(names)} cells of the "
                "coupling: pass the AnnData that was fitted, with its obs names."
            )
        return sparse.csr_matrix(adata.obsm[slot]), positions
    found = {"obsm": list(adata.obsm), "obsp": list(adata.obsp)}
    raise KeyError(
        f"`key={key!r}` has no {slot!r} in `adata`; found {found}: "
        f"run `sg.tl.coupling(..., key={key!r})`."
    )


def obsm_slot(adata: AnnData, slot: str, run: str, name: str = "adata"):
    """Return one entry of obsm, or raise a KeyError that says what to run."""
    if slot not in adata.obsm:
        raise KeyError(
            f"{slot!r} is not in obsm of `{name}`; found {list(adata.obsm)}: run `{run}` first."
        )
    return adata.obsm[slot]


def predicted_states(
    adata: AnnData, key: str, name: str = "adata"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted states, and the positions of the cells that have one."""
    slot = Keys(key).sample
    states = dense(obsm_slot(adata, slot, f"sg.tl.predict(adata, key={key!r})", name))
    rows = np.flatnonzero(np.isfinite(states).all(axis=1))
    if not len(rows):
        raise ValueError(f"obsm[{slot!r}] of `{name}` is NaN for every cell: nothing to draw.")
    return states, rows


def fitted_states(adata: AnnData, rep: str, layer: str | None, key: str, name: str) -> np.ndarray:
    """Return the cells in the representation of a fit."""
    if rep != "X" and rep not in adata.obsm:
        raise KeyError(
            f"{rep!r}, which `key={key!r}` was fitted to, is not in obsm of `{name}`; "
            f"found {list(adata.obsm)}."
        )
    if rep != "X":
        return dense(adata.obsm[rep])
    return dense(adata.X[:] if layer is None else adata.layers[layer])


def check_table(table, columns: tuple[str, ...], run: str, expected: str = "a DataFrame") -> None:
    """Raise an error when a table is not what a function returns."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"`table` must be {expected}; found {type(table).__name__}: run `{run}` first."
        )
    missing = [column for column in columns if column not in table]
    if missing:
        raise KeyError(
            f"`table` lacks the columns {missing}; found {list(table)}: run `{run}` first."
        )


def dense(values) -> np.ndarray:
    """Return an array, of whatever obsm or X holds."""
    return values.toarray() if sparse.issparse(values) else np.asarray(values)
