"""Distances between populations."""

from typing import Literal

import pandas as pd
from anndata import AnnData

from scgenot._check import check_count, check_number, usable_device
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.populations import read_populations, stored_distances
from scgenot.cells.read import check_writable
from scgenot.cells.write import write_slots
from scgenot.population.distances import pairwise


@typed
def population_distances(
    adata: AnnData,
    population_key: str,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    kind: Literal["bures", "sinkhorn", "energy"] = "bures",
    epsilon: float = 0.5,
    n_cells: int | None = 1000,
    key_added: str = "population",
    rng: Rng = 0,
    progress: bool = True,
    device: str | None = None,
) -> pd.DataFrame:
    r"""Compute distances between all pairs of populations, such as patients, wells or clones.

    All are distances and not squared distances. The distance between two samples of one population
    is positive and increases with fewer cells: compare with the distance between two halves of a
    population. "bures" depends on means and covariances only, and is by far the fastest; the others
    are sensitive to all differences in shape.

    Parameters
    ----------
    adata
        Cells of all populations.
    population_key
        Column of `obs` with the population of each cell; cells with a missing value are ignored.
    use_rep
        Key of `obsm`, or "X"; None for the first of `X_pca`, `X_lsi`, `X_clr`.
    layer
        Layer to compare in, instead of a representation.
    kind
        "bures"
            2-Wasserstein distance between Gaussians with the means and covariances of the
            populations. Covariances are shrunk toward the covariance within all populations, with
            the weight of as many cells as there are dimensions.
        "sinkhorn"
            Square root of the Sinkhorn divergence, the debiased entropic transport cost with the
            squared distance.
        "energy"
            Square root of the energy distance, in square roots of units of the representation.
    epsilon
        Regularization of "sinkhorn", in units of the mean squared distance between two cells of a
        population. Smaller values are sensitive to finer differences in shape, but increase the
        distance between two samples of one population in many dimensions.
    n_cells
        Maximum number of cells per population for "sinkhorn" and "energy", drawn at random; None
        for all.
    key_added
        Prefix of the field in `uns`: `uns["population_distances"]` for "population".
    rng
        Seed of the cells that are drawn.
    progress
        Whether to show a progress bar.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    Distances, a square table with populations as index and columns. Sets the following field:

    `uns["population_distances"]`
        Dictionary with `distances`, `names` and the options.

    Raises
    ------
    KeyError
        When the column or the representation is not there.
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    ValueError
        When there are fewer than two populations, the representation has NaN, no population has two
        different cells (for "bures"), or an option is out of range.

    References
    ----------
    Bhatia, Jain, Lim (2019), *On the Bures-Wasserstein distance between positive definite
    matrices*, arXiv 1712.01504; Feydy et al. (2019), arXiv 1810.08278, eq. 3 (Sinkhorn divergence);
    Székely, Rizzo (2013), *Energy statistics*.

    Examples
    --------
    >>> table = sg.tl.population_distances(adata, "batch")
    """
    check_writable(adata)
    slot = Keys(key_added).distances
    check_number("epsilon", epsilon, "positive and finite", lambda value: 0 < value < float("inf"))
    if n_cells is not None:
        check_count("n_cells", n_cells, 1)
    found = read_populations(adata, population_key, use_rep=use_rep, layer=layer)
    distances = pairwise(
        list(found),
        kind,
        epsilon=epsilon,
        n_cells=n_cells,
        names=found.names,
        rng=seed_of(rng),
        device=usable_device(device),
        progress=progress,
    )
    entry = stored_distances(found, distances, kind)
    write_slots(adata, uns={slot: entry})
    return pd.DataFrame(distances, index=found.labels, columns=found.labels)
