"""Read the results of a fit from AnnData."""

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
    """Read a fit, with your own classes if it was made with them.

    Parameters
    ----------
    adata
        Cells with the fit.
    key
        The `key_added` of the fit.
    task
        Class or instance of your own task.
    model
        Class of your own model, with `from_arrays(config, arrays)`.
    field
        Class or function that creates your own velocity field from the sizes `(source, target,
        condition)`.
    encoder
        Class or function that creates your own encoder of conditions.

    Returns
    -------
    The fit; pass it as `model=` to the functions of `sg.tl`.

    Raises
    ------
    KeyError
        When `uns[key]` does not contain a fit.
    ValueError
        When the fit is damaged, or was made with a class that is not passed.

    Examples
    --------
    >>> fit = sg.get.fit(adata, field=Small)
    >>> sg.tl.predict(adata, model=fit)
    """
    from scgenot.fit.population_fit import read_any

    return read_any(adata, key, task=task, model=model, field=field, encoder=encoder)


@typed
def model(adata: AnnData, key: str = "genot") -> "Genot":
    """Return the model of a fit, to sample from or to save.

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
    """Return the scores of the candidates of a fit and of simple baselines on held-out cells.

    Parameters
    ----------
    adata
        Cells with a fit that selected among several candidates.
    key
        The `key_added` of the fit.
    folds
        Whether to return the scores of each fold and metric.

    Returns
    -------
    One row per candidate, in the given order, and per baseline: `candidate`; `kind`, "candidate" or
    "baseline"; `value`, the unbiased energy distance, averaged over folds, lower is better;
    `difference`, its difference from that of the first candidate, divided by the sum of both biased
    distances and averaged over folds, with 95 % interval `low` to `high`; `chosen`; and `note`, the
    reason why a candidate failed. With `folds=True` the columns `candidate`, `kind`, `fold`,
    `metric` and `value`.

    Raises
    ------
    KeyError
        When there is no such fit, or it had a single candidate.

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
    """Return the couplings of a time course in the format of the `RealTimeKernel` of CellRank.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`scgenot.tl.fit_trajectory`, after :func:`scgenot.tl.coupling`.
    key
        The `key_added` of the fit.

    Returns
    -------
    One AnnData per pair of times, with times as in `obs`: joint mass in `X`, sparse; all cells of
    the earlier time in `obs`, all cells of the later time in `var`.

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
    """Return the parameters needed to repeat a fit.

    Parameters
    ----------
    adata
        Cells with the fit.
    key
        The `key_added` of the fit.

    Returns
    -------
    Parameters by name; those with the value None are omitted.

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
    """Return the task of a fit: the columns, labels and populations that were fitted.

    Parameters
    ----------
    adata
        Cells with the fit, or cells generated from it by :func:`scgenot.tl.simulate` or
        :func:`scgenot.tl.interpolate`.
    key
        The `key_added` of the fit.

    Returns
    -------
    A `Screen`, a `TimeCourse`, a `Translation`, or your own task.

    Raises
    ------
    KeyError
        When there is no such fit.
    ValueError
        When the task is your own and was not fitted in this session: pass its class to :func:`fit`.

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
