"""A time course: consecutive time points, or any that are asked for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from anndata import AnnData

from scgenot.cells.embedding import read_slot
from scgenot.cells.read import check_column, check_unique, named_rep, representation
from scgenot.cells.strata import Strata, stratum_text
from scgenot.cells.tasks.task import refuse_dose
from scgenot.cells.times import TimeScale
from scgenot.pair import Link, Pair, Question


@dataclass
class TimeCourse:
    """Snapshots of a population at several times.

    Parameters
    ----------
    time_key, use_rep, layer, adjust, pairs, growth_key, covariates
        As in :func:`scgenot.tl.fit_trajectory`.
    scale
        Times of the fit, set by `links`.
    steps
        Earlier and later time of each fitted pair, sorted, set by `links`.

    See Also
    --------
    scgenot.tl.fit_trajectory : fits it.
    """

    time_key: str
    use_rep: str | None = None
    layer: str | None = None
    adjust: bool = True
    pairs: Sequence[tuple] | None = None
    growth_key: str | None = None
    covariates: Sequence[str] = ()
    scale: TimeScale | None = None
    steps: tuple[tuple[float, float], ...] = ()

    name = "trajectory"
    made_by = "fit_trajectory"
    one_space = True
    weights_are_growth = True
    # of the mean cost: on clones as much mass stays in the clone as in the exact plan, at .05 a
    # fifth less
    epsilon = 0.01
    other_epsilon = 0.05
    learning = {"displacement": True}  # noqa: RUF012

    def links(self, adata: AnnData) -> list[Link]:
        """Pair the time points."""
        self.scale, times = TimeScale.read(adata, self.time_key)
        check_unique(adata, "obs")
        steps = choose_steps(self.scale, times, self.time_key, self.pairs)
        self.steps = tuple(sorted(steps))
        self.use_rep = named_rep(adata, self.use_rep, self.layer)
        slot = read_slot(adata, self, self.use_rep)
        self.adjust = slot != self.use_rep
        cells = representation(adata, slot, layer=self.layer)
        rates = read_rates(adata, self.growth_key)
        strata, parts = Strata.read(adata, self.covariates), {}
        for step in steps:
            sides = [np.flatnonzero(times == time) for time in step]
            parts[step] = *sides, strata.split(*sides)
        strata.report({f"{step[0]:g} to {step[1]:g}": part for step, part in parts.items()})
        found = []
        for (earlier, later), (_, _, split) in parts.items():
            for stratum, source, target in split:
                grown = None if rates is None else relative_growth(rates[source], later - earlier)
                where, name = stratum_text(stratum, strata.covariates), f"{earlier:g} to {later:g}"
                pair = Pair(
                    source=cells[source],
                    target=cells[target],
                    source_weights=grown,
                    condition=self.condition(earlier, later),
                    name=f"{name}, {where}" if where else name,
                )
                labels = {"source_time": earlier, "target_time": later}
                found.append(Link(pair, source, target, labels, stratum))
        return found

    def condition(self, earlier: float, later: float) -> np.ndarray:
        """Source time and step over the length of the time course, the inputs of the network."""
        start, end = self.scale.times[0], self.scale.times[-1]
        return np.array([(earlier - start) / (end - start), (later - earlier) / (end - start)])

    def times(self, adata: AnnData) -> np.ndarray:
        """Time of each cell on the scale of the fit; NaN for times that are not in the fit."""
        check_column(adata, self.time_key, "time_key of the fit")
        return self.scale.times_of(adata.obs[self.time_key])

    def ask(self, adata: AnnData, target=None, *, dose: float | None = None) -> Question:
        """Ask each cell at the source time of a fitted step for its next one, or for `target`."""
        refuse_dose(dose, self)
        times, steps = self.times(adata), self.steps
        if target is not None:
            wanted = self.scale.find(target, "target")
            steps = [step for step in steps if step[1] == wanted]
        condition, reached = np.full((adata.n_obs, 2), np.nan), np.full(adata.n_obs, np.nan)
        for earlier, later in reversed(steps):  # sorted: the shortest step of a time comes last
            condition[times == earlier] = self.condition(earlier, later)
            reached[times == earlier] = later
        rows = np.flatnonzero(np.isfinite(reached))
        if len(rows) == 0:
            to = "" if target is None else f" to {target}"
            raise ValueError(
                f"No cell of `adata` is at the source time of a fitted step{to}: the fit has the "
                f"steps {[tuple(step) for step in self.steps]}, the cells are at "
                f"{adata.obs[self.time_key].unique().tolist()}."
            )
        answer = {self.time_key: self.scale.labels_of(reached[rows])}
        return Question(rows, condition[rows], answer, "later" if target is None else str(target))

    def to_dict(self) -> dict:
        """Return what an AnnData can hold."""
        return {
            "time_key": self.time_key,
            "times": self.scale.times.tolist(),
            "time_labels": [str(label) for label in self.scale.labels],
            "time_scale": self.scale.to_dict(),
            "steps": [list(step) for step in self.steps],
            "use_rep": self.use_rep,
            "layer": self.layer,
            "adjust": self.adjust,
            "growth_key": self.growth_key,
            "covariates": list(self.covariates),
        }

    @classmethod
    def from_dict(cls, stored: dict) -> "TimeCourse":
        """Make what :meth:`to_dict` took apart, after a file too."""
        steps = np.asarray(stored["steps"], dtype=float)
        if steps.ndim != 2 or steps.shape[1] != 2 or not (steps[:, 0] < steps[:, 1]).all():
            raise ValueError("the steps are not pairs of an earlier and a later time")
        return cls(
            str(stored["time_key"]),
            **{name: stored.get(name) for name in ("use_rep", "layer", "growth_key")},
            adjust=bool(stored.get("adjust", False)),
            covariates=tuple(map(str, stored.get("covariates", []))),
            scale=TimeScale.from_dict(stored["time_scale"]),
            steps=tuple(map(tuple, steps.tolist())),
        )


def choose_steps(
    scale: TimeScale, times: np.ndarray, time_key: str, pairs: Sequence[tuple] | None
) -> tuple[tuple[float, float], ...]:
    """Return earlier and later time of each pair, checked."""
    if len(scale.times) < 2:
        raise ValueError(
            f"`time_key={time_key!r}` has the times {list(scale.labels)} only in obs of `adata`: a "
            "course needs two or more."
        )
    steps = list(pairwise(scale.times.tolist())) if pairs is None else find_steps(scale, pairs)
    few = {time for time in scale.times.tolist() if (times == time).sum() < 2}
    used = sorted(few & {time for step in steps for time in step})
    if used:
        raise ValueError(
            f"`time_key={time_key!r}` has a single cell at {used}: drop that time or choose "
            "`pairs`."
        )
    return tuple(steps)


def find_steps(scale: TimeScale, pairs: Sequence[tuple]) -> list[tuple[float, float]]:
    """Return the times that pairs of numbers or labels mean, each pair once."""
    if not isinstance(pairs, Collection):
        raise TypeError(f"`pairs={pairs!r}` must be a list of (earlier, later) times.")
    wrong = [pair for pair in pairs if np.ndim(pair) != 1 or len(pair) != 2]
    if wrong or len(pairs) == 0:
        raise ValueError(
            f"`pairs` must be a list of (earlier, later) times; found {wrong or 'none'}."
        )
    steps = [tuple(scale.find(time, "pairs") for time in pair) for pair in pairs]
    wrong = [step for step in steps if step[0] >= step[1]]
    if wrong:
        raise ValueError(f"`pairs` must be (earlier, later) times; found {wrong}.")
    return list(dict.fromkeys(steps))


def read_rates(adata: AnnData, growth_key: str | None) -> np.ndarray | None:
    """Read rates of growth per unit of time; None when there is no key."""
    if growth_key is None:
        return None
    if growth_key not in adata.obs:
        raise KeyError(
            f"`growth_key={growth_key!r}` is not in obs; found {list(adata.obs)}. See "
            "`sg.tl.score_growth`."
        )
    column = adata.obs[growth_key]
    if column.dtype.kind not in "biuf":
        raise ValueError(f"`growth_key={growth_key!r}` must be numbers; found {column.dtype}.")
    rates = column.to_numpy(dtype=float, na_value=np.nan)
    if not np.isfinite(rates).all():
        raise ValueError(
            f"`growth_key={growth_key!r}` is missing or infinite in {(~np.isfinite(rates)).sum()} "
            "cells."
        )
    return rates


def relative_growth(rates: np.ndarray, step: float) -> np.ndarray:
    """Descendants per cell after a step, `exp(rate step)`, over the largest: none overflows."""
    return np.exp(step * (rates - rates.max()))
