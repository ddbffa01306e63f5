"""Follow a set of cells to its ancestors."""

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
def pull(
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
    """Compute the distribution of the ancestors of a set of cells over the cells of earlier times.

    All cells of the set have equal weight. The weight of a cell is divided among its ancestors in
    proportion to the mass that it receives from each.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    cells
        The set: a boolean per cell, or, with `groupby`, one or more groups. Cells of the set at
        `end` are used.
    groupby
        Column of obs with the groups.
    start, end, method, n_samples, rng, device, key
        As in :func:`push`. With the model, the ancestor of a cell that is not the nearest cell of
        any sample is the source of the nearest sample.
    key_added
        Column to write; None for `"<key>_pull"`.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obs["genot_pull"]`
        At `end`, equal mass on the cells of the set; at each earlier time, the distribution of
        their ancestors. The values of each time sum to 1. NaN for cells at other times or not in
        the fit.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or column.
    ValueError
        When no cell of the set is at `end`, no cell is in a group, a time is not in the fit,
        `start` is not before `end`, no fitted steps lead from one to the other, or the set has no
        ancestors.

    See Also
    --------
    push : the descendants of a set of cells.

    Examples
    --------
    >>> sg.tl.pull(adata, ["Neutrophil", "Monocyte"], groupby="cell_type")
    """
    check_writable(adata, copy=copy)
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    sets = read_mask(adata, cells, groupby)[:, None]
    mass = follow(transport.step, transport.path(start, end), sets, backward=True)[:, 0]
    out = copy_of(adata) if copy else adata
    write_slots(out, obs={key_added or Keys(key).pull: mass}, key=key)
    return out if copy else None
