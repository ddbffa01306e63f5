"""Features against dose."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scgenot._typed import typed
from scgenot.cells.tasks import Screen
from scgenot.cells.tasks.conditions import tidy_doses
from scgenot.pl._axes import finish, legend_beside, panels, squares
from scgenot.pl._colors import CONTROL_COLOR, PREDICTED_COLOR, TREATED_COLOR, colors_for
from scgenot.pl._screen import (
    doses,
    feature_names,
    feature_table,
    measured_table,
    simulated_screen,
    simulated_targets,
)

# distances in powers of ten
APART = 0.05  # of several perturbations at one dose
BROKEN = 0.3  # from dose 0 to where the scale is broken
BESIDE, HALF = 0.16, 0.07  # from control to the prediction at dose 0, and half the width of it
Curves = dict[str, pd.DataFrame]


@typed
def dose_response(
    adata: AnnData,
    simulated: AnnData,
    features: str | Sequence[str],
    *,
    target: object = None,
    layer: str | None = None,
    key: str = "genot",
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot features against dose: predictions as a line with a band, measured cells as dots.

    Lines and dots are means; bands and bars span the quartiles of the cells. Doses are on a
    logarithmic scale, with a separate position for dose 0, the control, on the left. Cells
    simulated at dose 0 are plotted next to it and should be at the same level.

    Parameters
    ----------
    adata
        Measured cells with a fit of `sg.tl.fit_perturbation` with doses.
    simulated
        Cells from `sg.tl.simulate` at several doses, measured or not; include 0 to show the start
        of the curve.
    features
        Names in var of both; one panel per feature.
    target
        Perturbations to plot; None for all in `simulated`. Several have one color each, as in
        `uns`.
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
    The axes; the panels are its `child_axes`.

    Raises
    ------
    TypeError
        When `simulated` is not an AnnData.
    KeyError
        When there is no such fit, feature, layer or column.
    ValueError
        When the fit is not from `sg.tl.fit_perturbation`, it has no doses, or a target was not
        simulated.

    Examples
    --------
    >>> simulated = sg.tl.simulate(adata, target="A", dose=[0.0, 0.1, 1.0, 10.0])
    >>> sg.pl.dose_response(adata, simulated, ["CD69", "CD44"])
    """
    screen = simulated_screen(adata, simulated, key, "dose_response")
    features = feature_names(features)
    if screen.dose_key is None:
        raise ValueError(f"`key={key!r}` was fitted without doses: use `sg.pl.response` instead.")
    targets = simulated_targets(simulated, screen, target)
    measured = measured_table(adata, simulated, features, layer, screen)
    predicted = feature_table(simulated, features, None, "simulated")
    lines, dots = {}, {}
    for name in targets:
        named = np.flatnonzero(screen.are_named(simulated, name))
        lines[name] = _by_dose(simulated, screen, predicted, named)
        dots[name] = _by_dose(adata, screen, measured, screen.treated_rows(adata, name))
    control = _quartiles(measured[screen.are_control(adata)])
    colors = colors_for(targets, adata, screen.perturbation_key)
    one = len(targets) == 1
    drawn = {dose for found in dots.values() for dose in found}
    positive = sorted(dose for dose in drawn.union(*lines.values()) if dose > 0)
    # a scale needs two doses
    marked = np.unique(tidy_doses(np.array(sorted(drawn) if len(drawn) > 1 else positive)))
    zero = np.log10(min(positive, default=1.0)) - 0.6
    ax, inside = panels(
        ax, len(features), columns=2 if len(features) == 4 else 3, width=3.3, height=2.8,
        gap=(0.3, 0.42), room=(2.2, 0.7),
    )  # fmt: skip
    for panel, feature in zip(inside, features, strict=True):
        _dot(panel, zero, control[feature], CONTROL_COLOR)
        for place, name in enumerate(targets):
            shift = (place - (len(targets) - 1) / 2) * APART
            predicted_color = PREDICTED_COLOR if one else colors[name]
            _lines(panel, lines[name], feature, predicted_color, zero + BESIDE + shift)
            for dose, table in dots[name].items():
                measured_color = TREATED_COLOR if one else colors[name]
                _dot(panel, np.log10(dose) + shift, table[feature], measured_color)
        _scale(panel, zero, marked)
        panel.set(title=feature, xlabel=screen.dose_key)
        panel.set_ylabel(measured.attrs["unit"] if panel is inside[0] else "")
    legend_beside(ax, _handles(targets, colors, measured=any(dots.values())))
    return finish(ax, show=show)


def _by_dose(
    adata: AnnData, screen: Screen, values: pd.DataFrame, rows: np.ndarray
) -> dict[float, pd.DataFrame]:
    """Return the mean and quartiles of each feature at each dose of some cells."""
    at = doses(adata, screen, rows)
    return {dose: _quartiles(values.iloc[rows[at == dose]]) for dose in np.unique(at)}


def _quartiles(values: pd.DataFrame) -> pd.DataFrame:
    """Return the lower quartile, mean and upper quartile (rows) of features (columns)."""
    low, high = values.quantile(0.25), values.quantile(0.75)
    return pd.DataFrame({"low": low, "mean": values.mean(), "high": high}).T


def _dot(panel: Axes, x: float, at: pd.Series, color: str) -> None:
    """Draw a mean with a bar from quartile to quartile."""
    panel.vlines(x, at["low"], at["high"], color=color, lw=1.5, zorder=3)
    panel.plot(x, at["mean"], "o", ms=6, color=color, mec="white", mew=0.8, zorder=4)


def _lines(
    panel: Axes, tables: dict[float, pd.DataFrame], feature: str, color: str, zero: float
) -> None:
    """Draw the line of the doses, and a short one at dose 0: the scale is broken between them."""
    above = {np.log10(dose): table[feature] for dose, table in tables.items() if dose > 0}
    _line(panel, above, color)
    if 0 in tables:
        level = {zero + aside: tables[0][feature] for aside in (-HALF, 0, HALF)}
        _line(panel, level, color, markevery=[1])


def _line(
    panel: Axes, at: dict[float, pd.Series], color: str, markevery: list[int] | None = None
) -> None:
    """Draw a line of means with a band from quartile to quartile."""
    if at:
        x, table = list(at), pd.DataFrame(list(at.values()))
        band = table["low"].to_numpy(), table["high"].to_numpy()
        panel.fill_between(x, *band, color=color, alpha=0.15, linewidth=0, zorder=1)
        style = {"lw": 2, "marker": "|", "ms": 8, "markevery": markevery, "zorder": 2}
        panel.plot(x, table["mean"].to_numpy(), color=color, **style)


def _scale(panel: Axes, zero: float, marked: np.ndarray) -> None:
    """Mark the doses on the axis, 0 among them."""
    panel.set_xticks([zero, *np.log10(marked)], ["0", *(f"{dose:g}" for dose in marked)])
    panel.axvline(zero + BROKEN, color="0.8", lw=0.8, ls=":")  # where the scale is broken
    panel.spines[["top", "right"]].set_visible(False)


def _handles(targets: list[str], colors: dict[str, str], *, measured: bool) -> list[Line2D]:
    """Return the entries of the legend; several targets share those of lines and dots."""
    line = {"lw": 2, "marker": "|", "ms": 8}
    point = {"ls": "", "marker": "o", "ms": 6}
    control = Line2D([], [], color=CONTROL_COLOR, label="control, measured", **point)
    one = len(targets) == 1
    named = [] if one else squares({name: colors[name] for name in targets})
    before, shades = f"{targets[0]}, " if one else "", ("0.35", "0.35")
    if one:
        shades = PREDICTED_COLOR, TREATED_COLOR
    predicted = Line2D([], [], color=shades[0], label=f"{before}predicted", **line)
    dots = Line2D([], [], color=shades[1], label=f"{before}measured", **point)
    return [control, *named, predicted, *([dots] if measured else [])]
