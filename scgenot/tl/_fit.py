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
    """Fit a task: couple the populations that it links, and learn a model from the couplings.

    :func:`fit_trajectory`, :func:`fit_perturbation` and :func:`fit_translation` make the task of
    their name and call this function; a task of your own goes the same way.

    Parameters
    ----------
    adata
        Cells.
    task
        Any object with `links(adata)`, which returns a list of :class:`~scgenot.Link`, and
        `ask(adata, target, *, dose)`, which returns a :class:`~scgenot.Question`; such as those
        of :mod:`scgenot.tasks`.
    solver
        Turns a :class:`~scgenot.Pair` into a plan, such as a :class:`~scgenot.ot.Coupling`; None
        for :class:`~scgenot.ot.Sinkhorn` in one space and
        :class:`~scgenot.ot.GromovWasserstein` between two. A list of several has the fit choose;
        "auto" is a short list of the task's: the default, and another epsilon.
    learner
        Turns links into a model; None for `sg.model.FlowMatching()`, whose fields left at None take
        the defaults of the task. A list of several has the fit choose; "auto" is a short list of
        the task's: the default, and the same without source noise, or with it.
    hold_out
        With several candidates, every solver with every learner: what they are compared on.
        "cells", or a column of `obs` such as donor, cell type, dose or time, whose values are held
        out in turn. Each candidate is fitted in few steps to the other cells, and candidates and
        the baselines of :func:`evaluate` are scored on those held out by the energy distance,
        within the values of the column, or of the first of `covariates` for "cells". The first
        candidate is kept unless another is better by more than the 95 % interval of the relative
        difference over folds; the winner is fitted to all cells. On cells like those of the fit
        only whole populations are compared, unless there are `covariates`: hold out a column to
        find couplings that lose track of which cell is which, and the column in which new cells
        will differ to find what is learned best for these.
    n_folds
        Parts into which cells or values are dealt, each held out once; 2 or more. More parts tell
        candidates apart more easily. The trainings of all together have 1.2 times the steps of one
        fit, or 100 each where that is more: up to six candidates in three folds take two to three
        times as long as one.
    predict
        Whether to write what :func:`predict` writes of the source cells, with its defaults, at
        once (where the task can be asked without a
        target). None: unless there are more than 50,000 source cells.
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
    None, or the copy. Sets `uns[key_added]`, and what :func:`predict` writes. With several
    candidates also:

    `uns[key_added]["choice"]`
        Scores of candidates and baselines by fold.
    `uns[key_added]["choice_summary"]`
        A row for each candidate and baseline, see :func:`scgenot.get.choice`.

    Raises
    ------
    TypeError
        When `task`, `solver` or `learner` lacks a method or returns something else than is
        expected; the message names the object.
    KeyError
        When a column or representation is not there.
    ValueError
        When the links are of other cells than `adata` has, when several candidates are to be
        compared between two AnnData, where the truth about held-out cells is not known, or as the
        task says.

    Warns
    -----
    UserWarning
        When candidates failed, or could not be compared, in which case the first was fitted: too
        few cells, a column with a single value. When a trivial answer is closer to held-out cells
        than the best candidate.

    See Also
    --------
    scgenot.get.fit : reads the fit of a task of your own from a file.

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
