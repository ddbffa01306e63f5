"""What was done to each cell: perturbation, dose, control."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.labels import factorize, text_of
from scgenot.cells.tasks.conditions import tidy_doses
from scgenot.cells.tasks.names import Names


@dataclass(frozen=True)
class Treatments:
    """What was done to each cell: name, dose (None without doses), and whether it is control."""

    names: np.ndarray
    doses: np.ndarray | None
    is_control: np.ndarray

    @classmethod
    def read(
        cls, adata: AnnData, perturbation_key: str, dose_key: str | None, names: Names
    ) -> "Treatments":
        """Read the columns; combinations that differ in order only get one name."""
        column, doses = adata.obs[perturbation_key], None
        if column.isna().any():
            raise ValueError(
                f"`perturbation_key={perturbation_key!r}` is missing in {column.isna().sum()} "
                "cells: drop them."
            )
        codes, found = factorize(column)
        texts = sorted(map(text_of, found))
        first = {frozenset(names.parts(text)): text for text in reversed(texts)}
        own = [first[frozenset(names.parts(label))] for label in found]
        is_control = names.are_control(column)
        if dose_key is not None:
            doses = read_doses(adata, dose_key, is_control)
            is_control = is_control | (doses == 0)
        return cls(np.array(own, dtype=object)[codes], doses, is_control)

    def check_control(self, screen, *, held_out: bool) -> None:
        """Raise a ValueError unless there are control and treated cells."""
        where = f"obs[{screen.perturbation_key!r}]"
        if not self.is_control.any() and held_out:
            raise ValueError(
                f"`held_out` has no control cells ({screen.control!r} in {where}), from which "
                "predictions start: add some; they may be of the fit."
            )
        if not self.is_control.any():
            zero = f", nor has any cell dose 0 in obs[{screen.dose_key!r}]"
            raise ValueError(
                f"`control={screen.control!r}` is not in {where}{zero if screen.dose_key else ''}; "
                f"found {sorted(set(self.names))[:20]}."
            )
        if self.is_control.all():
            raise ValueError(
                f"`perturbation_key={screen.perturbation_key!r}` has control cells only: there is "
                "no response to learn."
            )

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


def condition_name(name: str, dose: float | None) -> str:
    """Name a perturbation and dose in tables and messages."""
    return (name or "control") if dose is None else f"{name or 'control'} {dose:g}"


def dose_values(column: pd.Series) -> np.ndarray:
    """Return doses as numbers, NaN where there is none."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    return column.to_numpy(dtype=float, na_value=np.nan)


def read_doses(adata: AnnData, dose_key: str, is_control: np.ndarray) -> np.ndarray:
    """Read doses; a control cell may have none or 0."""
    column = adata.obs[dose_key]
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.dtype.kind not in "biuf":
        raise ValueError(f"`dose_key={dose_key!r}` must be numbers; found {column.dtype}.")
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
