"""How the candidates of a fit did on held-out cells."""

from textwrap import fill

import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scgenot import get
from scgenot._typed import typed
from scgenot.pl._axes import finish, new_axes
from scgenot.pl._colors import PREDICTED_COLOR
from scgenot.pl._slots import check_table

COLORS = {"candidate": PREDICTED_COLOR, "baseline": "#555555"}
RING = {"marker": "o", "ls": "", "ms": 11, "mfc": "none", "mew": 1.5, "color": PREDICTED_COLOR}
LONGEST = 40  # letters of a name in a line
EDGE = 1.1  # relative differences are between -1 and 1, their intervals may be longer


@typed
def choice(
    adata: AnnData | pd.DataFrame,
    *,
    key: str = "genot",
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot the scores of the candidates of a fit and of simple baselines on held-out cells.

    Points are mean relative differences of the energy distance from that of the first candidate,
    bars their 95 % interval over folds. Points to the left of the dashed line are better than the
    first candidate. The mean distances are listed on the right. The selected candidate has a ring
    and a bold name. The best is at the top.

    Parameters
    ----------
    adata
        Cells with a fit that selected among several candidates, or the table of `sg.get.choice`.
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
        When `adata` is neither an AnnData nor a DataFrame.
    KeyError
        When there is no such fit, or it had a single candidate.

    Examples
    --------
    >>> sg.tl.fit_perturbation(adata, "drug", "DMSO", solver="auto", hold_out="donor")
    >>> sg.pl.choice(adata)
    """
    table = adata if isinstance(adata, pd.DataFrame) else get.choice(adata, key)
    check_table(table, ("candidate", "kind", "value", "difference", "chosen"), "sg.get.choice")
    failed = table["candidate"][table["value"].isna()].tolist()
    rows = table.dropna(subset="value").sort_values("difference", kind="stable", ignore_index=True)
    ax = new_axes(ax, 7.5, 1.6 + 0.3 * len(rows))
    ax.axvline(0, color=PREDICTED_COLOR, lw=0.9, ls="--", zorder=0)
    for y, row in rows.iterrows():
        _one(ax, y, row)
    ax.set(yticks=range(len(rows)), xlim=(-EDGE, EDGE), ylim=(len(rows) - 0.5, -0.5))
    ax.set_yticklabels([fill(name, LONGEST) for name in rows["candidate"]], fontsize="small")
    ax.get_yticklabels()[int(rows.index[rows["chosen"]][0])].set_fontweight("bold")
    lost = f"\nfailed: {fill(', '.join(failed), 2 * LONGEST)}" if failed else ""
    ax.set_title(f"Candidates on held-out cells{lost}", fontsize="medium")
    ax.set_xlabel("energy distance, relative to the first candidate\n(left is better)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.annotate("mean", (1.02, 1.0), xycoords="axes fraction", fontsize="small", va="bottom")
    kinds = [kind for kind in COLORS if kind in set(rows["kind"])]
    handles = [Line2D([], [], marker="o", ms=5, color=COLORS[kind], label=kind) for kind in kinds]
    handles += [Line2D([], [], **RING, label="chosen")]
    handles += [Line2D([], [], ls="--", color=PREDICTED_COLOR, label="first candidate")]
    # beyond the distances
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.14, 0.5), frameon=False)
    return finish(ax, show=show)


def _one(ax: Axes, y: int, row: pd.Series) -> None:
    """Draw the point and the interval of a candidate or baseline, and write its distance."""
    color = COLORS[row["kind"]]
    ends = row[["low", "high"]].astype(float).clip(-EDGE, EDGE)
    ax.plot(ends, [y, y], color=color, lw=1.5, solid_capstyle="butt")
    ax.plot(row["difference"], y, "o", color=color, ms=5)
    if row["chosen"]:
        ax.plot(row["difference"], y, **RING)
    style = {"ha": "left", "va": "center", "fontsize": "small", "color": color}
    ax.text(1.02, y, f"{row['value']:.2g}", transform=ax.get_yaxis_transform(), **style)
