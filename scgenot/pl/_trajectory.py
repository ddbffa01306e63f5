"""Where cells of a time course go."""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scgenot import get
from scgenot._random import numpy_rng
from scgenot._typed import typed
from scgenot.cells.tasks import TimeCourse
from scgenot.pl._axes import bar_under, cross, disc, finish, legend_beside, squares, wide_axes
from scgenot.pl._colors import label_rgba, ordered_colors, paint
from scgenot.pl._embedding import bare, disc_size, predicted_cells
from scgenot.pl._slots import time_labels


@typed
def trajectory(
    adata: AnnData,
    *,
    key: str = "genot",
    basis: object = "umap",
    color: str | None = None,
    n_arrows: int = 30,
    rng: int | np.random.Generator | None = 0,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot cells of a time course and their generated descendants, with arrows between them.

    Measured cells are pale discs. Each cross is one generated descendant of a source cell, in the
    color of that cell; at most 1,500 are shown, at random. Arrows connect some source cells with
    their crosses; these cells are chosen far from each other. In a good fit, the discs of each time
    except the first are covered by crosses of the previous time.

    Parameters
    ----------
    adata
        Cells with a fit of `sg.tl.fit_trajectory` and `obsm["X_<key>"]` from `sg.tl.predict`.
    key
        The `key_added` of the fit.
    basis
        Key of obsm, with or without `X_`, whose first two columns are drawn. In the fitted
        representation, crosses are at their own coordinates. In other embeddings, a cross is at the
        mean position of its 5 nearest measured cells, where a wrong prediction cannot be seen; the
        legend states this. "joint" computes a UMAP of measured and generated cells together, and an
        object with `transform`, such as a `umap.UMAP` fitted to the representation, embeds both.
    color
        Column of obs, labels or numbers, or a gene; None for the time of the fit, from dark to
        light.
    n_arrows
        Number of arrows; 0 for none.
    rng
        Seed or generator for the order of drawing.
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
        When `basis` is neither text nor an object with `transform`.
    KeyError
        When there is no such fit, prediction, basis or column.
    ValueError
        When the fit is not from `sg.tl.fit_trajectory`, no cell has a prediction, or cells were
        embedded anew after the fit.

    Examples
    --------
    >>> sg.tl.predict(adata)
    >>> sg.pl.trajectory(adata, basis="pca", color="cell_type")
    """
    generator, fit = numpy_rng(rng), get.fit(adata, key)
    fit.needs(TimeCourse, "sg.pl.trajectory")
    rgba, colors, scale, named = paint_course(adata, fit.task, color)
    drawn, n, found = predicted_cells(adata, fit, basis, generator)
    xy, ends = found.measured, found.generated

    ax = wide_axes(ax, len(colors))
    size = disc_size(adata.n_obs)
    back = generator.permutation(adata.n_obs)  # so that no time hides another for being stored last
    ax.scatter(*xy[back].T, c=rgba[back], s=2.5 * size, alpha=0.35, linewidths=0, zorder=1)
    ax.scatter(*ends.T, c=rgba[drawn], s=size, marker="x", linewidths=0.7, alpha=0.8, zorder=2)
    if n_arrows:
        chosen = apart(xy[drawn], n_arrows)
        _arrows(ax, xy[drawn[chosen]], ends[chosen])
    bare(ax, found.names, "What cells become")
    generated = cross(
        "descendant, generated,\ncolor of its source", "0.35", len(drawn), n, found.note
    )
    handles = [*squares(colors), disc("measured cell", "0.35", 0.5), generated]
    if n_arrows:
        arrow = {"ls": "", "marker": "$\\rightarrow$", "ms": 12, "color": "0.1"}
        handles.append(Line2D([], [], label="source to descendant", **arrow))
    legend_beside(ax, handles, named if colors else None)
    if scale is not None:
        bar_under(ax, scale, named)
    return finish(ax, show=show)


def paint_course(adata: AnnData, task: TimeCourse, color: str | None):
    """Return the color of each cell and of each label, the scale of numbers, and their name."""
    if color not in (None, task.time_key):
        return *paint(adata, color), color
    times = time_labels(adata, task)
    stored = adata.uns.get(f"{task.time_key}_colors", ())
    found, colors = set(times), ordered_colors(times.cat.categories, stored)
    colors = {label: color for label, color in colors.items() if label in found}
    return label_rgba(times, colors), colors, None, task.time_key


def apart(xy: np.ndarray, n: int) -> np.ndarray:
    """Return the positions of `n` points, each the farthest from those before it."""
    chosen = [0]
    distance = np.full(len(xy), np.inf)
    while len(chosen) < min(n, len(xy)):
        distance = np.minimum(distance, ((xy - xy[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def _arrows(ax: Axes, start: np.ndarray, end: np.ndarray) -> None:
    """Draw arrows between points."""
    ax.quiver(
        *start.T, *(end - start).T, angles="xy", scale_units="xy", scale=1, width=0.0022,
        headwidth=5, headlength=6, headaxislength=5, color="0.25", alpha=0.6, zorder=3,
    )  # fmt: skip
