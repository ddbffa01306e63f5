"""Predicted changes of means with their intervals, and measured ones."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scgenot.pl._axes import legend_beside, new_axes, panels, slanted
from scgenot.pl._colors import PREDICTED_COLOR, TREATED_COLOR
from scgenot.pl._screen import feature_names
from scgenot.pl._slots import check_table

NEEDED = ("group", "feature", "change", "lower", "upper", "observed_change", "n_cells")
SHOWN = 12


def response_table(
    table: pd.DataFrame, features: str | Sequence[str] | None, ax: Axes | None
) -> Axes:
    """Draw what `sg.tl.response` returned, a panel for each group."""
    check_table(table, NEEDED, "sg.tl.response")
    if features is None:
        largest = table["change"].abs().groupby(table["feature"]).max()
        features = largest.nlargest(SHOWN).index
    features, groups = feature_names(features), list(table["group"].unique())
    if missing := [name for name in features if name not in set(table["feature"])]:
        raise KeyError(f"`features` {missing} are not in `table`.")
    if table.duplicated(["group", "feature"]).any() or not groups:
        raise ValueError("`table` must have each group and feature once, and have rows.")
    width = 1.4 + 0.4 * len(features)
    if len(groups) == 1:
        ax = new_axes(ax, width + 2.2, 3.6)
        inside = [ax]
    else:
        ax, inside = panels(
            ax, len(groups), columns=1, width=width, height=1.3, gap=(0, 0.35), room=(2.6, 0.8)
        )
    for panel, group in zip(inside, groups, strict=True):
        rows = table[table["group"] == group].set_index("feature").loc[features]
        _one(panel, rows)
        n = f"{rows['n_cells'].iloc[0]:,} control cells"
        panel.set_title(f"{group} ({n})", fontsize="medium")
        panel.set_xticks(range(len(features)))
        labels = features if panel is inside[-1] else []
        panel.set_xticklabels(labels, style="italic", **slanted(features, 4))
    unit = table.attrs.get("unit")
    inside[len(inside) // 2].set_ylabel("change of the mean" + (f"\n({unit})" if unit else ""))
    predicted = Line2D([], [], color=PREDICTED_COLOR, marker="o", ms=5, label="predicted, interval")
    measured = Line2D([], [], color=TREATED_COLOR, marker="D", ms=5, ls="", label="measured")
    legend_beside(
        ax, [predicted, measured] if table["observed_change"].notna().any() else [predicted]
    )
    return ax


def _one(panel: Axes, rows: pd.DataFrame) -> None:
    """Draw the features of one group."""
    x = np.arange(len(rows))
    panel.axhline(0, color="0.7", lw=0.8, zorder=0)
    panel.vlines(x - 0.12, rows["lower"], rows["upper"], color=PREDICTED_COLOR, lw=2)
    panel.plot(x - 0.12, rows["change"], "o", ms=5, color=PREDICTED_COLOR)
    panel.plot(x + 0.12, rows["observed_change"], "D", ms=5, color=TREATED_COLOR)
    panel.set_xlim(-0.6, len(rows) - 0.4)
    panel.spines[["top", "right"]].set_visible(False)
