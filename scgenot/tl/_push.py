"""Follow a set of cells to its descendants or its ancestors."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import Rng
from scgenot.cells.groups import read_mask
from scgenot.cells.keys import Keys
from scgenot.cells.write import write_slots
from scgenot.fit.transport import Method, Transport, open_transport


def push(
    adata: AnnData,
    cells: np.ndarray | pd.Series | str | Sequence[str],
    *,
    groupby: str | None = None,
    start: float | str | None = None,
    end: float | str | None = None,
    method: Method = "coupling",
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    key: str = "genot",
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find where a set of cells goes: the distribution of its descendants over the cells of later times.

    Descendants are counted with growth: the share of a cell in the answer grows with its own.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    cells
        The set: a boolean for each cell; or, with `groupby`, one or more groups. Those at `start` are followed.
    groupby
        Column of obs with the groups.
    start, end
        First and last time, as a number or as the column of time calls it; None for those of the fit. The way from one
        to the other takes the fewest fitted steps.
    method
        "coupling", between the cells that were fitted; or "model", between all cells at these times, seen in the fit
        or not: draws for each source cell, each of which counts as the observed cell nearest to it.
    n_samples, rng
        Draws per cell of the model, and their seed.
    device
        Where to compute; None for the CPU with the coupling, and for CUDA with the model when there is one.
    key
        The `key_added` of the fit.
    key_added
        Column to write; None for `"<key>_push"`.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obs["genot_push"]`
        At `start` equal mass on the cells of the set, at each later time the distribution of their descendants; both
        sum to 1 at each time. NaN for cells at other times or not in the fit.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or column.
    ValueError
        When no cell of the set is at `start`, no cell has a group, a time is not of the fit, `start` is not before
        `end`, no fitted steps lead from one to the other, or the set has no descendants.

    Examples
    --------
    >>> sg.tl.push(adata, "HSC", groupby="cell_type", start=2, end=6)
    >>> sc.pl.umap(adata, color="genot_push")
    """
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    first, last = transport.course.ends(start, end)
    mask = read_mask(adata, cells, groupby)
    mass = follow(transport, first, last, mask[:, None], backward=False)[:, 0]
    out = adata.copy() if copy else adata
    write_slots(out, obs={key_added or Keys(key).push: mass}, key=key)
    return out if copy else None


def pull(
    adata: AnnData,
    cells: np.ndarray | pd.Series | str | Sequence[str],
    *,
    groupby: str | None = None,
    start: float | str | None = None,
    end: float | str | None = None,
    method: Method = "coupling",
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
    key: str = "genot",
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find where a set of cells comes from: the distribution of its ancestors over the cells of earlier times.

    Each cell of the set counts the same; its ancestors share it by their part in the mass that it receives.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    cells
        The set: a boolean for each cell; or, with `groupby`, one or more groups. Those at `end` are followed.
    groupby
        Column of obs with the groups.
    start, end, method, n_samples, rng, device, key
        As in :func:`push`. With the model, a cell that no draw meets has the source of its nearest draw as ancestor.
    key_added
        Column to write; None for `"<key>_pull"`.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obs["genot_pull"]`
        At `end` equal mass on the cells of the set, at each earlier time the distribution of their ancestors; both sum
        to 1 at each time. NaN for cells at other times or not in the fit.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit or column.
    ValueError
        When no cell of the set is at `end`, no cell has a group, a time is not of the fit, `start` is not before
        `end`, no fitted steps lead from one to the other, or the set has no ancestors.

    Examples
    --------
    >>> sg.tl.pull(adata, ["Neutrophil", "Monocyte"], groupby="cell_type")
    """
    transport = open_transport(adata, key, method, n_samples=n_samples, rng=rng, device=device)
    first, last = transport.course.ends(start, end)
    mask = read_mask(adata, cells, groupby)
    mass = follow(transport, first, last, mask[:, None], backward=True)[:, 0]
    out = adata.copy() if copy else adata
    write_slots(out, obs={key_added or Keys(key).pull: mass}, key=key)
    return out if copy else None


def follow(
    transport: Transport, start: float, end: float, sets: np.ndarray, *, backward: bool
) -> np.ndarray:
    """Follow sets of cells from one end of a course to the other."""
    path = transport.course.path(start, end)
    out = np.full(sets.shape, np.nan)
    for position, times in enumerate(reversed(path) if backward else path):
        step = transport.step(*times)
        here, there = (step.target, step.source) if backward else (step.source, step.target)
        if position == 0:
            argument, time = ("end", end) if backward else ("start", start)
            nobody = f"no cell of the set is at `{argument}={time:g}` and in the fit: choose another time or set."
            out[here] = _shares(sets[here].astype(float), nobody)
        mass = np.zeros(sets.shape)
        mass[here] = out[here]
        mass = step.pull(mass) if backward else step.push(mass)
        what, time = ("ancestors", times[0]) if backward else ("descendants", times[1])
        out[there] = _shares(mass[there], f"the set has no {what} at {time:g}.")
    return out


def _shares(mass: np.ndarray, otherwise: str) -> np.ndarray:
    """Divide each column by its sum, or raise a ValueError when there is none."""
    total = mass.sum(axis=0)
    if not (total > 0).all():
        raise ValueError(otherwise)
    return mass / total
