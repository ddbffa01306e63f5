"""Translated cells among measured ones, in one picture of target space."""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba_array
from matplotlib.lines import Line2D

from scgenot.cells.keys import PARAMS, Keys
from scgenot.pl._axes import finish, legend_beside, new_axes
from scgenot.pl._colors import is_numeric, label_colors, label_rgba, number_scale
from scgenot.pl._embedding import MOST_CROSSES, bare, beside, coordinates, dense, disc_size
from scgenot.pl._slots import fit_slot, has_coupling, joint_mass, obs_column

TARGET_COLOR, SOURCE_COLOR = "gray", "crimson"  # without labels


def translation(
    adata_source: AnnData,
    adata_target: AnnData,
    *,
    color: str | None = None,
    target_color: str | None = None,
    key: str = "genot",
    basis: str | None = None,
    n_lines: int = 100,
    rng: int | np.random.Generator | None = 0,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Draw translated source cells among the measured cells of the target modality.

    Measured target cells are pale discs, translated source cells (one sample each, `obsm["X_<key>"]`) crosses, of which
    at most 1,500 are drawn, at random. A good translation covers the discs with crosses of their colour, in the same
    proportions. Thin lines join some translated cells to the measured cell that the coupling gives most mass.

    Parameters
    ----------
    adata_source
        The source cells, with what the fit wrote.
    adata_target
        The target cells, with the representation that was fitted.
    color, target_color
        Columns of obs that give labels, or numbers, to the source and to the target cells. `target_color` None: the
        same column when it is there. The same label has the same colour in both; colours stored with the target win.
    key
        The `key_added` of the fit.
    basis
        None: the first two principal components of the target cells; translated cells are projected, so that one
        outside the measured ones is seen there. Or a key of obsm of `adata_target`, such as `"X_umap"`, whose first two
        columns are drawn; nothing can be projected there, so a translated cell stands at the mean of its 5 nearest
        measured cells, and never outside.
    n_lines
        Lines to draw, for random cells; 0 for none. There are none without a coupling in obsm (`sg.tl.coupling`).
    rng
        Seed or generator for the cells with a line and the order of drawing.
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
        When there is no such fit, prediction, representation, basis or column.
    ValueError
        When prediction and target representation differ in width, or no cell was translated.

    Examples
    --------
    >>> sg.tl.predict(rna)
    >>> sg.pl.translation(rna, atac, color="cell_type")
    """
    generator = np.random.default_rng(rng)
    if target_color is None and color in adata_target.obs:
        target_color = color
    predicted, target, rep = _states(adata_source, adata_target, key)
    translated = np.flatnonzero(np.isfinite(predicted).all(axis=1))
    if not len(translated):
        raise ValueError(
            f"obsm[{Keys(key).sample!r}] of `adata_source` is NaN for every cell: nothing to draw."
        )
    # in random order, so that no group hides another for being stored last
    drawn, back = (
        generator.permutation(translated)[:MOST_CROSSES],
        generator.permutation(len(target)),
    )
    target_xy, xy, axis_names = _plane(adata_target, target, predicted[drawn], rep, basis)
    target_rgba, rgba, handles, scale = _paint(adata_source, color, adata_target, target_color)

    if len(drawn) < len(translated):
        handles[-1].set_label(
            f"translated source cell\n({len(drawn):,} of {len(translated):,} drawn)"
        )
    ax = new_axes(ax, 7.5, 5.2)
    size = disc_size(len(target))
    ax.scatter(
        *target_xy[back].T, c=target_rgba[back], s=2.5 * size, alpha=0.25, linewidths=0, zorder=1
    )
    ax.scatter(*xy.T, c=rgba[drawn], s=max(size, 10), marker="x", linewidths=0.8, zorder=3)
    if n_lines and has_coupling(adata_source, key):
        best = _best_match(adata_source, adata_target, key)[drawn[:n_lines]]
        ends = np.stack([xy[:n_lines], target_xy[best]], axis=1)[best >= 0]
        ax.add_collection(LineCollection(ends, colors="0.25", linewidths=0.6, alpha=0.6, zorder=2))
        handles.append(
            Line2D([], [], color="0.25", lw=0.8, label="to its best match\nin the coupling")
        )
    bare(ax, axis_names, "Translated cells among measured ones")
    _legend(ax, handles, scale, color or target_color)
    return finish(ax, show=show)


def _states(
    adata_source: AnnData, adata_target: AnnData, key: str
) -> tuple[np.ndarray, np.ndarray, str]:
    """Translated and measured states in the target representation, and its name."""
    rep = fit_slot(adata_source, key, PARAMS, "adata_source").get("target_rep")
    slot = Keys(key).sample
    if slot not in adata_source.obsm:
        raise KeyError(
            f"{slot!r} is not in obsm of `adata_source`; found {list(adata_source.obsm)}: run a fit first."
        )
    if rep != "X" and rep not in adata_target.obsm:
        raise KeyError(
            f"{rep!r}, which `key={key!r}` was fitted to, is not in obsm of `adata_target`; "
            f"found {list(adata_target.obsm)}."
        )
    predicted = dense(adata_source.obsm[slot])
    target = dense(adata_target.X[:] if rep == "X" else adata_target.obsm[rep])
    if predicted.shape[1] != target.shape[1]:
        raise ValueError(
            f"{slot!r} has {predicted.shape[1]} columns, {rep!r} of `adata_target` {target.shape[1]}."
        )
    return predicted, target, rep


def _plane(
    adata_target: AnnData, target: np.ndarray, predicted: np.ndarray, rep: str, basis: str | None
) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    """Two coordinates of measured and of translated cells, and the names of the axes."""
    if basis is None:
        center = target.mean(axis=0)
        axes = np.linalg.eigh(np.atleast_2d(np.cov(target.T)))[1][:, :-3:-1]
        names = tuple(f"PC {i} of the target's {rep}" for i in (1, 2))
        return (target - center) @ axes, (predicted - center) @ axes, names
    target_xy, names = coordinates(adata_target, basis, "adata_target")
    return target_xy, beside(predicted, target, target_xy), names


def _paint(
    adata_source: AnnData, color: str | None, adata_target: AnnData, target_color: str | None
):
    """Colours of target and source cells, shapes `(m, 4)` and `(n, 4)`, legend entries, and the scale of numbers."""
    columns = {
        side: (adata, column, obs_column(adata, column, argument, f"adata_{side}"))
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
            f"`color={color!r}` and `target_color={target_color!r}` must both be labels or both numbers."
        )
    rgba = {
        "target": np.repeat(to_rgba_array(TARGET_COLOR), adata_target.n_obs, axis=0),
        "source": np.repeat(to_rgba_array(SOURCE_COLOR), adata_source.n_obs, axis=0),
    }
    colors, scale = {}, None
    if numeric == {True}:
        scale = number_scale(*values)
        rgba |= {
            side: scale.to_rgba(column.to_numpy(dtype=float))
            for side, (_, _, column) in columns.items()
        }
    elif numeric == {False}:
        colors = label_colors(*((adata, name) for adata, name, _ in columns.values()))
        rgba |= {side: label_rgba(column, colors) for side, (_, _, column) in columns.items()}
    return rgba["target"], rgba["source"], _handles(colors, labeled=bool(numeric)), scale


def _handles(colors: dict[str, str], *, labeled: bool) -> list[Line2D]:
    target, source = ("0.35", "0.35") if labeled else (TARGET_COLOR, SOURCE_COLOR)
    return [
        *(
            Line2D([], [], ls="", marker="s", ms=7, color=color, label=label)
            for label, color in colors.items()
        ),
        Line2D(
            [],
            [],
            ls="",
            marker="o",
            ms=7,
            mew=0,
            alpha=0.4,
            color=target,
            label="measured target cell",
        ),
        Line2D([], [], ls="", marker="x", ms=6, color=source, label="translated source cell"),
    ]


def _best_match(adata_source: AnnData, adata_target: AnnData, key: str) -> np.ndarray:
    """Position of the target cell with most mass for each source cell, -1 for a cell without mass."""
    joint, positions = joint_mass(adata_source, adata_target, key)
    best = positions[np.asarray(joint.argmax(axis=1)).ravel()]
    return np.where(np.asarray(joint.sum(axis=1)).ravel() > 0, best, -1)


def _legend(ax: Axes, handles: list[Line2D], scale, label: str | None) -> None:
    legend_beside(ax, handles)
    if scale is not None:
        ax.figure.colorbar(scale, ax=ax, label=label, location="bottom", shrink=0.6)
