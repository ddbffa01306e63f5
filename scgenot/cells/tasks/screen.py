"""A perturbation screen into pairs: control to treated cells of one condition and stratum."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.labels import factorize, texts_of
from scgenot.cells.read import check_anndata, check_column, representation
from scgenot.cells.strata import Linked, Strata, check_list, stratum_text
from scgenot.cells.tasks.conditions import Conditions, make_tokens, tidy_doses
from scgenot.cells.tasks.names import Names
from scgenot.pair import Pair

logger = logging.getLogger("scgenot")


def by_perturbation(
    adata: AnnData,
    perturbation_key: str,
    control: str | None,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    dose_key: str | None = None,
    embedding: pd.DataFrame | None = None,
    separator: str | None = "+",
    covariates: Sequence[str] = (),
    network_covariates: Sequence[str] = (),
) -> tuple[list[Linked], Conditions]:
    """Pair the control cells with those of each perturbation and dose."""
    check_list(covariates, "covariates")
    check_list(network_covariates, "network_covariates")
    if separator is not None and (not isinstance(separator, str) or not separator):
        raise TypeError(
            f"`separator={separator!r}` must be text, or None when names are never combinations."
        )
    reading = read_names(adata, perturbation_key, control, separator, embedding)
    names, doses, is_control = read_perturbations(adata, perturbation_key, dose_key, reading)
    if not adata.obs_names.is_unique:
        raise ValueError(
            "obs names of `adata` are not unique: call `adata.obs_names_make_unique()`."
        )
    cells = representation(adata, use_rep, layer=layer)
    told = [key for key in network_covariates if key not in covariates]
    Strata.read(adata, told, argument="network_covariates")  # errors under their own name
    strata = Strata.read(adata, [*covariates, *told])
    groups, left_out = group_rows(names, doses, is_control)
    controls, sides = np.flatnonzero(is_control), {}
    for asked, target in groups.items():
        source = strata.shared(controls, target)
        sides[asked] = source, target, strata.split(source, target)
    strata.report({pair_name(*asked): found for asked, found in sides.items()}, left_out=left_out)
    sides = {asked: found for asked, found in sides.items() if found[2]}
    kept = np.concatenate([target for _, target, _ in sides.values()])
    conditions = vocabulary(
        *(adata, names[kept], None if doses is None else doses[kept]),
        *(embedding, reading, network_covariates),
    )
    if doses is not None:
        # the control paired with itself is what tells a network where doses begin
        parts = strata.split(controls, controls)
        sides[reading.control or "", 0.0] = controls, controls, parts
    linked, sources = [], {}
    for (name, dose), (_, _, parts) in sides.items():
        label = pair_name(name, dose)
        for values, source, treated in parts:
            stratum = stratum_text(values, strata.covariates)
            told_values = shared_values(
                adata.obs[list(network_covariates)].iloc[np.concatenate([source, treated])]
            )
            pair = Pair(
                # one array for all pairs of the same control cells: in training they are kept once
                source=sources.setdefault(source.tobytes(), cells[source]),
                target=cells[treated],
                condition=conditions.encode(name, dose, told_values),
                name=f"{label}, {stratum}" if stratum else label,
            )
            labels = {
                "perturbation": name or "control",
                **({} if doses is None else {"dose": dose}),
                "stratum": stratum,
            }
            linked.append(Linked(pair, source, treated, labels, values))
    return linked, conditions


def pair_name(name: str, dose: float | None) -> str:
    """Name a perturbation and dose in tables and messages."""
    return (name or "control") if dose is None else f"{name or 'control'} {dose:g}"


def read_names(
    adata: AnnData,
    perturbation_key: str,
    control: str | None,
    separator: str | None,
    embedding: pd.DataFrame | None,
) -> Names:
    """Decide how the names of a screen are read."""
    check_anndata(adata)
    check_column(adata, perturbation_key, "perturbation_key")
    rows = embedding.index if isinstance(embedding, pd.DataFrame) else ()
    return Names.read(adata.obs[perturbation_key], control, separator, rows)


def read_perturbations(
    adata: AnnData,
    perturbation_key: str,
    dose_key: str | None,
    reading: Names,
    *,
    held_out: bool = False,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Read the perturbation and dose of each cell, and which cells are control; checked."""
    check_anndata(adata)
    for argument, key in (("perturbation_key", perturbation_key), ("dose_key", dose_key)):
        if key is not None:
            check_column(adata, key, argument)
    column, control = adata.obs[perturbation_key], reading.control
    if column.isna().any():
        raise ValueError(
            f"`perturbation_key={perturbation_key!r}` is missing in {column.isna().sum()} cells: "
            "drop them."
        )
    codes, found = factorize(column)
    texts = texts_of(found)
    first = {frozenset(reading.parts(name)): name for name in sorted(texts, reverse=True)}
    names = np.array([first[frozenset(reading.parts(name))] for name in texts], dtype=object)[codes]
    is_control = reading.are_control(column)
    doses = None
    if dose_key is not None:
        doses = read_doses(adata, dose_key, is_control)
        is_control = is_control | (doses == 0)
    if not is_control.any() and held_out:
        raise ValueError(
            f"`held_out` has no control cells ({control!r} in obs[{perturbation_key!r}]), from which predictions "
            "start: add some; they may be of the fit."
        )
    if not is_control.any():
        hint = "" if dose_key is None else f", nor has any cell dose 0 in obs[{dose_key!r}]"
        raise ValueError(
            f"`control={control!r}` is not in obs[{perturbation_key!r}]{hint}; found "
            f"{sorted(set(names))[:20]}."
        )
    if is_control.all():
        raise ValueError(
            f"`perturbation_key={perturbation_key!r}` has control cells only: there is no response to learn."
        )
    return names, doses, is_control


def read_doses(adata: AnnData, dose_key: str, is_control: np.ndarray) -> np.ndarray:
    """Read doses; a control cell may have none or 0."""
    column = adata.obs[dose_key]
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.dtype.kind not in "biuf":
        raise ValueError(f"`dose_key={dose_key!r}` must be numbers; found {column.dtype}.")
    doses = column.to_numpy(dtype=float, na_value=np.nan).copy()
    doses[is_control & np.isnan(doses)] = 0
    if not np.isfinite(doses).all() or (doses < 0).any():
        bad = int((~(doses >= 0) | np.isinf(doses)).sum())
        raise ValueError(
            f"`dose_key={dose_key!r}` is missing, negative or infinite in {bad} treated cells."
        )
    if (doses[is_control] > 0).any():
        raise ValueError(
            f"`dose_key={dose_key!r}` is above 0 in {(doses[is_control] > 0).sum()} control cells: control is dose 0."
        )
    return tidy_doses(doses)


def vocabulary(
    adata: AnnData,
    names: np.ndarray,
    doses: np.ndarray | None,
    embedding: pd.DataFrame | None,
    reading: Names,
    network_covariates: Sequence[str],
) -> Conditions:
    """Return the vocabulary of the treated cells' names and doses."""
    combinations = [reading.parts(name) for name in sorted(set(names))]
    known = sorted(set(chain.from_iterable(combinations)))
    if min(map(len, combinations)) == 0:
        raise ValueError(
            "A treated cell has a perturbation without a name: give it one, or a dose of 0."
        )
    categories, numbers = {}, {}
    for key in network_covariates:
        column = adata.obs[key]
        if column.dtype.kind in "iuf":
            numbers[key] = float(column.mean()), float(column.std(ddof=0)) or 1.0
        else:
            categories[key] = texts_of(factorize(column)[1])
    conditions = Conditions(
        control=reading.control,
        tokens=make_tokens(known, embedding),
        known=known,
        n_slots=max(map(len, combinations)),
        separator=reading.separator,
        doses=None if doses is None else (float(doses.min()), float(doses.max())),
        categories=categories,
        numbers=numbers,
    )
    if doses is None:
        return conditions
    largest = pd.Series(doses).groupby([conditions.label(name) for name in names]).max()
    return replace(conditions, largest=largest.to_dict())


def group_rows(
    names: np.ndarray, doses: np.ndarray | None, is_control: np.ndarray
) -> tuple[dict[tuple[str, float | None], np.ndarray], list[str]]:
    """Return the positions of the treated cells of each perturbation and dose, and what has one cell."""
    levels = np.ones(len(names)) if doses is None else doses
    treated = pd.DataFrame({"name": names, "dose": levels})[~is_control]
    rows = np.flatnonzero(~is_control)
    groups, left_out = {}, []
    for (name, dose), found in treated.groupby(["name", "dose"]).indices.items():
        if len(found) < 2:
            at = "" if doses is None else f" {dose:g}"
            left_out.append(f"{name}{at} (1 cell)")
            continue
        groups[str(name), None if doses is None else float(dose)] = rows[found]
    if not groups:
        raise ValueError("No perturbation has 2 cells or more: there is no response to learn.")
    return groups, left_out


def shared_values(table: pd.DataFrame) -> dict[str, object]:
    """Return what cells have in common: the value where it is one, the mean of several numbers."""
    values = {}
    for key, column in table.items():
        if column.nunique() == 1:
            values[key] = column.iloc[0]
        elif column.dtype.kind in "iuf":
            values[key] = float(column.mean())
    return values
