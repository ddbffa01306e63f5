"""Held-out cells of a screen: which they are, and how they score."""

import warnings
from collections.abc import Collection, Sequence

import numpy as np
from anndata import AnnData

from scgenot import get
from scgenot.cells.keys import COUPLINGS, PARAMS
from scgenot.cells.read import check_column
from scgenot.cells.tasks.conditions import Conditions
from scgenot.cells.tasks.screen import read_perturbations
from scgenot.fit.regions import Scores, pool, score_conditions
from scgenot.model import Genot
from scgenot.tl._simulate import each_of


def fit_of_screen(fitted: AnnData, params: dict, key: str) -> dict:
    """Return `uns[key]` of the cells that a screen was fitted with."""
    if params.get("task") != "perturbation":
        raise ValueError(
            f"`key={key!r}` is a {params.get('task', 'bare model')}: regions are of a screen."
        )
    return get.fit_entry(fitted, key)


def held_out_mask(adata: AnnData, held_out: np.ndarray | str | None) -> np.ndarray:
    """Read which cells are held out; checked."""
    if held_out is None:
        return np.ones(adata.n_obs, dtype=bool)
    if isinstance(held_out, str):
        check_column(adata, held_out, "held_out")
    mask = np.asarray(adata.obs[held_out] if isinstance(held_out, str) else held_out)
    if mask.dtype != bool or mask.shape != (adata.n_obs,) or not mask.any():
        raise ValueError(
            f"`held_out` must be boolean, of length {adata.n_obs} and true somewhere; found {mask.dtype} of shape "
            f"{mask.shape}."
        )
    return mask


def score_held_out(
    adata: AnnData,
    genot: Genot,
    entry: dict,
    cells: np.ndarray,
    target: str | Sequence[str] | None,
    dose: float | Sequence[float] | None,
    groupby: Sequence[str],
    levels: Sequence[float],
    *,
    guidance: float,
    seed: int,
) -> Scores:
    """Score all held-out treated cells; warns when they were fitted, and refuses the control."""
    asked = measured(adata, entry[PARAMS]) if target is None else each_of(target, dose)
    if target is None and dose is not None:
        levels_asked = {level for _, level in each_of("any", dose)}
        asked = [(name, level) for name, level in asked if level in levels_asked]
        if not asked:
            raise ValueError(f"`dose={dose}` has no treated cell among those held out.")
    for name, level in asked:
        refuse_control(name, level, entry[PARAMS])
    fitted = {
        str(name) for coupling in entry[COUPLINGS].values() for name in coupling["target_names"]
    }
    warn_if_among(
        adata,
        fitted,
        "that the model was fitted with: regions that are calibrated on fitted cells are too small for others. Hold "
        "cells out before the fit.",
        stacklevel=4,
    )
    parts = score_conditions(
        adata, genot, entry[PARAMS], cells, asked, groupby, levels, guidance=guidance, seed=seed
    )
    return pool(parts)


def warn_if_among(adata: AnnData, known: Collection[str], why: str, *, stacklevel: int) -> None:
    """Warn when held-out cells have names of cells that should not be among them."""
    if n := int(adata.obs_names.isin(list(known)).sum()):
        warnings.warn(
            f"{n} of the {adata.n_obs} cells of `held_out` have names of cells {why}",
            UserWarning,
            stacklevel=stacklevel,
        )


def refuse_control(target: str | None, dose: float | None, params: dict) -> None:
    """Raise a ValueError when what is asked for is the control, whose cells are the sources."""
    conditions = Conditions.from_dict(params["conditions"])
    if dose == 0 or (target is not None and not conditions.parts(target)):
        found = f"`dose={dose}`" if dose == 0 else f"`target={target!r}`"
        raise ValueError(
            f"{found} is the control, from which predictions start: give treated conditions."
        )


def measured(adata: AnnData, params: dict) -> list[tuple[str, float | None]]:
    """Return the perturbations and doses of the treated cells there are."""
    conditions = Conditions.from_dict(params["conditions"])
    names, doses, is_control = read_perturbations(
        adata,
        params["perturbation_key"],
        params.get("dose_key"),
        conditions.names,
        held_out=True,
    )
    levels = np.full(len(names), None) if doses is None else doses
    return sorted(set(zip(names[~is_control], levels[~is_control], strict=True)))
