"""Predicted cells of a perturbation among measured ones."""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes

from scgenot import get
from scgenot._random import numpy_rng
from scgenot._typed import typed
from scgenot.cells.tasks import Screen
from scgenot.pl._axes import bar_beside, cross, disc, finish, legend_beside, squares, wide_axes
from scgenot.pl._colors import PREDICTED_COLOR, TREATED_COLOR, paint
from scgenot.pl._embedding import bare, disc_size, predicted_cells
from scgenot.pl._screen import predicted_condition

# of control cells: where they are dense, they must not look like treated ones
PALE = "0.87"


@typed
def perturbation(
    adata: AnnData,
    *,
    key: str = "genot",
    basis: object = "umap",
    target: object = None,
    dose: float | None = None,
    color: str | None = None,
    rng: int | np.random.Generator | None = 0,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot predicted cells on top of measured control and treated cells.

    Measured cells are pale discs, with control cells in gray. Predicted cells are crosses, one per
    control cell, at most 1,500 at random. A good prediction covers the treated cells, and with
    `color` those of the same color, in the same proportions. An unseen perturbation has only
    control cells.

    Parameters
    ----------
    adata
        Measured cells with a fit of `sg.tl.fit_perturbation` and `obsm["X_<key>"]` from
        `sg.tl.predict`.
    key
        The `key_added` of the fit.
    basis
        Key of obsm, with or without `X_`, whose first two columns are drawn. In the fitted
        representation, crosses are at their own coordinates. In other embeddings, a cross is at the
        mean position of its 5 nearest measured cells, where a wrong prediction cannot be seen; the
        legend states this. "joint" computes a UMAP of measured and generated cells together, and an
        object with `transform`, such as a `umap.UMAP` fitted to the representation, embeds both.
    target, dose
        Treated cells to plot; None for those of the predicted perturbation and dose, or for all
        cells if these were not recorded.
    color
        Column of obs, labels or numbers, or a gene, for the colors of treated cells and of crosses,
        which have the color of their control cell. None for one color each.
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
        When the fit is not from `sg.tl.fit_perturbation`, no cell has a prediction, another
        `target` or `dose` was predicted, or cells were embedded anew after the fit.

    Examples
    --------
    >>> sg.tl.predict(adata, target="A")
    >>> sg.pl.perturbation(adata, basis="pca", color="cell_type")
    """
    generator, fit = numpy_rng(rng), get.fit(adata, key)
    fit.needs(Screen, "sg.pl.perturbation")
    drawn, n, found = predicted_cells(adata, fit, basis, generator)
    xy, ends = found.measured, found.generated
    target, dose, answer = predicted_condition(adata, fit, target, dose)
    control = np.flatnonzero(fit.task.are_control(adata))
    treated = generator.permutation(fit.task.treated_rows(adata, target, dose))
    if answer is None and target is not None and not len(treated):
        raise ValueError(
            f"`target={target!r}`, `dose={dose}`: no measured cell; omit `target` to draw all."
        )
    colors, scale = {}, None
    after, crosses = treated_legend, predicted_legend = TREATED_COLOR, PREDICTED_COLOR
    if color is not None:
        rgba, colors, scale = paint(adata, color)
        after, crosses = rgba[treated], rgba[drawn]
        treated_legend, predicted_legend = next(iter(colors.values()), "0.35"), "0.35"

    ax = wide_axes(ax, len(colors))
    size = disc_size(len(control) + len(treated))
    ax.scatter(*xy[control].T, c=PALE, s=2.5 * size, linewidths=0, zorder=1)
    ax.scatter(*xy[treated].T, c=after, s=2.5 * size, alpha=0.3, linewidths=0, zorder=2)
    ax.scatter(*ends.T, c=crosses, s=max(size, 10), marker="x", linewidths=0.8, zorder=3)
    bare(ax, found.names, "Predicted cells among measured ones")
    in_color, answer = "" if color is None else ", by color", answer or "treated"
    measured = [disc(f"{answer}, measured{in_color}", treated_legend, 0.5)] if len(treated) else []
    label = f"{answer}, predicted{in_color}"
    predicted = cross(label, predicted_legend, len(drawn), n, found.note)
    handles = [*squares(colors), disc("control, measured", PALE), *measured, predicted]
    legend_beside(ax, handles, color if colors else None)
    if scale is not None:
        bar_beside(ax, scale, color, below=True)
    return finish(ax, show=show)
