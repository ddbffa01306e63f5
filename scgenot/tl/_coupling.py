"""Write the coupling of a fit."""

import numpy as np
from anndata import AnnData
from scipy import sparse

from scgenot import get
from scgenot._check import check_count, usable_device
from scgenot.cells.keys import COUPLING_NAMES, COUPLINGS, DUAL, PAIRS, PARAMS
from scgenot.cells.read import check_anndata, representation
from scgenot.cells.tasks.translation import weights
from scgenot.cells.write import write_coupling
from scgenot.fit.linked import read_part
from scgenot.fit.source import source_cells
from scgenot.ot.store import plan_from_arrays


def coupling(
    adata: AnnData,
    *,
    key: str = "genot",
    model: AnnData | None = None,
    top_k: int = 50,
    device: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Write the coupling of source cells to the target cells of a fit, sparse.

    Each row follows from the cell and the target side of the coupling; nothing is solved again. Of a translation, cells
    that were not in the fit are coupled too. Of a time course or a screen the cells of the fit are, found by name;
    with strata, each has the share of its source cells.

    Parameters
    ----------
    adata
        Source cells; those of the fit, or others with the same representation.
    key
        The `key_added` of the fit.
    model
        Another AnnData with the fit in its `uns[key]`; None for `adata` itself.
    top_k
        Largest entries to keep per cell. What the dropped ones held is lost, not spread.
    device
        Where to compute; None for the CPU.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obsm["genot_coupling"]`, or `obsp["genot_coupling"]` of a fit within one AnnData
        Joint mass, sparse, rows source, columns target. In `obsp` that of all pairs stands side by side: each pair has
        rows and columns of its own.
    `uns["genot"]["coupling_names"]`
        Obs names of the target cells, the columns; only across two AnnData.
    `uns["genot"]["coupling_key"]`
        Where the coupling is.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, or its coupling could not be stored.
    ValueError
        When `top_k` is under 1, or no cell of the fit is there.

    Examples
    --------
    >>> sg.tl.fit_translation(rna, atac)
    >>> sg.tl.coupling(rna)
    >>> rna.obsm["genot_coupling"]  # cells x target cells
    """
    check_anndata(adata)
    check_count("top_k", top_k, 1)
    device = None if device is None else usable_device(device)  # None is the CPU
    fitted = adata if model is None else model
    fit, params = get.fit_entry(fitted, key), get.params(fitted, key)
    if COUPLINGS in fit:
        mass, names = within(adata, fit, top_k, device), None
    else:
        mass, names = across(adata, fit, params, key, top_k, device), fit[COUPLING_NAMES]
    out = adata.copy() if copy else adata
    write_coupling(out, key, mass, names)
    return out if copy else None


def across(
    adata: AnnData, fit: dict, params: dict, key: str, top_k: int, device: str | None
) -> sparse.csr_matrix:
    """Joint mass of a fit across two AnnData, from the cells of `adata` to those of the other."""
    if DUAL not in fit:
        raise KeyError(
            f"uns[{key!r}] holds no coupling: its solver's cost is a function of your own, which cannot be stored. "
            "Call the solver on the pair yourself, or fit with a cost of `sg.ot`."
        )
    cells = source_cells(adata, params, use_rep=None, shared_rep=None)
    a = weights(adata, params.get("source_weights"), "source")
    a = None if a is None else a / a.sum()
    return plan_from_arrays(fit[DUAL], cells, None, a, device=device).to_sparse(top_k)


def within(adata: AnnData, fit: dict, top_k: int, device: str | None) -> sparse.csr_matrix:
    """Joint mass of all pairs of a fit within one AnnData, cells x cells."""
    cells = representation(adata, fit[PARAMS].get("use_rep"), layer=fit[PARAMS].get("layer"))
    pairs = fit[PAIRS]
    # strata of one pair have its name before their own
    linked = [
        name.removesuffix(f", {stratum}")
        for name, stratum in zip(pairs["name"], pairs["stratum"], strict=True)
    ]
    n_source = pairs["n_source"].groupby(linked).transform("sum").to_numpy()
    rows, columns, values = [], [], []
    for position in range(len(pairs)):
        part = read_part(fit, position, adata.obs_names, cells, device)
        plan = (
            keep_largest(part.plan, top_k)
            if sparse.issparse(part.plan)
            else part.plan.to_sparse(top_k).tocoo()
        )
        there = part.target[plan.col] >= 0
        rows.append(part.source[plan.row[there]])
        columns.append(part.target[plan.col[there]])
        values.append(plan.data[there] * (part.n_source / n_source[position]))
    if not sum(map(len, values)):
        raise ValueError("no two cells of the fit that are coupled are in `adata`, by obs name.")
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.coo_matrix(entries, shape=(adata.n_obs, adata.n_obs)).tocsr()


def keep_largest(plan: sparse.csr_matrix, top_k: int) -> sparse.coo_matrix:
    """Keep the largest entries of each row."""
    plan = plan.tocoo()
    order = np.lexsort((-plan.data, plan.row))
    rank = np.arange(plan.nnz) - np.searchsorted(plan.row[order], plan.row[order])
    kept = order[rank < top_k]
    return sparse.coo_matrix((plan.data[kept], (plan.row[kept], plan.col[kept])), shape=plan.shape)
