"""Fit how cells respond to perturbations."""

from collections.abc import Hashable, Sequence

import pandas as pd
from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.tasks import Screen
from scgenot.fit.making import Learners, Solvers, moved_options
from scgenot.tl._fit import fit


@typed
@moved_options
def fit_perturbation(
    adata: AnnData,
    perturbation_key: str,
    control: Hashable | None,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    adjust: bool = True,
    dose_key: str | None = None,
    embedding: pd.DataFrame | None = None,
    separator: str | None = "+",
    covariates: Sequence[str] = (),
    network_covariates: Sequence[str] = (),
    solver: Solvers = None,
    learner: Learners = None,
    hold_out: str = "cells",
    n_folds: int = 3,
    predict: bool | None = None,
    key_added: str = "genot",
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Fit one model of the response of control cells to all perturbations, doses and combinations.

    Control and treated cells are coupled once per condition, as whole populations and within the
    strata of `covariates`. One GENOT model (arXiv 2310.09254) then learns the conditional
    distributions of all couplings, given the control cell and the condition: the response of an
    individual cell.

    Parameters
    ----------
    adata
        Control and treated cells.
    perturbation_key
        Column of `obs` with the perturbation.
    control
        Label of control cells in this column; None if control cells are those with dose 0.
    use_rep
        Representation in which cells are compared and generated, a key of `obsm` or "X". None for
        the first of `X_pca`, `X_lsi`, `X_clr` that is present.
    layer
        Key of `layers` to use instead of a representation.
    adjust
        If Scanpy computed the representation from the features of `adata`: whether to fit in
        adjusted coordinates, as :func:`~scgenot.tl.embed` computes them, instead of the coordinates
        of Scanpy. The latter are not changed.
    dose_key
        Column of `obs` with the dose on a linear scale; the network takes its logarithm as input.
        Cells with dose 0 are control cells, whatever their perturbation; the dose of control cells
        may be missing.
    embedding
        One row of numbers per perturbation, measured or not: fingerprints, gene embeddings,
        mechanisms. Required to predict unseen perturbations. None: each perturbation has a learned
        vector.
    separator
        Separator in the name of a combination, such as "A+B", whose order does not matter; None if
        names are never combinations.
    covariates
        Columns of `obs`, such as cell type and donor, within which cells are coupled. Strata with
        fewer than 10 cells on a side are pooled, first with those that differ only in the last
        column: list the most important column first. Covariates are not an input of the network, so
        that cells of a new donor can be predicted.
    network_covariates
        Columns of `obs` that are inputs of the network, too: numbers unchanged, categories one-hot.
        Cells are also coupled within these columns, so numbers should have few values. The input of
        a pooled stratum is the mean of a number, and no category.
    solver
        Function from a :class:`~scgenot.pair.Pair` to a :class:`~scgenot.ot.Coupling`. None for
        `sg.ot.Sinkhorn(epsilon=0.02)`. With `tau=(0.9, 1)` control cells may have no counterparts,
        for example if a drug kills cells. A list of candidates to select from, or "auto" for
        epsilon .02 and .005.
    learner
        Function from links to a model. None for `sg.model.FlowMatching()`, whose fields left at
        None take the defaults of the task: 1.5 steps per fitted cell, but at least 500 and at most
        1500, displacements, linear extrapolation (see
        :func:`~scgenot.model.fit_extrapolation`), training on all cells, and condition dropout .1
        with several conditions. A list of candidates to select from, or "auto" for source noise 0
        and .3.
    hold_out, n_folds
        Held-out cells to compare several candidates: "cells", or a column of `obs` such as donor,
        cell type or dose, whose values are held out in turn; and the number of folds. See
        :func:`fit`.
    predict
        Whether to also predict the source cells, as :func:`predict` with default arguments (only
        with a single perturbation). None: unless there are more than 50,000 source cells.
    key_added
        Name of the fit in `uns`, and prefix of the results of other functions.
    rng
        Seed. Results are reproducible on the same machine with the same number of threads.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    progress
        Whether to show progress bars.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields:

    `uns[key_added]["params"]`
        Arguments needed to repeat the fit, and the vocabulary of conditions.
    `uns[key_added]["model"]`
        Configuration and weights; :func:`scgenot.get.model` returns the model.
    `uns[key_added]["history"]`
        Training and validation loss by step.
    `obsm["X_pca_adjusted"]`, `uns["pca_adjusted"]`
        If `adjust` had an effect on `X_pca`: the fitted coordinates, and `shrinkage`, their
        standard deviation divided by that of the coordinates of Scanpy, per component.
    `obsm["X_<key_added>"]` and others
        Fields of :func:`predict`, unless `predict=False`.
    `uns[key_added]["pairs"]`
        One row per coupling: perturbation, dose, stratum, numbers of cells, epsilon, marginal
        error, convergence, effective targets and mass.
    `uns[key_added]["choice"]`, `uns[key_added]["choice_summary"]`
        With several candidates: their scores on held-out cells, see :func:`scgenot.get.choice`.
    `uns[key_added]["links"]`
        Names of the fitted cells and their couplings, used by other functions.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, `embedding` not a DataFrame, `covariates` text, or an option
        has a wrong type.
    KeyError
        When a column or representation is not there.
    ValueError
        When there are no control cells or no treated cells, a perturbation or dose is missing, a
        control cell has a dose, `embedding` lacks a perturbation, a perturbation has no stratum
        with enough cells, values are not finite, obs names are not unique, or `key_added` contains
        a slash.

    Warns
    -----
    UserWarning
        When candidates failed or could not be compared, or when a simple baseline is closer to
        held-out cells than the best candidate.

    Examples
    --------
    >>> sg.tl.embed(adata, method="pca")
    >>> sg.tl.fit_perturbation(adata, "drug", "DMSO", dose_key="dose", covariates=["donor"])
    >>> sg.tl.predict(adata, target="dexamethasone", dose=1.0)
    >>> treated = sg.tl.simulate(adata, target=["dexamethasone", "IFN"])
    """
    task = Screen(
        perturbation_key,
        control,
        use_rep=use_rep,
        layer=layer,
        adjust=adjust,
        dose_key=dose_key,
        embedding=embedding,
        separator=separator,
        covariates=covariates,
        network_covariates=network_covariates,
    )
    candidates = {"solver": solver, "learner": learner, "hold_out": hold_out}
    return fit(
        adata,
        task,
        **candidates,
        n_folds=n_folds,
        predict=predict,
        key_added=key_added,
        rng=rng,
        device=device,
        progress=progress,
        copy=copy,
    )
