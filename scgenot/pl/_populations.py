"""Plot of populations in coordinates of their cells."""

from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Ellipse

from scgenot._typed import typed
from scgenot.cells.embedding.place import check_one_space
from scgenot.cells.populations import Populations, read_populations
from scgenot.pl._axes import bar_beside, finish, legend_beside, panels, squares
from scgenot.pl._colors import (
    PREDICTED_COLOR,
    TREATED_COLOR,
    is_numeric,
    label_colors,
    label_rgba,
    number_scale,
)
from scgenot.pl._embedding import coordinates

RADIUS = np.sqrt(2 * np.log(2))  # half of a normal population
MOST_CELLS = 20_000  # drawn in a panel
MEASURED, GENERATED = "measured", "generated"


@typed
def populations(
    adata: AnnData,
    population_key: str,
    *,
    generated: AnnData | None = None,
    basis: str = "pca",
    kind: Literal["ellipses", "cells"] = "ellipses",
    color: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot populations in coordinates of their cells, next to generated ones.

    Ellipses show the mean and the covariance of a population and contain half of its cells if these
    are normally distributed; a population of one or two cells is a point. Both panels have the same
    axes.

    Parameters
    ----------
    adata
        Cells of measured populations.
    population_key
        Column of `obs` with the population of each cell.
    generated
        Cells of generated populations, with the same column and basis.
    basis
        Key of `obsm`, with or without `X_`; its first two columns are plotted. Ellipses are only
        meaningful for linear bases, such as principal components.
    kind
        "ellipses" or "cells".
    color
        Column of `obs` of both inputs that is constant within populations; None for one color.
    ax
        Where to draw; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes; the panels are its `child_axes`.

    Raises
    ------
    TypeError
        When an argument has a wrong type.
    KeyError
        When a column or the basis is not there.
    ValueError
        When `color` varies within a population, the basis has one column, or is another
        embedding in `generated`.

    Examples
    --------
    >>> sg.pl.populations(adata, "batch", basis="umap", kind="cells")
    """
    sides = {MEASURED: adata} | ({} if generated is None else {GENERATED: generated})
    names = {MEASURED: "adata", GENERATED: "generated"}
    found, xy = {}, {}
    for side, cells in sides.items():
        xy[side], axes = coordinates(cells, basis, names[side])
        rep = basis if basis in cells.obsm else f"X_{basis}"
        constant = [] if color is None else [color]
        found[side] = read_populations(
            cells, population_key, use_rep=rep, constant=constant, argument="color", least=1,
            name=names[side],
        )  # fmt: skip
    check_one_space({names[side]: cells for side, cells in sides.items()}, rep)
    colors, handles, scale = _paint(sides, found, population_key, color)
    ax, inside = panels(ax, len(sides), columns=2, width=4.6, height=4.2, title="Populations")
    for panel, side in zip(inside, sides, strict=True):
        draw = _ellipses if kind == "ellipses" else _cells
        draw(panel, found[side], xy[side], colors[side])
        panel.set(title=f"{side} (n = {len(found[side])})", xlabel=axes[0], ylabel=axes[1])
        panel.set(xticks=[], yticks=[])
    _same_limits(inside)
    if scale is not None:
        bar_beside(inside[-1], scale, color)
    elif handles:
        legend_beside(inside[-1], handles, color)
    return finish(ax, show=show)


def _paint(
    sides: dict[str, AnnData], found: dict[str, Populations], key: str, color: str | None
) -> tuple[dict[str, list], list, object]:
    """Color of each population by side, entries of a legend, and the scale of numbers."""
    if color is None:
        of_side = {MEASURED: TREATED_COLOR, GENERATED: PREDICTED_COLOR}
        return {side: [of_side[side]] * len(own) for side, own in found.items()}, [], None
    values = {
        side: pd.Series(own.labels, own.obs.index) if color == key else own.obs[color]
        for side, own in found.items()
    }
    if all(map(is_numeric, values.values())):
        scale = number_scale(*values.values())
        painted = {
            side: [to_hex(c) for c in scale.to_rgba(own.to_numpy(dtype=float))]
            for side, own in values.items()
        }
        return painted, [], scale
    colors = label_colors(*((cells, color) for cells in sides.values()))
    painted = {side: [to_hex(c) for c in label_rgba(own, colors)] for side, own in values.items()}
    used = {c for own in painted.values() for c in own}
    return painted, squares({k: c for k, c in colors.items() if to_hex(c) in used}), None


def _ellipses(panel: Axes, found: Populations, xy: np.ndarray, colors: list) -> None:
    """Draw the mean and the covariance of each population."""
    for rows, color in zip(found.rows, colors, strict=True):
        center = xy[rows].mean(0)
        panel.plot(*center, "o", ms=3, color=color)
        if len(rows) < 3:
            continue
        values, vectors = np.linalg.eigh(np.cov(xy[rows].T))
        width, height = 2 * RADIUS * np.sqrt(np.maximum(values, 0))
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        shape = Ellipse(center, width, height, angle=angle, fc=(*_rgb(color), 0.12), ec=color)
        panel.add_patch(shape)
    panel.autoscale_view()


def _cells(panel: Axes, found: Populations, xy: np.ndarray, colors: list) -> None:
    """Draw cells, some of them where there are many."""
    rows = np.concatenate(found.rows)
    owner = np.repeat(np.arange(len(found)), found.sizes)
    some = np.random.default_rng(0).permutation(len(rows))[:MOST_CELLS]
    shades = np.array([_rgb(color) for color in colors])
    panel.scatter(*xy[rows[some]].T, c=shades[owner[some]], s=4, lw=0, rasterized=True)


def _rgb(color: str) -> tuple[float, float, float]:
    """Red, green and blue."""
    return tuple(int(color[k : k + 2], 16) / 255 for k in (1, 3, 5))


def _same_limits(inside: list[Axes]) -> None:
    """Give panels the same axes."""
    for get, put in (("get_xlim", "set_xlim"), ("get_ylim", "set_ylim")):
        limits = np.array([getattr(panel, get)() for panel in inside])
        for panel in inside:
            getattr(panel, put)(limits[:, 0].min(), limits[:, 1].max())
