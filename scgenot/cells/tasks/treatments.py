"""What was done to each cell: perturbation, dose, and which cells are control."""

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.labels import factorize, text_of
from scgenot.cells.read import check_column
from scgenot.cells.tasks.conditions import Conditions, make_tokens, tidy_doses


@dataclass(frozen=True)
class Treatments:
    """What was done to each cell: name, dose (None without doses), and whether it is control."""

    names: np.ndarray
    doses: np.ndarray | None
    is_control: np.ndarray

    @property
    def control_rows(self) -> np.ndarray:
        """Positions of control cells."""
        return np.flatnonzero(self.is_control)

    def groups(self) -> tuple[dict[tuple[str, float | None], np.ndarray], list[str]]:
        """Return the treated cells of each perturbation and dose, and those with a single cell."""
        levels = np.ones(len(self.names)) if self.doses is None else self.doses
        treated = pd.DataFrame({"name": self.names, "dose": levels})[~self.is_control]
        rows, groups, single = np.flatnonzero(~self.is_control), {}, []
        for (name, dose), found in treated.groupby(["name", "dose"]).indices.items():
            dose = None if self.doses is None else float(dose)
            if len(found) < 2:
                single.append(f"{condition_name(name, dose)} (1 cell)")
            else:
                groups[str(name), dose] = rows[found]
        if not groups:
            raise ValueError("No perturbation has 2 cells or more: there is no response to learn.")
        return groups, single


def read_treatments(screen, adata: AnnData, *, held_out: bool) -> Treatments:
    """Read the perturbation and dose of each cell, and which are control; checked."""
    key, dose_key = screen.perturbation_key, screen.dose_key
    check_column(adata, key, "perturbation_key")
    if dose_key is not None:
        check_column(adata, dose_key, "dose_key")
    column = adata.obs[key]
    if column.isna().any():
        raise ValueError(
            f"`perturbation_key={key!r}` is missing in {column.isna().sum()} cells: drop them."
        )
    names = screen.names(column)
    codes, found = factorize(column)
    texts = sorted(map(text_of, found))
    first = {frozenset(names.parts(text)): text for text in reversed(texts)}
    own = [first[frozenset(names.parts(label))] for label in found]
    own, is_control = np.array(own, dtype=object)[codes], names.are_control(column)
    doses = None
    if dose_key is not None:
        doses = read_doses(adata, dose_key, is_control)
        is_control = is_control | (doses == 0)
    check_control(screen, own, is_control, held_out=held_out)
    return Treatments(own, doses, is_control)


def check_control(screen, names: np.ndarray, is_control: np.ndarray, *, held_out: bool) -> None:
    """Raise a ValueError unless there are control and treated cells."""
    key, dose_key, control = screen.perturbation_key, screen.dose_key, screen.control
    if not is_control.any() and held_out:
        raise ValueError(
            f"`held_out` has no control cells ({control!r} in obs[{key!r}]), from which "
            "predictions start: add some; they may be of the fit."
        )
    if not is_control.any():
        zero = f", nor has any cell dose 0 in obs[{dose_key!r}]" if dose_key else ""
        raise ValueError(
            f"`control={control!r}` is not in obs[{key!r}]{zero}; found {sorted(set(names))[:20]}."
        )
    if is_control.all():
        raise ValueError(
            f"`perturbation_key={key!r}` has control cells only: there is no response to learn."
        )


def vocabulary(screen, adata: AnnData, read: Treatments, treated: np.ndarray) -> Conditions:
    """Return the vocabulary of the treated cells."""
    names = screen.names(adata.obs[screen.perturbation_key])
    combinations = {name: names.parts(name) for name in sorted(set(read.names[treated]))}
    known = sorted(set(chain.from_iterable(combinations.values())))
    if min(map(len, combinations.values())) == 0:
        raise ValueError(
            "A treated cell has a perturbation without a name: give it one, or a dose of 0."
        )
    categories, numbers = {}, {}
    for key in screen.network_covariates:
        column = adata.obs[key]
        if column.dtype.kind in "iuf":
            numbers[key] = float(column.mean()), float(column.std(ddof=0)) or 1.0
        else:
            categories[key] = list(map(text_of, factorize(column)[1]))
    doses = None if read.doses is None else read.doses[treated]
    conditions = Conditions(
        control=names.control,
        tokens=make_tokens(known, screen.embedding),
        known=known,
        n_slots=max(map(len, combinations.values())),
        separator=screen.separator,
        doses=None if doses is None else (float(doses.min()), float(doses.max())),
        categories=categories,
        numbers=numbers,
    )
    if doses is None:
        return conditions
    labels = [conditions.label(name) for name in read.names[treated]]
    return replace(conditions, largest=pd.Series(doses).groupby(labels).max().to_dict())


def condition_name(name: str, dose: float | None) -> str:
    """Name a perturbation and dose in tables and messages."""
    return (name or "control") if dose is None else f"{name or 'control'} {dose:g}"


def dose_values(column: pd.Series) -> np.ndarray:
    """Return doses as numbers, NaN where there is none."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    values = column.to_numpy(dtype=float, na_value=np.nan)
    size = getattr(column.dtype, "itemsize", 8)
    if column.dtype.kind == "f" and size < 8:
        # 0.1 in half precision is 0.09998: what was meant is the shortest number that reads the
        # same
        levels, codes = np.unique(values, return_inverse=True)
        values = np.array([float(str(level)) for level in levels.astype(f"f{size}")])[codes]
    return values


def read_doses(adata: AnnData, dose_key: str, is_control: np.ndarray) -> np.ndarray:
    """Read doses; a control cell may have none or 0."""
    column = adata.obs[dose_key]
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.dtype.kind not in "biuf":
        raise ValueError(
            f"`dose_key={dose_key!r}` must be numbers; found {column.dtype}: convert the column, "
            "for example with `pd.to_numeric`."
        )
    doses = dose_values(column).copy()
    doses[is_control & np.isnan(doses)] = 0
    if not np.isfinite(doses).all() or (doses < 0).any():
        bad = int((~(doses >= 0) | np.isinf(doses)).sum())
        raise ValueError(
            f"`dose_key={dose_key!r}` is missing, negative or infinite in {bad} treated cells."
        )
    if (doses[is_control] > 0).any():
        raise ValueError(
            f"`dose_key={dose_key!r}` is above 0 in {(doses[is_control] > 0).sum()} control cells: "
            "control is dose 0."
        )
    return tidy_doses(doses)


def shared_values(table: pd.DataFrame) -> dict[str, object]:
    """Return what cells have in common: the value where it is one, the mean of several numbers."""
    values = {}
    for key, column in table.items():
        if column.nunique() == 1:
            values[key] = column.iloc[0]
        elif column.dtype.kind in "iuf":
            values[key] = float(column.mean())
    return values
