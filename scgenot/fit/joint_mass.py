"""Joint mass of a fit, sparse: its couplings as one matrix."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scgenot.cells.keys import KEPT, UNASSIGNED, Keys
from scgenot.cells.read import check_unique
from scgenot.course.chain import ratio
from scgenot.ot.plan import require


def joint_mass(fit, adata: AnnData, top_k: int, device: str | None):
    """Return the mass between cells, target names of another AnnData, and what is left behind."""
    cells = fit.cells(adata)
    if fit.links[0].within:
        mass, left = within(fit, adata, cells, top_k, device)
        return mass, None, left
    mass, left = across(fit, adata, cells, top_k, device)
    return mass, fit.links[0].target_names, left


def left_slots(key: str, kept: np.ndarray, left: np.ndarray) -> dict[str, object]:
    """Return the columns of obs about what partial plans leave behind."""
    keys, known = Keys(key), np.isfinite(kept)
    label = np.where(kept < KEPT, UNASSIGNED, "assigned").astype(object)
    return {
        keys.kept: kept,
        keys.left: left,
        keys.assignment: pd.Categorical(np.where(known, label, None)),
    }


def across(fit, adata: AnnData, cells: np.ndarray, top_k: int, device: str | None):
    """Joint mass across two AnnData, from the cells of `adata`, fitted or not, to the other's."""
    (link,) = fit.links
    weights = fit.task.weights(adata) if hasattr(fit.task, "weights") else None
    rows = None
    if adata.obs_names.is_unique:
        # plans that know no new cells have rows of the fitted ones
        found = {name: row for row, name in enumerate(link.source_names)}
        known = [found.get(name, -1) for name in adata.obs_names]
        rows = np.array(known) if min(known) >= 0 else None
    if rows is None and not link.knows_new_cells:
        raise ValueError(
            "`adata` has cells that were not fitted, and the plan of this fit is known for its "
            "fitted cells only, as its cost is a function or its solver gave no potentials: pass "
            "the fitted cells."
        )
    plan = link.plan(
        cells, rows, None if weights is None else weights / weights.sum(), device=device
    )
    left = None
    if link.kept is not None:
        kept = link.kept[0][rows] if rows is not None else plan.growth().cpu().double().numpy()
        a = np.full(len(cells), 1 / len(cells)) if weights is None else weights / weights.sum()
        left = kept, a * (1 - kept)
    return to_sparse(plan, top_k).tocsr(), left


def within(fit, adata: AnnData, cells: np.ndarray, top_k: int, device: str | None):
    """Joint mass of all links within one AnnData, cells x cells."""
    check_unique(adata, "obs")
    # strata of one pair share its labels; its mass is 1 over all of them
    pairs = [tuple(link.labels.items()) for link in fit.links]
    n_source: dict[tuple, int] = {}
    for pair, link in zip(pairs, fit.links, strict=True):
        n_source[pair] = n_source.get(pair, 0) + len(link.source_names)
    if adata is not fit.adata and fit.reference is not None:
        # cells are taken for those of the fit by their names
        fit.reference.check(adata, cells, getattr(fit.task, "use_rep", "X"))
    rows, columns, values = [], [], []
    kept, n_pairs, left = np.zeros((3, adata.n_obs))
    for pair, link in zip(pairs, fit.links, strict=True):
        here = link.here(adata.obs_names, cells, device)
        if here.plan is None:
            continue
        plan = to_sparse(here.plan, top_k).tocoo()
        if here.left is not None:
            kept[here.source] += here.kept
            n_pairs[here.source] += 1
            left[here.source] += here.left[0] / n_source[pair]
        there = here.target[plan.col] >= 0
        rows.append(here.source[plan.row[there]])
        columns.append(here.target[plan.col[there]])
        values.append(plan.data[there] * (here.n_source / n_source[pair]))
    if not sum(map(len, values)):
        raise ValueError("no two cells of the fit that are coupled are in `adata`, by obs name.")
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    mass = sparse.coo_matrix(entries, shape=(adata.n_obs, adata.n_obs)).tocsr()
    if not n_pairs.any():
        return mass, None
    return mass, (ratio(kept, n_pairs), np.where(n_pairs > 0, left, np.nan))


def to_sparse(plan, top_k: int) -> sparse.csr_matrix:
    """Keep the largest entries of each row of a plan."""
    return require(plan, "to_sparse", "sg.tl.coupling")(top_k)
