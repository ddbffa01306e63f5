"""Predicted features between those of measured control and treated cells."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scgenot._typed import typed
from scgenot.cells.labels import as_text
from scgenot.pl._axes import finish, legend_beside, new_axes, panels, slanted, squares
from scgenot.pl._colors import CONTROL_COLOR, PREDICTED_COLOR, TREATED_COLOR, labels_of
from scgenot.pl._response_table import response_table
from scgenot.pl._screen import (
    feature_names,
    feature_table,
    measured_table,
    one_condition,
    simulated_screen,
    title_of,
)
from scgenot.pl._slots import obs_column
from scgenot.pl._violins import dot, violin

WIDE = 0.26  # of one of the three at a feature


@typed
def response(
    adata: AnnData | pd.DataFrame,
    simulated: AnnData | None = None,
    features: str | Sequence[str] | None = None,
    *,
    target: object = None,
    dose: float | None = None,
    groupby: str | None = None,
    kind: Literal["violin", "dots"] = "violin",
    layer: str | None = None,
    key: str = "genot",
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot features in measured control, predicted, and measured treated cells side by side.

    Dots are means and lines span the quartiles; numbers of cells are in the title, in the order of
    the legend. An unseen perturbation has no measured treated cells. For a table of
    `sg.tl.response`, the predicted change of means is shown with its interval, next to the measured
    change.

    Parameters
    ----------
    adata
        Measured cells with a fit of `sg.tl.fit_perturbation`; or the table of `sg.tl.response`.
    simulated
        Cells from `sg.tl.simulate`, generated from `adata` or from other cells; not with a table.
    features
        Names in var of both. For a table, None for the 12 with the largest predicted change.
    target, dose
        Perturbation and its dose; None if `simulated` has a single one.
    groupby
        Column of obs of both, one panel per group; predicted cells have the group of their source
        cell. None for one panel.
    kind
        "violin", or "dots" for means and quartiles only.
    layer
        Key of layers of `adata`, or "X", to compare with; None for the fitted or embedded values.
    key
        The `key_added` of the fit.
    ax
        Axes to draw on; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes; with `groupby` the panels are its `child_axes`.

    Raises
    ------
    TypeError
        When `simulated` is not an AnnData.
    KeyError
        When there is no such fit, feature, layer or column.
    ValueError
        When the fit is not from `sg.tl.fit_perturbation`, `kind` has another value, `simulated` has
        other perturbations or doses, or several and none is selected, or no group has cells on both
        sides.

    Examples
    --------
    >>> simulated = sg.tl.simulate(adata, target="A")
    >>> sg.pl.response(adata, simulated, ["ISG15", "IFI6"], groupby="cell_type")
    """
    if kind not in ("violin", "dots"):
        raise ValueError(f"`kind={kind!r}` must be 'violin' or 'dots'.")
    if isinstance(adata, pd.DataFrame):
        return finish(response_table(adata, features, ax), show=show)
    if features is None:
        raise TypeError("`features` is missing: name the genes to draw.")
    screen, features = simulated_screen(adata, simulated, key, "response"), feature_names(features)
    target, dose = one_condition(simulated, screen, target, dose)
    measured = measured_table(adata, simulated, features, layer, screen)
    predicted = feature_table(simulated, features, None, "simulated")
    answer = title_of(target, dose)
    control = np.flatnonzero(screen.are_control(adata))
    named = np.flatnonzero(screen.are_named(simulated, target, dose))
    treated = screen.treated_rows(adata, target, dose)
    sides = [
        ("control, measured", CONTROL_COLOR, measured, adata, control),
        (f"{answer}, predicted", PREDICTED_COLOR, predicted, simulated, named),
        (f"{answer}, measured", TREATED_COLOR, measured, adata, treated),
    ]
    sides = [side for side in sides if len(side[-1])]
    groups = [None] if groupby is None else _groups(adata, simulated, groupby)
    width = 1.4 + 0.75 * len(features)
    if groupby is None:
        ax = new_axes(ax, width + 2.2, 3.8)
        inside = [ax]
    else:
        ax, inside = panels(
            ax, len(groups), columns=1, width=width + 2.2, height=1.4, gap=(0, 0.3), room=(0.6, 0.8)
        )
    for panel, group in zip(inside, groups, strict=True):
        _draw(panel, sides, groupby, group, violins=kind == "violin")
        title = answer if group is None else group
        title += f" (n = {', '.join(map(str, _counts(sides, groupby, group)))})"
        panel.set_title(title, fontsize="medium" if groupby else None)
        labels = features if panel is inside[-1] else []
        panel.set_xticklabels(labels, style="italic", **slanted(features, 8))
    inside[len(inside) // 2].set_ylabel(measured.attrs["unit"])
    summary = Line2D([], [], marker="o", ms=5, lw=2.5, color="0.3", label="mean, quartiles")
    legend_beside(ax, [*squares({label: color for label, color, *_ in sides}), summary])
    return finish(ax, show=show)


def _groups(adata: AnnData, simulated: AnnData, groupby: str) -> list[str]:
    """Return the groups with cells on both sides."""
    there = set(as_text(obs_column(simulated, groupby, "groupby", "simulated")))
    known = labels_of(obs_column(adata, groupby, "groupby", "adata"))
    groups = [label for label in known if label in there]
    if not groups:
        raise ValueError(f"`groupby={groupby!r}`: `adata` and `simulated` have no label in common.")
    return groups


def _of_group(cells: AnnData, rows: np.ndarray, groupby: str | None, group: str | None):
    """Return the rows that are in a group."""
    return rows if group is None else rows[as_text(cells.obs[groupby])[rows] == group]


def _counts(sides: list[tuple], groupby: str | None, group: str | None) -> list[int]:
    """Return the number of cells of each side in a group."""
    return [len(_of_group(cells, rows, groupby, group)) for *_, cells, rows in sides]


def _draw(
    panel: Axes, sides: list[tuple], groupby: str | None, group: str | None, *, violins: bool
) -> None:
    """Draw all features of one group."""
    for place, (_, color, values, cells, rows) in enumerate(sides):
        kept = _of_group(cells, rows, groupby, group)
        _side(
            panel, values.iloc[kept], (place - (len(sides) - 1) / 2) * WIDE, color, violins=violins
        )
    n = len(sides[0][2].columns)
    panel.set_xticks(range(n))
    panel.set_xlim(-0.6, n - 0.4)
    panel.spines[["top", "right"]].set_visible(False)


def _side(panel: Axes, values: pd.DataFrame, shift: float, color: str, *, violins: bool) -> None:
    """Draw one violin or dot per feature; nothing when there are no cells."""
    for place, feature in enumerate(values if len(values) else []):
        numbers = values[feature].to_numpy()
        if violins:
            violin(panel, numbers, place + shift, color, width=0.92 * WIDE)
        else:
            dot(panel, numbers, place + shift, color)
