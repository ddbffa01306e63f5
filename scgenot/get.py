"""Read what a fit left in AnnData."""

import json
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData

from scgenot.cells.course import read_course
from scgenot.cells.keys import MODEL, PARAMS, Keys

if TYPE_CHECKING:
    from scgenot.model import Genot

__all__ = ["couplings", "model", "params"]


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
    return stored_model(fit_entry(adata, key))


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
    For each pair of times, as they are in `obs`, joint mass: `X` is sparse, `obs` are all cells of the earlier time,
    `var` all of the later.

    Raises
    ------
    KeyError
        When there is no such fit, or its coupling was not written.
    ValueError
        When the fit is of no time course.

    Examples
    --------
    >>> sg.tl.coupling(adata)
    >>> adata.obs["day"] = adata.obs["day"].astype("category")
    >>> cr.kernels.RealTimeKernel(adata, time_key="day", couplings=sg.get.couplings(adata))
    """
    course = read_course(adata, fit_entry(adata, key), key)
    slot = Keys(key).coupling
    if slot not in adata.obsp:
        raise KeyError(
            f"{slot!r} is not in obsp; found {list(adata.obsp)}: run `sg.tl.coupling(adata, key={key!r})`."
        )
    column = adata.obs[course.params["time_key"]]
    found = {}
    for step in course.steps:
        source, target = (np.flatnonzero(course.times == time) for time in step)
        if len(source) and len(target):
            mass = adata.obsp[slot][source][:, target]
            times = column.iloc[source[0]], column.iloc[target[0]]
            found[times] = AnnData(
                mass, obs=adata.obs.iloc[source][[]], var=adata.obs.iloc[target][[]]
            )
    return found


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
    return dict(fit_entry(adata, key)[PARAMS])


def fit_entry(adata: AnnData, key: str) -> dict:
    """Return `uns[key]`, or raise a KeyError that lists the fits there are."""
    entry = adata.uns.get(key)
    if isinstance(entry, dict) and MODEL in entry:
        return entry
    fits = [name for name, value in adata.uns.items() if isinstance(value, dict) and MODEL in value]
    raise KeyError(
        f"`key`={key!r} names no fit in uns; found {fits}. Run one of `sg.tl.fit_*` first, or pass `model`."
    )


def stored_model(entry: dict) -> "Genot":
    """Make the model of a fit from what is in `uns[key]`."""
    from scgenot.model import Genot

    stored = entry[MODEL]
    return Genot.from_arrays(json.loads(stored["config"]), stored["weights"])


def resolve_model(
    adata: AnnData, source: "Genot | AnnData | str | PathLike | None", key: str
) -> tuple["Genot", dict]:
    """Find a model and the parameters of its fit (none for a bare model) wherever the user keeps it."""
    from scgenot.model import Genot

    if isinstance(source, Genot):
        return source, {}
    if isinstance(source, (str, PathLike)):
        return Genot.load(source), {}
    fitted = adata if source is None else source
    if not isinstance(fitted, AnnData):
        raise TypeError(
            f"`model` must be a Genot, an AnnData or a path; found {type(source).__name__}."
        )
    return model(fitted, key), params(fitted, key)
