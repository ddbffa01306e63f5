"""Write the coupling of a fit."""

from anndata import AnnData

from scgenot import get
from scgenot._keys import COUPLING_NAMES, DUAL
from scgenot.data.pairs import weights
from scgenot.data.read import check_anndata
from scgenot.data.write import write_coupling
from scgenot.ot.store import from_arrays
from scgenot.tl._predict import source_cells


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

    Each row follows from the cell and the target side of the coupling, so that cells that were not in the fit are
    coupled too; nothing is solved again.

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

    `obsm["genot_coupling"]`
        Joint mass, sparse `(n, m)`, rows source, columns target.
    `uns["genot"]["coupling_names"]`
        Obs names of the target cells, the columns.
    `uns["genot"]["coupling_key"]`
        Where the coupling is.

    Raises
    ------
    KeyError
        When there is no such fit, or its coupling could not be stored.
    ValueError
        When `top_k` is under 1.
    """
    check_anndata(adata)
    if top_k < 1:
        raise ValueError(f"`top_k` is {top_k}: keep at least 1 entry per cell.")
    fitted = adata if model is None else model
    fit = get.fit_entry(fitted, key)
    if DUAL not in fit:
        raise KeyError(
            f"uns[{key!r}] holds no coupling: its solver's cost is a function of your own, which cannot be stored. "
            "Call the solver on the pair yourself, or fit with a cost of `sg.ot`."
        )
    params = get.params(fitted, key)
    cells = source_cells(adata, params, use_rep=None, shared_rep=None)
    a = weights(adata, params.get("source_weights"), "source")
    plan = from_arrays(fit[DUAL], cells, None if a is None else a / a.sum(), device=device)
    out = adata.copy() if copy else adata
    write_coupling(out, key, plan.to_sparse(top_k), fit[COUPLING_NAMES])
    return out if copy else None
