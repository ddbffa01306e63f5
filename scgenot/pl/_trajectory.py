"""Where cells of a time course go."""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scgenot.cells.keys import PARAMS
from scgenot.pl._axes import finish, legend_beside, new_axes
from scgenot.pl._colors import label_rgba, ordered_colors, paint
from scgenot.pl._embedding import (
    MOST_CROSSES,
    bare,
    coordinates,
    disc_size,
    predicted_rows,
    predicted_xy,
)
from scgenot.pl._slots import fit_slot, obs_column


def trajectory(
    adata: AnnData,
    *,
    key: str = "genot",
    basis: str = "umap",
    color: str | None = None,
    n_arrows: int = 60,
    rng: int | np.random.Generator | None = 0,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Draw cells of a time course, what a fit generates from them, and arrows from the ones to the others.

    Measured cells are pale discs. Crosses are generated: one possible descendant of a source cell each, in the colour
    of that cell, at most 1,500 at random. Arrows lead from some source cells to their crosses; the cells are chosen far
    from each other, so that few arrows tell about all of the picture. A good fit covers the discs of each time but
    the first with crosses of the time before.

    Parameters
    ----------
    adata
        Cells with a fit of `sg.tl.fit_trajectory`; reads `obsm["X_<key>"]`, which `sg.tl.predict` writes.
    key
        The `key_added` of the fit.
    basis
        A key of obsm, with or without `X_`, whose first two columns are drawn. In the representation that was fitted
        crosses are where they are. Nothing can be projected to any other: there a cross stands at the mean of its 5
        nearest measured cells, and never outside.
    color
        Column of obs, labels or numbers; None for the time of the fit, from dark to light.
    n_arrows
        Arrows to draw; 0 for none.
    rng
        Seed or generator for the order of drawing.
    ax
        Where to draw; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes.

    Raises
    ------
    KeyError
        When there is no such fit, prediction, basis or column.
    ValueError
        When no cell has a prediction.

    Examples
    --------
    >>> sg.tl.predict(adata)
    >>> sg.pl.trajectory(adata, basis="pca", color="cell_type")
    """
    generator = np.random.default_rng(rng)
    rgba, colors, scale, named = _paint(adata, key, color)
    rows = generator.permutation(predicted_rows(adata, key))
    xy, axis_names = coordinates(adata, basis)
    drawn = rows[:MOST_CROSSES]
    ends = predicted_xy(adata, key, basis, drawn)

    ax = new_axes(ax, 7.5, 5.2)
    size = disc_size(adata.n_obs)
    back = generator.permutation(adata.n_obs)  # so that no time hides another for being stored last
    ax.scatter(*xy[back].T, c=rgba[back], s=2.5 * size, alpha=0.35, linewidths=0, zorder=1)
    ax.scatter(*ends.T, c=rgba[drawn], s=size, marker="x", linewidths=0.7, alpha=0.8, zorder=2)
    if n_arrows:
        chosen = apart(xy[drawn], n_arrows)
        _arrows(ax, xy[drawn[chosen]], ends[chosen])
    bare(ax, axis_names, "What cells become")
    legend_beside(
        ax,
        _handles(colors, len(drawn), len(rows), arrows=bool(n_arrows)),
        named if colors else None,
    )
    if scale is not None:
        ax.figure.colorbar(scale, ax=ax, label=named, location="bottom", shrink=0.6)
    return finish(ax, show=show)


def _paint(adata: AnnData, key: str, color: str | None):
    """Colour of each cell, of each label, scale of numbers and the name of all that."""
    params = fit_slot(adata, key, PARAMS)
    if color is not None:
        obs_column(adata, color, "color", "adata")
        return *paint(adata, color), color
    if "time_key" not in params:
        raise ValueError(
            f"`key={key!r}` is no fit of a time course: name a `color`, or use `sg.pl.perturbation`."
        )
    times = obs_column(adata, params["time_key"], "time_key", "adata")
    found = set(times.astype(str))
    colors = {
        label: color
        for label, color in ordered_colors(params["time_labels"]).items()
        if label in found
    }
    return label_rgba(times.astype(str), colors), colors, None, params["time_key"]


def apart(xy: np.ndarray, n: int) -> np.ndarray:
    """Positions of so many points far from each other: each the farthest from those before it."""
    chosen = [0]
    distance = np.full(len(xy), np.inf)
    while len(chosen) < min(n, len(xy)):
        distance = np.minimum(distance, ((xy - xy[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def _arrows(ax: Axes, start: np.ndarray, end: np.ndarray) -> None:
    ax.quiver(
        *start.T, *(end - start).T, angles="xy", scale_units="xy", scale=1, width=0.0022, headwidth=5, headlength=6,
        headaxislength=5, color="0.1", alpha=0.75, zorder=3,
    )  # fmt: skip


def _handles(colors: dict[str, str], n_drawn: int, n: int, *, arrows: bool) -> list[Line2D]:
    generated = "descendant, generated,\ncolour of its source" + (
        f"\n({n_drawn:,} of {n:,} drawn)" if n_drawn < n else ""
    )
    handles = [
        *(
            Line2D([], [], ls="", marker="s", ms=7, color=color, label=label)
            for label, color in colors.items()
        ),
        Line2D(
            [], [], ls="", marker="o", ms=7, mew=0, alpha=0.5, color="0.35", label="measured cell"
        ),
        Line2D([], [], ls="", marker="x", ms=6, color="0.35", label=generated),
    ]
    if arrows:
        arrow = Line2D(
            [], [], ls="", marker="$\\rightarrow$", ms=12, color="0.1", label="source to descendant"
        )
        handles.append(arrow)
    return handles
