"""Carry a column of obs from one time to others."""

from collections.abc import Hashable
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.groups import read_groups
from scgenot.cells.keys import Keys
from scgenot.cells.labels import like_column
from scgenot.cells.read import check_writable, copy_of
from scgenot.cells.write import write_slots
from scgenot.course.chain import carry, ratio
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
    labels, values = _read_values(adata, column, transport.times == time)
    if not values.any():
        raise ValueError(f"`column={column!r}` has no value at `{argument}={time:g}`.")
    found = carry(transport.step, path, values, backward=backward)
    name, out = key_added or Keys(key).annotated(column), copy_of(adata) if copy else adata
    obs = (
        _numbers(found, name) if labels is None else _labels(found, labels, name, adata.obs[column])
    )
    write_slots(out, obs=obs, key=key)
    return out if copy else None


def _read_values(
    adata: AnnData, column: str, here: np.ndarray
) -> tuple[pd.Index | None, np.ndarray]:
    """Return labels and which cells have them; or None, and numbers beside 1 if known."""
    if column in adata.obs and adata.obs[column].dtype.kind in "iuf":
        numbers = adata.obs[column].to_numpy(dtype=float, na_value=np.nan)
        known = here & np.isfinite(numbers)
        return None, np.column_stack([np.where(known, numbers, 0), known])
    return read_groups(adata, column, among=here, argument="column")


def _numbers(found: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Return the means of numbers."""
    return {name: ratio(*found.T)}


def _labels(found: np.ndarray, labels: pd.Index, name: str, column: pd.Series) -> dict[str, object]:
    """Return the most probable labels as the column holds them, and their probability."""
    total = found.sum(axis=1)
    codes = np.where(total > 0, found.argmax(axis=1), -1)
    carried = like_column(np.append(labels.to_numpy(dtype=object), None)[codes], column)
    return {
        # text becomes a category, as in a file
        name: pd.Categorical(carried) if carried.dtype.kind == "O" else carried,
        f"{name}_probability": ratio(found.max(axis=1), total),
    }
