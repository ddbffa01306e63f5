"""Features against dose."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scgenot.pl._axes import finish, legend_beside, panels
from scgenot.pl._colors import CONTROL_COLOR, PREDICTED_COLOR, TREATED_COLOR, colors_for
from scgenot.pl._screen import (
    doses,
    feature_names,
    feature_table,
    is_control,
    is_named,
    is_treated,
    measured_table,
    screen_params,
    simulated_targets,
)

# in powers of ten
APART = 0.05  # of several perturbations at one dose
BROKEN = 0.3  # where the scale is broken, right of dose 0
BESIDE, HALF = (
    0.16,
    0.07,
)  # place of what is predicted at dose 0, right of control, and half its width
Curves = dict[str, pd.DataFrame]


def dose_response(
    adata: AnnData,
    simulated: AnnData,
    features: str | Sequence[str],
    *,
    target: str | Sequence[str] | None = None,
    layer: str | None = None,
    key: str = "genot",
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Draw features against dose: a predicted line with a band, and measured cells as dots.

    Lines and dots are means, bands and bars go from quartile to quartile of the cells. Doses are on a logarithmic
    scale, where 0, the control, has a place of its own on the left: what was simulated at dose 0 stands beside it, and
    should be level with it.

    Parameters
    ----------
    adata
        Measured cells with a fit of `sg.tl.fit_perturbation` with doses.
    simulated
        Cells that `sg.tl.simulate` made at several doses, measured or not, 0 among them to see where it starts.
    features
        Names in var of both, a panel each.
    target
        Perturbations to draw; None for all in `simulated`. Several have a colour each, that of `uns`.
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
    The axes; the panels are its `child_axes`.

    Raises
    ------
    TypeError
        When `simulated` is no AnnData.
    KeyError
        When there is no such fit, feature, layer or column.
    ValueError
        When the fit is of no screen or has no doses, or a target was not simulated.

    Examples
    --------
    >>> simulated = sg.tl.simulate(adata, target="A", dose=[0.0, 0.1, 1.0, 10.0])
    >>> sg.pl.dose_response(adata, simulated, ["CD69", "CD44"])
    """
    params, features = screen_params(adata, key, simulated), feature_names(features)
    if "dose_key" not in params:
        raise ValueError(f"`key={key!r}` was fitted without doses: use `sg.pl.response`.")
    there = simulated_targets(simulated, params)
    targets = there if target is None else feature_names(target)
    if not targets or not set(targets) <= set(there):
        raise ValueError(
            f"`target={target!r}` is not in `simulated`; found {there}: run `sg.tl.simulate` for it."
        )
    measured = measured_table(adata, simulated, features, layer, params)
    predicted = feature_table(simulated, features, None, "simulated")
    lines = {
        name: _by_dose(simulated, params, predicted, is_named(simulated, params, name))
        for name in targets
    }
    dots = {
        name: _by_dose(adata, params, measured, is_treated(adata, params, name)) for name in targets
    }
    control = _quartiles(measured[is_control(adata, params)])
    colors = colors_for(targets, adata, params["perturbation_key"])
    one = len(targets) == 1
    positive = sorted(
        {dose for found in (*lines.values(), *dots.values()) for dose in found if dose > 0}
    )
    zero = np.log10(min(positive, default=1.0)) - 0.6
    ax, inside = panels(
        ax,
        len(features),
        columns=2 if len(features) == 4 else 3,
        width=3.3,
        height=2.8,
        gap=(0.3, 0.42),
        room=(2.2, 0.7),
    )
    for panel, feature in zip(inside, features, strict=True):
        _dot(panel, zero, control[feature], CONTROL_COLOR)
        for place, name in enumerate(targets):
            shift = (place - (len(targets) - 1) / 2) * APART
            _lines(
                panel,
                lines[name],
                feature,
                PREDICTED_COLOR if one else colors[name],
                zero + BESIDE + shift,
            )
            for dose, table in dots[name].items():
                _dot(
                    panel,
                    np.log10(dose) + shift,
                    table[feature],
                    TREATED_COLOR if one else colors[name],
                )
        _scale(panel, zero, sorted({dose for found in dots.values() for dose in found}) or positive)
        panel.set(title=feature, xlabel=params["dose_key"], ylabel="value")
    legend_beside(ax, _handles(targets, colors, measured=any(dots.values())))
    return finish(ax, show=show)


def _by_dose(
    adata: AnnData, params: dict, values: pd.DataFrame, rows: np.ndarray
) -> dict[float, pd.DataFrame]:
    """Mean and quartiles of each feature at each dose of some cells."""
    amounts = doses(adata, params)
    return {
        dose: _quartiles(values[rows & (amounts == dose)]) for dose in sorted(set(amounts[rows]))
    }


def _quartiles(values: pd.DataFrame) -> pd.DataFrame:
    """Rows lower quartile, mean and upper quartile, columns features."""
    low, high = values.quantile(0.25), values.quantile(0.75)
    return pd.DataFrame({"low": low, "mean": values.mean(), "high": high}).T


def _dot(panel: Axes, x: float, at: pd.Series, color: str) -> None:
    panel.vlines(x, at["low"], at["high"], color=color, lw=1.5, zorder=3)
    panel.plot(x, at["mean"], "o", ms=6, color=color, mec="white", mew=0.8, zorder=4)


def _lines(
    panel: Axes, tables: dict[float, pd.DataFrame], feature: str, color: str, zero: float
) -> None:
    """Draw the line of the doses, and a short one at dose 0: the scale is broken between them."""
    above = {np.log10(dose): table[feature] for dose, table in tables.items() if dose > 0}
    _line(panel, above, color)
    if 0 in tables:
        _line(
            panel,
            {zero + aside: tables[0][feature] for aside in (-HALF, 0, HALF)},
            color,
            markevery=[1],
        )


def _line(
    panel: Axes, at: dict[float, pd.Series], color: str, markevery: list[int] | None = None
) -> None:
    if at:
        low, mean, high = (
            np.array([values[row] for values in at.values()]) for row in ("low", "mean", "high")
        )
        panel.fill_between(list(at), low, high, color=color, alpha=0.15, linewidth=0, zorder=1)
        panel.plot(
            list(at), mean, color=color, lw=2, marker="|", ms=8, markevery=markevery, zorder=2
        )


def _scale(panel: Axes, zero: float, marked: list[float]) -> None:
    panel.set_xticks([zero, *np.log10(marked)], ["0", *(f"{dose:g}" for dose in marked)])
    panel.axvline(zero + BROKEN, color="0.8", lw=0.8, ls=":")  # where the scale is broken
    panel.spines[["top", "right"]].set_visible(False)


def _handles(targets: list[str], colors: dict[str, str], *, measured: bool) -> list[Line2D]:
    line = {"lw": 2, "marker": "|", "ms": 8}
    point = {"ls": "", "marker": "o", "ms": 6}
    control = Line2D([], [], color=CONTROL_COLOR, label="control, measured", **point)
    if len(targets) == 1:
        found = [Line2D([], [], color=PREDICTED_COLOR, label=f"{targets[0]}, predicted", **line)]
        return [
            control,
            *found,
            *(
                [Line2D([], [], color=TREATED_COLOR, label=f"{targets[0]}, measured", **point)]
                * measured
            ),
        ]
    named = [
        Line2D([], [], ls="", marker="s", ms=8, color=colors[name], label=name) for name in targets
    ]
    kinds = [Line2D([], [], color="0.35", label="predicted", **line)]
    return [
        control,
        *named,
        *kinds,
        *([Line2D([], [], color="0.35", label="measured", **point)] * measured),
    ]
