"""Predicted change of features by group."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from scgenot._typed import typed
from scgenot.pl._axes import bar_beside, finish, panels
from scgenot.pl._heatmap import name_fields
from scgenot.pl._screen import feature_names
from scgenot.pl._slots import check_table

NEEDED = ("group", "feature", "change", "observed_change")


@typed
def response_heatmap(
    table: pd.DataFrame,
    *,
    features: Sequence[str] | None = None,
    n_features: int = 25,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot the predicted and the observed change of features in groups of cells as heatmaps.

    After a sparse map, a third panel shows the share of cells in which a feature changes.

    All changes share one color scale, centered at 0. Features are in the order of their mean
    predicted change; fields of groups without treated cells are gray. Groups are in the order of
    the table.

    Parameters
    ----------
    table
        Result of `sg.tl.response`.
    features
        Features to plot; None for those with the largest absolute predicted change in any group.
    n_features
        Number of features, if `features` is None.
    ax
        Axes to draw on; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes; the panels are its `child_axes`: predicted change and, if there are treated cells,
    observed change.

    Raises
    ------
    TypeError
        When `table` is not a DataFrame.
    KeyError
        When a column or feature is not there.
    ValueError
        When `n_features` is less than 1, or the table has a group and feature twice.

    Examples
    --------
    >>> table = sg.tl.response(adata, target="A", groupby="cell_type")
    >>> sg.pl.response_heatmap(table, n_features=20)
    """
    predicted, observed = _fields(table)
    if features is None:
        if n_features < 1:
            raise ValueError(f"`n_features` is {n_features}: it must be at least 1.")
        features = predicted.abs().max(axis=1).nlargest(n_features).index
    features = feature_names(features)
    if not features:
        raise ValueError("`features` is empty, or `table` has no features: nothing to draw.")
    missing = [feature for feature in features if feature not in predicted.index]
    if missing:
        raise KeyError(f"`features` {missing} are not in `table`.")
    features = (
        predicted.loc[features].mean(axis=1).sort_values(ascending=False, kind="stable").index
    )
    shown = {"predicted": predicted.loc[features]}
    if observed.notna().to_numpy().any():
        shown["observed"] = observed.loc[features]
    most = max(np.nanmax(np.abs(fields.to_numpy())) for fields in shown.values()) or 1.0
    share = _wide(table, "share_moved") if "share_moved" in table else None
    room = (2, 1 + 0.06 * max(map(len, predicted.columns)))
    # long names of groups below take some of the height
    width, height = 0.2 + 0.36 * predicted.shape[1], max(0.22 * len(features), 2.2)
    ax, inside = panels(
        ax, len(shown) + (share is not None), columns=3, width=width, height=height,
        gap=(0.06, 0), room=room, title="Change under perturbation",
    )  # fmt: skip
    scale = ScalarMappable(Normalize(-most, most), cmap="RdBu_r")
    for panel, (name, fields) in zip(inside, shown.items(), strict=False):
        panel.set_facecolor("0.75")  # seen where there is nothing
        panel.imshow(
            fields.to_numpy(dtype=float), cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto"
        )
        name_fields(panel, fields, rows=name == "predicted")
        panel.set_title(name)
    if share is not None:
        _draw_share(inside[-1], 100 * share.loc[features])
    unit = table.attrs.get("unit")
    bar_beside(inside[-1], scale, "change of the mean" + (f" ({unit})" if unit else ""))
    return finish(ax, show=show)


def _fields(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return predicted and observed change, rows features, columns groups, in their order."""
    check_table(table, NEEDED, "sg.tl.response")
    if table.duplicated(["group", "feature"]).any() or not len(table):
        raise ValueError(
            "`table` must have each group and feature once: "
            "pass the rows of one perturbation and dose."
        )
    return _wide(table, "change"), _wide(table, "observed_change")


def _wide(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a column, rows features, columns groups, in their order."""
    wide = table.pivot(index="feature", columns="group", values=column)
    return wide.loc[table["feature"].unique(), table["group"].unique()]


def _draw_share(panel: Axes, percent: pd.DataFrame) -> None:
    """Draw in how many of the cells features move, the numbers in the fields."""
    panel.imshow(percent.to_numpy(dtype=float), cmap="Greys", vmin=0, vmax=150, aspect="auto")
    name_fields(panel, percent, rows=False)
    panel.set_title("% of cells")
    for (row, column), value in np.ndenumerate(percent.to_numpy(dtype=float)):
        text = "<1" if 0 < value < 0.5 else f"{value:.0f}"
        panel.text(column, row, text, ha="center", va="center", fontsize=7)
