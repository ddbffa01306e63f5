"""What a fit left in AnnData, looked up with messages that say what is missing."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scgenot import get
from scgenot.cells.keys import Keys
from scgenot.cells.read import check_column, check_unique, dense
from scgenot.cells.tasks import TimeCourse
from scgenot.cells.tasks.task import check_kind


def task_of(adata: AnnData, key: str, kind: type, plot: str):
    """Return the task of a fit, also of made-up cells; refuse a task that a plot is not for."""
    task = get.task(adata, key)
    check_kind(task, kind, f"sg.pl.{plot}", key)
    return task


def obs_column(adata: AnnData, column: str, argument: str, name: str) -> pd.Series:
    """Return one column of obs, or raise a KeyError that lists them."""
    check_column(adata, column, argument, name)
    return adata.obs[column]


def time_labels(adata: AnnData, task: TimeCourse) -> pd.Series:
    """Return the label of each cell's time, in order of time; missing where the fit has none."""
    times = task.times(adata)
    codes = np.where(np.isfinite(times), np.searchsorted(task.scale.times, times), -1)
    labels = pd.Categorical.from_codes(codes, task.scale.texts, ordered=True)
    return pd.Series(labels, adata.obs_names, name=task.time_key)


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
        names = get.coupling_names(adata, key)
        check_unique(adata_target, "obs", "adata_target")
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
    states = obsm_slot(adata, slot, f"sg.tl.predict(adata, key={key!r})", name)
    states = dense(states, f"obsm[{slot!r}] of `{name}`")
    rows = np.flatnonzero(np.isfinite(states).all(axis=1))
    if not len(rows):
        raise ValueError(f"obsm[{slot!r}] of `{name}` is NaN for every cell: nothing to draw.")
    return states, rows


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
