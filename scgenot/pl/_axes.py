"""A place to draw."""

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.lines import Line2D

COLUMN = 22  # entries in a column of a legend


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes that were passed, or those of a new figure of a size in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def wide_axes(ax: Axes | None, n_labels: int) -> Axes:
    """Return axes of an embedding with room for the columns of a legend of so many labels."""
    return new_axes(ax, 7.5 + 2.3 * ((n_labels + 3) // COLUMN), 5.2)


def finish(ax: Axes, *, show: bool | None) -> Axes:
    """Show the figure when asked to, and return the axes."""
    if show:
        plt.show()
    return ax


def panels(
    ax: Axes | None,
    n: int,
    *,
    columns: int,
    width: float,
    height: float,
    gap: tuple[float, float] = (0.08, 0.2),
    room: tuple[float, float] = (1.6, 0.8),
    title: str | None = None,
    lines: int = 1,
) -> tuple[Axes, list[Axes]]:
    """Return axes without a frame, and the panels inside them, row by row."""
    columns = min(columns, n)
    rows = -(-n // columns)
    ax = new_axes(
        ax,
        width * (columns + gap[0] * (columns - 1)) + room[0],
        height * (rows + gap[1] * (rows - 1)) + room[1],
    )
    ax.set_axis_off()
    if title is not None:
        # above the titles of the panels
        ax.set_title(title, pad=12 + 1.4 * lines * mpl.rcParams["font.size"])
    wide, high = 1 / (columns + gap[0] * (columns - 1)), 1 / (rows + gap[1] * (rows - 1))
    inside = []
    for panel in range(n):
        row, column = divmod(panel, columns)
        bounds = column * wide * (1 + gap[0]), 1 - high - row * high * (1 + gap[1]), wide, high
        inside.append(ax.inset_axes(bounds))
    return ax, inside


def legend_beside(ax: Axes, handles: list[Artist], title: str | None = None) -> None:
    """Draw a legend to the right of the axes, where it hides no data."""
    ax.legend(
        handles=handles, title=title, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False,
        ncols=1 + len(handles) // COLUMN, alignment="left",
    )  # fmt: skip


def bar_beside(
    ax: Axes,
    scale: ScalarMappable,
    label: str | None,
    *,
    below: bool = False,
    extend: str = "neither",
) -> Colorbar:
    """Draw a color bar to the right of the axes, or below."""
    bounds, way = (
        ((0.1, -0.22, 0.8, 0.045), "horizontal") if below else ((1.03, 0, 0.045, 1), "vertical")
    )
    # inside the axes, since layouts know no color bars of panels
    return ax.figure.colorbar(
        scale, cax=ax.inset_axes(bounds), orientation=way, label=label, extend=extend
    )


def bar_under(
    ax: Axes,
    scale: ScalarMappable,
    label: str | None,
    shrink: float = 0.6,
    extend: str = "neither",
) -> None:
    """Draw a color bar under the axes, which get smaller."""
    ax.figure.colorbar(
        scale, ax=ax, label=label, location="bottom", shrink=shrink, aspect=30, extend=extend
    )


def squares(colors: dict[str, str]) -> list[Line2D]:
    """Return a legend entry for each label, a square of its color."""
    return [
        Line2D([], [], ls="", marker="s", ms=7, color=color, label=label)
        for label, color in colors.items()
    ]


def disc(label: str, color: str, alpha: float = 1.0) -> Line2D:
    """Return the legend entry of cells drawn as discs."""
    return Line2D([], [], ls="", marker="o", ms=7, mew=0, alpha=alpha, color=color, label=label)


def cross(label: str, color: str, n_drawn: int, n: int, note: str = "") -> Line2D:
    """Return the legend entry of cells drawn as crosses, how many are, and a note on them."""
    part = f"\n({n_drawn:,} of {n:,} drawn)" if n_drawn < n else ""
    return Line2D([], [], ls="", marker="x", ms=6, color=color, label=label + note + part)


def slanted(names: list[str], longest: int) -> dict[str, object]:
    """Return how to turn tick labels when a name is longer than there is room for."""
    if max(map(len, names)) <= longest:
        return {}
    return {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
