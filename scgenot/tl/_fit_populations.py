"""Fit a model of populations: patients, wells, neighborhoods."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.read import check_writable, copy_of
from scgenot.fit.population_fit import PopulationFit


@typed
def fit_populations(
    adata: AnnData,
    population_key: str,
    *,
    condition: str | Sequence[str] | None = None,
    paired_with: Mapping | None = None,
    kind: Literal["gaussian", "cloud"] = "gaussian",
    use_rep: str | None = None,
    layer: str | None = None,
    learner: Callable | None = None,
    key_added: str = "populations",
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Fit a generative model of populations, such as patients or wells.

    Each population, the distribution of its cells, is one sample. The model learns the distribution
    of populations given their conditions, by Wasserstein flow matching (arXiv 2411.00698).

    Parameters
    ----------
    adata
        Cells of all populations.
    population_key
        Column of `obs` with the population of each cell, such as the donor; or the `key_added` of
        :func:`neighborhoods`.
    condition
        Columns of `obs` that describe populations, constant within each: numbers, such as a dose,
        which can be interpolated, or labels, such as a diagnosis.
    paired_with
        A column of `obs` and a label in it, such as `{"treatment": "control"}`. Populations are
        then generated from the cells with that label of the same population, here a treated
        population from the untreated one. A column with several other labels is also used as a
        condition.
    kind
        `"gaussian"`: a population is its mean and covariance, also suitable for few populations;
        see :class:`~scgenot.model.GaussianPopulations`. `"cloud"`: a population is its cells, of
        any shape and number, for hundreds of populations in few dimensions; see
        :class:`~scgenot.model.CloudPopulations`.
    use_rep
        Representation of the cells, a key of `obsm` or "X"; None for the first of `X_pca`, `X_lsi`,
        `X_clr`.
    layer
        A key of `layers` to use instead of a representation.
    learner
        Learner; None for the default of `kind`.
    key_added
        Name of the fit in `uns`.
    rng
        Seed; the same seed gives the same bits.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    progress
        Whether to show a progress bar.
    copy
        Return a copy with the fit instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following field:

    `uns["populations"]`
        The fit, under `key_added`. See :func:`scgenot.get.fit` and
        :func:`scgenot.get.model`.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When a column or the representation is not there.
    ValueError
        When there are fewer than three populations, a condition varies within a population or is
        missing, no population has cells on both sides, or the representation is not finite.

    Warns
    -----
    UserWarning
        When populations have few cells, cells belong to no population, or populations lack a
        paired one.

    Examples
    --------
    >>> sg.tl.fit_populations(adata, "donor", condition="diagnosis")  # doctest: +SKIP
    >>> new = sg.tl.simulate_populations(adata, {"diagnosis": "T2D"})  # doctest: +SKIP
    """
    check_writable(adata, copy=copy)
    fit = PopulationFit.make(
        adata,
        population_key,
        condition,
        paired_with,
        kind=kind,
        learner=learner,
        use_rep=use_rep,
        layer=layer,
        key=key_added,
        rng=rng,
        device=device,
        progress=progress,
    )
    out = copy_of(adata) if copy else adata
    fit.write(out)
    return out if copy else None
