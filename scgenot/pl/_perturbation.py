"""Predicted cells of a perturbation among measured ones."""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.lines import Line2D

from scgenot.pl._axes import bar_beside, finish, legend_beside, new_axes
from scgenot.pl._colors import PREDICTED_COLOR, TREATED_COLOR, paint
from scgenot.pl._embedding import (
    MOST_CROSSES,
    bare,
    coordinates,
    disc_size,
    predicted_rows,
    predicted_xy,
)
from scgenot.pl._screen import is_control, is_treated, predicted_condition, screen_params
from scgenot.pl._slots import obs_column

# of control cells: where they are dense, they must not look like treated ones
PALE = "0.87"


def perturbation(
    adata: AnnData,
    *,
    key: str = "genot",
    basis: str = "umap",
    target: str | None = None,
    dose: float | None = None,
    color: str | None = None,
    rng: int | np.random.Generator | None = 0,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Draw predicted cells over measured control and treated cells.

    Measured cells are pale discs, control gray; predicted ones crosses, one for each control cell, at most 1,500 at
    random. A good prediction covers the treated cells, and with `color` those of its colour, in the same proportions.
    Where nothing was measured for a perturbation there is control alone.

    Parameters
    ----------
    adata
        Measured cells with a fit of `sg.tl.fit_perturbation`; reads `obsm["X_<key>"]`, which `sg.tl.predict` writes.
    key
        The `key_added` of the fit.
    basis
        A key of obsm, with or without `X_`, whose first two columns are drawn. In the representation that was fitted
        crosses are where they are. Nothing can be projected to any other: there a cross stands at the mean of its 5
        nearest measured cells, and never outside.
    target, dose
        Treated cells to draw; None for those of the perturbation and dose that was predicted, or for all of them where
        an older version made the prediction and did not note these.
    color
        Column of obs that colours treated cells, and crosses by their control cell: labels or numbers. None for one
        colour each.
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
        When the fit is of no screen, no cell has a prediction, or another `target` or `dose` than this was predicted.

    Examples
    --------
    >>> sg.tl.predict(adata, target="A")
    >>> sg.pl.perturbation(adata, basis="pca", color="cell_type")
    """
    generator, params = np.random.default_rng(rng), screen_params(adata, key)
    rows = generator.permutation(predicted_rows(adata, key))
    drawn = rows[:MOST_CROSSES]
    target, dose, answer = predicted_condition(adata, key, params, target, dose)
    control, treated = (
        np.flatnonzero(is_control(adata, params)),
        np.flatnonzero(is_treated(adata, params, target, dose)),
    )
    if answer is None and target is not None and not len(treated):
        raise ValueError(
            f"`target={target!r}`, `dose={dose}`: no measured cell; leave `target` out to draw all."
        )
    xy, names = coordinates(adata, basis)
    ends = predicted_xy(adata, key, basis, drawn)
    colors, scale, rgba = {}, None, None
    if color is not None:
        obs_column(adata, color, "color", "adata")
        rgba, colors, scale = paint(adata, color)

    ax = new_axes(ax, 7.5, 5.2)
    size = disc_size(len(control) + len(treated))
    treated = generator.permutation(treated)
    after = (
        np.repeat(to_rgba_array(TREATED_COLOR), len(treated), axis=0)
        if rgba is None
        else rgba[treated]
    )
    crosses = (
        np.repeat(to_rgba_array(PREDICTED_COLOR), len(drawn), axis=0)
        if rgba is None
        else rgba[drawn]
    )
    ax.scatter(*xy[control].T, c=PALE, s=2.5 * size, linewidths=0, zorder=1)
    ax.scatter(*xy[treated].T, c=after, s=2.5 * size, alpha=0.3, linewidths=0, zorder=2)
    ax.scatter(*ends.T, c=crosses, s=max(size, 10), marker="x", linewidths=0.8, zorder=3)
    bare(ax, names, "Predicted cells among measured ones")
    part = f"\n({len(drawn):,} of {len(rows):,} drawn)" if len(drawn) < len(rows) else ""
    handles = _handles(
        colors, answer or "treated", part, labeled=rgba is not None, measured=len(treated) > 0
    )
    legend_beside(ax, handles, color if colors else None)
    if scale is not None:
        bar_beside(ax, scale, color, below=True)
    return finish(ax, show=show)


def _handles(
    colors: dict[str, str], answer: str, part: str, *, labeled: bool, measured: bool
) -> list[Line2D]:
    in_color = ", by colour" if labeled else ""
    treated, predicted = (
        (next(iter(colors.values()), "0.35"), "0.35")
        if labeled
        else (TREATED_COLOR, PREDICTED_COLOR)
    )
    disc = {"ls": "", "marker": "o", "ms": 8, "mew": 0}
    found = Line2D([], [], color=treated, alpha=0.5, label=f"{answer}, measured{in_color}", **disc)
    return [
        *(
            Line2D([], [], ls="", marker="s", ms=7, color=color, label=label)
            for label, color in colors.items()
        ),
        Line2D([], [], color=PALE, label="control, measured", **disc),
        *([found] if measured else []),
        Line2D(
            [],
            [],
            ls="",
            marker="x",
            ms=6,
            color=predicted,
            label=f"{answer}, predicted{in_color}{part}",
        ),
    ]
