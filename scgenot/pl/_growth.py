"""Which cells have many descendants."""

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scgenot.cells.keys import PARAMS, Keys
from scgenot.pl._axes import bar_beside, finish, new_axes, panels
from scgenot.pl._colors import NO_LABEL, label_colors, labels_of, ordered_colors
from scgenot.pl._embedding import bare, coordinates, disc_size
from scgenot.pl._slots import fit_slot, obs_column
from scgenot.pl._violins import violin

LEAST = 2.0**-6  # growth below is drawn here: 0 has no logarithm


def growth(
    adata: AnnData,
    *,
    key: str = "genot",
    basis: str | None = None,
    groupby: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Draw growth, the mass that a cell sends of 1 that it has, on an embedding and by group.

    The scale is logarithmic and 1 is the middle: twice as many is as far from it as half as many. Growth under 1/64 is
    drawn there.

    Parameters
    ----------
    adata
        Cells with `obs["<key>_growth"]`, which an unbalanced fit, or one with a prior of growth, writes. Cells that
        have none, as they are no source, are gray on the embedding and left out of groups.
    key
        The `key_added` of the fit.
    basis
        A key of obsm, with or without `X_`, whose first two columns are drawn; None for no embedding.
    groupby
        Column of obs whose groups get a violin each; None for none, or for those of time when `basis` is None too.
    ax
        Where to draw; None for a new figure.
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

    Examples
    --------
    >>> sg.tl.fit_trajectory(adata, "day", solver=sg.ot.Sinkhorn(tau=(0.8, 1)))
    >>> sg.pl.growth(adata, basis="umap", groupby="cell_type")
    """
    params = fit_slot(adata, key, PARAMS)
    values = _read(adata, key)
    if basis is None and groupby is None:
        groupby = params.get("time_key")
    labels = None if groupby is None else obs_column(adata, groupby, "groupby", "adata")
    xy, names = (None, None) if basis is None else coordinates(adata, basis)
    timed = labels is not None and groupby == params.get("time_key")
    order = list(params["time_labels"]) if timed else [] if labels is None else labels_of(labels)
    groups = _by_group(values, labels, order)
    wide = max(3.2, 1 + 0.45 * len(groups))
    if basis is not None and groupby is not None:
        ax, inside = panels(
            ax, 2, columns=2, width=max(wide, 4), height=3.8, gap=(0.5, 0), room=(0.8, 1.2)
        )
    else:
        ax = new_axes(ax, 5.2 if groupby is None and basis is not None else wide, 4.2)
        inside = [ax]
    if basis is not None:
        _on_embedding(inside[0], xy, values, names)
    if basis is None or groupby is not None:
        colors = (
            ordered_colors(order)
            if timed
            else {}
            if labels is None
            else label_colors((adata, groupby))
        )
        _violins(inside[-1], groups, groupby, colors)
    return finish(ax, show=show)


def _read(adata: AnnData, key: str) -> np.ndarray:
    slot = Keys(key).growth
    if slot not in adata.obs:
        raise KeyError(
            f"{slot!r} is not in obs; found {list(adata.obs)}: fit with an unbalanced solver, such as "
            "`solver=sg.ot.Sinkhorn(tau=(0.9, 1))`, or with `growth_key`."
        )
    values = adata.obs[slot].to_numpy(dtype=float, na_value=np.nan)
    if not np.isfinite(values).any():
        raise ValueError(f"obs[{slot!r}] is NaN for every cell: nothing to draw.")
    return np.where(np.isfinite(values), np.maximum(values, LEAST), np.nan)


def _by_group(
    values: np.ndarray, labels: pd.Series | None, order: list[str]
) -> dict[str, np.ndarray]:
    """Growth of each group that has any."""
    known = np.isfinite(values)
    if labels is None:
        return {"source cells": values[known]}
    text = labels.astype(str).to_numpy()
    found = {label: values[known & (text == label)] for label in order}
    found = {label: group for label, group in found.items() if len(group)}
    if not found:
        raise ValueError(f"no cell with growth has a label in {labels.name!r}.")
    return found


def _on_embedding(ax: Axes, xy: np.ndarray, values: np.ndarray, names: tuple[str, str]) -> None:
    known, size = np.isfinite(values), 1.5 * disc_size(len(xy))
    # one extreme cell would leave all others white
    most = max(np.quantile(np.maximum(values[known], 1 / values[known]), 0.99), 1.1)
    order = np.flatnonzero(known)[np.argsort(np.abs(np.log(values[known])), kind="stable")]
    ax.scatter(*xy[~known].T, c=NO_LABEL, s=size, linewidths=0, alpha=0.5)
    cells = ax.scatter(
        *xy[order].T,
        c=values[order],
        s=size,
        linewidths=0.2,
        edgecolors="0.5",
        cmap="PuOr_r",
        norm=LogNorm(1 / most, most),
    )
    bare(ax, names, "Growth")
    bar = bar_beside(ax, cells, "descendants (1: keeps its share)", extend="both")
    ticks = 2.0 ** np.arange(-6, 10)
    ticks = (
        ticks[(ticks >= 1 / most) & (ticks <= most)] if most >= 2 else np.array([1 / most, 1, most])
    )
    bar.set_ticks(ticks, labels=[as_factor(np.log2(tick)) for tick in ticks])
    bar.minorticks_off()


def _violins(
    ax: Axes, groups: dict[str, np.ndarray], groupby: str | None, colors: dict[str, str]
) -> None:
    for place, (label, group) in enumerate(groups.items()):
        violin(ax, np.log2(group), place, colors.get(label, "0.5"), width=0.8)
    bottom, top = ax.get_ylim()
    ax.set_ylim(min(bottom, -1.15), max(top, 1.15))  # from half to twice at least
    ax.axhline(0, color="black", lw=0.8, ls="--", zorder=0)
    slanted = (
        {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        if max(map(len, groups)) > 3
        else {}
    )
    ax.set_xticks(range(len(groups)), list(groups), **slanted)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda power, _: as_factor(power)))
    ax.set(xlabel=groupby or "", ylabel="descendants (1: keeps its share)", title="Growth")
    ax.spines[["top", "right"]].set_visible(False)


def as_factor(power: float) -> str:
    """A power of two as a number, or as a fraction under 1."""
    value = 2.0 ** abs(power)
    text = f"{value:.3g}"
    return text if power >= 0 or text == "1" else f"1/{text}"
