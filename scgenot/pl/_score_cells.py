"""Whether measured cells are such as the model makes."""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scgenot import get
from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.labels import text_of
from scgenot.pl._axes import finish, legend_beside, new_axes
from scgenot.pl._colors import colors_for
from scgenot.pl._slots import obs_column

LEVEL = 0.05  # what a share is given of in the legend
MAX_GROUPS = 12


@typed
def score_cells(
    adata: AnnData,
    *,
    groupby: str | None = None,
    key: str = "genot",
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot the distribution of the p-values of measured cells, by condition or group.

    Under a correct model, p-values are uniform, and curves are on the diagonal. A curve above the
    diagonal indicates cells that the model does not generate; a curve below it indicates a
    distribution that is wider than that of the cells. Under a correct model, 95 % of the values of
    the smallest group are within the band.

    Parameters
    ----------
    adata
        Cells with the results of `sg.tl.score_cells`.
    groupby
        Column of `obs`, one curve per value, at most the 12 largest groups; None for the
        perturbation or time of the fit, or one curve for all cells.
    key
        The `key_added` of the fit.
    ax
        Axes to draw on; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes.

    Raises
    ------
    KeyError
        When cells were not scored, or there is no such column.
    ValueError
        When no cell has a p-value.

    Examples
    --------
    >>> sg.tl.score_cells(adata)  # doctest: +SKIP
    >>> sg.pl.score_cells(adata)  # doctest: +SKIP
    """
    slot = Keys(key).p_value
    if slot not in adata.obs:
        raise KeyError(f"obs has no {slot!r}: run `sg.tl.score_cells(adata, key={key!r})` first.")
    values = adata.obs[slot].to_numpy(dtype=float)
    known = np.isfinite(values)
    if not known.any():
        raise ValueError(f"obs[{slot!r}] is NaN for every cell: nothing to draw.")
    column = _column(adata, groupby, key)
    groups = np.full(adata.n_obs, "cells", dtype=object)
    if column is not None:
        groups = np.array([text_of(label) for label in adata.obs[column]], dtype=object)
    names, sizes = np.unique(groups[known], return_counts=True)
    kept = list(names[np.sort(np.argsort(-sizes, kind="stable")[:MAX_GROUPS])])
    ax, handles = new_axes(ax, 8.6, 4), []
    grid, n = np.linspace(0, 1, 200), min(sizes[names == name].sum() for name in kept)
    error = 1.96 * np.sqrt(grid * (1 - grid) / n)
    low, high = np.maximum(grid - error, 0), np.minimum(grid + error, 1)
    ax.fill_between(grid, low, high, color="0.88", lw=0)
    ax.plot([0, 1], [0, 1], color="0.4", lw=1, ls="--")
    colors = colors_for(kept, adata, column)
    for name in kept:
        found = np.sort(values[known & (groups == name)])
        steps = np.arange(len(found) + 1) / len(found)
        ax.step([0, *found, 1], [*steps, 1], where="post", color=colors[name], lw=1.5)
        label = f"{name}: {(found < LEVEL).mean():.0%} under {LEVEL:g} (n = {len(found):,})"
        handles.append(Line2D([], [], color=colors[name], label=label))
    right = Line2D([], [], color="0.4", lw=1, ls="--", label=f"a right model, 95 % at n = {n:,}")
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="p-value", ylabel="share of cells at most at it")
    ax.set_title("Measured cells under the model")
    ax.spines[["top", "right"]].set_visible(False)
    legend_beside(ax, [*handles, right])
    return finish(ax, show=show)


def _column(adata: AnnData, groupby: str | None, key: str) -> str | None:
    """Return the column that tells groups: that asked for, or the condition of the fit."""
    if groupby is not None:
        obs_column(adata, groupby, "groupby", "adata")
        return groupby
    task = get.task(adata, key) if key in adata.uns else None
    names = (getattr(task, name, None) for name in ("perturbation_key", "time_key"))
    return next((name for name in names if name in adata.obs), None)
