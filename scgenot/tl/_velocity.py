"""Where each cell is expected to go, per unit of time."""

import numpy as np
from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.read import check_writable, copy_of, representation
from scgenot.cells.write import write_slots
from scgenot.fit.transport import Method, open_transport


@typed
def velocity(
    adata: AnnData,
    *,
    basis: str | None = None,
    method: Method = "model",
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    key: str = "genot",
    copy: bool = False,
) -> AnnData | None:
    """Compute the expected displacement of each cell per unit of time, to the next fitted time.

    The velocity is `E[y - x | x] / step`, for the shortest fitted step from the time of the cell.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    basis
        Embedding for arrows, such as `"umap"` for `obsm["X_umap"]`; None for none. An arrow points
        from the cell to the mean position of its observed descendants in this embedding. It is a
        mean of positions, not a path along the embedding.
    method, n_samples, rng, device, key
        As in :func:`push`.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`; NaN for cells without a fitted
    step, such as those of the last time, and for cells without descendants:

    `obsm["genot_velocity"]`
        Displacement per unit of time in the representation of the fit, shape `(n, p)`.
    `obsm["genot_velocity_umap"]`
        The same in `basis`.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or basis.
    ValueError
        When `method` has another value, or no cell is left on a side of a fitted step.

    Examples
    --------
    >>> sg.tl.velocity(adata, basis="umap")

    CellRank drops columns with a NaN; set the velocity of the last cells to 0:

    >>> adata.obsm["v"] = np.nan_to_num(adata.obsm["genot_velocity"])
    >>> cr.kernels.VelocityKernel(adata, attr="obsm", xkey="X_pca", vkey="v")
    """
    check_writable(adata, copy=copy)
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    keys = Keys(key)
    spaces = {keys.velocity: transport.cells}
    if basis is not None:
        slot = basis if basis in adata.obsm else f"X_{basis}"
        name = keys.velocity_in(basis.removeprefix("X_"))
        spaces[name] = representation(adata, slot, argument="basis")
    found = {name: np.full(places.shape, np.nan) for name, places in spaces.items()}
    for earlier, later in transport.steps.first_steps():
        source, ends = transport.expected_places(earlier, later, list(spaces.values()))
        for (name, places), end in zip(spaces.items(), ends, strict=True):
            found[name][source] = (end - places[source]) / (later - earlier)
    out = copy_of(adata) if copy else adata
    write_slots(out, obsm=found, key=key)
    return out if copy else None
