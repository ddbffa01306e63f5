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
    """Fit one model of how control cells respond to every perturbation, dose and combination.

    Control and treated cells are coupled once for each condition, as whole populations and within
    the strata of `covariates`. One GENOT model (arXiv 2310.09254) then learns the conditional laws
    of all couplings, given the control cell and the condition: what *this* cell would become.

    Parameters
    ----------
    adata
        Control and treated cells.
    perturbation_key
        Column of `obs` with the perturbation.
    control
        Its label of control cells; None when dose 0 alone marks them.
    use_rep
        Representation to compare and generate cells in, a key of `obsm` or "X". None takes the
        first of `X_pca`, `X_lsi`, `X_clr` that is there.
    layer
        A key of `layers` to use in place of a representation.
    adjust
        Where Scanpy made the representation and the features are those it was made of: fit in the
        coordinates that components of all other cells give each cell, as
        :func:`~scgenot.tl.embed` does, in place of Scanpy's own, which stay as they are. False
        reads these.
    dose_key
        Column of `obs` with the dose, on any linear scale; the network sees its logarithm. Dose 0
        is control, whatever the perturbation is called; control cells may have none.
    embedding
        A row of numbers for each perturbation, measured or not: fingerprints, gene embeddings,
        mechanisms. With it, perturbations that were not measured can be predicted. None: each
        perturbation has a learned vector.
    separator
        What separates the parts in the name of a combination, such as "A+B", whose order does not
        matter; None when names are never combinations.
    covariates
        Columns of `obs`, such as cell type and donor: cells are coupled within these. Strata of
        under 10 cells on a side are pooled, first with those that differ in the last column alone:
        name the one that matters most first. The network is not told, so that cells of a new donor
        can be predicted.
    network_covariates
        Columns of `obs` that the network is told as well; numbers as they are, categories one by
        one. Cells are coupled within these too, so numbers should have few values; of a pooled
        stratum it is told the mean of a number, and no category.
    solver
        Turns a :class:`~scgenot.pair.Pair` into a :class:`~scgenot.ot.Coupling`; None for
        `sg.ot.Sinkhorn(epsilon=0.02)`. With `tau=(0.9, 1)` control cells may have no descendants,
        as under a drug that kills. A list of several, or "auto" for epsilon .02 and .005, has the
        fit choose.
    learner
        Turns links into a model; None for `sg.model.FlowMatching()`, whose fields left at None take
        the defaults of the task: 1500 steps, source noise .3, displacements, condition dropout .1
        with several conditions. A list of several, or "auto" for source noise .3 and 0, has the
        fit choose.
    hold_out, n_folds
        With several candidates, what they are compared on: "cells", or a column of `obs` such as
        donor, cell type or dose, whose values are held out in turn; and how many parts cells or
        values are dealt into. See :func:`fit`.
    predict
        Whether to write what :func:`predict` writes of the source cells, with its defaults, at
        once (with one perturbation only). None: unless there are more than 50,000 source cells.
    key_added
        Name of the fit in `uns`, and prefix of what later functions write.
    rng
        Seed. The same seed gives the same result on one machine and thread count.
    device
        Where to compute; None for CUDA when there is one.
    progress
        Whether to show progress bars.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields:

    `uns[key_added]["params"]`
        Enough to repeat the fit, and the vocabulary of conditions.
    `uns[key_added]["model"]`
        Configuration and weights; :func:`scgenot.get.model` makes a model of them.
    `uns[key_added]["history"]`
        Loss and validation by step.
    `obsm["X_pca_adjusted"]`, `uns["pca_adjusted"]`
        Where `adjust` had an effect on `X_pca`: the coordinates that were fitted, and `shrinkage`,
        their standard deviation over that of Scanpy's, for each component.
    `obsm["X_<key_added>"]` and others
        What :func:`predict` writes, unless `predict=False`.
    `uns[key_added]["pairs"]`
        One row a pair: perturbation, dose, stratum, cells, epsilon, marginal error, convergence,
        effective targets and mass.
    `uns[key_added]["choice"]`, `uns[key_added]["choice_summary"]`
        With several candidates: how they did on held-out cells, see :func:`scgenot.get.choice`.
    `uns[key_added]["links"]`
        The fitted cells by name and their couplings, which other functions read.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, `embedding` not a DataFrame, `covariates` text, or an option
        has a wrong type.
    KeyError
        When a column or representation is not there.
    ValueError
        When there are no control cells or only those, a perturbation or dose is missing, a control
        cell has a dose, `embedding` lacks a perturbation, a perturbation has no stratum with enough
        cells, values are not finite, obs names are not unique, or `key_added` has a slash.

    Warns
    -----
    UserWarning
        When several candidates could not be compared, some of them failed, or a trivial answer is
        closer to held-out cells than the best of them.

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
