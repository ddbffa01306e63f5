"""Fit any task."""

from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.embedding import adjusted_cells
from scgenot.cells.keys import Keys
from scgenot.cells.read import check_anndata, check_writable, copy_of
from scgenot.cells.tasks import Task
from scgenot.cells.write import write_prediction
from scgenot.fit.choice import fit_chosen
from scgenot.fit.making import Learners, Solvers, moved_options
from scgenot.fit.predictions import predict_at_once


@typed
@moved_options
def fit(
    adata: AnnData,
    task: Task,
    *,
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
    """Fit a task: couple the populations that it links, and train a model on the couplings.

    :func:`fit_trajectory`, :func:`fit_perturbation` and :func:`fit_translation` create their task
    and call this function. Use it directly for your own tasks.

    Parameters
    ----------
    adata
        Cells.
    task
        Any object with `links(adata)`, which returns a list of :class:`~scgenot.Link`, and
        `ask(adata, target, *, dose)`, which returns a :class:`~scgenot.Question`; such as those
        of :mod:`scgenot.tasks`.
    solver
        Function from a :class:`~scgenot.Pair` to a plan, such as a :class:`~scgenot.ot.Coupling`.
        None for :class:`~scgenot.ot.Sinkhorn` within one space and
        :class:`~scgenot.ot.GromovWasserstein` between two spaces. A list of candidates to select
        from; "auto" for the default and one other epsilon.
    learner
        Function from links to a model. None for `sg.model.FlowMatching()`, whose fields left at
        None take the defaults of the task. A list of candidates to select from; "auto" for the
        default with and without source noise.
    hold_out
        Held-out cells to compare several candidates (every solver with every learner): "cells", or
        a column of `obs` such as donor, cell type, dose or time, whose values are held out in turn.
        Values without control cells, such as doses, are predicted from half of the control cells,
        at most 300, which are not fitted, either; where these are few, from fitted ones. Each
        candidate is fitted with fewer steps to the other cells. Candidates and the baselines of
        :func:`evaluate` are scored on the held-out cells by the energy distance, within the values
        of the column, or of the first of `covariates` for "cells". The first candidate is kept
        unless another one is better by more than the 95 % interval of the relative difference over
        folds; the selected candidate is fitted to all cells. With "cells" and no `covariates`, only
        whole populations are compared, which does not reveal couplings that match wrong cells: hold
        out a column instead, ideally one whose values will be new.
    n_folds
        Number of folds of cells or values, 2 or more. More folds make it easier to distinguish
        candidates. All trainings together have 1.2 times the steps of one fit, but each at least
        100: up to six candidates in three folds take two to three times as long as one fit.
    predict
        Whether to also predict the source cells, as :func:`predict` with default arguments (if the
        task needs no target). None: unless there are more than 50,000 source cells.
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
    None, or the copy. Sets `uns[key_added]` and the fields of :func:`predict`. With several
    candidates also:

    `uns[key_added]["choice"]`
        Scores of candidates and baselines by fold.
    `uns[key_added]["choice_summary"]`
        One row per candidate and baseline, see :func:`scgenot.get.choice`.

    Raises
    ------
    TypeError
        When `task`, `solver` or `learner` lacks a method or returns an unexpected object; the
        message names it.
    KeyError
        When a column or representation is not there.
    ValueError
        When the links contain cells that are not in `adata`, when several candidates are given for
        a fit between two AnnData (the truth about held-out cells is not known there), or as
        described for the task.

    Warns
    -----
    UserWarning
        When candidates failed or could not be compared (too few cells, a column with a single
        value), in which case the first is fitted. When a simple baseline is closer to held-out
        cells than the best candidate.

    See Also
    --------
    scgenot.get.fit : reads the fit of your own task from a file.

    Examples
    --------
    >>> task = sg.tasks.TimeCourse("day")
    >>> sg.tl.fit(adata, task, solver=sg.ot.Sinkhorn(epsilon=0.05))
    >>> sg.tl.fit(adata, task, solver="auto", learner="auto", hold_out="donor")
    >>> sg.pl.choice(adata)
    """
    Keys(key_added)  # refuses a bad name before the work, not after
    name = getattr(task, "argument", "adata")
    check_anndata(adata, name)
    # a fit reads its cells again and again: a view of a file is refused with `copy=True` too
    check_writable(adata, copy=copy and not (adata.isbacked and adata.is_view), name=name)
    out = copy_of(adata) if copy else adata
    with adjusted_cells(out, task):
        candidates = {"solver": solver, "learner": learner, "hold_out": hold_out}
        run = {"key": key_added, "rng": rng, "device": device, "progress": progress}
        made = fit_chosen(out, task, predict=predict, n_folds=n_folds, **candidates, **run)
        predicted = predict_at_once(made, out, predict=predict, progress=progress)
    made.write(out)
    if predicted is not None:
        write_prediction(out, key_added, **predicted)
    made.warn()
    return out if copy else None
