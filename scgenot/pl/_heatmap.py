"""Tables as fields of color, with the numbers in them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from scgenot.pl._axes import bar_beside, new_axes

BY_CONSTRUCTION = "(cells were coupled within {}: the diagonal is by construction)"
MOST_ANNOTATED = 16  # groups on a side up to which percentages are written into the fields


def heat_axes(ax: Axes | None, table: pd.DataFrame) -> Axes:
    """The axes that were passed, or those of a new figure as large as a table needs."""
    n_rows, n_columns = table.shape
    return new_axes(ax, max(6.2, 3.4 + 0.5 * n_columns), max(3.4, 2.2 + 0.42 * n_rows))


def draw_percent(
    ax: Axes, percent: pd.DataFrame, *, vmax: float | None, label: str, inside: bool = False
) -> None:
    """Draw percentages, from white to blue, rows from top to bottom; `inside` of other axes."""
    image = ax.imshow(percent, cmap="Blues", vmin=0, vmax=vmax, aspect="auto")
    name_fields(ax, percent)
    if inside:
        bar_beside(ax, image, label)
    else:
        ax.figure.colorbar(image, ax=ax, label=label)
    if max(percent.shape) > MOST_ANNOTATED:
        return
    for (row, column), value in np.ndenumerate(percent.to_numpy()):
        text = "<1" if 0 < value < 1 else f"{value:.0f}"
        dark = image.norm(value) > 0.6
        ax.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=9,
            color="white" if dark else "0.15",
        )


def hatch(ax: Axes, table: pd.DataFrame) -> None:
    """Hatch the fields of one group on both sides."""
    for row, name in enumerate(map(str, table.index)):
        for column, other in enumerate(map(str, table.columns)):
            if name == other:
                place = (column - 0.5, row - 0.5)
                style = {"fill": False, "hatch": "///", "edgecolor": "0.6", "lw": 0}
                ax.add_patch(Rectangle(place, 1, 1, **style))


def with_counts(names, counts) -> list[str]:
    """Return names of groups with their numbers of cells, as far as these are known."""
    return [f"{name} (n={counts[name]:,})" if name in counts else name for name in map(str, names)]


def name_fields(ax: Axes, table: pd.DataFrame, *, rows: bool = True) -> None:
    """Write the names of columns, and of rows, beside the fields."""
    ax.grid(visible=False)  # `sc.set_figure_params` turns it on, and it would cross the numbers
    ax.set_xticks(
        range(table.shape[1]), table.columns, rotation=45, ha="right", rotation_mode="anchor"
    )
    ax.set_yticks(range(table.shape[0]), table.index if rows else [""] * table.shape[0])
