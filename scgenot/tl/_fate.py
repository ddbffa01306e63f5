"""Which terminal groups the descendants of each cell end in."""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng
from scgenot.cells.groups import read_groups
from scgenot.cells.keys import Keys
from scgenot.cells.labels import text_of
from scgenot.cells.write import write_slots
from scgenot.fit.transport import Method, Transport, open_transport

logger = logging.getLogger("scgenot")

# name of the column for what is in no terminal group
OTHER = "other"
# shares below this are 0: of those that have an ancestor only for want of a better one
NEGLIGIBLE = 1e-9


def fate(
    adata: AnnData,
    groupby: str,
    *,
    terminal: Sequence[str] | None = None,
    end: float | str | None = None,
    of: Literal["descendants", "lineage"] = "descendants",
    method: Method = "coupling",
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    key: str = "genot",
    copy: bool = False,
) -> AnnData | None:
    """Find the fate of each cell: the share of each terminal group among its descendants at the last time.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    groupby
        Column of obs with the groups of the cells at `end`.
    terminal
        The terminal groups; None for all groups with cells at `end`. Descendants in no terminal group are counted in
        a column `"other"`.
    end
        Last time, as a number or as the column of time calls it; None for that of the fit.
    of
        "descendants": shares among all descendants at `end`; branches that grow on the way have more of them, as in a
        clone. "lineage": probabilities of one lineage, which follows one living descendant at each step. Both are the
        same over a single step.
    method, n_samples, rng, device, key
        As in :func:`push`.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obsm["genot_fate"]`
        DataFrame, a column a terminal group (a slash in its name becomes `|`), rows summing to 1; cells at `end` have
        1 for their own group. NaN for cells at times from which no fitted steps lead to `end`, for cells not in the
        fit, and for those without descendants at `end`, which are logged. A group that nothing reaches has zeros
        before `end`, which is logged.
    `obs["genot_fate_entropy"]`
        Entropy of the row over that of equal shares: 0 is decided, 1 is open.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or column.
    ValueError
        When no cell at `end` is in a terminal group, `end` is not a time of the fit or no step leads there, or `of` is
        neither.

    Examples
    --------
    >>> sg.tl.fate(adata, "cell_type", terminal=["Neutrophil", "Monocyte"])
    >>> adata.obsm["genot_fate"]["Neutrophil"]
    """
    if of not in ("descendants", "lineage"):
        raise ValueError(f"`of={of!r}` must be 'descendants' or 'lineage'.")
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    _, last = transport.course.ends(None, end)
    names, terminal_shares = _terminal(adata, groupby, terminal, transport.course.times == last)
    shares = backwards(transport, last, terminal_shares, lineage=of == "lineage")
    shares[shares < NEGLIGIBLE] = 0
    _log_gaps(names, shares, transport.course.times == last)
    table = pd.DataFrame(
        shares, index=adata.obs_names, columns=[name.replace("/", "|") for name in names]
    )
    out, keys = adata.copy() if copy else adata, Keys(key)
    entropy = relative_entropy(shares)
    write_slots(out, obs={keys.fate_entropy: entropy}, obsm={keys.fate: table}, key=key)
    return out if copy else None


def backwards(transport: Transport, end: float, values: np.ndarray, *, lineage: bool) -> np.ndarray:
    """Carry shares of groups at the last time back to all times from which steps lead there."""
    counts, onward = values.copy(), transport.course.onward(end)
    if not onward:
        raise ValueError(
            f"no fitted step leads to `end={end:g}`; fitted are {transport.course.steps}."
        )
    for earlier in sorted(onward, reverse=True):
        step = transport.step(earlier, onward[earlier])
        found = step.expect(np.nan_to_num(counts))[step.source]
        counts[step.source] = _shares(found) if lineage else found
    return _shares(counts)


def relative_entropy(shares: np.ndarray) -> np.ndarray:
    """Entropy of each row over that of equal shares; 0 when there is one column only."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).sum(axis=1) / np.log(max(shares.shape[1], 2)) + 0.0


def _terminal(
    adata: AnnData, groupby: str, terminal: Sequence[str] | None, here: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Terminal groups, and for each cell at the end 1 in its own, shape `(n_cells, k)`; NaN for other cells."""
    labels, members = read_groups(adata, groupby, terminal, among=here)
    names = list(map(text_of, labels))
    rest = here & ~members.any(axis=1)
    if rest.any():
        if OTHER not in names:
            names, members = (
                [*names, OTHER],
                np.column_stack([members, np.zeros(len(rest), dtype=bool)]),
            )
        members[:, names.index(OTHER)] |= rest
    return names, np.where(here[:, None], members, np.nan)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Divide each row by its sum; NaN where there is none."""
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def _log_gaps(names: list[str], shares: np.ndarray, at_end: np.ndarray) -> None:
    """Say which groups nothing reaches, and how many cells reach nothing."""
    reached = (np.nan_to_num(shares[~at_end]) > 0).any(axis=0)
    missed = [name for name, hit in zip(names, reached, strict=True) if not hit]
    if missed:
        logger.warning(
            "Nothing reaches the terminal groups %s: their fate probabilities are 0.", missed
        )
