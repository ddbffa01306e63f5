"""Follow a set of cells to its descendants."""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.groups import read_mask
from scgenot.cells.keys import Keys
from scgenot.cells.read import check_writable, copy_of
from scgenot.cells.write import write_slots
from scgenot.course.chain import follow
from scgenot.fit.transport import Method, open_transport


@typed
def push(
    adata: AnnData,
    cells: np.ndarray | pd.Series | Hashable | Sequence[Hashable],
    *,
    groupby: str | None = None,
    start: Hashable | None = None,
    end: Hashable | None = None,
    method: Method = "coupling",
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    key: str = "genot",
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Compute the distribution of the descendants of a set of cells over the cells of later times.

    Descendants are weighted by growth: a dividing cell contributes more of them.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    cells
        The set: a boolean per cell, or, with `groupby`, one or more groups. Cells of the set at
        `start` are used.
    groupby
        Column of obs with the groups.
    start, end
        First and last time, as a number or as a label of the time column; None for those of the
        fit. The path between them has the fewest fitted steps.
    method
        "coupling" uses the couplings between the fitted cells. "model" uses all cells at these
        times, including new cells: the model samples descendants of each source cell, and each
        sample is assigned to the nearest observed cell.
    n_samples, rng
        Samples of the model per cell, and their seed.
    device
        Device; None for the CPU with the coupling, and for CUDA, if available, with the model.
    key
        The `key_added` of the fit.
    key_added
        Column to write; None for `"<key>_push"`.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obs["genot_push"]`
        At `start`, equal mass on the cells of the set; at each later time, the distribution of
        their descendants. The values of each time sum to 1. NaN for cells at other times or not in
        the fit.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or column.
    ValueError
        When no cell of the set is at `start`, no cell is in a group, a time is not in the fit,
        `start` is not before `end`, no fitted steps lead from one to the other, or the set has no
        descendants.

    See Also
    --------
    pull : the ancestors of a set of cells.

    Examples
    --------
    >>> sg.tl.push(adata, "HSC", groupby="cell_type", start=2, end=6)
    >>> sc.pl.umap(adata, color="genot_push")
    """
    check_writable(adata, copy=copy)
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    sets = read_mask(adata, cells, groupby)[:, None]
    mass = follow(transport.step, transport.path(start, end), sets, backward=False)[:, 0]
    out = copy_of(adata) if copy else adata
    write_slots(out, obs={key_added or Keys(key).push: mass}, key=key)
    return out if copy else None
