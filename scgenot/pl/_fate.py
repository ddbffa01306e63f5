"""Where cells end."""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.labels import as_text
from scgenot.cells.tasks import TimeCourse
from scgenot.pl._axes import bar_beside, bar_under, finish, legend_beside, panels
from scgenot.pl._colors import NO_LABEL, colors_for, column_with, labels_of
from scgenot.pl._embedding import bare, coordinates, lower_left, scatter_numbers
from scgenot.pl._slots import obs_column, obsm_slot, task_of

MANY = 12  # bars, whose names are small
OTHER = "other"  # the column of `sg.tl.fate` for descendants in no terminal group


@typed
def fate(
    adata: AnnData,
    *,
    key: str = "genot",
    basis: str | None = "umap",
    groups: Sequence[Hashable] | None = None,
    groupby: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot the fate of cells on an embedding, one panel per terminal group, and as bars by group.

    Two terminal groups share one panel, with a color scale from one group to the other. Cells of
    the last time belong to their own group; cells without a fate are small and gray.

    Parameters
    ----------
    adata
        Cells with `obsm["<key>_fate"]` from `sg.tl.fate`.
    key
        The `key_added` of the fit.
    basis
        Key of obsm, with or without `X_`, whose first two columns are drawn; None for bars only.
    groups
        Terminal groups to plot; None for all.
    groupby
        Column of obs: bars show the mean fate of each of its groups, without cells of the last
        time; None for no bars.
    ax
        Axes to draw on; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes; the panels are its `child_axes`.

    Raises
    ------
    KeyError
        When there is no such fit, fate, basis or column.
    ValueError
        When the fit is not from `sg.tl.fit_trajectory`, a group is not terminal, `groups` is empty,
        there is nothing to plot, or no cell before the last time has a fate.

    Examples
    --------
    >>> sg.tl.fate(adata, "cell_type")
    >>> sg.pl.fate(adata, groupby="cell_type")
    """
    task, table = task_of(adata, key, TimeCourse, "fate"), _read(adata, key, groups)
    if basis is None and groupby is None:
        raise ValueError(
            "`basis` and `groupby` are both None: name a basis, a column of obs, or both."
        )
    bars = None if groupby is None else _mean_fates(adata, task, table, groupby)
    xy, axis_names = (None, None) if basis is None else coordinates(adata, basis)
    named = [name for name in table.columns if name != OTHER]
    colors = colors_for(list(table.columns), adata, column_with(adata, named) or groupby)
    if OTHER in table:
        colors[OTHER] = NO_LABEL
    pair = table.shape[1] == 2 and np.allclose(table.sum(axis=1, min_count=2).dropna(), 1)
    shown = 0 if basis is None else 1 if pair else table.shape[1]
    n = shown + (bars is not None)
    columns = 2 if n == 4 else 3
    gap, room = (0.08, 0.4) if bars is None else (0.5, 2.6)
    ax, inside = panels(
        ax, n, columns=columns, width=2.9, height=2.7, gap=(gap, 0.25),
        room=(room, 1), title="Fate of cells" if shown > 1 else None,
    )  # fmt: skip
    if shown and pair:
        _between(inside[0], xy, table, axis_names, colors)
    elif shown == 1:
        _shares(inside[0], xy, table, axis_names)
    elif shown:
        named = inside[lower_left(shown, columns)]
        for panel, name in zip(inside, table.columns, strict=False):
            _shares(panel, xy, table[[name]], axis_names if panel is named else ("", ""))
        scale = ScalarMappable(Normalize(0, 1), cmap="viridis")
        bar_under(ax, scale, "share of descendants", shrink=0.4)
    if bars is not None:
        _bars(inside[-1], bars, groupby, colors)
        legend_beside(ax, inside[-1].containers, "fate")
    return finish(ax, show=show)


def _read(adata: AnnData, key: str, groups: Sequence[str] | None) -> pd.DataFrame:
    """Return the shares of the terminal groups that were asked for."""
    table = pd.DataFrame(obsm_slot(adata, Keys(key).fate, "sg.tl.fate"))
    if groups is None:
        return table
    unknown = [group for group in groups if group not in table]
    if unknown or not len(groups):
        raise ValueError(f"`groups={list(groups)!r}` must be terminal groups, of {list(table)}.")
    return table[list(groups)]


def _mean_fates(
    adata: AnnData, task: TimeCourse, table: pd.DataFrame, groupby: str
) -> pd.DataFrame:
    """Return the mean fate of the cells of each group, without the last time, whose is certain."""
    labels = obs_column(adata, groupby, "groupby", "adata")
    times = task.times(adata)
    known = table.notna().all(axis=1).to_numpy() & np.isfinite(times)
    before = known & (times < np.max(times[known], initial=-np.inf))
    if not before.any():
        raise ValueError("no cell before the last time has a fate: there are no bars to draw.")
    means = table[before].groupby(as_text(labels)[before]).mean()
    return means.loc[[label for label in labels_of(labels) if label in means.index]]


def _shares(panel: Axes, xy: np.ndarray, table: pd.DataFrame, names: tuple[str, str]) -> None:
    """Draw cells by their share of one group, the highest on top."""
    values = table.iloc[:, 0].to_numpy(dtype=float)
    order = np.argsort(np.nan_to_num(values, nan=-1), kind="stable")
    norm = Normalize(0, 1)
    scatter_numbers(panel, xy[order], values[order], cmap="viridis", norm=norm, unknown=1 / 6)
    bare(panel, names, str(table.columns[0]))


def _between(
    panel: Axes, xy: np.ndarray, table: pd.DataFrame, names: tuple[str, str], colors: dict[str, str]
) -> None:
    """Draw cells between two groups."""
    one, other = table.columns
    cmap = LinearSegmentedColormap.from_list("between", [colors[one], "#f7f7f7", colors[other]])
    values, norm = table[other].to_numpy(dtype=float), Normalize(0, 1)
    cells = scatter_numbers(panel, xy, values, cmap=cmap, norm=norm, unknown=1 / 6)
    bare(panel, names, "Fate of cells")
    bar = bar_beside(panel, cells, "share of descendants", below=True)
    bar.set_ticks([0, 0.5, 1], labels=[f"all {one}", "half", f"all {other}"])


def _bars(panel: Axes, means: pd.DataFrame, groupby: str, colors: dict[str, str]) -> None:
    """Draw the mean fate of each group as a bar."""
    left = np.zeros(len(means))
    for name in means:
        panel.barh(
            range(len(means)), means[name], left=left, color=colors[name], height=0.8, label=name
        )
        left += means[name].to_numpy()
    size = "x-small" if len(means) > MANY else "medium"
    panel.set_yticks(range(len(means)), means.index, fontsize=size)
    panel.set(xlim=(0, 1), xlabel="share of descendants", title=f"Mean fate by {groupby}")
    panel.invert_yaxis()
    panel.spines[["top", "right"]].set_visible(False)
