"""Distributions of numbers side by side."""

import numpy as np
from matplotlib.axes import Axes


def violin(ax: Axes, values: np.ndarray, place: float, color: str, *, width: float) -> None:
    """Density of some values, with a line from quartile to quartile and a dot at the mean."""
    if len(values) > 1 and np.ptp(values) > 0:  # of one value there is no density
        (body,) = ax.violinplot([values], [place], widths=width, showextrema=False)["bodies"]
        body.set(facecolor=color, edgecolor="none", alpha=0.55)
    dot(ax, values, place, color)


def dot(ax: Axes, values: np.ndarray, place: float, color: str) -> None:
    """A dot at the mean of some values and a line from quartile to quartile."""
    low, high = np.quantile(values, [0.25, 0.75])
    ax.vlines(place, low, high, color="0.2", lw=2, zorder=3)  # dark, to be seen over any violin
    ax.plot(place, np.mean(values), "o", ms=5, color=color, mec="0.2", mew=1, zorder=4)
