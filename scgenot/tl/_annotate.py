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
    """Carry labels or numbers across time: cells get those of their ancestors or descendants.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    column
        Column of obs: labels, or numbers. Cells where it is missing pass nothing on.
    start, end
        First and last time, as a number or as a label of the column of times; None for those of the
        fit.
    direction
        "forward": cells after `start` get what their ancestors at `start` have. "backward": cells
        before `end` get what their descendants at `end` have, counted with growth.
    method, n_samples, rng, device, key
        As in :func:`push`.
    key_added
        Column to write; None for `"<key>_annotated_<column>"`.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"` and `column="state"`. Cells of
    the time where the column is read keep their own value; cells at other times than those of the
    path, and cells whose relatives have no value, get none.

    `obs["genot_annotated_state"]`
        The most probable label, a categorical whose categories are values of `column`; or the
        expected number.
    `obs["genot_annotated_state_probability"]`
        Probability of the label; not for numbers.
    `obs["genot_annotated_state_kept"]`
        After partial couplings (`price` or `keep` of the solver): share of the cell that has
        relatives all the way. Under a half the label is `"unassigned"`, with the share that is left
        as its probability; a number is missing. Probabilities of labels are of all of the cell.

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
