"""Carry a column of obs from one time to others."""

from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng
from scgenot.cells.groups import read_groups
from scgenot.cells.keys import Keys
from scgenot.cells.labels import like_column
from scgenot.cells.write import write_slots
from scgenot.fit.transport import Method, Transport, open_transport


def annotate(
    adata: AnnData,
    column: str,
    *,
    start: float | str | None = None,
    end: float | str | None = None,
    direction: Literal["forward", "backward"] = "forward",
    method: Method = "coupling",
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    key: str = "genot",
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Carry labels or numbers across time: cells get those of their ancestors, or of their descendants.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    column
        Column of obs: labels, or numbers. Cells where it is missing pass nothing on.
    start, end
        First and last time, as a number or as the column of time calls it; None for those of the fit.
    direction
        "forward": cells after `start` get what their ancestors at `start` have. "backward": cells before `end` get
        what their descendants at `end` have, counted with growth.
    method, n_samples, rng, device, key
        As in :func:`push`.
    key_added
        Column to write; None for `"<key>_annotated_<column>"`.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"` and `column="state"`; cells of the time where the
    column is read have their own, and cells at other times, or whose relatives have no value, none:

    `obs["genot_annotated_state"]`
        The most probable label, or the expected number.
    `obs["genot_annotated_state_probability"]`
        Probability of the label; not for numbers.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or column.
    ValueError
        When `direction` is neither, no cell of the first (backward: the last) time has a value, a time is not of the
        fit, `start` is not before `end`, or no fitted steps lead from one to the other.

    Examples
    --------
    >>> sg.tl.annotate(adata, "cell_type", start=4, end=6, direction="backward")
    """
    if direction not in ("forward", "backward"):
        raise ValueError(f"`direction={direction!r}` must be 'forward' or 'backward'.")
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    first, last = transport.course.ends(start, end)
    name = key_added or Keys(key).annotated(column)
    read_at, argument = (first, "start") if direction == "forward" else (last, "end")
    labels, values = _read_values(adata, column, transport.course.times == read_at)
    if not values.any():
        raise ValueError(f"`column={column!r}` has no value at `{argument}={read_at:g}`.")
    found = carry(transport, first, last, values, backward=direction == "backward")
    out = adata.copy() if copy else adata
    obs = (
        _numbers(found, name) if labels is None else _labels(found, labels, name, adata.obs[column])
    )
    write_slots(out, obs=obs, key=key)
    return out if copy else None


def carry(
    transport: Transport, start: float, end: float, values: np.ndarray, *, backward: bool
) -> np.ndarray:
    """Sum values over the relatives of each cell, one step after another."""
    path, out = transport.course.path(start, end), values.astype(float)
    for times in reversed(path) if backward else path:
        step = transport.step(*times)
        out += step.expect(out) if backward else step.inherit(out)
    return out


def _read_values(
    adata: AnnData, column: str, here: np.ndarray
) -> tuple[pd.Index | None, np.ndarray]:
    """Labels and which cells of a time have them; or None, and numbers beside 1 where there is one."""
    if column in adata.obs and adata.obs[column].dtype.kind in "iuf":
        numbers = adata.obs[column].to_numpy(dtype=float, na_value=np.nan)
        known = here & np.isfinite(numbers)
        return None, np.column_stack([np.where(known, numbers, 0), known])
    return read_groups(adata, column, among=here, argument="column")


def _numbers(found: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Means of numbers."""
    total, weight = found.T
    return {name: np.divide(total, weight, out=np.full(len(found), np.nan), where=weight > 0)}


def _labels(found: np.ndarray, labels: pd.Index, name: str, column: pd.Series) -> dict[str, object]:
    """Most probable labels as the column holds them, and their probability."""
    total = found.sum(axis=1)
    probability = np.divide(
        found.max(axis=1), total, out=np.full(len(found), np.nan), where=total > 0
    )
    codes = np.where(total > 0, found.argmax(axis=1), -1)
    carried = like_column(np.append(labels.to_numpy(dtype=object), None)[codes], column)
    # text becomes a category, as in a file
    carried = pd.Categorical(carried) if carried.dtype.kind == "O" else carried
    return {name: carried, f"{name}_probability": probability}
