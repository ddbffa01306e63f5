"""Whether stated probabilities hold."""

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from scgenot import get
from scgenot._typed import typed
from scgenot.pl._axes import finish, legend_beside, new_axes
from scgenot.pl._colors import PREDICTED_COLOR, TREATED_COLOR
from scgenot.pl._slots import check_table

REGION = "region"  # in the column of features: the region of all of them together
NEEDED = ("level", "raw_coverage", "coverage", "n")


@typed
def calibration(
    table: AnnData | pd.DataFrame,
    *,
    feature: str | None = None,
    key: str = "genot",
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot the coverage of predicted regions against the stated probability.

    Coverage before and after correction is shown. On the diagonal, the coverage is as stated; below
    it, regions are too small and the prediction is overconfident. If the stated probabilities are
    correct, 95 % of values are within the band.

    Parameters
    ----------
    table
        Result of `sg.tl.coverage`, or cells with `uns[key]["calibration"]` from `sg.tl.calibrate`.
    feature
        Feature whose interval is plotted; None for the region of all features.
    key
        The `key_added` of the fit.
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
        When `table` is neither.
    KeyError
        When there is no such fit, calibration, column or feature.

    Examples
    --------
    >>> table = sg.tl.coverage(test, model=adata)
    >>> sg.pl.calibration(table)
    """
    rows = _read(table, key, feature).sort_values("level")
    level, n = rows["level"].to_numpy(dtype=float), float(rows["n"].iloc[0])
    low = max(0, min(level.min(), rows["raw_coverage"].min(), rows["coverage"].min()) - 0.08)
    ax = new_axes(ax, 6.6, 4)
    grid = np.linspace(low, 1, 200)
    error = 1.96 * np.sqrt(grid * (1 - grid) / n)
    label = f"95 % of shares of {n:,.0f} cells"
    band = ax.fill_between(
        grid, grid - error, np.minimum(grid + error, 1), color="0.88", lw=0, label=label
    )
    (diagonal,) = ax.plot([low, 1], [low, 1], color="0.4", lw=1, ls="--", label="stated is true")
    raw = ax.plot(
        level, rows["raw_coverage"], "s--", color=TREATED_COLOR, mfc="white", label="as predicted"
    )
    corrected = ax.plot(level, rows["coverage"], "o-", color=PREDICTED_COLOR, label="corrected")
    ticks = np.round(np.arange(np.ceil(10 * low) / 10, 1.01, 0.1), 1)
    ax.set(xlim=(low, 1.01), ylim=(low, 1.01), xticks=ticks, yticks=ticks, title="Calibration")
    what = "region" if feature is None else f"interval of {feature}"
    ax.set(xlabel=f"stated probability of the {what}", ylabel="share of treated cells inside")
    ax.spines[["top", "right"]].set_visible(False)
    legend_beside(ax, [*corrected, *raw, diagonal, band])
    return finish(ax, show=show)


def _read(table: AnnData | pd.DataFrame, key: str, feature: str | None) -> pd.DataFrame:
    """Return the rows of the region or of a feature."""
    if isinstance(table, AnnData):
        found = get.fit(table, key).calibration
        if found is None:
            raise KeyError(
                f"`key={key!r}` is not calibrated: run `sg.tl.calibrate` on held-out cells first."
            )
        table = found.calibration if feature is None else found.calibration_features
    check_table(table, NEEDED, "sg.tl.coverage", "an AnnData or a DataFrame")
    if "feature" not in table:
        return table
    rows = table[table["feature"].astype(str) == (feature or REGION)]
    if rows.empty:
        raise KeyError(
            f"`feature={feature!r}` is not in `table`; "
            f"found {table['feature'].unique()[:5].tolist()}."
        )
    return rows
