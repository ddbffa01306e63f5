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
    """Fit a model of what cells become, from snapshots of a population at several times.

    Consecutive time points are coupled, each pair as a whole. One GENOT model (arXiv 2310.09254)
    then learns the conditional laws of all couplings, given the source cell, its time and the step,
    so that cells that were in no coupling have descendants too.

    Parameters
    ----------
    adata
        Cells of all time points.
    time_key
        Column of `obs` with the time: numbers; text with a number in it, such as "day 2"; or
        ordered categories, which are then 0, 1, 2, ... .
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
    pairs
        Earlier and later time of each pair; None for consecutive time points.
    growth_key
        Column of `obs` with the rate of growth, births minus deaths per unit of time;
        :func:`score_growth` makes one. 0 is neither, a negative rate dies: a cell at rate `r` has
        `exp(r step)` descendants.
    covariates
        Columns of `obs`, such as donor or batch: cells are coupled within these. Strata of under 10
        cells on a side are pooled, first with those that differ in the last column alone.
    solver
        Turns a :class:`~scgenot.pair.Pair` into a :class:`~scgenot.ot.Coupling`; None for
        `sg.ot.Sinkhorn(epsilon=0.01)`. With `tau=(0.8, 1)` growth is learned from the data, or
        corrected. A list of several, or "auto" for epsilon .01 and .05, has the fit choose.
    learner
        Turns links into a model; None for `sg.model.FlowMatching()`, whose fields left at None take
        the defaults of the task: 3000 steps, displacements. A list of several, or "auto" for no
        source noise and .3, has the fit choose.
    hold_out, n_folds
        With several candidates, what they are compared on: "cells", or a column of `obs` such as
        donor, or the time for those in between, whose values are held out in turn; and how many
        parts cells or values are dealt into. See :func:`fit`.
    predict
        Whether to write what :func:`predict` writes of the source cells, with its defaults, at
        once. None: unless there are more than 50,000 source cells.
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
        Enough to repeat the fit.
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
        One row a pair: times, stratum, cells, epsilon, marginal error, convergence, effective
        targets and mass.
    `uns[key_added]["choice"]`, `uns[key_added]["choice_summary"]`
        With several candidates: how they did on held-out cells, see :func:`scgenot.get.choice`.
    `obs["<key_added>_growth"]`
        Descendants of each source cell, after prior and tau: the mass it sends, of 1 for the mean
        cell where none is lost. NaN for cells that are no source. Only with rates that differ
        between cells, or an unbalanced solver.
    `uns[key_added]["links"]`
        The fitted cells by name and their couplings, which other functions read.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When a column or representation is not there.
    ValueError
        When there is one time point only or a time has one cell, a time or rate is missing, values
        are not finite, a pair is not of two sampled times in order, obs names are not unique, or
        `key_added` has a slash.

    Warns
    -----
    UserWarning
        When several candidates could not be compared, some of them failed, or a trivial answer is
        closer to held-out cells than the best of them.

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
