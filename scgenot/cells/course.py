"""A fitted course of development, seen from the cells that are there now."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.keys import PAIRS, PARAMS
from scgenot.cells.times import TimeScale


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

    def ends(self, start: float | str | None, end: float | str | None) -> tuple[float, float]:
        """Return first and last time of a question; None for those of the fit."""
        scale = scale_of(self.params)
        first = self.steps[0][0] if start is None else scale.find(start, "start")
        last = max(later for _, later in self.steps) if end is None else scale.find(end, "end")
        if first >= last:
            raise ValueError(
                f"`start` is {first:g} and `end` is {last:g}: `start` must be the earlier time."
            )
        return first, last

    def onward(self, end: float) -> dict[float, float]:
        """Return for each time from which fitted steps lead to `end` the next one, on the way of fewest steps."""
        following, reached = {}, [end]
        for later in reached:  # grows while it is walked, nearest first
            for earlier, target in self.steps:
                if target == later and earlier not in following:
                    following[earlier] = later
                    reached.append(earlier)
        return following

    def path(self, start: float, end: float) -> list[tuple[float, float]]:
        """Return the fewest fitted steps from one time to another."""
        following = self.onward(end)
        if start not in following:
            shown = ", ".join(f"{earlier:g} to {later:g}" for earlier, later in self.steps)
            raise ValueError(
                f"no fitted steps lead from `start={start:g}` to `end={end:g}`; fitted are {shown}. Fit with `pairs` "
                "that link them."
            )
        steps = [(start, following[start])]
        while steps[-1][1] != end:
            steps.append((steps[-1][1], following[steps[-1][1]]))
        return steps


def read_course(adata: AnnData, entry: dict, key: str) -> Course:
    """Read the fit of a time course."""
    params = entry[PARAMS]
    if params.get("task") != "trajectory":
        raise ValueError(
            f"`key={key!r}` is a fit of a {params.get('task')}: this is a question to one of `sg.tl.fit_trajectory`."
        )
    if params["time_key"] not in adata.obs:
        raise KeyError(
            f"{params['time_key']!r}, the time of the fit {key!r}, is not in obs; found {list(adata.obs)}."
        )
    if not adata.obs_names.is_unique:
        raise ValueError(
            "obs names of `adata` are not unique: call `adata.obs_names_make_unique()`."
        )
    return Course(entry, fitted_times(adata.obs[params["time_key"]], params), adata.obs_names)


def scale_of(params: dict) -> TimeScale:
    """Return the scale on which a fit has read its times."""
    return TimeScale.from_dict(params["time_scale"])


def fitted_times(column: pd.Series, params: dict) -> np.ndarray:
    """Read when cells were seen, as the fit read it; NaN for times not of the fit."""
    return scale_of(params).times_of(column)
