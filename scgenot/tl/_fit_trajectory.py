"""Fit a course of development from snapshots."""

from collections.abc import Sequence

from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.tasks import TimeCourse
from scgenot.fit.making import Learners, Solvers, moved_options
from scgenot.tl._fit import fit


@typed
@moved_options
def fit_trajectory(
    adata: AnnData,
    time_key: str,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    adjust: bool = True,
    pairs: Sequence[tuple] | None = None,
    growth_key: str | None = None,
    covariates: Sequence[str] = (),
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
    """Fit a model of the descendants of cells, from snapshots of a population at several times.

    Populations at consecutive time points are coupled. One GENOT model (arXiv 2310.09254) then
    learns the conditional distributions of all couplings, given the source cell, its time and the
    step, so that descendants of new cells can be predicted, too.

    Parameters
    ----------
    adata
        Cells of all time points.
    time_key
        Column of `obs` with the time: numbers; text that contains a number, such as "day 2"; or
        ordered categories, which become 0, 1, 2, ... .
    use_rep
        Representation in which cells are compared and generated, a key of `obsm` or "X". None for
        the first of `X_pca`, `X_lsi`, `X_clr` that is present.
    layer
        Key of `layers` to use instead of a representation.
    adjust
        If Scanpy computed the representation from the features of `adata`: whether to fit in
        adjusted coordinates, as :func:`~scgenot.tl.embed` computes them, instead of the coordinates
        of Scanpy. The latter are not changed.
    pairs
        Pairs of an earlier and a later time; None for consecutive time points.
    growth_key
        Column of `obs` with the growth rate, birth rate minus death rate per unit of time, such as
        that of :func:`score_growth`. A cell with rate `r` has `exp(r step)` descendants on average.
    covariates
        Columns of `obs`, such as donor or batch, within which cells are coupled. Strata with fewer
        than 10 cells on a side are pooled, first with those that differ only in the last column.
    solver
        Function from a :class:`~scgenot.pair.Pair` to a :class:`~scgenot.ot.Coupling`. None for
        `sg.ot.Sinkhorn(epsilon=0.01)`. With `sg.ot.Sinkhorn(epsilon=0.01, tau=(0.8, 1))` growth is
        estimated from the data, or a prior is corrected. A list of candidates to select from, or
        "auto" for epsilon .01 and .05.
    learner
        Function from links to a model. None for `sg.model.FlowMatching()`, whose fields left at
        None take the defaults of the task: 3000 steps, displacements. A list of candidates to
        select from, or "auto" for source noise 0 and .3.
    hold_out, n_folds
        Held-out cells to compare several candidates: "cells", or a column of `obs` such as donor,
        or the time (inner times only), whose values are held out in turn; and the number of folds.
        See :func:`fit`.
    predict
        Whether to also predict the source cells, as :func:`predict` with default arguments. None:
        unless there are more than 50,000 source cells.
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
        Arguments needed to repeat the fit.
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
        One row per coupling: times, stratum, numbers of cells, epsilon, marginal error,
        convergence, effective targets and mass.
    `uns[key_added]["choice"]`, `uns[key_added]["choice_summary"]`
        With several candidates: their scores on held-out cells, see :func:`scgenot.get.choice`.
    `obs["<key_added>_growth"]`
        Growth of each source cell, from the prior and `tau`: the mass that leaves it, 1 for the
        mean cell if no mass is lost. NaN for cells that are not source cells. Only with growth
        rates that differ between cells, or an unbalanced solver.
    `uns[key_added]["links"]`
        Names of the fitted cells and their couplings, used by other functions.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When a column or representation is not there.
    ValueError
        When there is a single time point, a time has a single cell, a time or rate is missing,
        values are not finite, a pair does not consist of two sampled times in order, obs names are
        not unique, or `key_added` contains a slash.

    Warns
    -----
    UserWarning
        When candidates failed or could not be compared, or when a simple baseline is closer to
        held-out cells than the best candidate.

    Examples
    --------
    >>> sg.tl.embed(adata, method="pca")
    >>> sg.tl.fit_trajectory(adata, "day")
    >>> sg.tl.predict(adata)
    >>> sg.tl.fate(adata, "cell_type")
    """
    task = TimeCourse(
        time_key,
        use_rep=use_rep,
        layer=layer,
        adjust=adjust,
        pairs=pairs,
        growth_key=growth_key,
        covariates=covariates,
    )
    return fit(
        adata,
        task,
        solver=solver,
        learner=learner,
        hold_out=hold_out,
        n_folds=n_folds,
        predict=predict,
        key_added=key_added,
        rng=rng,
        device=device,
        progress=progress,
        copy=copy,
    )
