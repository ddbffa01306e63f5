"""Where each cell is expected to go, per unit of time."""

import numpy as np
from anndata import AnnData

from scgenot._random import Rng
from scgenot.cells.keys import Keys
from scgenot.cells.read import representation
from scgenot.cells.write import write_slots
from scgenot.fit.transport import Method, Step, Transport, coupled, observed, open_transport


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
    """Find the expected displacement of each cell per unit of time, `E[y - x | x] / step`, to the next fitted time.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    basis
        An embedding to draw arrows in, such as `"umap"` for `obsm["X_umap"]`; None for none. An arrow there leads from
        the cell to the mean place of the observed cells that its descendants are, over the step: a mean of places, not
        of ways along the embedding.
    method, n_samples, rng, device, key
        As in :func:`push`.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`; NaN for cells without a fitted step, such as those
    of the last time:

    `obsm["genot_velocity"]`
        Displacement per unit of time in the representation of the fit, shape `(n, p)`.
    `obsm["genot_velocity_umap"]`
        The same in a basis.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or basis.
    ValueError
        When `method` is neither, or no cell is left on a side of a fitted step.

    Examples
    --------
    >>> sg.tl.velocity(adata, basis="umap")

    For CellRank, which drops columns with a NaN, the last cells rest:

    >>> adata.obsm["v"] = np.nan_to_num(adata.obsm["genot_velocity"])
    >>> cr.kernels.VelocityKernel(adata, attr="obsm", xkey="X_pca", vkey="v")
    """
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    keys = Keys(key)
    spaces = {keys.velocity: transport.cells}
    if basis is not None:
        slot = basis if basis in adata.obsm else f"X_{basis}"
        spaces[keys.velocity_in(basis.removeprefix("X_"))] = representation(
            adata, slot, argument="basis"
        )
    found = {name: np.full(places.shape, np.nan) for name, places in spaces.items()}
    for earlier, later in first_steps(transport.course.steps):
        source, ends = expected_places(transport, earlier, later, list(spaces.values()))
        for (name, places), end in zip(spaces.items(), ends, strict=True):
            found[name][source] = (end - places[source]) / (later - earlier)
    out = adata.copy() if copy else adata
    write_slots(out, obsm=found, key=key)
    return out if copy else None


def first_steps(steps: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep the shortest step from each time."""
    return list(
        {earlier: (earlier, later) for earlier, later in sorted(steps, reverse=True)}.values()
    )


def expected_places(
    transport: Transport, earlier: float, later: float, spaces: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Find the mean place of the descendants of each source cell."""
    if transport.method == "coupling":
        step = coupled(transport, earlier, later)
        return step.source, [mean_over_descendants(step, places) for places in spaces]
    source = transport.at(earlier)
    draws, growth = transport.draws(source, earlier, later)
    if len(spaces) == 1:
        return source, [draws.mean(axis=1)]
    step = observed(transport, source, later, draws, growth)
    return source, [
        draws.mean(axis=1),
        *(mean_over_descendants(step, places) for places in spaces[1:]),
    ]


def mean_over_descendants(step: Step, places: np.ndarray) -> np.ndarray:
    """Average over the descendants of each source cell, shape `(n, d)`; NaN for those without any."""
    total = step.expect(np.column_stack([places, np.ones(len(places))]))[step.source]
    weight = total[:, -1:]
    return np.divide(
        total[:, :-1], weight, out=np.full_like(total[:, :-1], np.nan), where=weight > 0
    )
