"""Where the descendants, or the ancestors, of a set of cells are."""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.tasks import TimeCourse
from scgenot.pl._axes import bar_under, finish, panels
from scgenot.pl._colors import NO_LABEL
from scgenot.pl._embedding import bare, coordinates, disc_size, lower_left
from scgenot.pl._slots import obs_column, task_of

TITLES = {"push": "Descendants of a set of cells", "pull": "Ancestors of a set of cells"}


@typed
def push(
    adata: AnnData,
    *,
    key: str = "genot",
    basis: str = "umap",
    column: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot the descendants of a set of cells on an embedding, one panel per time.

    Colors are the mass of a cell relative to a uniform distribution over the cells of its time. The
    title of a panel has the effective number of descendants (one over the sum of squared shares)
    and the number of cells. Cells of other times are gray.

    Parameters
    ----------
    adata
        Cells with `obs["<key>_push"]` from `sg.tl.push`.
    key
        The `key_added` of the fit.
    basis
        Key of obsm, with or without `X_`, whose first two columns are drawn.
    column
        The `key_added` of `sg.tl.push`; None for that of the fit.
    ax
        Axes to draw on; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes; the panels are its `child_axes`.

    Raises
    ------
    KeyError
        When there is no such fit, column or basis.
    ValueError
        When the fit is not from `sg.tl.fit_trajectory`, or no cell has mass.

    See Also
    --------
    pull : the ancestors.

    Examples
    --------
    >>> sg.tl.push(adata, "HSC", groupby="cell_type", start=2, end=6)
    >>> sg.pl.push(adata, basis="umap")
    """
    return finish(_panels(adata, "push", key, basis, column, ax), show=show)


@typed
def pull(
    adata: AnnData,
    *,
    key: str = "genot",
    basis: str = "umap",
    column: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot the ancestors of a set of cells on an embedding, one panel per time.

    As :func:`push`, for the result of `sg.tl.pull`.

    Parameters
    ----------
    adata
        Cells with `obs["<key>_pull"]` from `sg.tl.pull`.
    key
        The `key_added` of the fit.
    basis
        Key of obsm, with or without `X_`, whose first two columns are drawn.
    column
        The `key_added` of `sg.tl.pull`; None for that of the fit.
    ax
        Axes to draw on; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes; the panels are its `child_axes`.

    Raises
    ------
    KeyError
        When there is no such fit, column or basis.
    ValueError
        When the fit is not from `sg.tl.fit_trajectory`, or no cell has mass.

    See Also
    --------
    push : the descendants.

    Examples
    --------
    >>> sg.tl.pull(adata, "Monocyte", groupby="cell_type", start=2, end=6)
    >>> sg.pl.pull(adata, basis="umap")
    """
    return finish(_panels(adata, "pull", key, basis, column, ax), show=show)


def _panels(
    adata: AnnData, verb: str, key: str, basis: str, column: str | None, ax: Axes | None
) -> Axes:
    """Draw the mass of cells at each time."""
    task = task_of(adata, key, TimeCourse, verb)
    slot = column or getattr(Keys(key), verb)
    if slot not in adata.obs:
        raise KeyError(f"{slot!r} is not in obs; found {list(adata.obs)}: run `sg.tl.{verb}`.")
    mass = obs_column(adata, slot, "column", "adata").to_numpy(dtype=float, na_value=np.nan)
    xy, names = coordinates(adata, basis)
    times = task.times(adata)
    here = {time: np.flatnonzero((times == time) & np.isfinite(mass)) for time in task.scale.times}
    here = {time: rows for time, rows in here.items() if len(rows) and mass[rows].sum() > 0}
    if not here:
        raise ValueError(f"obs[{slot!r}] has no mass in any cell: nothing to draw.")
    shares = {time: mass[rows] / mass[rows].sum() for time, rows in here.items()}
    ratios = {time: share * len(share) for time, share in shares.items()}
    most = max(np.quantile(ratio, 0.98) for ratio in ratios.values())
    norm = Normalize(0, max(most, 2.0))
    ax, inside = panels(
        ax, len(here), columns=3, width=2.9, height=2.7, gap=(0.08, 0.3), room=(0.4, 1.2),
        title=TITLES[verb] if len(here) > 1 else None, lines=2,
    )  # fmt: skip
    named = inside[lower_left(len(here), 3)]
    for panel, (time, rows) in zip(inside, here.items(), strict=True):
        size, order = 1.5 * disc_size(adata.n_obs), np.argsort(ratios[time], kind="stable")
        panel.scatter(*xy.T, c=NO_LABEL, s=size / 3, linewidths=0)
        style = {"cmap": "viridis", "norm": norm, "s": size, "lw": 0.2, "edgecolors": "0.5"}
        panel.scatter(*xy[rows[order]].T, c=ratios[time][order], **style)
        spread = 1 / (shares[time] ** 2).sum()
        label = f"{task.time_key} {task.scale.label(time)}"
        title = f"{label}\nover {spread:,.0f} of {len(rows):,} cells"
        bare(panel, names if panel is named else ("", ""), title)
    scale = ScalarMappable(norm, cmap="viridis")
    bar_under(ax, scale, "mass over an equal share of the cells of the time", extend="max")
    return ax
