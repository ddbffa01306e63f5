"""Mass of a coupling between groups of cells."""

from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from scipy import sparse

from scgenot._typed import typed
from scgenot.cells.keys import UNASSIGNED, Keys
from scgenot.cells.labels import as_text
from scgenot.pl._axes import finish
from scgenot.pl._colors import labels_of
from scgenot.pl._heatmap import draw_percent, heat_axes, with_counts
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
    """Draw how much mass a coupling sends from each source group to each target group, in percent.

    Behind the name of each group stands its number of cells that have mass in the coupling. What a
    partial coupling leaves behind of the source groups is the column "unassigned".

    Parameters
    ----------
    adata
        The source cells; reads `obsm["<key>_coupling"]`, or `obsp["<key>_coupling"]` of a fit
        within one AnnData.
    adata_target
        The target cells, found by name; None for a fit within one AnnData.
    groupby, target_groupby
        Columns of obs of the source and of the target cells; `target_groupby` None for the same
        column. Groups are in the order of their categories. Cells without a label and groups
        without mass are left out.
    key
        The `key_added` of the fit.
    normalize
        Whether each source group (row) or each target group (column) sums to 100; None for the
        whole table.
    ax
        Where to draw; None for a new figure.
    show
        Whether to call :func:`matplotlib.pyplot.show`.

    Returns
    -------
    The axes.

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
    mass = _group_mass(joint, *sides, adata.obs.get(Keys(key).left))
    totals = {"source": mass.sum(axis=1).to_numpy()[:, None], "target": mass.sum(axis=0).to_numpy()}
    percent = 100 * mass / totals.get(normalize, mass.to_numpy().sum())
    # cells with mass: 100 % of a group of one cell says little
    coupled = np.diff(joint.indptr) > 0, joint.getnnz(axis=0) > 0
    percent.index, percent.columns = (
        with_counts(names, pd.Series(as_text(side)[cells]).value_counts())
        for names, side, cells in zip(percent.axes, sides, coupled, strict=True)
    )
    ax = heat_axes(ax, percent)
    draw_percent(ax, percent, vmax=100 if normalize else None, label=UNITS[normalize])
    ax.set(xlabel=f"target: {target_groupby}", ylabel=f"source: {groupby}", title=TITLES[normalize])
    return finish(ax, show=show)


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
