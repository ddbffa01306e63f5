"""Measured, predicted and simulated cells under perturbations."""

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.embedding import embedding_of
from scgenot.cells.labels import factorize, text_of
from scgenot.cells.read import dense, layer_names, matrix, unit_of
from scgenot.cells.tasks import Screen
from scgenot.cells.tasks.conditions import same_dose, tidy_doses
from scgenot.cells.tasks.treatments import dose_values
from scgenot.pl._slots import obs_column, task_of


def simulated_screen(adata: AnnData, simulated: AnnData, key: str, plot: str) -> Screen:
    """Return the screen of measured and simulated cells, from whichever have the fit."""
    if not isinstance(simulated, AnnData):
        raise TypeError(
            f"`simulated` must be what `sg.tl.simulate` returned; found {type(simulated).__name__}."
        )
    screen = task_of(adata if key in adata.uns else simulated, key, Screen, plot)
    for name, cells in (("adata", adata), ("simulated", simulated)):
        obs_column(cells, screen.perturbation_key, "perturbation_key", name)
        if screen.dose_key is not None:
            obs_column(cells, screen.dose_key, "dose_key", name)
    return screen


def predicted_condition(
    adata: AnnData, fit, target: str | None, dose: float | None
) -> tuple[str | None, float | None, str | None]:
    """Return the perturbation and dose that was predicted, and its name; None without a record."""
    record, names = fit.predicted(adata), fit.task.names()
    if record is None:
        return target, dose, None
    found, at = str(record["target"]), record.get("dose")
    other = target is not None and set(names.parts(target)) != set(names.parts(found))
    if other or (dose is not None and at is not None and not same_dose(at, dose)):
        named = {"target": found if target is None else target, "dose": dose}
        asked = ", ".join(f"{name}={value!r}" for name, value in named.items() if value is not None)
        raise ValueError(
            f"`{asked}` was not predicted with `key={fit.key!r}`, "
            f"but {title_of(repr(found), at)}: omit these, "
            f"or run `sg.tl.predict(adata, {asked}, key={fit.key!r})`."
        )
    return found, at, title_of(found, at)


def title_of(target: str, dose: float | None) -> str:
    """Name a perturbation and dose in titles and legends."""
    return target if dose is None else f"{target}, dose {dose:g}"


def simulated_targets(simulated: AnnData, screen: Screen, target) -> list[str]:
    """Return the perturbations of simulated cells, or those of them that were asked for."""
    found = list(map(text_of, factorize(simulated.obs[screen.perturbation_key])[1]))
    asked = found if target is None else feature_names(target)
    if not asked or not all(screen.are_named(simulated, name).any() for name in asked):
        raise ValueError(
            f"`target={target!r}` is not in `simulated`; found {found}: "
            "run `sg.tl.simulate` for it."
        )
    return asked


def one_condition(
    simulated: AnnData, screen: Screen, target: str | None, dose: float | None
) -> tuple[str, float | None]:
    """Return the perturbation and dose asked for, or the only ones that are there."""
    targets = simulated_targets(simulated, screen, target)
    if len(targets) > 1:
        raise ValueError(f"`target` is needed: `simulated` has cells of {targets}.")
    target = targets[0]
    if screen.dose_key is None:
        return target, None
    found = sorted(set(doses(simulated, screen, screen.are_named(simulated, target)).tolist()))
    if dose is None and len(found) > 1:
        raise ValueError(f"`dose` is needed: `simulated` has {target!r} at {found}.")
    if dose is not None and not same_dose(np.array(found), dose).any():
        raise ValueError(f"`dose={dose}` of {target!r} is not in `simulated`; found {found}.")
    return target, found[0] if dose is None else dose


def doses(adata: AnnData, screen: Screen, rows: np.ndarray) -> np.ndarray:
    """Return the doses of some cells, those that differ by rounding made equal."""
    found = dose_values(adata.obs[screen.dose_key])[rows]
    if (n_bad := int(np.isinf(found).sum())) > 0:
        raise ValueError(
            f"obs[{screen.dose_key!r}] of `adata` is infinite in {n_bad} cells: doses are numbers."
        )
    return tidy_doses(found)


def measured_table(
    adata: AnnData, simulated: AnnData, features: list[str], layer: str | None, screen: Screen
) -> pd.DataFrame:
    """Return features of measured cells: of a layer, or of what was fitted or embedded."""
    found = _fitted_layer(adata, simulated, screen) if layer is None else layer
    if layer is None and found is not None and found not in adata.layers:
        raise KeyError(
            f"`layer={found!r}`, of the fit, is not in layers of `adata`; "
            f"found {layer_names(adata)}: pass the layer with the same values, 'X' for X."
        )
    return feature_table(adata, features, found, "adata")


def _fitted_layer(adata: AnnData, simulated: AnnData, screen: Screen) -> str | None:
    """Return the layer that was fitted, or that the representation was made of; None for X."""
    if screen.use_rep == "X":
        return screen.layer
    # simulated cells keep the embedding, others may have one of their own
    sides = (embedding_of(side, screen.use_rep) for side in (simulated, adata))
    return next((embedding.layer for embedding in sides if embedding is not None), None)


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
    columns = adata.var_names.get_indexer(features)
    values = matrix(adata[:, columns], layer, name=name)
    found = pd.DataFrame(dense(values, f"`{name}`").astype(float), columns=features)
    found.attrs["unit"] = unit_of(adata, layer)
    return found


def feature_names(features) -> list[str]:
    """Return a list of names, also for a single name."""
    return list(features) if np.iterable(features) and not isinstance(features, str) else [features]
