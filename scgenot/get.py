"""Read what a fit left in AnnData."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._typed import typed

if TYPE_CHECKING:
    from scgenot.fit.fit import Fit
    from scgenot.model import Genot

__all__ = ["choice", "couplings", "fit", "model", "params", "task"]


@typed
def fit(
    adata: AnnData, key: str = "genot", *, task=None, model=None, field=None, encoder=None
) -> "Fit":
    """Read a fit, with classes of your own where it was made with them.

    Parameters
    ----------
    adata
        Cells that were fitted.
    key
        The `key_added` of the fit.
    task
        Class, or object, of a task of your own.
    model
        Class of a model of your own, with `from_arrays(config, arrays)`.
    field
        Makes the velocity field of your own from the sizes `(source, target, condition)`.
    encoder
        Encoder of conditions of your own.

    Returns
    -------
    The fit; pass it as `model=` to the functions of `sg.tl`.

    Raises
    ------
    KeyError
        When `uns[key]` holds no fit.
    ValueError
        When the fit is damaged, or was made with a class that was not passed.

    Examples
    --------
    >>> fit = sg.get.fit(adata, field=Small)
    >>> sg.tl.predict(adata, model=fit)
    """
    from scgenot.fit.fit import Fit

    return Fit.read(adata, key, task=task, model=model, field=field, encoder=encoder)


@typed
def model(adata: AnnData, key: str = "genot") -> "Genot":
    """Make the model of a fit, ready to sample, to save and to take elsewhere.

    Parameters
    ----------
    adata
        Cells with the fit.
    key
        The `key_added` of the fit.

    Returns
    -------
    The model, on the CPU.

    Raises
    ------
    KeyError
        When there is no such fit.

    Examples
    --------
    >>> genot = sg.get.model(adata)
    >>> genot.save("genot.safetensors")
    """
    return fit(adata, key).model


@typed
def choice(adata: AnnData, key: str = "genot", *, folds: bool = False) -> pd.DataFrame:
    """Return how the candidates of a fit did on held-out cells, beside trivial answers.

    Parameters
    ----------
    adata
        Cells of a fit that was given several candidates.
    key
        The `key_added` of the fit.
    folds
        Whether to return the scores of each fold, of all metrics.

    Returns
    -------
    A row for each candidate, in their order, and for each baseline: `candidate`; `kind`,
    "candidate" or "baseline"; `value`, the mean energy distance over folds, unbiased, lower is
    better; `difference`, the mean over folds of its difference from that of the first candidate,
    over the sum of both biased distances, with its 95 % interval `low` to `high`; `chosen`; and
    `note`, why a candidate failed. With `folds=True` the columns `candidate`, `kind`, `fold`,
    `metric` and `value`.

    Raises
    ------
    KeyError
        When there is no such fit, or it chose between no candidates.

    Examples
    --------
    >>> sg.tl.fit_perturbation(adata, "drug", "DMSO", solver="auto", hold_out="donor")
    >>> sg.get.choice(adata)
    """
    found = fit(adata, key).choice
    if found is None:
        raise KeyError(
            f"The fit `key={key!r}` has no choice: it was made with one candidate, or with several "
            "that could not be compared. Give several as `solver` or `learner`, or 'auto'."
        )
    return found.choice if folds else found.choice_summary


@typed
def couplings(adata: AnnData, key: str = "genot") -> dict[tuple, AnnData]:
    """Return the couplings of a time course in the form that CellRank's `RealTimeKernel` takes.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`scgenot.tl.fit_trajectory`, after :func:`scgenot.tl.coupling`.
    key
        The `key_added` of the fit.

    Returns
    -------
    For each pair of times, as they are in `obs`, joint mass: `X` is sparse, `obs` are all cells of
    the earlier time, `var` all of the later.

    Raises
    ------
    KeyError
        When there is no such fit, or its coupling was not written.
    ValueError
        When the fit is not from :func:`scgenot.tl.fit_trajectory`.

    Examples
    --------
    >>> sg.tl.coupling(adata)
    >>> adata.obs["day"] = adata.obs["day"].astype("category")
    >>> cr.kernels.RealTimeKernel(adata, time_key="day", couplings=sg.get.couplings(adata))
    """
    from scgenot.cells.tasks import TimeCourse

    found = fit(adata, key)
    found.needs(TimeCourse, "sg.get.couplings")
    slot, times = found.keys.coupling, found.task.times(adata)
    if slot not in adata.obsp:
        raise KeyError(
            f"{slot!r} is not in obsp; found {list(adata.obsp)}: run `sg.tl.coupling(adata, "
            f"key={key!r})`."
        )
    column, steps = adata.obs[found.task.time_key], {}
    for step in found.task.steps:
        source, target = (np.flatnonzero(times == time) for time in step)
        if len(source) and len(target):
            mass = adata.obsp[slot][source][:, target]
            obs, var = adata.obs.iloc[source][[]], adata.obs.iloc[target][[]]
            steps[column.iloc[source[0]], column.iloc[target[0]]] = AnnData(mass, obs=obs, var=var)
    return steps


@typed
def params(adata: AnnData, key: str = "genot") -> dict:
    """Return the parameters of a fit: enough to repeat it.

    Parameters
    ----------
    adata
        Cells with the fit.
    key
        The `key_added` of the fit.

    Returns
    -------
    The parameters by name; those that were None are left out.

    Raises
    ------
    KeyError
        When there is no such fit.

    Examples
    --------
    >>> sg.get.params(adata)["use_rep"]
    """
    return {name: value for name, value in fit(adata, key).params.items() if value is not None}


@typed
def task(adata: AnnData, key: str = "genot"):
    """Return the task of a fit: what was fitted to what, and which cells are which.

    Parameters
    ----------
    adata
        Cells with the fit, or cells that :func:`scgenot.tl.simulate` or
        :func:`scgenot.tl.interpolate` made with it.
    key
        The `key_added` of the fit.

    Returns
    -------
    A `Screen`, a `TimeCourse`, a `Translation`, or a task of your own.

    Raises
    ------
    KeyError
        When there is no such fit.
    ValueError
        When the fit has a task of your own that was not fitted in this session: pass its class to
        :func:`fit`.

    Examples
    --------
    >>> task = sg.get.task(adata)
    >>> adata[task.treated_rows(adata, "IFN")]
    """
    from scgenot.fit.storage import task_of

    return task_of(adata, key)


def coupling_names(adata: AnnData, key: str = "genot"):
    """Return the names of the target cells that the columns of a coupling in `obsm` are."""
    from scgenot.fit.storage import coupling_names

    return coupling_names(adata, key)
