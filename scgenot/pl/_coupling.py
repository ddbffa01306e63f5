"""Mass of a coupling between groups of cells."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from scipy import sparse

from scgenot import get
from scgenot._typed import typed
from scgenot.cells.keys import UNASSIGNED, Keys
from scgenot.cells.labels import as_text
from scgenot.cells.tasks import Screen, TimeCourse
from scgenot.pl._axes import finish, panels
from scgenot.pl._colors import labels_of
from scgenot.pl._heatmap import BY_CONSTRUCTION, draw_percent, hatch, heat_axes, with_counts
from scgenot.pl._slots import joint_mass, obs_column

UNITS = {
    "source": "% of the source group's mass",
    "target": "% of the target group's mass",
    None: "% of all mass",
}
TITLES = {
    "source": "Where each source group's mass goes",
    "target": "Where each target group's mass comes from",
    None: "Mass between groups",
}


@typed
def coupling(
    adata: AnnData,
    adata_target: AnnData | None = None,
    *,
    groupby: str,
    target_groupby: str | None = None,
    key: str = "genot",
    normalize: Literal["source", "target"] | None = "source",
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot the mass of a coupling between source and target groups as a heatmap, in percent.

    The number of cells with mass in the coupling follows the name of each group. A time course with
    several steps has one panel per step. If cells were coupled within the column of the groups, the
    fields on the diagonal are hatched, because their values result from this construction. The
    unmatched mass of a partial coupling is in the column "unassigned".

    Parameters
    ----------
    adata
        Source cells with `obsm["<key>_coupling"]`, or `obsp["<key>_coupling"]` for a fit within one
        AnnData.
    adata_target
        Target cells, matched by name; None for a fit within one AnnData.
    groupby, target_groupby
        Columns of obs of the source and of the target cells; None for the same column for both.
        Groups are in the order of their categories. Cells without a label and groups without mass
        are left out.
    key
        The `key_added` of the fit.
    normalize
        Whether each source group (row) or each target group (column) sums to 100; None for the
        whole table.
    ax
        Axes to draw on; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes; with several steps the panels are its `child_axes`.

    Raises
    ------
    KeyError
        When there is no such fit, coupling or column.
    ValueError
        When `normalize` has another value, `adata_target` is missing, or its names differ from
        those of the coupling.

    Examples
    --------
    >>> sg.tl.coupling(rna)
    >>> sg.pl.coupling(rna, atac, groupby="cell_type")
    """
    if normalize not in UNITS:
        raise ValueError(f"`normalize={normalize!r}` must be 'source', 'target' or None.")
    target, name = (adata, "adata") if adata_target is None else (adata_target, "adata_target")
    target_groupby = target_groupby or groupby
    source_labels = obs_column(adata, groupby, "groupby", "adata")
    target_labels = obs_column(target, target_groupby, "target_groupby", name)
    joint, positions = joint_mass(adata, adata_target, key)
    sides = source_labels, target_labels.iloc[positions]
    task = get.task(adata, key) if key in adata.uns else None
    left = adata.obs.get(Keys(key).left)
    tables = {
        name: _percent(found, *sides, normalize, None if left is None else left.where(here))
        for name, (found, here) in _steps(adata, task, joint).items()
    }
    within = groupby if groupby == target_groupby and groupby in _covariates(task) else None
    title = TITLES[normalize] + _pooled(task)
    title += "" if within is None else f"\n{BY_CONSTRUCTION.format(within)}"
    options = {"vmax": 100 if normalize else None, "label": UNITS[normalize]}
    if len(tables) == 1:
        (table,) = tables.values()
        ax = heat_axes(ax, table[0])
        inside = [ax]
    else:
        wide, high = np.max([table.shape for table, _ in tables.values()], axis=0)[::-1] * 0.5 + 0.2
        ax, inside = panels(
            ax, len(tables), columns=2, width=wide, height=high, gap=(3.2 / wide, 1.8 / high),
            room=(3.4, 2.4), title=title, lines=1 + title.count("\n"),
        )  # fmt: skip
    for panel, (name, (percent, named)) in zip(inside, tables.items(), strict=True):
        draw_percent(
            panel,
            percent.set_axis(named[0]).set_axis(named[1], axis=1),
            **options,
            inside=panel is not ax,
        )
        if within is not None:
            hatch(panel, percent)
        panel.set(xlabel=f"target: {target_groupby}", ylabel=f"source: {groupby}")
        panel.set_title(title if panel is ax else name)
    return finish(ax, show=show)


def _covariates(task) -> Sequence[str]:
    """Return the columns that cells were coupled within."""
    return getattr(task, "covariates", ())


def _pooled(task) -> str:
    """Say that a coupling is over several perturbations or doses."""
    several = isinstance(task, Screen) and (len(task.conditions.known) > 1 or task.dose_key)
    return ", all perturbations and doses together" if several else ""


def _steps(
    adata: AnnData, task, joint: sparse.csr_matrix
) -> dict[str, tuple[sparse.csr_matrix, np.ndarray]]:
    """Return the mass of each step of a time course that has any, or all, and its source cells."""
    every = {"": (joint, np.ones(adata.n_obs, dtype=bool))}
    if not isinstance(task, TimeCourse):
        return every
    times, found = task.times(adata), {}
    for earlier, later in task.steps:
        rows = sparse.diags((times == earlier).astype(float))
        columns = sparse.diags((times == later).astype(float))
        mass = sparse.csr_matrix(rows @ joint @ columns)
        mass.eliminate_zeros()
        if mass.nnz:
            names = [str(task.scale.label(time)) for time in (earlier, later)]
            found[f"{task.time_key}: {' to '.join(names)}"] = mass, times == earlier
    return found or every


def _percent(
    joint: sparse.csr_matrix,
    source: pd.Series,
    target: pd.Series,
    normalize: str | None,
    left: pd.Series | None,
) -> tuple[pd.DataFrame, list[list[str]]]:
    """Return percentages between groups, and the names of groups with their numbers of cells."""
    mass = _group_mass(joint, source, target, left)
    totals = {"source": mass.sum(axis=1).to_numpy()[:, None], "target": mass.sum(axis=0).to_numpy()}
    percent = 100 * mass / totals.get(normalize, mass.to_numpy().sum())
    # cells with mass: 100 % of a group of one cell says little
    coupled = np.diff(joint.indptr) > 0, joint.getnnz(axis=0) > 0
    sides = zip(percent.axes, (source, target), coupled, strict=True)
    named = [
        with_counts(names, pd.Series(as_text(side)[cells]).value_counts())
        for names, side, cells in sides
    ]
    return percent, named


def _group_mass(
    joint: sparse.csr_matrix, source: pd.Series, target: pd.Series, left: pd.Series | None
) -> pd.DataFrame:
    """Return the mass from each group to each and what is left, without groups that have none."""
    sides = []
    for column in (source, target):
        labels = labels_of(column)
        codes = pd.Index(labels).get_indexer(as_text(column))
        cells = np.flatnonzero(codes >= 0)
        member = sparse.csr_matrix(
            (np.ones(len(cells)), (codes[cells], cells)), shape=(len(labels), len(codes))
        )
        sides.append((labels, member))
    (rows, of_source), (columns, of_target) = sides
    mass = pd.DataFrame((of_source @ joint @ of_target.T).toarray(), index=rows, columns=columns)
    if left is not None:
        mass[UNASSIGNED] = of_source @ left.fillna(0).to_numpy(dtype=float)
    mass = mass.loc[mass.sum(axis=1) > 0, mass.sum(axis=0) > 0]
    if mass.empty:
        raise ValueError(
            "the coupling has no mass between cells with a label in `groupby` and `target_groupby`."
        )
    return mass
