"""A place to draw."""

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes that were passed, or those of a new figure of so many inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def finish(ax: Axes, *, show: bool | None) -> Axes:
    """Show when asked; the axes in any case."""
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
    """Axes without frame, and in them panels in rows of so many columns."""
    columns = min(columns, n)
    rows = -(-n // columns)
    ax = new_axes(
        ax,
        width * (columns + gap[0] * (columns - 1)) + room[0],
        height * (rows + gap[1] * (rows - 1)) + room[1],
    )
    ax.set_axis_off()
    if title is not None:
        ax.set_title(
            title, pad=12 + 1.4 * lines * mpl.rcParams["font.size"]
        )  # over the titles of the panels
    wide, high = 1 / (columns + gap[0] * (columns - 1)), 1 / (rows + gap[1] * (rows - 1))
    inside = []
    for panel in range(n):
        row, column = divmod(panel, columns)
        bounds = column * wide * (1 + gap[0]), 1 - high - row * high * (1 + gap[1]), wide, high
        inside.append(ax.inset_axes(bounds))
    return ax, inside


def legend_beside(ax: Axes, handles: list[Artist], title: str | None = None) -> None:
    """A legend to the right of the axes, where it hides no data."""
    ax.legend(
        handles=handles, title=title, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False,
        ncols=1 + len(handles) // 22, alignment="left",
    )  # fmt: skip


def bar_beside(
    ax: Axes,
    scale: ScalarMappable,
    label: str | None,
    *,
    below: bool = False,
    extend: str = "neither",
) -> Colorbar:
    """A colour bar to the right of the axes, or below."""
    bounds, way = (
        ((0.1, -0.22, 0.8, 0.045), "horizontal") if below else ((1.03, 0, 0.045, 1), "vertical")
    )
    # inside the axes, since layouts know no colour bars of panels
    return ax.figure.colorbar(
        scale, cax=ax.inset_axes(bounds), orientation=way, label=label, extend=extend
    )
