"""How a fit went: loss and validation over steps."""

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from scgenot import get
from scgenot._typed import typed
from scgenot.pl._axes import finish, new_axes

LOSS_COLOR, VALIDATION_COLOR = "tab:blue", "tab:orange"
MOVED_COLOR, STRENGTH_COLOR = "tab:green", "0.4"


@typed
def training(
    adata: AnnData, *, key: str = "genot", ax: Axes | None = None, show: bool | None = None
) -> Axes:
    """Plot training and validation loss by step, with the step of the best validation.

    The loss of single steps is pale, and its running mean over a twentieth of the steps is dark.
    The validation loss has a separate axis on the right, because it has other units. It may rise at
    the end: the fit keeps the weights of the best step. For a sparse map, the right axis shows the
    mean number of changed features, and the strength of the penalty has its own scale on the far
    right.

    Parameters
    ----------
    adata
        Cells with a fit; `uns[key]["history"]` is plotted.
    key
        The `key_added` of the fit.
    ax
        Axes to draw on; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes of the loss; the axes of the validation loss are its twin.

    Raises
    ------
    KeyError
        When there is no such fit.

    Examples
    --------
    >>> sg.tl.fit_trajectory(adata, "day")
    >>> sg.pl.training(adata)
    """
    history = get.fit(adata, key).history
    ax = new_axes(ax, 6.5, 4)
    window = len(history) // 20
    pale, step = 0.3 if window > 1 else 1, history["step"]
    lines = ax.plot(step, history["loss"], color=LOSS_COLOR, alpha=pale, label="loss")
    if window > 1:
        smooth = history["loss"].rolling(window, center=True, min_periods=1).mean()
        label = f"loss, mean of {window} records"
        lines = ax.plot(step, smooth, color=LOSS_COLOR, label=label)
    ax.set_xlabel("training step")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel("training loss", color=LOSS_COLOR)
    ax.spines["top"].set_visible(False)
    # a fit without validation has no such column
    validation = pd.Series(history.get("validation", np.nan), history.index, dtype=float)
    checked = history.assign(validation=validation)[np.isfinite(validation)]
    top, title = ax, "Training"
    if len(checked):
        best = checked["validation"].idxmin()
        if best != checked.index[-1]:
            title += (
                f"\nvalidation rises after step {checked['step'][best]:.0f}: "
                "the weights of the star are kept"
            )
        top = ax.twinx()
        lines += _validation(top, checked)
    elif np.isfinite(history.get("moved", np.nan)).any():
        top, more = _sparsity(ax, history)
        lines += more
    # below the axes, where it covers no curve
    top.legend(
        handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False
    )
    ax.set_title(title)
    return finish(ax, show=show)


def _validation(ax: Axes, checked: pd.DataFrame) -> list[Line2D]:
    """Draw the validation, and its best step."""
    best, style = checked.loc[checked["validation"].idxmin()], {"ms": 4, "color": VALIDATION_COLOR}
    lines = ax.plot(checked["step"], checked["validation"], "o-", label="validation", **style)
    lines += ax.plot(
        best["step"], best["validation"], "*", ms=14, color="black", zorder=5,
        label=f"best: {best['validation']:.3g} at step {best['step']:.0f}", linestyle="none",
    )  # fmt: skip
    ax.axvline(best["step"], color="black", lw=0.8, ls=":")
    ax.set_ylabel("validation (lower is better)", color=VALIDATION_COLOR)
    ax.grid(visible=False)  # that of the loss is enough
    ax.spines["top"].set_visible(False)
    return lines


def _sparsity(ax: Axes, history: pd.DataFrame) -> tuple[Axes, list[Line2D]]:
    """Draw how many features move, and the strength of the penalty that has them do so."""
    count, strength = ax.twinx(), ax.twinx()
    lines = count.plot(
        history["step"], history["moved"], color=MOVED_COLOR, label="features that move"
    )
    count.set_ylabel("features that move, mean cell", color=MOVED_COLOR)
    known = history[history["strength"] > 0]
    lines += strength.plot(
        known["step"], known["strength"], color=STRENGTH_COLOR, ls="--", label="strength of penalty"
    )
    strength.set_yscale("log")
    strength.spines["right"].set_position(("axes", 1.2))
    strength.yaxis.set_minor_formatter(NullFormatter())
    strength.set_ylabel("strength of penalty", color=STRENGTH_COLOR)
    count.set_ylim(bottom=0)
    for twin in (count, strength):
        twin.grid(visible=False)
        twin.spines["top"].set_visible(False)
    return strength, lines
