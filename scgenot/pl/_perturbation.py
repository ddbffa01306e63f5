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
    """Draw predicted cells over measured control and treated cells.

    Measured cells are pale discs, control cells gray; predicted cells are crosses, one for each
    control cell, at most 1,500 at random. A good prediction covers the treated cells, and with
    `color` those of its color, in the same proportions. A perturbation that was not measured has
    control cells only.

    Parameters
    ----------
    adata
        Measured cells with a fit of `sg.tl.fit_perturbation`; reads `obsm["X_<key>"]`, which
        `sg.tl.predict` writes.
    key
        The `key_added` of the fit.
    basis
        A key of obsm, with or without `X_`, whose first two columns are drawn. In the
        representation that was fitted crosses stand at their own coordinates. In any other, a cross
        stands at the mean of its 5 nearest measured cells, where a wrong prediction cannot be seen;
        the legend says so. "joint" makes a UMAP of measured and generated cells together, and an
        object with `transform`, such as a `umap.UMAP` fitted to the representation, places both.
    target, dose
        Treated cells to draw; None for those of the perturbation and dose that was predicted, or
        for all when an older version predicted and did not record these.
    color
        Column of obs that colors treated cells, and crosses by their control cell: labels or
        numbers; or a gene. None for one color each.
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
    TypeError
        When `basis` is neither text nor an object with `transform`.
    KeyError
        When there is no such fit, prediction, basis or column.
    ValueError
        When the fit is not one of `sg.tl.fit_perturbation`, no cell has a prediction, another
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
