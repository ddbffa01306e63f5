"""Distances between populations as a clustered heatmap."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba_array
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.populations import column_of_populations
from scgenot.pl._axes import bar_beside, finish, new_axes, squares
from scgenot.pl._colors import is_numeric as is_number
from scgenot.pl._colors import label_colors, label_rgba, number_scale

MOST_NAMED = 60  # populations up to which each is named
MOST_VALUES = 10  # different numbers up to which each has an entry in the legend
STRIP, TREE = 0.035, 0.14  # heights of a strip of colors and of the tree, as parts of the field
UNITS = {
    "energy": "energy distance (root)",
    "bures": "Bures distance",
    "sinkhorn": "Sinkhorn distance",
}


@typed
def population_distances(
    adata: AnnData,
    *,
    key: str = "population",
    color: str | Sequence[str] = (),
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot distances between populations as a clustered heatmap.

    Populations are ordered by hierarchical clustering (average linkage), whose tree is drawn above
    the heatmap; columns of `obs` are strips of colors between both.

    Parameters
    ----------
    adata
        Cells after `sg.tl.population_distances`.
    key
        The `key_added` of the distances.
    color
        Columns of `obs` that are constant within populations.
    ax
        Where to draw; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData.
    KeyError
        When there are no distances, or a column is not there.
    ValueError
        When a column varies within a population.

    Examples
    --------
    >>> table = sg.tl.population_distances(adata, "batch")
    >>> sg.pl.population_distances(adata)
    """
    slot = Keys(key).distances
    if slot not in adata.uns:
        raise KeyError(
            f"`key={key!r}`: {slot!r} is not in uns of `adata`; found {list(adata.uns)}: run "
            "`sg.tl.population_distances` first."
        )
    entry = adata.uns[Keys(key).distances]
    names, distances = list(map(str, entry["names"])), np.asarray(entry["distances"], dtype=float)
    columns = [color] if isinstance(color, str) else list(color)
    values = {
        column: column_of_populations(adata, str(entry["population_key"]), column, names)
        for column in columns
    }
    tree = linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    order = dendrogram(tree, no_plot=True)["leaves"]
    n, size = len(names), min(3 + 0.14 * len(names), 8)
    ax = new_axes(ax, size + 2.6, size + 0.8)
    image = ax.imshow(distances[np.ix_(order, order)], cmap="viridis_r", vmin=0)
    ax.grid(visible=False)
    shown = [names[k] for k in order] if n <= MOST_NAMED else []
    ax.set_xticks(range(len(shown)), shown, rotation=90, fontsize=7)
    ax.set_yticks(range(len(shown)), shown, fontsize=7)
    if not shown:
        ax.set(xlabel=f"{n} populations")
    handles = _strips(ax, adata, values, order)
    _tree(ax, tree, bottom=1.01 + STRIP * len(columns))
    bar_beside(ax, image, UNITS.get(str(entry["kind"]), "distance"))
    if handles:
        ax.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(1.22, 1), frameon=False, fontsize=8,
        )  # fmt: skip
    return finish(ax, show=show)


def _strips(ax: Axes, adata: AnnData, values: dict[str, pd.Series], order: list[int]) -> list:
    """Draw a strip of colors above the field for each column; return the entries of a legend."""
    handles = []
    for k, (column, found) in enumerate(values.items()):
        strip = ax.inset_axes((0, 1.01 + STRIP * k, 1, STRIP * 0.8))
        found = found.iloc[order]
        if is_number(found) and found.nunique() > MOST_VALUES:
            scale = number_scale(found)
            rgba = scale.to_rgba(found.to_numpy(dtype=float, na_value=np.nan))
            ends = {f"{column}: {end:.3g}": to_hex(scale.to_rgba(end)) for end in scale.get_clim()}
            handles += squares(ends)
        else:
            colors = label_colors((adata, column))
            rgba = label_rgba(found, colors)
            there = set(map(str, found.dropna()))
            handles += squares(
                {f"{column}: {name}": c for name, c in colors.items() if name in there}
            )
        strip.imshow(to_rgba_array(rgba)[None], aspect="auto")
        strip.set(xticks=[], yticks=[])
        strip.set_ylabel(column, rotation=0, ha="right", va="center", fontsize=8)
    return handles


def _tree(ax: Axes, tree: np.ndarray, *, bottom: float) -> None:
    """Draw the tree of the clustering above the field."""
    above, found = ax.inset_axes((0, bottom, 1, TREE)), dendrogram(tree, no_plot=True)
    for x, y in zip(found["icoord"], found["dcoord"], strict=True):
        above.plot(np.array(x) / 10 - 0.5, y, color="0.3", lw=0.8)  # leaves are 10 apart
    above.set_xlim(ax.get_xlim())
    above.set_ylim(bottom=0)
    above.set_axis_off()
