"""What was predicted of features, between what was measured before and after."""

from collections.abc import Sequence
from typing import Literal

import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scgenot.pl._axes import finish, legend_beside, new_axes, panels
from scgenot.pl._colors import CONTROL_COLOR, PREDICTED_COLOR, TREATED_COLOR, labels_of
from scgenot.pl._screen import (
    condition_name,
    feature_names,
    feature_table,
    is_control,
    is_named,
    is_treated,
    measured_table,
    one_condition,
    screen_params,
)
from scgenot.pl._slots import obs_column
from scgenot.pl._violins import dot, violin

WIDE = 0.26  # of one of the three at a feature


def response(
    adata: AnnData,
    simulated: AnnData,
    features: str | Sequence[str],
    *,
    target: str | None = None,
    dose: float | None = None,
    groupby: str | None = None,
    kind: Literal["violin", "dots"] = "violin",
    layer: str | None = None,
    key: str = "genot",
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Draw features in measured control cells, in predicted cells, and in measured treated cells, side by side.

    A dot is the mean, a line goes from quartile to quartile. Where nothing was measured for a perturbation there are
    the first two only.

    Parameters
    ----------
    adata
        Measured cells with a fit of `sg.tl.fit_perturbation`.
    simulated
        Cells that `sg.tl.simulate` made of them, or of others.
    features
        Names in var of both.
    target, dose
        Perturbation, and its dose; None where `simulated` has one.
    groupby
        Column of obs of both: a panel for each of its groups, for source cells on the predicted side. None for one
        panel.
    kind
        "violin", or "dots" without densities.
    layer
        A key of layers of `adata`, or "X", to compare with; None for what was fitted or embedded.
    key
        The `key_added` of the fit.
    ax
        Where to draw; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes; with `groupby` the panels are its `child_axes`.

    Raises
    ------
    TypeError
        When `simulated` is no AnnData.
    KeyError
        When there is no such fit, feature, layer or column.
    ValueError
        When the fit is of no screen, `kind` is neither, `simulated` has other perturbations or doses, or several and
        none was named, or no group has cells on both sides.

    Examples
    --------
    >>> simulated = sg.tl.simulate(adata, target="A")
    >>> sg.pl.response(adata, simulated, ["ISG15", "IFI6"], groupby="cell_type")
    """
    if kind not in ("violin", "dots"):
        raise ValueError(f"`kind={kind!r}` must be 'violin' or 'dots'.")
    params, features = screen_params(adata, key, simulated), feature_names(features)
    target, dose = one_condition(simulated, params, target, dose)
    measured = measured_table(adata, simulated, features, layer, params)
    predicted = feature_table(simulated, features, None, "simulated")
    answer = condition_name(target, dose)
    sides = [
        ("control, measured", CONTROL_COLOR, measured, adata, is_control(adata, params)),
        (
            f"{answer}, predicted",
            PREDICTED_COLOR,
            predicted,
            simulated,
            is_named(simulated, params, target, dose),
        ),
        (
            f"{answer}, measured",
            TREATED_COLOR,
            measured,
            adata,
            is_treated(adata, params, target, dose),
        ),
    ]
    sides = [side for side in sides if side[-1].any()]
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
        panel.set_title(answer if group is None else group, fontsize="medium" if groupby else None)
        panel.set_xticklabels(
            features if panel is inside[-1] else [], style="italic", **_slant(features)
        )
        panel.set_ylabel("value")
    handles = [
        Line2D([], [], ls="", marker="s", ms=8, color=color, label=label)
        for label, color, *_ in sides
    ]
    legend_beside(
        ax,
        [*handles, Line2D([], [], marker="o", ms=5, lw=2.5, color="0.3", label="mean, quartiles")],
    )
    return finish(ax, show=show)


def _groups(adata: AnnData, simulated: AnnData, groupby: str) -> list[str]:
    """Groups with cells on both sides."""
    there = set(obs_column(simulated, groupby, "groupby", "simulated").dropna().astype(str))
    groups = [
        label
        for label in labels_of(obs_column(adata, groupby, "groupby", "adata"))
        if label in there
    ]
    if not groups:
        raise ValueError(f"`groupby={groupby!r}`: `adata` and `simulated` have no label in common.")
    return groups


def _draw(
    panel: Axes, sides: list[tuple], groupby: str | None, group: str | None, *, violins: bool
) -> None:
    for place, (_, color, values, cells, rows) in enumerate(sides):
        kept = (
            rows if group is None else rows & (cells.obs[groupby].astype(str) == group).to_numpy()
        )
        _side(panel, values[kept], (place - (len(sides) - 1) / 2) * WIDE, color, violins=violins)
    n = len(sides[0][2].columns)
    panel.set_xticks(range(n))
    panel.set_xlim(-0.6, n - 0.4)
    panel.spines[["top", "right"]].set_visible(False)


def _side(panel: Axes, values: pd.DataFrame, shift: float, color: str, *, violins: bool) -> None:
    """One violin or dot a feature; nothing where there are no cells."""
    for place, feature in enumerate(values if len(values) else []):
        numbers = values[feature].to_numpy()
        if violins:
            violin(panel, numbers, place + shift, color, width=0.92 * WIDE)
        else:
            dot(panel, numbers, place + shift, color)


def _slant(names: list[str]) -> dict:
    """How to turn names that would overlap."""
    return (
        {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        if max(map(len, names)) > 8
        else {}
    )
