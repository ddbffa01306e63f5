"""Populations at a time, measured and predicted, beside each other."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from scgenot._random import numpy_rng
from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.read import dense, representation
from scgenot.pl._axes import disc, finish, legend_beside, panels
from scgenot.pl._colors import PREDICTED_COLOR, TREATED_COLOR
from scgenot.pl._embedding import MOST_CROSSES, bare, disc_size, lower_left

TRUE_COLOR = "0.45"
# whether cells were made up is in obs; an array does not say what it is of
COLORS = {
    "predicted cell": PREDICTED_COLOR,
    "measured cell": TREATED_COLOR,
    "row of an array": "#009E73",
}
Population = AnnData | np.ndarray


@typed
def interpolation(
    populations: Mapping[str, Population] | AnnData,
    true: Population | None = None,
    *,
    basis: str = "X_pca",
    key: str = "genot",
    scores: Mapping[str, float] | pd.Series | pd.DataFrame | None = None,
    rng: int | np.random.Generator | None = 0,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Draw populations over the true one, a panel each, all on the same axes.

    Cells that `sg.tl.interpolate` or `sg.tl.simulate` made have a color of their own, by
    `obs["<key>_origin"]`; other cells of an AnnData are measured, such as those of a neighboring
    time; an array, such as a baseline, does not say what it is of, and has a third color.
    The axes are the two directions in which the populations, taken together and with equal weights,
    vary most, so that a prediction that is off is drawn off.

    Parameters
    ----------
    populations
        Predictions and baselines by name: AnnData, such as `sg.tl.interpolate` returns, or arrays
        `(n, p)`; or what `sg.tl.interpolate` returned alone.
    true
        The cells that were sampled at that time; None where there are none.
    key
        The `key_added` of the fit that predicted.
    basis
        Representation of an AnnData, a key of obsm or "X".
    scores
        A number for each name, written over its panel; or a Series with the names as index; or a
        DataFrame with one column per metric. A name may be left out.
    rng
        Seed or generator for the cells that are drawn of large populations, at most 1,500 each.
    ax
        Where to draw; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes; the panels are its `child_axes`, in the order of `populations`.

    Raises
    ------
    TypeError
        When `populations` is not a mapping of populations, or a population is neither AnnData nor
        array.
    KeyError
        When an AnnData lacks the representation.
    ValueError
        When there are no populations, their widths differ or are less than 2, or values are not
        finite.

    Examples
    --------
    >>> between = sg.tl.interpolate(adata, 3)
    >>> earlier, later = adata[adata.obs["day"] == 2], adata[adata.obs["day"] == 4]
    >>> sg.pl.interpolation({"day 2": earlier, "day 3, predicted": between, "day 4": later})
    """
    if isinstance(populations, AnnData):
        populations = {"predicted population": populations}
    if not isinstance(populations, Mapping):
        raise TypeError(
            f"`populations` must be {{name: cells}}; found {type(populations).__name__}."
        )
    if not populations:
        raise ValueError("`populations` is empty: name at least one.")
    cells = {
        str(name): _states(value, basis, f"populations[{name!r}]")
        for name, value in populations.items()
    }
    reference = None if true is None else _states(true, basis, "true")
    together = list(cells.values()) + ([] if reference is None else [reference])
    if len({states.shape[1] for states in together}) > 1:
        raise ValueError(
            f"populations have different widths: {[states.shape[1] for states in together]}."
        )
    kinds = {str(name): _kinds(value, key) for name, value in populations.items()}
    generator = numpy_rng(rng)
    center, axes = _plane(together)
    shown = {name: _some(states, generator) for name, states in cells.items()}
    drawn = {name: (cells[name][rows] - center) @ axes for name, rows in shown.items()}
    colors = {name: [COLORS[kind] for kind in kinds[name][rows]] for name, rows in shown.items()}
    if reference is not None:
        reference = (reference[_some(reference, generator)] - center) @ axes
    titles = {name: name + _score(scores, name) for name in cells}
    lines = 1 + max(title.count("\n") for title in titles.values())
    columns = 2 if len(cells) == 4 else 3
    title = "Populations" + (" over the true one" if true is not None else "")
    ax, inside = panels(
        ax, len(cells), columns=columns, width=2.7, height=2.5, gap=(0.08, 0.08 + 0.09 * lines),
        lines=lines, title=None if len(cells) == 1 else title,
    )  # fmt: skip
    everything = np.concatenate([*drawn.values(), *([] if reference is None else [reference])])
    low, high = everything.min(axis=0), everything.max(axis=0)
    named = inside[lower_left(len(cells), columns)]
    margin, flat = 0.04 * (high - low), {"linewidths": 0}
    for panel, (name, xy) in zip(inside, drawn.items(), strict=True):
        if reference is not None:
            size = 2 * disc_size(len(reference))
            panel.scatter(*reference.T, c=TRUE_COLOR, s=size, alpha=0.25, zorder=1, **flat)
        size = 0.7 * disc_size(len(xy))
        panel.scatter(*xy.T, c=colors[name], s=size, alpha=0.6, zorder=2, **flat)
        bare(panel, ("PC 1", "PC 2") if panel is named else ("", ""), titles[name])
        panel.set(
            xlim=(low[0] - margin[0], high[0] + margin[0]),
            ylim=(low[1] - margin[1], high[1] + margin[1]),
        )
    truth = [] if true is None else [disc("true cell", TRUE_COLOR, 0.5)]
    found = set(np.concatenate(list(kinds.values())))
    legend_beside(
        ax, [*truth, *(disc(kind, color) for kind, color in COLORS.items() if kind in found)]
    )
    return finish(ax, show=show)


def _states(population: Population, basis: str, name: str) -> np.ndarray:
    """Return a population as an array."""
    if isinstance(population, AnnData):
        found = basis if basis.startswith("X") or basis in population.obsm else f"X_{basis}"
        population = representation(population, found, name=name, argument="basis")
    if not hasattr(population, "shape"):
        raise TypeError(
            f"`{name}` must be an AnnData or an array of numbers; "
            f"found {type(population).__name__}."
        )
    states = dense(population, f"`{name}`")
    if states.ndim != 2 or states.shape[1] < 2 or not len(states) or not np.isfinite(states).all():
        raise ValueError(
            f"`{name}` must be finite, cells x 2 or more features; found shape {states.shape}."
        )
    return states.astype(float)


def _plane(populations: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the center and the first two principal axes of populations of equal weight."""
    center = np.mean([states.mean(axis=0) for states in populations], axis=0)
    moments = np.mean(
        [(states - center).T @ (states - center) / len(states) for states in populations], axis=0
    )
    return center, np.linalg.eigh(moments)[1][:, :-3:-1]


def _some(states: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the positions of at most as many cells as can be told apart."""
    if len(states) <= MOST_CROSSES:
        return np.arange(len(states))
    return generator.permutation(len(states))[:MOST_CROSSES]


def _kinds(population: Population, key: str) -> np.ndarray:
    """Return whether each cell is predicted, measured, or of an array."""
    if not isinstance(population, AnnData):
        return np.full(len(population), "row of an array")
    origin = population.obs.get(Keys(key).origin, pd.Series(None, population.obs_names))
    return np.where(origin.notna(), "predicted cell", "measured cell")


def _score(scores: Mapping[str, float] | pd.Series | pd.DataFrame | None, name: str) -> str:
    """Return lines with the scores of a name."""
    if scores is None:
        return ""
    if isinstance(scores, pd.DataFrame):
        return "".join(
            f"\n{column} {scores.loc[name, column]:.3g}"
            for column in scores
            if name in scores.index
        )
    if not isinstance(scores, (Mapping, pd.Series)):
        raise TypeError(f"`scores` must be a dictionary; found {type(scores).__name__}.")
    return f"\n{scores[name]:.3g}" if name in scores else ""
