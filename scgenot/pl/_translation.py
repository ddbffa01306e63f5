"""Translated cells among measured ones, in one picture of target space."""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from scgenot import get
from scgenot._random import numpy_rng
from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.tasks import Translation
from scgenot.pl._axes import bar_under, cross, disc, finish, legend_beside, squares, wide_axes
from scgenot.pl._colors import (
    color_values,
    has_color,
    is_numeric,
    label_colors,
    label_rgba,
    number_scale,
)
from scgenot.pl._embedding import MOST_CROSSES, Places, bare, disc_size, places
from scgenot.pl._slots import joint_mass, predicted_states

TARGET_COLOR, SOURCE_COLOR = "gray", "crimson"  # without labels


@typed
def translation(
    adata_source: AnnData,
    adata_target: AnnData,
    *,
    color: str | None = None,
    target_color: str | None = None,
    key: str = "genot",
    basis: object | None = None,
    n_lines: int = 100,
    rng: int | np.random.Generator | None = 0,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot translated source cells among the measured cells of the target modality.

    Measured target cells are pale discs. Translated source cells (one sample each,
    `obsm["X_<key>"]`) are crosses, at most 1,500 at random. A good translation covers the discs
    with crosses of the same color, in the same proportions. Thin lines connect some translated
    cells with the measured cell that has the largest mass in the coupling.

    Parameters
    ----------
    adata_source
        Source cells with the fit.
    adata_target
        Target cells with the fitted representation.
    color, target_color
        Columns of obs, labels or numbers, or genes, of the source and of the target cells.
        `target_color=None` uses the same name for both if the target has it. Equal labels have
        equal colors; colors stored with the target have precedence.
    key
        The `key_added` of the fit.
    basis
        None for the first two principal components of the target cells, onto which translated cells
        are projected. Or a key of obsm of `adata_target`, with or without `X_`, whose first two
        columns are drawn: there, a translated cell is at the mean position of its 5 nearest
        measured cells, where a wrong translation cannot be seen; the legend states this. "joint"
        computes a UMAP of measured and translated cells together, and an object with `transform`,
        such as a `umap.UMAP` fitted to the representation, embeds both.
    n_lines
        Number of lines, for random cells; 0 for none. Requires a coupling in obsm
        (`sg.tl.coupling`).
    rng
        Seed or generator for the cells with a line and the order of drawing.
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
        When there is no such fit, prediction, representation, basis or column.
    ValueError
        When the fit is not from `sg.tl.fit_translation`, prediction and target representation
        differ in width, no cell was translated, or target cells were embedded anew after the fit.

    Examples
    --------
    >>> sg.tl.predict(rna)
    >>> sg.pl.translation(rna, atac, color="cell_type")
    """
    generator = numpy_rng(rng)
    if target_color is None and color is not None and has_color(adata_target, color):
        target_color = color
    predicted, translated, target, rep = _states(adata_source, adata_target, key)
    # in random order, so that no group hides another for being stored last
    drawn = generator.permutation(translated)[:MOST_CROSSES]
    back = generator.permutation(len(target))
    found = _plane(adata_target, target, predicted[drawn], rep, basis)
    target_xy, xy = found.measured, found.generated
    rgba, colors, scale = _paint(adata_source, color, adata_target, target_color)
    below = rgba["target"][back] if "target" in rgba else TARGET_COLOR
    above = rgba["source"][drawn] if "source" in rgba else SOURCE_COLOR
    shades = ("0.35", "0.35") if rgba else (TARGET_COLOR, SOURCE_COLOR)

    ax = wide_axes(ax, len(colors))
    size = disc_size(len(target))
    ax.scatter(*target_xy[back].T, c=below, s=2.5 * size, alpha=0.25, linewidths=0, zorder=1)
    ax.scatter(*xy.T, c=above, s=max(size, 10), marker="x", linewidths=0.8, zorder=3)
    handles = [
        *squares(colors),
        disc("measured target cell", shades[0], 0.4),
        cross("translated source cell", shades[1], len(drawn), len(translated), found.note),
    ]
    if n_lines and Keys(key).coupling in adata_source.obsm:
        best = _best_match(adata_source, adata_target, key)[drawn[:n_lines]]
        ends = np.stack([xy[:n_lines], target_xy[best]], axis=1)[best >= 0]
        ax.add_collection(LineCollection(ends, colors="0.25", linewidths=0.6, alpha=0.6, zorder=2))
        handles.append(
            Line2D([], [], color="0.25", lw=0.8, label="to its best match\nin the coupling")
        )
    bare(ax, found.names, "Translated cells among measured ones")
    legend_beside(ax, handles)
    if scale is not None:
        bar_under(ax, scale, color or target_color)
    return finish(ax, show=show)


def _states(
    adata_source: AnnData, adata_target: AnnData, key: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Return translated states, the cells that have one, measured states, and their space."""
    fit = get.fit(adata_source, key)
    fit.needs(Translation, "sg.pl.translation")
    rep, target = fit.task.target_rep, fit.target_cells(adata_target)
    predicted, rows = predicted_states(adata_source, key, "adata_source")
    if predicted.shape[1] != target.shape[1]:
        raise ValueError(
            f"{Keys(key).sample!r} has {predicted.shape[1]} columns, {rep!r} of `adata_target` "
            f"{target.shape[1]}: pass the cells that were fitted."
        )
    return predicted, rows, target, rep


def _plane(
    adata_target: AnnData, target: np.ndarray, predicted: np.ndarray, rep: str, basis: object
) -> Places:
    """Return two coordinates of measured and of translated cells, and the names of the axes."""
    if basis is not None:
        return places(adata_target, basis, target, predicted, rep, "adata_target")
    center = target.mean(axis=0)
    axes = np.linalg.eigh(np.atleast_2d(np.cov(target.T)))[1][:, :-3:-1]
    names = tuple(f"PC {i} of the target's {rep}" for i in (1, 2))
    return Places((target - center) @ axes, (predicted - center) @ axes, names)


def _paint(
    adata_source: AnnData, color: str | None, adata_target: AnnData, target_color: str | None
):
    """Return the colors of the cells of each side with a column, of each label, and the scale."""
    columns = {
        side: (adata, column, color_values(adata, column, argument, f"adata_{side}"))
        for side, adata, column, argument in (
            ("target", adata_target, target_color, "target_color"),
            ("source", adata_source, color, "color"),
        )
        if column is not None
    }
    values = [column for _, _, column in columns.values()]
    numeric = {is_numeric(column) for column in values}
    if len(numeric) > 1:
        raise ValueError(
            f"`color={color!r}` and `target_color={target_color!r}` must both be labels "
            "or both numbers."
        )
    colors, scale = {}, None
    if numeric == {True}:
        scale = number_scale(*values)
    else:
        colors = label_colors(*((adata, name) for adata, name, _ in columns.values()))
    rgba = {
        side: label_rgba(column, colors)
        if scale is None
        else scale.to_rgba(column.to_numpy(dtype=float, na_value=np.nan))
        for side, (_, _, column) in columns.items()
    }
    return rgba, colors, scale


def _best_match(adata_source: AnnData, adata_target: AnnData, key: str) -> np.ndarray:
    """Return the target cell with most mass for each source cell, -1 for a cell without mass."""
    joint, positions = joint_mass(adata_source, adata_target, key)
    best = positions[np.asarray(joint.argmax(axis=1)).ravel()]
    return np.where(np.asarray(joint.sum(axis=1)).ravel() > 0, best, -1)
