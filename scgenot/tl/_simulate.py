"""Simulate cells: new ones, in a new AnnData, in genes."""

from collections.abc import Sequence

from anndata import AnnData

from scgenot._check import check_count, check_dose, check_guidance
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.fit.decoder import Decoder
from scgenot.fit.fit import ModelSource, open_fit
from scgenot.fit.made_up import simulated
from scgenot.fit.sample import Integrator


@typed
def simulate(
    adata: AnnData,
    target: object = None,
    *,
    dose: float | Sequence[float] | None = None,
    n_samples: int = 1,
    key: str = "genot",
    model: ModelSource = None,
    use_rep: str | None = None,
    guidance: float = 1.0,
    integrator: Integrator | None = None,
    decoder: Decoder | None = None,
    clip: bool = True,
    residuals: bool = False,
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
) -> AnnData:
    """Simulate target cells of source cells, as an AnnData of their own.

    Parameters
    ----------
    adata
        Source cells; as in :func:`predict`. After :func:`fit_perturbation` only control cells are.
    target
        As in :func:`predict`, or several: each gets its own cells, from the same noise, so that
        differences are due to the target.
    dose
        After a fit with doses; None for the largest of that perturbation. Several: each target at
        each dose.
    n_samples
        Cells per source cell and target.
    key, model, guidance, integrator
        As in :func:`predict`.
    use_rep
        Representation of `adata`. None takes that of the fit.
    decoder
        Function of generated states, an array `(n, q)`, to features: a DataFrame, or an array with
        one column for each of `var_names`. None inverts the embedding that made the representation,
        see :func:`decode`, or Scanpy's PCA; of a translation that of the target cells, which the
        fit keeps.
    clip
        Whether to set negative values to 0 where the features that were fitted had none: the
        inverse of an embedding does not know that expression is not negative. The share of values
        is logged.
    residuals
        Whether to add what states leave out of features, so that decoded cells vary as measured
        cells do: all residuals of a measured target cell near the generated one, its features less
        what its own state decodes to. Without them cells lack the noise of single genes, and tests
        between simulated and measured cells call nearly every gene significant. With `clip`,
        values under half of the smallest positive one of that measured cell become 0. A PCA, or X,
        is needed, and the AnnData with the fitted cells.
    rng
        Seed. The same seed gives the same cells, each target those that it gets alone.
    device
        Where to compute; None for CUDA when there is one.
    progress
        Whether to show a progress bar over several targets, or over thousands of cells.

    Returns
    -------
    New cells, ordered by target, dose, sample and source cell, ready for :func:`anndata.concat`
    with `adata`:

    `X`
        Features, in the units of those that were fitted.
    `obs`
        That of the source cell, without what :func:`predict` wrote, with the perturbation and dose,
        or time, of the target.
    `obs["source_cell"]`
        Name of the source cell.
    `obs["<key>_growth"]`
        Mass sent over mass had, for an unbalanced fit: draw the cells in these proportions for a
        population.
    `obsm`
        The generated states, under the name of the representation of targets.
    `uns`
        The embedding, so that :func:`decode` and :func:`project` work, and the parameters of the
        fit.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, the representation is not there, or a perturbation was not seen;
        the known ones are listed.
    ValueError
        When nothing turns states into features (pass `decoder`), `n_samples` is under 1, or as for
        :func:`predict`.

    Warns
    -----
    UserWarning
        As for :func:`predict`.

    Examples
    --------
    >>> treated = sg.tl.simulate(adata, target="IFN", model=fitted)  # doctest: +SKIP
    >>> sg.pl.response(adata, treated, ["ISG15", "CXCL10"])  # doctest: +SKIP

    Cells that may be tested against measured ones:

    >>> treated = sg.tl.simulate(adata, target="IFN", residuals=True)  # doctest: +SKIP
    """
    check_count("n_samples", n_samples, 1)
    check_guidance(guidance)
    check_dose(dose)
    return simulated(
        open_fit(adata, key, model, device),
        adata,
        target,
        dose,
        n_samples=n_samples,
        use_rep=use_rep,
        decoder=decoder,
        clip=clip,
        residuals=residuals,
        progress=progress,
        guidance=guidance,
        integrator=integrator,
        seed=seed_of(rng),
    )
