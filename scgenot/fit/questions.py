"""What a model is asked: which cells are sources, and under which condition."""

import logging
import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._check import check_number
from scgenot.cells.course import fitted_times, scale_of
from scgenot.cells.tasks.conditions import Conditions
from scgenot.cells.tasks.time_course import time_condition

logger = logging.getLogger("scgenot")

PASS_THE_FIT = "A screen or a time course needs the AnnData that was fitted: `model=adata`."


@dataclass(frozen=True)
class Question:
    """Source cells and their conditions."""

    rows: np.ndarray
    condition: np.ndarray | None
    answer: dict[str, object] = field(default_factory=dict)
    name: str = "target"


def ask(adata: AnnData, params: dict, target: str | float | None, dose: float | None) -> Question:
    """Find the source cells of a fit's task and what they are asked."""
    if dose is not None:
        check_number("dose", dose, "a number, 0 or more", lambda value: 0 <= value < np.inf)
    task = params.get("task", "translation")
    if dose is not None and "dose_key" not in params:
        raise ValueError(f"`dose={dose}` was given, but the fit has no doses.")
    if task == "trajectory":
        return ask_time(adata, params, target)
    if task == "perturbation":
        return ask_perturbation(adata, params, target, dose)
    if target is not None and not params:
        raise ValueError(
            f"`target={target!r}` was given, but `model` came without its fit. {PASS_THE_FIT}"
        )
    if target is not None:
        raise ValueError(
            f"`target={target!r}` was given, but the fit is a {task}: it has one target."
        )
    return Question(np.arange(adata.n_obs), None)


def ask_time(adata: AnnData, params: dict, target: str | float | None) -> Question:
    """Each cell at the source time of a fitted step; the first of its steps, or the one to `target`."""
    if params["time_key"] not in adata.obs:
        raise KeyError(
            f"{params['time_key']!r}, the time of the fit, is not in obs; found {list(adata.obs)}."
        )
    times, known = (
        fitted_times(adata.obs[params["time_key"]], params),
        np.asarray(params["times"], dtype=float),
    )
    steps = [tuple(map(float, step)) for step in params["steps"]]
    if target is not None:
        later = scale_of(params).find(target, "target")
        steps = [step for step in steps if step[1] == later]
    condition, reached = np.full((adata.n_obs, 2), np.nan), np.full(adata.n_obs, np.nan)
    for earlier, later in reversed(steps):
        condition[times == earlier] = time_condition(known, earlier, later)
        reached[times == earlier] = later
    rows = np.flatnonzero(np.isfinite(condition[:, 0]))
    if len(rows) == 0:
        raise ValueError(
            f"No cell of `adata` is at the source time of a fitted step{'' if target is None else f' to {target}'}: "
            f"the fit has {np.asarray(params['steps']).tolist()}, the cells are at "
            f"{adata.obs[params['time_key']].unique().tolist()}."
        )
    labels = scale_of(params).labels.to_numpy(dtype=object)
    answer = labels[np.searchsorted(known, reached[rows])]
    return Question(
        rows,
        condition[rows],
        {params["time_key"]: answer},
        "later" if target is None else str(target),
    )


def ask_perturbation(
    adata: AnnData, params: dict, target: str | None, dose: float | None
) -> Question:
    """Control cells, all cells where the perturbation is not annotated, under one condition."""
    conditions = Conditions.from_dict(params["conditions"])
    if target is None:
        if len(conditions.known) > 1 or conditions.n_slots > 1:
            raise ValueError(
                f"`target` is needed: which of {conditions.known}, or a combination of them?"
            )
        target = conditions.known[0]
    check_target(target, conditions)
    rows = control_rows(adata, params, conditions)
    answer, label = {params["perturbation_key"]: str(target)}, str(target)
    if conditions.doses is not None:
        dose = conditions.largest_dose(target) if dose is None else float(dose)
        warn_if_above(target, dose, conditions)
        answer[params["dose_key"]] = dose
        label += f"_{dose:g}"
    told = list(params.get("network_covariates", []))
    missing = [key for key in told if key not in adata.obs]
    if missing:
        raise KeyError(
            f"The network was told {missing}, which obs of `adata` lacks; found {list(adata.obs)}."
        )
    if not told:
        encoded = conditions.encode(target, dose)
        return Question(rows, np.broadcast_to(encoded, (len(rows), len(encoded))), answer, label)
    table = adata.obs.iloc[rows][told]
    warn_if_untold(table, conditions)
    encoded, told_each = {}, []
    for values in table.itertuples(index=False, name=None):
        text = tuple(map(str, values))  # NaN is not equal to itself, its name is
        if text not in encoded:
            encoded[text] = conditions.encode(target, dose, dict(zip(told, values, strict=True)))
        told_each.append(encoded[text])
    return Question(rows, np.stack(told_each), answer, label)


def check_target(target: str, conditions: Conditions) -> None:
    """Raise when a target is several, or the control of a fit that has coupled no control with itself."""
    if isinstance(target, (list, tuple, set, np.ndarray)):
        raise TypeError(
            f"`target={target!r}` must be one perturbation: `sg.tl.simulate` takes several."
        )
    if conditions.doses is None and not conditions.parts(target):
        raise ValueError(
            f"`target={target!r}` is the control, from which predictions start: give a perturbation."
        )


def warn_if_above(target: str, dose: float, conditions: Conditions) -> None:
    """Warn when a perturbation was measured, but not at as large a dose."""
    if conditions.is_above(target, dose):
        warnings.warn(
            f"`dose={dose:g}` of {target!r} is above what was measured, up to {conditions.largest_dose(target):g}: the "
            "response is extrapolated.",
            UserWarning,
            stacklevel=5,
        )


def warn_if_untold(table: pd.DataFrame, conditions: Conditions) -> None:
    """Log which categories of the control cells the network has never been told of."""
    for key, known in conditions.categories.items():
        unknown = sorted(set(table[key].astype(str)) - set(known))
        if unknown:
            logger.warning(
                "obs[%r] has %s, which the fit has not seen: those cells are predicted as of none of %s.",
                *(key, unknown, known),
            )


def control_rows(adata: AnnData, params: dict, conditions: Conditions) -> np.ndarray:
    """Positions of control cells; all cells when the columns of perturbation and dose are not there."""
    key, control, dose_key = (
        params["perturbation_key"],
        params.get("control"),
        params.get("dose_key"),
    )
    is_control = np.zeros(adata.n_obs, dtype=bool)
    if key in adata.obs and control is not None:
        is_control |= conditions.names.are_control(adata.obs[key])
    if dose_key is not None and dose_key in adata.obs:
        is_control |= adata.obs[dose_key].to_numpy(dtype=float, na_value=np.nan) == 0
    annotated = key in adata.obs or (dose_key is not None and dose_key in adata.obs)
    if annotated and not is_control.any():
        raise ValueError(
            f"No cell of `adata` is control ({control!r} in obs[{key!r}]): predictions start from control cells. "
            "To start from these, remove the column."
        )
    return np.flatnonzero(is_control) if annotated else np.arange(adata.n_obs)
