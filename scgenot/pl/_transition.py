"""Which groups become which."""

from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from scgenot._check import as_array
from scgenot._typed import typed
from scgenot.pl._axes import finish, new_axes
from scgenot.pl._colors import colors_for
from scgenot.pl._heatmap import BY_CONSTRUCTION, draw_percent, hatch, heat_axes, with_counts
from scgenot.pl._slots import check_table, obs_column

BAR, GAP = 0.06, 0.02  # width of a bar over that of the picture; space between bars over all mass
LINE = 0.2  # inches that a label takes
TITLES = {
    1: ("Where each source group's descendants are", "% of the source group's descendants"),
    0: ("Where each target group's ancestors are", "% of the target group's ancestors"),
    None: ("Mass between groups", "% of all mass"),
}


@typed
def transition(
    table: pd.DataFrame,
    *,
    kind: Literal["alluvial", "heatmap"] = "alluvial",
    adata: AnnData | None = None,
    groupby: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot a transition matrix as an alluvial diagram or as a heatmap.

    Parameters
    ----------
    table
        Result of `sg.tl.cell_transition`, with source groups in rows and target groups in columns.
        Groups without mass are left out. If `table.attrs` has the numbers of cells, they follow the
        names of groups, and the widths of source groups (of target groups, in a table of ancestors)
        are proportional to them; otherwise all groups have the same width.
    kind
        "alluvial": ribbons with a width proportional to the share of cells, in the color of their
        source group. "heatmap": percentages. If cells were coupled within the column of the groups,
        the fields on the diagonal are hatched, because their values result from this construction.
    adata, groupby
        Cells and their column of obs with the colors of the groups; None for the colors recorded by
        `sg.tl.cell_transition`.
    ax
        Axes to draw on; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes.

    Raises
    ------
    TypeError
        When `table` is not a DataFrame.
    KeyError
        When the column is not there.
    ValueError
        When `kind` has another value, one of `adata` and `groupby` is missing, or the table has
        negative or missing values or no mass.

    Examples
    --------
    >>> table = sg.tl.cell_transition(adata, "cell_type", "cell_type", start=2, end=4)
    >>> sg.pl.transition(table)
    """
    if kind not in ("alluvial", "heatmap"):
        raise ValueError(f"`kind={kind!r}` must be 'alluvial' or 'heatmap'.")
    if (adata is None) != (groupby is None):
        raise ValueError(
            "`adata` and `groupby` go together: the cells, and the column with the colors."
        )
    mass = _checked(table)
    whole = next((axis for axis in (1, 0) if np.allclose(mass.sum(axis=axis), 1)), None)
    title, unit = TITLES[whole]
    names = list(dict.fromkeys([*map(str, mass.index), *map(str, mass.columns)]))
    if groupby is not None:
        obs_column(adata, groupby, "groupby", "adata")
    known, within = table.attrs, table.attrs.get("within")
    stored = known.get("colors") if groupby is None else None
    colors = colors_for(names, adata, groupby, labels=known.get("labels", ()), stored=stored)
    counts = [known.get(f"n_{side}", {}) for side in ("source", "target")]
    labels = [with_counts(*side) for side in zip(mass.axes, counts, strict=True)]
    if kind == "heatmap":
        ax = heat_axes(ax, mass)
        percent = 100 * mass / (1 if whole is not None else mass.to_numpy().sum())
        percent.index, percent.columns = labels
        draw_percent(ax, percent, vmax=None if whole is None else 100, label=unit)
        ax.set(xlabel="target", ylabel="source")
        if within is not None:
            hatch(ax, mass)
    else:
        ax = new_axes(ax, 6, max(3.6, 1 + 1.4 * LINE * max(mass.shape)))
        _alluvial(ax, _by_cells(mass, whole, counts), colors, labels)
    ax.set_title(title if within is None else f"{title}\n{BY_CONSTRUCTION.format(within)}")
    return finish(ax, show=show)


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the groups with mass."""
    check_table(table, (), "sg.tl.cell_transition")
    values = as_array(table, "table", float)
    if not (values >= 0).all():
        raise ValueError("`table` has negative or missing values: mass must be at least 0.")
    if not values.sum() > 0:
        raise ValueError("`table` has no mass: nothing to draw.")
    return table.loc[values.sum(axis=1) > 0, values.sum(axis=0) > 0].astype(float)


def _by_cells(mass: pd.DataFrame, whole: int | None, counts: list[dict[str, int]]) -> pd.DataFrame:
    """Return shares times the cells of the groups whose shares add up to 1, where known."""
    if whole is None:
        return mass
    side = 0 if whole == 1 else 1
    cells = [counts[side].get(str(name)) for name in mass.axes[side]]
    return mass if None in cells else mass.mul(cells, axis=side)


def _alluvial(
    ax: Axes, mass: pd.DataFrame, colors: dict[str, str], labels: list[list[str]]
) -> None:
    """Draw ribbons from the bars of source groups to those of target groups."""
    values = mass.to_numpy() / mass.to_numpy().sum()
    left, right = _bottoms(values.sum(axis=1)), _bottoms(values.sum(axis=0))
    # each ribbon starts below the one before, on either side
    starts = left[:, None] + values.sum(axis=1)[:, None] - values.cumsum(axis=1)
    ends = right + values.sum(axis=0) - values.cumsum(axis=0)
    for (row, column), thick in np.ndenumerate(values):
        if thick > 0:
            path = _ribbon(starts[row, column], ends[row, column], thick)
            color = colors[str(mass.index[row])]
            ax.add_patch(PathPatch(path, facecolor=color, alpha=0.5, edgecolor="none", zorder=1))
    low, high = min(left[-1], right[-1]), 0.0
    height = ax.get_window_extent().height / ax.figure.dpi
    apart = LINE * (high - low) / height
    for x, bottoms, sums, names, written, side in (
        (0, left, values.sum(axis=1), mass.index, labels[0], "right"),
        (1 - BAR, right, values.sum(axis=0), mass.columns, labels[1], "left"),
    ):
        places = spread(bottoms + sums / 2, apart)
        groups = zip(bottoms, sums, map(str, names), written, places, strict=True)
        for bottom, tall, name, text, y in groups:
            style = {"facecolor": colors[name], "edgecolor": "none", "zorder": 2}
            ax.add_patch(Rectangle((x, bottom), BAR, tall, **style))
            edge = x if side == "right" else x + BAR
            away = -0.03 if side == "right" else 0.03
            ends = [edge, edge + 0.8 * away], [bottom + tall / 2, y]
            ax.plot(*ends, color="0.6", lw=0.6, clip_on=False)
            ax.text(edge + away, y, text, ha=side, va="center")
        what, middle = "source" if side == "right" else "target", x + BAR / 2
        ax.text(middle, low - 2 * GAP, what, ha="center", va="top", color="0.35")
    ax.set(xlim=(0, 1), ylim=(low - GAP, high + GAP))
    ax.set_axis_off()


def _bottoms(sums: np.ndarray) -> np.ndarray:
    """Return the lower ends of bars stacked from 0 downwards."""
    return -(np.cumsum(sums) + GAP * np.arange(len(sums)))


def _ribbon(start: float, end: float, thick: float) -> Path:
    """Return a band from the left bar to the right one, level at both."""
    a, b, middle = BAR, 1 - BAR, 0.5
    points = [
        (a, start), (middle, start), (middle, end), (b, end),
        (b, end + thick), (middle, end + thick), (middle, start + thick), (a, start + thick),
        (a, start),
    ]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    return Path(points, codes)


def spread(y: np.ndarray, apart: float) -> np.ndarray:
    """Return falling heights at least `apart` from each other, as near as possible to `y`."""
    # shifted by rank, heights that may not cross need only not rise: pooled where they would
    wanted = y + apart * np.arange(len(y))
    blocks: list[list[float]] = []
    for value in wanted:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-1]) > np.mean(blocks[-2]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    pooled = np.concatenate([[np.mean(block)] * len(block) for block in blocks])
    return pooled - apart * np.arange(len(y))
