"""A fit beside baselines and the ceiling."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from scgenot._typed import typed
from scgenot.pl._axes import finish, legend_beside, panels
from scgenot.pl._colors import CONTROL_COLOR, PREDICTED_COLOR, TREATED_COLOR
from scgenot.pl._slots import check_table

MEAN = "mean"  # condition and group of the rows that sum up the others
COLORS = {
    "model": PREDICTED_COLOR,
    "coupling": "#CC79A7",
    "baseline": "#555555",
    "supervised": "#E69F00",
    "ceiling": TREATED_COLOR,
}
WORDS = {
    "edistance": "energy distance",
    "mmd": "maximum mean discrepancy",
    "wasserstein": "Wasserstein distance",
    "foscttm": "cells closer than the match",
    "label_transfer": "accuracy of labels",
    "r2_distance": "error of means (1 − R²)",
    "r2_variances": "R² of variances",
    "pearson_delta": "correlation of changes",
    "squared_error_means": "squared error of means",
    "wmse": "weighted error of means",
    "weighted_r2_delta": "weighted R² of changes",
    "discrimination": "perturbation discrimination",
    "coverage_80": "cells in the 80 % region",
    "coverage_90": "cells in the 90 % region",
}
UNBIASED = (
    "edistance",
    "mmd",
    "squared_error_means",
)  # their estimates for equal populations scatter around 0
CAPTION = (
    "Energy distance, maximum mean discrepancy and squared error of means are estimated without "
    "bias: between populations that are alike they scatter around 0, so that a negative value is "
    "as good as 0."
)
WIDE = 26  # letters of the caption under one panel
# methods farther from the ceiling than this many times the median method are arrows at the edge
FARTHEST = 3


@typed
def evaluation(
    table: pd.DataFrame,
    metric: str | Sequence[str] | None = None,
    *,
    condition: str | None = None,
    group: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot the scores of a fit, of baselines and of the ceiling, one panel per metric.

    Points have bootstrap intervals. The blue line and band are the ceiling and its interval; the
    dotted line is the best baseline. Methods that are far from the others are shown as arrows at
    the edge, with their value. The title names the held-out cells. Unbiased estimates of energy
    distances, mean discrepancies and squared errors of means may be negative; a caption then
    explains it.

    Parameters
    ----------
    table
        Result of `sg.tl.evaluate`, or some of its rows.
    metric
        One or more metrics; None for all.
    condition, group
        Rows to plot; None for the mean over conditions and groups, or the only rows.
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
        When `table` is not a DataFrame.
    KeyError
        When a column or a metric is not in the table.
    ValueError
        When the table is empty, or has several conditions or groups and none is selected.

    Examples
    --------
    >>> table = sg.tl.evaluate(train, test)
    >>> sg.pl.evaluation(table)
    """
    rows = chosen_rows(table, condition, group)
    metrics = chosen_metrics(table, metric)
    n_columns = min(len(metrics), 3)
    negative = any((rows[name] < 0).any() for name in metrics if name in UNBIASED)
    # no wider than the panels: layouts make room for text at the expense of axes
    caption = fill(CAPTION, WIDE * n_columns) if negative else ""
    ax, inside = panels(
        ax,
        len(metrics),
        columns=3,
        width=2.6,
        height=0.6 + 0.2 * len(rows),
        gap=(0.2, 0.8 / (0.6 + 0.2 * len(rows))),
        room=(1.6, 0.8 + 0.2 * caption.count("\n")),
        title=_title(rows),
        lines=2,
    )
    for position, (panel, name) in enumerate(zip(inside, metrics, strict=True)):
        one_metric(panel, rows, name, table.attrs, named=position % n_columns == 0)
    kinds = [kind for kind in COLORS if kind in set(rows["kind"]) and kind != "ceiling"]
    handles = [Line2D([], [], marker="o", color=COLORS[kind], label=kind) for kind in kinds]
    handles += [Patch(color=COLORS["ceiling"], alpha=0.25, label="ceiling")]
    handles += [Line2D([], [], ls=":", color="black", label="best baseline")]
    legend_beside(ax, handles)
    if caption:
        below = {"xytext": (0, -30), "textcoords": "offset points", "va": "top"}
        ax.annotate(caption, (0, 0), xycoords="axes fraction", fontsize="small", **below)
    return finish(ax, show=show)


def _title(rows: pd.DataFrame) -> str:
    """Return what was held out: the condition and group, and how many cells."""
    names = [str(rows[column].iloc[0]) for column in ("condition", "group")]
    named = ", ".join(name for name in names if name != "all")
    if names == [MEAN, MEAN]:
        return "Held-out cells: mean over conditions and groups"
    n = f" ({rows['n_true'].iloc[0]:,.0f} cells)" if "n_true" in rows and MEAN not in names else ""
    return f"Held-out cells: {named or 'all'}{n}"


def chosen_rows(table: pd.DataFrame, condition: str | None, group: str | None) -> pd.DataFrame:
    """Return the rows of one condition and group."""
    check_table(table, ("condition", "group", "method", "kind"), "sg.tl.evaluate")
    if not len(table):
        raise ValueError("`table` has no rows: nothing to draw.")
    rows = table
    for column, value in (("condition", condition), ("group", group)):
        if value is None and rows[column].nunique() > 1 and MEAN in set(rows[column]):
            value = MEAN
        if value is not None:
            if value not in set(rows[column]):
                raise ValueError(
                    f"`{column}={value!r}` is not in `table`; found {list(rows[column].unique())}."
                )
            rows = rows[rows[column] == value]
        if rows[column].nunique() > 1:
            raise ValueError(
                f"`table` has several of `{column}`: choose one of {list(rows[column].unique())}."
            )
    return rows


def chosen_metrics(table: pd.DataFrame, metric: str | Sequence[str] | None) -> list[str]:
    """Return the metrics to draw, checked."""
    known = [name for name in table if {f"{name}_low", f"{name}_high"} <= set(table)]
    wanted = known if metric is None else [metric] if isinstance(metric, str) else list(metric)
    if unknown := [name for name in wanted if name not in known]:
        raise KeyError(f"`metric` {unknown} is not in `table`; found {known}.")
    if not wanted:
        raise ValueError("`metric` is empty, or `table` has no metric with an interval.")
    return wanted


def one_metric(
    panel: Axes, rows: pd.DataFrame, metric: str, attrs: Mapping, *, named: bool
) -> None:
    """Draw one metric of all methods, from top to bottom."""
    shown = rows[rows["kind"] != "ceiling"].reset_index(drop=True)
    values, low, high = (
        shown[f"{metric}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high")
    )
    higher, ideal = attrs.get("higher_is_better"), attrs.get("ideal", {}).get(metric)
    sign = -1 if metric in (higher or ()) else 1
    errors = sign * values if ideal is None else np.abs(values - ideal)
    ceiling = rows[rows["kind"] == "ceiling"]
    if len(ceiling):
        ends = ceiling[[f"{metric}_low", f"{metric}_high"]].iloc[0]
        panel.axvspan(*ends, color=COLORS["ceiling"], alpha=0.2, lw=0)
        panel.axvline(ceiling[metric].iloc[0], color=COLORS["ceiling"], lw=1)
    left, right = limits(shown, ceiling, metric)
    for y, (value, start, end) in enumerate(zip(values, low, high, strict=True)):
        color = COLORS.get(shown["kind"][y], CONTROL_COLOR)
        if left <= value <= right:
            ends = [max(start, left), min(end, right)]
            panel.plot(ends, [y, y], color=color, lw=1.5, solid_capstyle="butt")
            panel.plot(value, y, "o", color=color, ms=5)
        elif np.isfinite(value):
            edge, marker, align = (right, ">", "right") if value > right else (left, "<", "left")
            panel.plot(edge, y, marker, color=color, ms=5, clip_on=False)
            gap = 0.04 * (right - left) * (1 if align == "left" else -1)
            style = {"color": color, "ha": align, "va": "center", "fontsize": "small"}
            panel.text(edge + gap, y, f"{value:.2g}", **style)
    others = shown.index[(shown["kind"] == "baseline") & np.isfinite(values)]
    if len(others):
        best = others[np.argmin(errors[others])]
        panel.axvline(values[best], color="black", lw=0.9, ls=":", zorder=0)
    panel.set(xlim=(left, right), ylim=(len(shown) - 0.5, -0.5), yticks=range(len(shown)))
    panel.set_yticklabels(shown["method"] if named else [], fontsize="small")
    panel.tick_params(axis="x", labelsize="small")
    panel.locator_params(axis="x", nbins=4)
    direction = "" if higher is None else f"\n{'higher' if sign < 0 else 'lower'} is better"
    direction = direction if ideal is None else f"\n{100 * ideal:g} % is right"
    panel.set_title(f"{WORDS.get(metric, metric)}{direction}", fontsize="medium")
    panel.spines[["top", "right"]].set_visible(False)


def limits(shown: pd.DataFrame, ceiling: pd.DataFrame, metric: str) -> tuple[float, float]:
    """Return the ends of the axis, without methods so far off that the others could not be told."""
    values = shown[metric].to_numpy(dtype=float)
    core = shown["kind"].isin(["model", "coupling"]).to_numpy()
    reference = ceiling[metric].iloc[0] if len(ceiling) else np.nanmedian(values)
    away = np.abs(values - reference)
    finite = np.isfinite(values)
    span = np.median(away[finite]) if finite.any() else 1.0
    span = max([span, *away[core & finite & (away <= 4 * span)]])
    kept = shown[finite & (away <= FARTHEST * span)]
    ends = pd.concat([kept, ceiling])[[f"{metric}_low", f"{metric}_high"]].to_numpy(dtype=float)
    # intervals of single methods may be long; they are cut where the others end
    left = max(np.nanmin(ends), reference - 1.3 * FARTHEST * span)
    right = min(np.nanmax(ends), reference + 1.3 * FARTHEST * span)
    margin = 0.06 * (right - left) or 1.0
    return left - margin, right + margin
