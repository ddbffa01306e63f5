"""Which terminal groups the descendants of each cell end in."""

import logging
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.groups import read_groups
from scgenot.cells.keys import Keys
from scgenot.cells.labels import text_of
from scgenot.cells.read import check_writable, copy_of
from scgenot.cells.write import write_slots
from scgenot.course.chain import fates, relative_entropy
from scgenot.fit.transport import Method, open_transport

logger = logging.getLogger("scgenot")

# name of the column for descendants in no terminal group
OTHER = "other"
# shares below this are 0: those of cells that were given an ancestor because no draw was near
NEGLIGIBLE = 1e-9


@typed
def fate(
    adata: AnnData,
    groupby: str,
    *,
    terminal: Sequence[Hashable] | None = None,
    end: Hashable | None = None,
    of: Literal["descendants", "lineage"] = "descendants",
    method: Method = "coupling",
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    key: str = "genot",
    copy: bool = False,
) -> AnnData | None:
    """Compute the fate of each cell: the share of each terminal group among its descendants.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    groupby
        Column of obs with the groups of the cells at `end`.
    terminal
        Terminal groups; None for all groups with cells at `end`. Descendants in no terminal group
        are counted in a column `"other"`.
    end
        Last time, as a number or as a label of the time column; None for that of the fit.
    of
        "descendants": shares among all descendants at `end`, so that growing branches have more
        weight, as in a clone. "lineage": fate probabilities of a single lineage that follows one
        living descendant at each step. Both are the same over a single step.
    method, n_samples, rng, device, key
        As in :func:`push`.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obsm["genot_fate"]`
        DataFrame with one column per terminal group (a slash in its name becomes `|`), rows sum to
        1; cells at `end` have 1 for their own group. NaN for cells at times from which no fitted
        steps lead to `end`, for cells that are not in the fit, and for cells without descendants at
        `end`; the number of NaN rows before `end` is logged. A group that no earlier cell reaches
        has zeros before `end`, which is logged.
    `obs["genot_fate_entropy"]`
        Entropy of the row, divided by that of equal shares: 0 for a determined fate, 1 for equal
        shares.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or column.
    ValueError
        When no cell at `end` is in a terminal group, `end` is not a time of the fit or no step
        leads there, or `of` has another value.

    See Also
    --------
    push : the descendants of a set of cells.
    cell_transition : the same for groups of cells.

    Examples
    --------
    >>> sg.tl.fate(adata, "cell_type", terminal=["Neutrophil", "Monocyte"])
    >>> adata.obsm["genot_fate"]["Neutrophil"]
    """
    if of not in ("descendants", "lineage"):
        raise ValueError(f"`of={of!r}` must be 'descendants' or 'lineage'.")
    check_writable(adata, copy=copy)
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    last = transport.last(end)
    onward, at_end = transport.steps.onward(last), transport.times == last
    names, ends = _terminal(adata, groupby, terminal, at_end)
    columns = _column_names(names)
    shares = fates(transport.step, onward, ends, lineage=of == "lineage")
    shares[shares < NEGLIGIBLE] = 0
    _log_gaps(names, shares[np.isin(transport.times, list(onward))])
    table = pd.DataFrame(shares, index=adata.obs_names, columns=columns)
    out, keys = copy_of(adata) if copy else adata, Keys(key)
    entropy = {keys.fate_entropy: relative_entropy(shares)}
    write_slots(out, obs=entropy, obsm={keys.fate: table}, key=key)
    return out if copy else None


def _terminal(
    adata: AnnData, groupby: str, terminal: Sequence[Hashable] | None, here: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Return the terminal groups, and 1 for each last cell in its own; NaN for earlier cells."""
    groups, members = read_groups(adata, groupby, terminal, among=here, named="terminal")
    names = list(map(text_of, groups))
    rest = here & ~members.any(axis=1)
    if rest.any():
        if OTHER not in names:
            names, members = [*names, OTHER], np.column_stack([members, np.zeros_like(rest)])
        members[:, names.index(OTHER)] |= rest
    return names, np.where(here[:, None], members, np.nan)


def _column_names(names: list[str]) -> list[str]:
    """Return names of columns that a file can hold; refused where two groups get one."""
    columns = [name.replace("/", "|") for name in names]
    if twice := [
        name for name, column in zip(names, columns, strict=True) if columns.count(column) > 1
    ]:
        raise ValueError(
            f"`groupby`: the groups {twice} would share one column, because names in files cannot "
            "contain a slash: rename one of them."
        )
    return columns


def _log_gaps(names: list[str], before: np.ndarray) -> None:
    """Log which groups no earlier cell reaches, and how many earlier cells reach no group."""
    missed = [
        name for name, share in zip(names, before.T, strict=True) if not np.nan_to_num(share).any()
    ]
    if missed:
        logger.warning(
            "No earlier cell reaches the terminal groups %s: their shares are 0.", missed
        )
    n_without = int(np.isnan(before).any(axis=1).sum())
    if n_without:
        logger.info("%d cells have no descendants at the last time: their fate is NaN.", n_without)
