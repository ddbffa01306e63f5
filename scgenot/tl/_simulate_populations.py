"""Simulate populations: new patients, wells, neighborhoods."""

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
    """Simulate the cells of new populations.

    Parameters
    ----------
    adata
        Cells with the fit. After a fit with `paired_with`, the source cells: those with that label,
        or all if the column is missing. Cells that were not fitted require the fitted AnnData as
        `model`.
    condition
        A value for each fitted column, such as `{"diagnosis": "T2D"}`; several as a list or as the
        rows of a DataFrame. None for conditions drawn from those of the fitted populations.
    n_populations
        Number of new populations per condition, or in total if `condition` is None; None for one.
        After a fit with `paired_with`, number of samples per source population; None for the
        expected one, without noise.
    n_cells
        Number of cells of each new population; None for the median of the fitted populations. With
        `kind="gaussian"`, more cells than dimensions have exactly the generated mean and
        covariance, which vary like those of measured populations with as many cells.
    key
        The `key_added` of the fit.
    model
        The fitted AnnData, a fit, its model, or a path to it; None for the fit in `adata`.
    guidance
        Weight of the condition, only for `kind="cloud"`: 1 is the learned distribution, larger
        values exaggerate the effect of the condition.
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
    AnnData of the new cells, ordered by population, ready for :func:`anndata.concat` with `adata`:

    `X`
        Features, in the units of the fitted ones; coordinates if the embedding is not known.
    `obs`
        A new name in the column of populations (a number if the column has numbers), and the
        conditions.
    `obs["source_population"]`
        The source population, after a fit with `paired_with`.
    `obs["<key>_origin"]`
        "simulated".
    `obsm`
        The generated cells, under the key of the representation.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, or no fitted population has a label.
    ValueError
        When a condition lacks a fitted column or has others, a number is less than 1, `guidance` is
        passed to a fit without it, or there are no source cells.

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
