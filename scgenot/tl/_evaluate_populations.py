"""Compare generated populations with measured ones."""

from typing import Literal

import pandas as pd
from anndata import AnnData

from scgenot._check import check_count, usable_device
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.populations import read_populations
from scgenot.cells.read import check_column
from scgenot.fit.evaluation.populations import Clouds, population_table, refuse_seen


@typed
def evaluate_populations(
    measured: AnnData,
    generated: AnnData,
    population_key: str,
    *,
    train: AnnData | None = None,
    use_rep: str | None = None,
    layer: str | None = None,
    kind: Literal["bures", "sinkhorn", "energy"] = "bures",
    label_key: str | None = None,
    n_cells: int | None = 500,
    rng: Rng = 0,
    progress: bool = True,
    device: str | None = None,
) -> pd.DataFrame:
    """Compare generated populations with measured ones that were held out.

    As many generated as measured populations are compared, beside three that need no model: some
    training populations with their cells drawn anew, the mean of all of them, and their mixture.
    One half of the measured populations beside the other is the ceiling. A generator is right when
    its populations cannot be told from measured ones, and no nearer to the training populations
    than measured ones are.

    Parameters
    ----------
    measured
        Cells of populations that the generator has not seen, at least 4.
    generated
        Cells of generated populations, in the same representation, at least 4.
    population_key
        Column of `obs` of all with the population of each cell.
    train
        Cells of the populations that the generator has seen. Without them there are neither trivial
        rows nor a test for copies.
    use_rep
        Key of `obsm`, or "X"; None for the first of `X_pca`, `X_lsi`, `X_clr`.
    layer
        Layer to compare in, in place of a representation.
    kind
        Distance between populations, as in :func:`population_distances`.
    label_key
        Column of `obs` of all with labels of cells whose shares are compared.
    n_cells
        Most cells of a population, drawn at random; None for all.
    rng
        Seed. The same seed gives the same table.
    progress
        Whether to show progress bars.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    One row for each method, with its `kind` ("model", "baseline" or "ceiling"), the number of
    populations, and

    `nearest_neighbor_accuracy`
        Of telling generated from measured populations; 0.5 is right, lower values are copies.
    `mmd`
        Squared maximum mean discrepancy between both sets of populations, without bias.
    `coverage`
        Share of measured populations that are the nearest one of some generated population.
    `composition_error`
        Total variation between the mean shares of labels, with `label_key`.
    `nearest_training`
        Median distance to the nearest training population, with `train`.

    `table.attrs["verdict"]` says what they amount to.

    Raises
    ------
    KeyError
        When a column or the representation is not there.
    TypeError
        When an argument has a wrong type.
    ValueError
        When there are fewer than 4 measured or generated populations, measured ones are in `train`,
        or labels are missing.

    References
    ----------
    Lopez-Paz, Oquab (2017), *Revisiting classifier two-sample tests*, arXiv 1610.06545; Haviv et
    al. (2024), *Wasserstein flow matching*, arXiv 2411.00698.

    See Also
    --------
    :func:`scgenot.metrics.nearest_neighbor_accuracy` : and the other metrics, of any distances.
    """
    if n_cells is not None:
        check_count("n_cells", n_cells, 2)
    given = {"measured": measured, "generated": generated, "train": train}
    given = {name: adata for name, adata in given.items() if adata is not None}
    found, sides, seed = {}, {"train": None}, seed_of(rng)
    for name, adata in given.items():
        options = {"use_rep": use_rep, "layer": layer, "name": name}
        found[name] = read_populations(adata, population_key, **options)
        if label_key is not None:
            check_column(adata, label_key, "label_key", name)
        labels = None if label_key is None else adata.obs[label_key]
        sides[name] = Clouds.of(found[name], labels, n_cells, seed)
    if train is not None:
        refuse_seen(found["measured"], found["train"])
    device = usable_device(device)
    return population_table(**sides, kind=kind, seed=seed, device=device, progress=progress)
