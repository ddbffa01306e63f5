"""Where cells are expected to go, as arrows."""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scgenot._random import numpy_rng
from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.read import dense
from scgenot.cells.tasks import TimeCourse
from scgenot.pl._axes import bar_under, disc, finish, legend_beside, squares, wide_axes
from scgenot.pl._embedding import bare, coordinates, disc_size
from scgenot.pl._slots import obsm_slot, task_of
from scgenot.pl._trajectory import paint_course

LONG = 0.9  # share of arrows up to which lengths are to scale
FEWEST = 3  # cells with a velocity in a square that has an arrow
PLACE = "\ntowards the mean place\nof measured descendants"


@typed
def velocity(
    adata: AnnData,
    *,
    key: str = "genot",
    basis: str = "umap",
    color: str | None = None,
    n_squares: int = 20,
    rng: int | np.random.Generator | None = 0,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot the velocity of cells on an embedding, one arrow per square of a grid.

    An arrow is the mean velocity of the cells in its square, at least 3. Lengths are to scale,
    except that the longest tenth is truncated at two squares. Opposite velocities of neighboring
    cells cancel: use `sg.pl.trajectory` to see single descendants.

    Parameters
    ----------
    adata
        Cells with the result of `sg.tl.velocity(adata, basis=...)`.
    key
        The `key_added` of the fit.
    basis
        Key of obsm, with or without `X_`, whose first two columns are drawn: the representation of
        the fit, or an embedding with velocity, where arrows point to the mean position of measured
        descendants.
    color
        Column of obs, labels or numbers, or a gene; None for the time of the fit.
    n_squares
        Number of squares along the longer side of the plot.
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
    KeyError
        When there is no such fit, velocity, basis or column.
    ValueError
        When the fit is not from `sg.tl.fit_trajectory`, or no square has enough cells.

    Examples
    --------
    >>> sg.tl.velocity(adata, basis="umap")
    >>> sg.pl.velocity(adata, basis="umap", color="cell_type")
    """
    task = task_of(adata, key, TimeCourse, "velocity")
    xy, names = coordinates(adata, basis)
    own = task.use_rep in (basis, f"X_{basis}")
    slot = Keys(key).velocity if own else Keys(key).velocity_in(basis.removeprefix("X_"))
    run = f"sg.tl.velocity(adata, basis={basis!r}, key={key!r})"
    arrows = dense(obsm_slot(adata, slot, run), f"obsm[{slot!r}]")[:, :2]
    start, mean = grid_means(xy, arrows, n_squares)
    rgba, colors, scale, named = paint_course(adata, task, color)
    ax = wide_axes(ax, len(colors))
    back = numpy_rng(rng).permutation(adata.n_obs)
    size = 2.5 * disc_size(adata.n_obs)
    ax.scatter(*xy[back].T, c=rgba[back], s=size, alpha=0.35, linewidths=0, zorder=1)
    ax.quiver(
        *start.T, *mean.T, angles="xy", scale_units="xy", scale=1, width=0.003, headwidth=4,
        headlength=5, headaxislength=4, color="0.15", zorder=3,
    )  # fmt: skip
    bare(ax, names, "Where cells are expected to go")
    label = "mean velocity in a square" + ("" if own else PLACE)
    arrow = Line2D([], [], ls="", marker="$\\rightarrow$", ms=12, color="0.15", label=label)
    handles = [*squares(colors), disc("measured cell", "0.35", 0.5), arrow]
    legend_beside(ax, handles, named if colors else None)
    if scale is not None:
        bar_under(ax, scale, named)
    return finish(ax, show=show)


def grid_means(xy: np.ndarray, arrows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean place and arrow of the cells of each square, most up to 2 squares long."""
    known = np.isfinite(arrows).all(axis=1)
    xy, arrows = xy[known], arrows[known]
    if not known.any():
        raise ValueError("no cell has a velocity: `adata` has no cells of a time before the last.")
    side = max(np.ptp(xy, axis=0).max() / n, 1e-12)
    corner = xy.min(axis=0)
    _, square, count = np.unique(
        np.minimum(np.floor((xy - corner) / side), n - 1),
        axis=0,
        return_inverse=True,
        return_counts=True,
    )
    enough = count >= FEWEST
    if not enough.any():
        raise ValueError(f"no square has {FEWEST} cells with a velocity: lower `n_squares`.")
    sums = [
        np.stack([np.bincount(square.ravel(), column, len(count)) for column in values.T], axis=1)
        for values in (xy, arrows)
    ]
    start, mean = (total[enough] / count[enough, None] for total in sums)
    length = np.linalg.norm(mean, axis=1)
    long = np.quantile(length, LONG) or length.max() or 1.0
    return start, mean * (2 * side / np.maximum(long, length))[:, None]
