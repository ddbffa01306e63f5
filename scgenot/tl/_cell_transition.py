"""How much of each group becomes which group."""

from collections.abc import Hashable
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.groups import Groups, column_of, described, read_groups
from scgenot.cells.keys import UNASSIGNED
from scgenot.cells.labels import text_of
from scgenot.course.chain import transitions
from scgenot.fit.transport import Method, open_transport


@typed
def cell_transition(
    adata: AnnData,
    source_groups: Groups,
    target_groups: Groups,
    *,
    start: Hashable | None = None,
    end: Hashable | None = None,
    direction: Literal["forward", "backward"] = "forward",
    method: Method = "coupling",
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    key: str = "genot",
) -> pd.DataFrame:
    """Compute the transition matrix between groups of cells: shares of descendants or of ancestors.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    source_groups, target_groups
        Groups at `start` and at `end`: a column of obs, for all groups with cells at that time, or
        `{column: [groups]}`. Cells in none of these groups are ignored.
    start, end
        First and last time, as a number or as a label of the time column; None for those of the
        fit.
    direction
        "forward": groups of the descendants of each source group; rows sum to 1. "backward": groups
        of the ancestors of each target group; columns sum to 1.
    method, n_samples, rng, device, key
        As in :func:`push`.

    Returns
    -------
    Shares, with source groups in rows and target groups in columns. A group without relatives in
    the other groups has zeros. With partial couplings (`price` or `keep` of the solver), the last
    column (with "backward" the last row) is `"unassigned"`: the share of the group that is not
    matched at some step.

    A share of a small group is unreliable: `table.attrs["n_source"]` and `["n_target"]` have the
    number of cells of each group, which :func:`scgenot.pl.transition` shows. If both sides are
    grouped by a column within which cells were coupled, `attrs["within"]` is this column: there is
    no mass between its groups by construction.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or column.
    ValueError
        When `direction` has another value, a group has no cells at its time, a time is not in the
        fit, `start` is not before `end`, or no fitted steps lead from one to the other.

    See Also
    --------
    scgenot.pl.transition : plots the table.

    Examples
    --------
    >>> groups = {"cell_type": ["Neutrophil", "Monocyte"]}
    >>> sg.tl.cell_transition(adata, "cell_type", groups, start=4, end=6)
    """
    if direction not in ("forward", "backward"):
        raise ValueError(f"`direction={direction!r}` must be 'forward' or 'backward'.")
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    path = transport.path(start, end)
    at_start, at_end = transport.times == path[0][0], transport.times == path[-1][1]
    sources, of_source = _groups_at(adata, source_groups, at_start, "source_groups")
    targets, of_target = _groups_at(adata, target_groups, at_end, "target_groups")
    how = {"backward": direction == "backward", "unassigned": transport.is_partial}
    table = transitions(transport.step, path, of_source, of_target, **how)
    axes = _with_unassigned(list(sources), list(targets), **how)
    out = pd.DataFrame(table, index=axes[0], columns=axes[1])
    columns = [column_of(groups) for groups in (source_groups, target_groups)]
    out.attrs |= {"n_source": _counts(sources, of_source), "n_target": _counts(targets, of_target)}
    out.attrs |= described(adata, columns, transport.fit.task.covariates)
    return out


def _with_unassigned(
    sources: list, targets: list, *, backward: bool, unassigned: bool
) -> tuple[list, list]:
    """Return the names of the groups, with the one for what is left behind."""
    there, argument = (sources, "source") if backward else (targets, "target")
    if unassigned and UNASSIGNED in map(str, there):
        raise ValueError(
            f"`{argument}_groups` has a group {UNASSIGNED!r}, the label of unmatched cells of "
            "partial couplings: rename the group."
        )
    added = [UNASSIGNED] if unassigned else []
    return (sources + added, targets) if backward else (sources, targets + added)


def _counts(names: pd.Index, cells: np.ndarray) -> dict[str, int]:
    """Return the number of cells of each group."""
    counts = (np.asarray(cells) > 0).sum(axis=0).tolist()
    return dict(zip(map(text_of, names), counts, strict=True))


def _groups_at(
    adata: AnnData, groups: Groups, here: np.ndarray, argument: str
) -> tuple[list[str], np.ndarray]:
    """Return the groups at a time, and which cells are in which, shape `(n_cells, k)`."""
    if isinstance(groups, str):
        return read_groups(adata, groups, among=here, argument=argument)
    if len(groups) != 1:
        raise ValueError(
            f"`{argument}={groups!r}` must be a column of obs or one {{column: [groups]}}."
        )
    ((column, chosen),) = groups.items()
    return read_groups(adata, column, chosen, among=here, argument=argument)
