"""Embed populations."""

from typing import Literal

from anndata import AnnData

from scgenot._check import check_count, check_number, usable_device
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.populations import as_anndata, read_populations
from scgenot.population.embedding import gaussian_coordinates, transport_coordinates
from scgenot.population.gaussian import estimate


@typed
def embed_populations(
    adata: AnnData,
    population_key: str,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    kind: Literal["gaussian", "transport"] = "gaussian",
    n_components: int | None = None,
    n_reference: int = 200,
    epsilon: float = 0.5,
    n_cells: int | None = 1000,
    rng: Rng = 0,
    progress: bool = True,
    device: str | None = None,
) -> AnnData:
    """Embed populations: one row per patient, well or clone, for Scanpy and scikit-learn.

    Euclidean distances between rows approximate transport distances between populations.

    Parameters
    ----------
    adata
        Cells of all populations.
    population_key
        Column of `obs` with the population of each cell; cells with a missing value are ignored.
    use_rep
        Key of `obsm`, or "X"; None for the first of `X_pca`, `X_lsi`, `X_clr`.
    layer
        Layer to embed, instead of a representation.
    kind
        "gaussian"
            Means and covariances, in the tangent space of the Bures-Wasserstein geometry at their
            barycenter: exact if covariances commute. `d + d (d + 1) / 2` coordinates.
        "transport"
            Linearized transport: the displacements of a common reference to each population,
            sensitive to all differences in shape. `n_reference * d` coordinates.
    n_components
        Number of principal components of the coordinates; None for all coordinates.
    n_reference
        Number of reference cells of "transport", the same number from each population.
    epsilon
        Regularization of "transport", in units of the mean squared distance between two cells of a
        population.
    n_cells
        Maximum number of cells per population for "transport", drawn at random; None for all.
    rng
        Seed of the cells that are drawn.
    progress
        Whether to show a progress bar.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    AnnData with one row per population. `X` is the embedding, float64; `obs` has the population,
    the columns of `adata.obs` that are constant within each population, and `n_cells`;
    `uns["population"]` has the options.

    Raises
    ------
    KeyError
        When the column or the representation is not there.
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    ValueError
        When there are fewer than two populations, the representation has NaN, no population has two
        different cells (for "gaussian"), or an option is out of range.

    References
    ----------
    Wang et al. (2013), *A linear optimal transportation framework for quantifying and visualizing
    variations in sets of images*; Pooladian, Cuturi, Niles-Weed (2022), arXiv 2202.08919 (bias of
    entropic maps).

    Examples
    --------
    >>> samples = sg.tl.embed_populations(adata, "batch")
    >>> sc.pp.neighbors(samples, use_rep="X")  # doctest: +SKIP
    """
    check_number("epsilon", epsilon, "positive and finite", lambda value: 0 < value < float("inf"))
    check_count("n_reference", n_reference, 1)
    for name, value in (("n_cells", n_cells), ("n_components", n_components)):
        if value is not None:
            check_count(name, value, 1)
    found = read_populations(adata, population_key, use_rep=use_rep, layer=layer)
    device, asked = usable_device(device), {"population_key": population_key, "kind": kind}
    if kind == "gaussian":
        gaussians = estimate(list(found), names=found.names).to(device)
        made = gaussian_coordinates(gaussians)
    else:
        options = {"n_reference": n_reference, "epsilon": epsilon, "n_cells": n_cells}
        options["rng"], asked = seed_of(rng), {**asked, **options}
        made = transport_coordinates(list(found), **options, device=device, progress=progress)
    made = made.reduced(n_components)
    return as_anndata(found, made.values, made.names, asked)
