"""Simulate whole populations: new patients, wells, neighbourhoods."""

from collections.abc import Mapping, Sequence

import pandas as pd
from anndata import AnnData

from scgenot._check import check_guidance
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.fit.decoder import Decoder
from scgenot.fit.new_populations import simulated_populations
from scgenot.fit.population_fit import open_populations


@typed
def simulate_populations(
    adata: AnnData,
    condition: Mapping | Sequence[Mapping] | pd.DataFrame | None = None,
    *,
    n_populations: int | None = None,
    n_cells: int | None = None,
    key: str = "populations",
    model: object = None,
    guidance: float = 1.0,
    decoder: Decoder | None = None,
    clip: bool = True,
    rng: Rng = 0,
    device: str | None = None,
) -> AnnData:
    """Simulate new populations, as an AnnData of their cells.

    Parameters
    ----------
    adata
        Cells with the fit. After a fit with `paired_with`, the cells to start from: those with
        that label, or all where the column is not there; other cells than the fitted ones need the
        fitted AnnData as `model`.
    condition
        A value for each column that was fitted, such as `{"diagnosis": "T2D"}`; several as a
        list, or as the rows of a DataFrame. None for conditions drawn from those of the fitted
        populations.
    n_populations
        New populations for each condition, or in all where `condition` is None; None for one. After
        a fit with `paired_with`, possible answers for each population to start from; None for one
        that is expected, without noise.
    n_cells
        Cells of each new population; None for the median of those fitted. Of the Gaussian kind,
        more cells than dimensions have exactly the mean and covariance that were generated, which
        vary as those of measured populations of so many cells do.
    key
        The `key_added` of the fit.
    model
        The fitted AnnData, a fit, its model, or a path to it; None for the fit in `adata`.
    guidance
        Weight of the condition, of clouds alone: 1 is the law that was learned, more exaggerates
        what the condition does.
    decoder
        As in :func:`simulate`.
    clip
        As in :func:`simulate`.
    rng
        Seed. The same seed gives the same cells.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    New cells, those of one population after another, ready for :func:`anndata.concat` with
    `adata`:

    `X`
        Features, in the units of those that were fitted; the coordinates where nothing is known
        of how they were made from features.
    `obs`
        A new name under the column of populations, and the conditions.
    `obs["source_population"]`
        After a fit with `paired_with`, the population that it starts from.
    `obs["<key>_origin"]`
        "simulated".
    `obsm`
        The generated cells, under the name of the representation.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, or no fitted population has a label.
    ValueError
        When a condition lacks a column of the fit, or has others; a number is under 1;
        `guidance` is given to a fit that has none; or there is no cell to start from.

    Examples
    --------
    >>> new = sg.tl.simulate_populations(adata, {"dose": 0.5}, n_populations=20)  # doctest: +SKIP
    >>> both = ad.concat([adata, new], join="outer")  # doctest: +SKIP
    """
    check_guidance(guidance)
    return simulated_populations(
        open_populations(adata, key, model, device),
        adata,
        condition,
        n_populations=n_populations,
        n_cells=n_cells,
        guidance=guidance,
        decoder=decoder,
        clip=clip,
        seed=seed_of(rng),
    )
