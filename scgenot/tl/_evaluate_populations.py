"""Compare generated populations with measured ones."""

from typing import Literal

import pandas as pd
from anndata import AnnData

from scgenot._check import check_count, usable_device
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.embedding.place import check_one_space
from scgenot.cells.populations import read_populations
from scgenot.cells.read import check_anndata, check_column, named_rep
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
    """Compare generated populations with held-out measured ones.

    The same number of generated and measured populations is compared. Three baselines need no
    model: training populations with resampled cells, the mean training population, and the mixture
    of all. The ceiling compares one half of the measured populations with the other. A generator
    is correct if its populations cannot be distinguished from measured ones, and are not closer to
    the training populations than measured ones are.

    Parameters
    ----------
    measured
        Cells of at least 4 populations that were not used to train the generator.
    generated
        Cells of at least 4 generated populations, in the same representation.
    population_key
        Column of `obs` of all inputs with the population of each cell.
    train
        Cells of the populations that were used to train the generator. Without them, there are
        neither baselines nor a test for copies.
    use_rep
        Key of `obsm`, or "X"; None for the first of `X_pca`, `X_lsi`, `X_clr`.
    layer
        Layer to compare in, instead of a representation.
    kind
        Distance between populations, as in :func:`population_distances`.
    label_key
        Column of `obs` of all inputs with labels of cells, whose proportions are compared.
    n_cells
        Maximum number of cells per population, drawn at random; None for all.
    rng
        Seed. The same seed gives the same table.
    progress
        Whether to show progress bars.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    One row per method, with its `kind` ("model", "baseline" or "ceiling"), the number of
    populations, and

    `nearest_neighbor_accuracy`
        Accuracy of a 1-nearest-neighbor classifier of generated and measured populations; 0.5 is
        ideal, lower values indicate copies.
    `mmd`
        Unbiased squared maximum mean discrepancy between both sets of populations.
    `coverage`
        Share of measured populations that are the nearest one of any generated population.
    `composition_error`
        Total variation distance between the mean proportions of labels, with `label_key`.
    `nearest_training`
        Median distance to the nearest training population, with `train`.

    `table.attrs["verdict"]` summarizes the comparison.

    Raises
    ------
    KeyError
        When a column or the representation is not there.
    TypeError
        When an argument has a wrong type.
    ValueError
        When there are fewer than 4 measured or generated populations, measured ones are in `train`,
        labels are missing, or the cells are known to be in different spaces: of other features or
        another embedding.

    References
    ----------
    Lopez-Paz, Oquab (2017), *Revisiting classifier two-sample tests*, arXiv 1610.06545; Haviv et
    al. (2024), *Wasserstein flow matching*, arXiv 2411.00698.

    See Also
    --------
    :func:`scgenot.metrics.nearest_neighbor_accuracy` : this metric for any distances.
    """
    if n_cells is not None:
        check_count("n_cells", n_cells, 2)
    given = {"measured": measured, "generated": generated, "train": train}
    given = {name: adata for name, adata in given.items() if adata is not None}
    check_anndata(measured, "measured")
    rep = named_rep(measured, use_rep, layer, "measured")
    found, sides, seed = {}, {"train": None}, seed_of(rng)
    for name, adata in given.items():
        options = {"use_rep": use_rep or rep, "layer": layer, "name": name}
        found[name] = read_populations(adata, population_key, **options)
        if label_key is not None:
            check_column(adata, label_key, "label_key", name)
        labels = None if label_key is None else adata.obs[label_key]
        sides[name] = Clouds.of(found[name], labels, n_cells, seed)
    check_one_space(given, rep)
    if train is not None:
        refuse_seen(found["measured"], found["train"])
    device = usable_device(device)
    return population_table(**sides, kind=kind, seed=seed, device=device, progress=progress)
