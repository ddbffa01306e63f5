"""Control, treated and simulated cells of a screen."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.keys import PARAMS, Keys
from scgenot.pl._colors import labels_of
from scgenot.pl._slots import dense, fit_slot, obs_column


def screen_params(adata: AnnData, key: str, simulated: AnnData | None = None) -> dict:
    """Return the parameters of a fit of perturbations, whose column must be in obs."""
    knows = simulated if simulated is not None and key not in adata.uns else adata
    params = fit_slot(knows, key, PARAMS)
    if params.get("task") != "perturbation":
        raise ValueError(
            f"`key={key!r}` is a fit of a {params.get('task')}, "
            "not one of `sg.tl.fit_perturbation`."
        )
    obs_column(adata, params["perturbation_key"], "perturbation_key", "adata")
    return params


def doses(adata: AnnData, params: dict) -> np.ndarray:
    """Return the dose of each cell, shape `(n,)`; NaN where there is none."""
    if "dose_key" not in params:
        return np.full(adata.n_obs, np.nan)
    column = obs_column(adata, params["dose_key"], "dose_key", "adata")
    return column.to_numpy(dtype=float, na_value=np.nan)


def is_control(adata: AnnData, params: dict) -> np.ndarray:
    """Return which cells are control, by name or by dose 0."""
    names = adata.obs[params["perturbation_key"]].astype(str).to_numpy()
    return (names == str(params.get("control"))) | (doses(adata, params) == 0)


def is_treated(
    adata: AnnData, params: dict, target: str | None, dose: float | None = None
) -> np.ndarray:
    """Return which cells are treated, with a perturbation and dose or with any."""
    return ~is_control(adata, params) & is_named(adata, params, target, dose)


def is_named(
    adata: AnnData, params: dict, target: str | None, dose: float | None = None
) -> np.ndarray:
    """Return which cells have the label of a perturbation, and the dose, which may be 0."""
    named = np.ones(adata.n_obs, dtype=bool)
    if target is not None:
        names = adata.obs[params["perturbation_key"]].astype(str)
        separator = params["conditions"].get("separator")
        parts = _parts(target, separator)
        same = {name: _parts(name, separator) == parts for name in names.unique()}
        named &= names.map(same).to_numpy(dtype=bool)
    if dose is not None and "dose_key" in params:
        named &= np.isclose(doses(adata, params), dose)
    return named


def predicted_condition(
    adata: AnnData, key: str, params: dict, target: str | None, dose: float | None
) -> tuple[str | None, float | None, str | None]:
    """Return the perturbation and dose that was predicted, and its name; None without a record."""
    record = adata.uns.get(Keys(key).predicted)
    if record is None:
        return target, dose, None
    found, at = str(record["target"]), record.get("dose")
    separator = params["conditions"].get("separator")
    other = target is not None and _parts(str(target), separator) != _parts(found, separator)
    if other or (dose is not None and at is not None and not np.isclose(dose, at)):
        named = {"target": found if target is None else target, "dose": dose}
        asked = ", ".join(f"{name}={value!r}" for name, value in named.items() if value is not None)
        raise ValueError(
            f"`{asked}` was not predicted with `key={key!r}`, "
            f"but {condition_name(repr(found), at)}: omit these, "
            f"or run `sg.tl.predict(adata, {asked}, key={key!r})`."
        )
    return found, at, condition_name(found, at)


def condition_name(target: str, dose: float | None) -> str:
    """Name a perturbation and dose in titles and legends."""
    return target if dose is None else f"{target}, dose {dose:g}"


def _parts(name: str, separator: str | None) -> frozenset[str]:
    """Return the perturbations of a combination, in any order."""
    return frozenset(part.strip() for part in (name.split(separator) if separator else [name]))


def simulated_targets(simulated: AnnData, params: dict) -> list[str]:
    """Return the perturbations of simulated cells."""
    key = params["perturbation_key"]
    if not isinstance(simulated, AnnData):
        raise TypeError(
            f"`simulated` must be what `sg.tl.simulate` returned; found {type(simulated).__name__}."
        )
    return labels_of(obs_column(simulated, key, "perturbation_key", "simulated").astype(str))


def one_condition(
    simulated: AnnData, params: dict, target: str | None, dose: float | None
) -> tuple[str, float | None]:
    """Return the perturbation and dose asked for, or the only ones that are there."""
    targets = simulated_targets(simulated, params)
    if target is None and len(targets) > 1:
        raise ValueError(f"`target` is needed: `simulated` has cells of {targets}.")
    if target is not None and str(target) not in targets:
        raise ValueError(
            f"`target={target!r}` is not in `simulated`; found {targets}: "
            "run `sg.tl.simulate` for it."
        )
    target = targets[0] if target is None else str(target)
    if "dose_key" not in params:
        return target, None
    here = simulated.obs[params["perturbation_key"]].astype(str).to_numpy() == target
    found = sorted(set(doses(simulated, params)[here].tolist()))
    if dose is None and len(found) > 1:
        raise ValueError(f"`dose` is needed: `simulated` has {target!r} at {found}.")
    if dose is not None and not np.isclose(found, dose).any():
        raise ValueError(f"`dose={dose}` of {target!r} is not in `simulated`; found {found}.")
    return target, found[0] if dose is None else dose


def measured_table(
    adata: AnnData, simulated: AnnData, features: list[str], layer: str | None, params: dict
) -> pd.DataFrame:
    """Return features of measured cells: of a layer, or of what was fitted or embedded."""
    found = _fitted_layer(adata, simulated, params) if layer is None else layer
    if layer is None and found is not None and found not in adata.layers:
        raise KeyError(
            f"`layer={found!r}`, of the fit, is not in layers of `adata`; "
            f"found {list(adata.layers)}: pass the layer with the same values, 'X' for X."
        )
    return feature_table(adata, features, None if found == "X" else found, "adata")


def _fitted_layer(adata: AnnData, simulated: AnnData, params: dict) -> str | None:
    """Return the layer that was fitted, or that the representation was made of; None for X."""
    rep = params.get("use_rep", "X")
    if rep == "X":
        return params.get("layer")
    # simulated cells keep the embedding, others may have one of their own
    for side in (simulated, adata):
        stored = side.uns.get(rep.removeprefix("X_"))
        if isinstance(stored, Mapping) and PARAMS in stored:
            return stored[PARAMS].get("layer")
    return None


def feature_table(
    adata: AnnData, features: list[str], layer: str | None, name: str
) -> pd.DataFrame:
    """Return the values of some features in all cells."""
    missing = [feature for feature in features if feature not in adata.var_names]
    if missing or not features:
        shown = ", ".join(adata.var_names[:5])
        raise KeyError(
            f"`features` {missing or 'is empty'}: name some of var of `{name}` ({shown}, ...)."
        )
    if layer is not None and layer not in adata.layers:
        raise KeyError(
            f"`layer={layer!r}` is not in layers of `{name}`; found {list(adata.layers)}."
        )
    columns = adata.var_names.get_indexer(features)
    values = (adata.X if layer is None else adata.layers[layer])[:, columns]
    return pd.DataFrame(dense(values).astype(float), columns=features)


def feature_names(features) -> list[str]:
    """Return a list of names, also for a single name."""
    return [features] if isinstance(features, str) else list(features)
