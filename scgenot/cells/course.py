"""A fitted course of development, seen from the cells that are there now."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.keys import PAIRS, PARAMS
from scgenot.cells.times import find_time


@dataclass(frozen=True)
class Course:
    """Steps of a fit of `fit_trajectory`, and when each cell was seen."""

    entry: dict
    times: np.ndarray
    names: pd.Index

    @property
    def params(self) -> dict:
        """Parameters of the fit."""
        return self.entry[PARAMS]

    @property
    def sampled(self) -> np.ndarray:
        """All times of the course that was fitted, in order."""
        return np.asarray(self.params["times"], dtype=float)

    @property
    def steps(self) -> list[tuple[float, float]]:
        """Earlier and later time of each fitted step, in order."""
        pairs = self.entry[PAIRS]
        return sorted(
            {
                (float(a), float(b))
                for a, b in zip(pairs["source_time"], pairs["target_time"], strict=True)
            }
        )

    def rows(self, earlier: float, later: float) -> list[int]:
        """Rows of the table of pairs that make a step, one a stratum."""
        pairs = self.entry[PAIRS]
        return np.flatnonzero(
            (pairs["source_time"] == earlier) & (pairs["target_time"] == later)
        ).tolist()


def read_course(adata: AnnData, entry: dict, key: str) -> Course:
    """Read the fit of a time course."""
    params = entry[PARAMS]
    if params.get("task") != "trajectory":
        raise ValueError(
            f"`key={key!r}` is a fit of a {params.get('task')}: "
            "a fit of `sg.tl.fit_trajectory` is needed."
        )
    if params["time_key"] not in adata.obs:
        raise KeyError(
            f"{params['time_key']!r}, the time of the fit {key!r}, is not in obs; "
            f"found {list(adata.obs)}."
        )
    if not adata.obs_names.is_unique:
        raise ValueError(
            "obs names of `adata` are not unique: call `adata.obs_names_make_unique()`."
        )
    return Course(entry, fitted_times(adata.obs[params["time_key"]], params), adata.obs_names)


def fitted_times(column: pd.Series, params: dict) -> np.ndarray:
    """Read the times of cells as the fit read them; NaN for times that are not in the fit."""
    known, labels = np.asarray(params["times"], dtype=float), list(params["time_labels"])
    # not read anew: the time of an ordered category is its position, which shifts when the first
    # ones are gone
    by_label = {}
    for label in column.dropna().unique():
        try:
            by_label[label] = find_time(label, known, labels, "time")
        except ValueError:
            by_label[label] = np.nan
    return np.array([by_label.get(label, np.nan) for label in column], dtype=float)
