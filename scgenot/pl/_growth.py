"""Which cells have many descendants."""

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scgenot import get
from scgenot._typed import typed
from scgenot._warn import warn_user
from scgenot.cells.keys import Keys
from scgenot.cells.labels import as_text
from scgenot.cells.tasks import TimeCourse
from scgenot.pl._axes import bar_beside, finish, new_axes, panels, slanted
from scgenot.pl._colors import label_colors, labels_of, ordered_colors
from scgenot.pl._embedding import bare, coordinates, scatter_numbers
from scgenot.pl._slots import obs_column, time_labels
from scgenot.pl._violins import violin

LOST = 0.5  # share of mass that is sent under which the coupling lost most
RELATIVE = "growth relative to the median cell"
ABSOLUTE = "mass sent (1: the cell keeps its share)"
LEAST = 2.0**-6  # growth below is drawn here: 0 has no logarithm


@typed
def growth(
    adata: AnnData,
    *,
    key: str = "genot",
    basis: str | None = None,
    groupby: str | None = None,
    relative: bool = True,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot growth, the mass that leaves a cell relative to its own, on an embedding and by group.

    The scale is logarithmic and centered at 1. By default, growth is relative to the median of the
    source cells of the same time, because a coupling that can lose mass on both sides determines
    which cells grow more than others, but not the number of descendants. Growth below 1/64 is shown
    as 1/64.

    Parameters
    ----------
    adata
        Cells with `obs["<key>_growth"]`, from an unbalanced fit or a fit with a growth prior. Cells
        without growth, which are not source cells, are gray on the embedding and not included in
        groups.
    key
        The `key_added` of the fit.
    basis
        Key of obsm, with or without `X_`, whose first two columns are drawn; None for no
        embedding.
    groupby
        Column of obs with groups, one violin per group; None for no violins, or for the times if
        `basis` is None, too.
    relative
        Whether to divide by the median over source cells, per time in a time course. False shows
        the absolute mass, which is a number of descendants only if the size of the population is
        constant.
    ax
        Axes to draw on; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes; with both pictures these are its `child_axes`.

    Raises
    ------
    KeyError
        When there is no such fit, growth, basis or column.
    ValueError
        When no cell has a growth, or no such cell a group.

    Warns
    -----
    UserWarning
        When less than half of the mass leaves the source cells: the coupling has lost most of it.

    Examples
    --------
    >>> solver = sg.ot.Sinkhorn(epsilon=0.01, tau=(0.8, 1))
    >>> sg.tl.fit_trajectory(adata, "day", solver=solver)
    >>> sg.pl.growth(adata, basis="umap", groupby="cell_type")
    """
    task, values = get.task(adata, key), _read(adata, key)
    if (kept := np.nanmean(values)) < LOST:
        warn_user(
            f"source cells send {kept:.0%} of their mass on average: the coupling lost the rest, "
            "and growth tells cells apart but counts no descendants. Raise `tau` of the solver."
        )
    if relative:
        values = _relative(values, task, adata)
    values, word = np.maximum(values, LEAST), RELATIVE if relative else ABSOLUTE
    time_key = getattr(task, "time_key", None)
    if basis is None and groupby is None:
        groupby = time_key
    labels = None if groupby is None else obs_column(adata, groupby, "groupby", "adata")
    xy, names = (None, None) if basis is None else coordinates(adata, basis)
    timed = labels is not None and groupby == time_key
    labels = time_labels(adata, task) if timed else labels
    groups = _by_group(values, labels)
    wide = max(3.2, 1 + 0.45 * len(groups))
    if basis is not None and groupby is not None:
        ax, inside = panels(
            ax,
            2,
            columns=2 if wide < 6 else 1,
            width=max(wide, 4),
            height=3.8,
            gap=(0.5, 0.3),
            room=(0.8, 1.2),
        )
    else:
        ax = new_axes(ax, 5.2 if groupby is None and basis is not None else wide, 4.2)
        inside = [ax]
    both = basis is not None and groupby is not None
    if basis is not None:
        inside[0].set_box_aspect(1 if both else None)
        # the violins beside have the same scale, with its name
        _on_embedding(inside[0], xy, values, names, "" if both else word)
    if basis is None or groupby is not None:
        colors = {} if labels is None or timed else label_colors((adata, groupby))
        if timed:
            colors = ordered_colors(labels_of(labels), adata.uns.get(f"{time_key}_colors", ()))
        _violins(inside[-1], groups, groupby, colors, word)
    return finish(ax, show=show)


def _read(adata: AnnData, key: str) -> np.ndarray:
    """Return the growth of each cell; NaN where there is none."""
    slot = Keys(key).growth
    if slot not in adata.obs:
        raise KeyError(
            f"{slot!r} is not in obs; found {list(adata.obs)}: fit with an unbalanced solver, "
            "such as `solver=sg.ot.Sinkhorn(tau=(0.9, 1))`, or with `growth_key`."
        )
    values = adata.obs[slot].to_numpy(dtype=float, na_value=np.nan)
    if not np.isfinite(values).any():
        raise ValueError(f"obs[{slot!r}] is NaN for every cell: nothing to draw.")
    return np.where(np.isfinite(values), values, np.nan)


def _relative(values: np.ndarray, task, adata: AnnData) -> np.ndarray:
    """Return growth over its median among source cells of the same time."""
    times = task.times(adata) if isinstance(task, TimeCourse) else np.zeros(len(values))
    out = values.copy()
    for time in np.unique(times[np.isfinite(values) & np.isfinite(times)]):
        here = times == time
        median = np.nanmedian(values[here])
        out[here] = values[here] / median if median > 0 else values[here]
    return out


def _by_group(values: np.ndarray, labels: pd.Series | None) -> dict[str, np.ndarray]:
    """Return the growth of each group that has any."""
    known = np.isfinite(values)
    if labels is None:
        return {"source cells": values[known]}
    text = as_text(labels)
    found = {label: values[known & (text == label)] for label in labels_of(labels)}
    found = {label: group for label, group in found.items() if len(group)}
    if not found:
        raise ValueError(f"no cell with growth has a label in obs[{labels.name!r}].")
    return found


def _on_embedding(
    ax: Axes, xy: np.ndarray, values: np.ndarray, names: tuple[str, str], word: str
) -> None:
    """Draw growth on an embedding, cells far from 1 on top."""
    distance = np.abs(np.log(values))
    # one extreme cell would leave all others white
    most = max(np.exp(np.nanquantile(distance, 0.99)), 1.1)
    order, norm = np.argsort(distance, kind="stable"), LogNorm(1 / most, most)
    cells = scatter_numbers(ax, xy[order], values[order], cmap="PuOr_r", norm=norm, unknown=1)
    bare(ax, names, "Growth")
    bar = bar_beside(ax, cells, word, extend="both")
    ticks = 2.0 ** np.arange(-6, 10)
    ticks = (
        ticks[(ticks >= 1 / most) & (ticks <= most)] if most >= 2 else np.array([1 / most, 1, most])
    )
    bar.set_ticks(ticks, labels=[as_factor(np.log2(tick)) for tick in ticks])
    bar.minorticks_off()


def _violins(
    ax: Axes,
    groups: dict[str, np.ndarray],
    groupby: str | None,
    colors: dict[str, str],
    word: str,
) -> None:
    """Draw the growth of each group, on a scale of powers of two."""
    for place, (label, group) in enumerate(groups.items()):
        violin(ax, np.log2(group), place, colors.get(label, "0.5"), width=0.8)
    bottom, top = ax.get_ylim()
    ax.set_ylim(min(bottom, -1.15), max(top, 1.15))  # from half to twice at least
    ax.axhline(0, color="black", lw=0.8, ls="--", zorder=0)
    turned = slanted(list(groups), 3)
    line = " " if turned else "\n"
    named = [f"{label}{line}(n={len(group):,})" for label, group in groups.items()]
    ax.set_xticks(range(len(groups)), named, **turned)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda power, _: as_factor(power)))
    ax.set(xlabel=groupby or "", ylabel=word, title="Growth")
    ax.spines[["top", "right"]].set_visible(False)


def as_factor(power: float) -> str:
    """Return a power of two as text, a fraction when it is less than 1."""
    value = 2.0 ** abs(power)
    text = f"{value:.3g}"
    return text if power >= 0 or text == "1" else f"1/{text}"
