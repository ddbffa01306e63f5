"""Write the coupling of a fit."""

from anndata import AnnData

from scgenot._check import check_count, usable_device
from scgenot._typed import typed
from scgenot.cells.read import check_writable, copy_of
from scgenot.fit.fit import Fit, open_fit
from scgenot.fit.joint_mass import joint_mass, left_slots
from scgenot.fit.storage import write_mass


@typed
def coupling(
    adata: AnnData,
    *,
    key: str = "genot",
    model: AnnData | Fit | None = None,
    top_k: int = 50,
    device: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Write the coupling of source cells with the target cells of a fit as a sparse matrix.

    Each row is computed from the cell and the target side of the coupling; the problem is not
    solved again. After a translation, cells that were not fitted are coupled, too. After a time
    course or a screen, only the cells of the fit are coupled, matched by name; with strata, each
    coupling is weighted by its share of the source cells.

    Parameters
    ----------
    adata
        Source cells; those of the fit, or others with the same representation.
    key
        The `key_added` of the fit.
    model
        Another AnnData with the fit in its `uns[key]`; None for `adata` itself.
    top_k
        Number of largest entries to keep per cell. The mass of the other entries is dropped and not
        redistributed.
    device
        Where to compute; None for the CPU.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obsm["genot_coupling"]`, or `obsp["genot_coupling"]` of a fit within one AnnData
        Joint mass, a sparse matrix with source cells in rows and target cells in columns. `obsp`
        contains all pairs: each pair has its own rows and columns.
    `uns["genot"]["coupling_names"]`
        Names of the target cells, the columns; only for a coupling across two AnnData.
    `uns["genot"]["coupling_key"]`
        Where the coupling is stored.
    `obs["genot_kept"]`, `obs["genot_left"]`
        Partial couplings only (`price` or `keep` of the solver): the matched share of a source
        cell, averaged over its pairs, and the unmatched mass. NaN for other cells.
    `obs["genot_assignment"]`
        `"unassigned"` if less than half of the mass is matched, otherwise `"assigned"`.

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
    check_count("top_k", top_k, 1)
    device = None if device is None else usable_device(device)  # None is the CPU
    check_writable(adata, copy=copy)
    mass, names, left = joint_mass(open_fit(adata, key, model), adata, top_k, device)
    out = copy_of(adata) if copy else adata
    write_mass(out, key, mass, names, {} if left is None else left_slots(key, *left))
    return out if copy else None
