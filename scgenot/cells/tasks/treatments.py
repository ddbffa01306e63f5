"""What was done to each cell of a screen: perturbation, dose, control."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.tasks.conditions import tidy_doses


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
        # 0.1 in half precision is 0.09998: what was meant is the shortest number that reads the same
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
            f"`dose_key={dose_key!r}` must be numbers; found {column.dtype}: convert the column, for "
            "example with `pd.to_numeric`."
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
