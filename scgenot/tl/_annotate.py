"""Carry a column of obs from one time to others."""

from collections.abc import Hashable
from typing import Literal

from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.read import check_writable, copy_of
from scgenot.cells.write import write_slots
from scgenot.course.chain import carry
from scgenot.course.kept import kept_along
from scgenot.fit.carried import carried, read_values
from scgenot.fit.transport import Method, open_transport


@typed
def annotate(
    adata: AnnData,
    column: str,
    *,
    start: Hashable | None = None,
    end: Hashable | None = None,
    direction: Literal["forward", "backward"] = "forward",
    method: Method = "coupling",
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    key: str = "genot",
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Transfer labels or numbers across time, from the ancestors or descendants of each cell.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    column
        Column of obs with labels or numbers. Cells with a missing value are ignored.
    start, end
        First and last time, as a number or as a label of the time column; None for those of the
        fit.
    direction
        "forward": cells after `start` get the values of their ancestors at `start`. "backward":
        cells before `end` get the values of their descendants at `end`, weighted by growth.
    method, n_samples, rng, device, key
        As in :func:`push`.
    key_added
        Column to write; None for `"<key>_annotated_<column>"`.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"` and `column="state"`. Cells at
    the time from which the values are transferred keep their own value. Cells at times outside the
    path, and cells whose relatives have no value, get a missing value.

    `obs["genot_annotated_state"]`
        The most probable label, a categorical whose categories are values of `column`; or the
        expected number.
    `obs["genot_annotated_state_probability"]`
        Probability of the label; not for numbers.
    `obs["genot_annotated_state_kept"]`
        Partial couplings only (`price` or `keep` of the solver): share of the mass of the cell that
        is matched at every step. If it is below one half, the label is `"unassigned"`, with the
        unmatched share as its probability, and a number is missing. Probabilities of labels refer
        to the whole mass of the cell.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or column.
    ValueError
        When `direction` has another value, no cell of the first (backward: the last) time has a
        value, a time is not in the fit, `start` is not before `end`, or no fitted steps lead from
        one to the other.

    Examples
    --------
    >>> sg.tl.annotate(adata, "cell_type", start=4, end=6, direction="backward")
    """
    if direction not in ("forward", "backward"):
        raise ValueError(f"`direction={direction!r}` must be 'forward' or 'backward'.")
    check_writable(adata, copy=copy)
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    path, backward = transport.path(start, end), direction == "backward"
    argument, time = ("end", path[-1][1]) if backward else ("start", path[0][0])
    here = transport.times == time
    labels, values = read_values(adata, column, here)
    if not values.any():
        raise ValueError(f"`column={column!r}` has no value at `{argument}={time:g}`.")
    found = carry(transport.step, path, values, backward=backward)
    name, out = key_added or Keys(key).annotated(column), copy_of(adata) if copy else adata
    kept = None
    if transport.is_partial:
        kept = kept_along(transport.step, path, here, backward=backward)
    write_slots(out, obs=carried(found, labels, adata.obs[column], name, kept), key=key)
    return out if copy else None
