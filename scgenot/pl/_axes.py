"""A place to draw."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes that were passed, or those of a new figure of so many inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def finish(ax: Axes, *, show: bool | None) -> Axes:
    """Show when asked; the axes in any case."""
    if show:
        plt.show()
    return ax
