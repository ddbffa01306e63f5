"""How much of each group becomes which group."""

from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng
from scgenot.cells.groups import Groups, read_groups
from scgenot.fit.transport import Method, open_transport
from scgenot.tl._push import follow


def cell_transition(
    adata: AnnData,
    source_groups: Groups,
    target_groups: Groups,
    *,
    start: float | str | None = None,
    end: float | str | None = None,
    direction: Literal["forward", "backward"] = "forward",
    method: Method = "coupling",
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    key: str = "genot",
) -> pd.DataFrame:
    """Tabulate which groups become which: shares of descendants, or of ancestors.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    source_groups, target_groups
        Groups at `start` and at `end`: a column of obs, for all its groups with cells at that time, or
        `{column: [groups]}`. Cells in none of these are left out of the shares.
    start, end
        First and last time, as a number or as the column of time calls it; None for those of the fit.
    direction
        "forward": which groups the descendants of a source group are in; each row sums to 1. "backward": which groups
        the ancestors of a target group are in; each column sums to 1.
    method, n_samples, rng, device, key
        As in :func:`push`.

    Returns
    -------
    Shares, rows source groups, columns target groups. A group all of whose mass goes to, or comes from, groups that
    are left out has zeros.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or column.
    ValueError
        When `direction` is neither, a group has no cells at its time, a time is not of the fit, `start` is not before
        `end`, or no fitted steps lead from one to the other.

    Examples
    --------
    >>> sg.tl.cell_transition(adata, "cell_type", {"cell_type": ["Neutrophil", "Monocyte"]}, start=4, end=6)
    """
    if direction not in ("forward", "backward"):
        raise ValueError(f"`direction={direction!r}` must be 'forward' or 'backward'.")
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    first, last = transport.course.ends(start, end)
    times = transport.course.times
    sources, of_source = _groups_at(adata, source_groups, times == first, "source_groups")
    targets, of_target = _groups_at(adata, target_groups, times == last, "target_groups")
    if direction == "forward":
        mass = follow(transport, first, last, of_source, backward=False)
        table = np.nan_to_num(mass).T @ of_target
        total = table.sum(axis=1, keepdims=True)
    else:
        mass = follow(transport, first, last, of_target, backward=True)
        table = of_source.T @ np.nan_to_num(mass)
        total = table.sum(axis=0, keepdims=True)
    table = np.divide(table, total, out=np.zeros_like(table), where=total > 0)
    return pd.DataFrame(table, index=sources, columns=targets)


def _groups_at(
    adata: AnnData, groups: Groups, here: np.ndarray, argument: str
) -> tuple[list[str], np.ndarray]:
    """Groups of the cells of a time, and which of them are in which, shape `(n_cells, k)`."""
    if isinstance(groups, str):
        return read_groups(adata, groups, among=here, argument=argument)
    if len(groups) != 1:
        raise ValueError(
            f"`{argument}={groups!r}` must be a column of obs or one {{column: [groups]}}."
        )
    ((column, chosen),) = groups.items()
    return read_groups(adata, column, chosen, among=here, argument=argument)
