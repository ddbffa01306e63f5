"""Descendants and ancestors of observed cells, by the coupling or by the model of a fit."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from anndata import AnnData
from scipy import sparse

from scgenot import get
from scgenot._check import check_count, usable_device
from scgenot._random import Rng, numpy_rng, seed_of
from scgenot.cells.course import Course, read_course
from scgenot.cells.keys import PAIRS
from scgenot.cells.read import check_anndata, representation
from scgenot.cells.tasks.time_course import time_condition
from scgenot.cells.times import find_time
from scgenot.course.chain import Block, Step, mean_over_descendants, step_of_draws
from scgenot.course.steps import Path, Steps
from scgenot.fit.linked import Part, read_part
from scgenot.model import Genot

logger = logging.getLogger("scgenot")

Method = Literal["coupling", "model"]


@dataclass(frozen=True)
class Transport:
    """What makes the steps of a fit of a time course."""

    adata: AnnData
    course: Course
    method: Method
    n_samples: int
    seed: int
    device: str | None

    @cached_property
    def steps(self) -> Steps:
        """The fitted steps."""
        return Steps(self.course.steps)

    @property
    def times(self) -> np.ndarray:
        """Time of each cell, NaN for times that are not in the fit."""
        return self.course.times

    @cached_property
    def cells(self) -> np.ndarray:
        """Cells in the representation of the fit, shape `(n_cells, p)`."""
        params = self.course.params
        return representation(self.adata, params.get("use_rep"), layer=params.get("layer"))

    @cached_property
    def model(self) -> Genot:
        """The model of the fit."""
        return get.stored_model(self.course.entry).to(usable_device(self.device))

    def find(self, time: float | str, argument: str) -> float:
        """Find the fitted time that a number or a label stands for."""
        return find_time(time, self.course.sampled, self.course.params["time_labels"], argument)

    def path(self, start: float | str | None, end: float | str | None) -> Path:
        """Return the fewest fitted steps between two times; None for the first and last fitted."""
        first = self.steps[0][0] if start is None else self.find(start, "start")
        return self.steps.path(first, self.last(end))

    def last(self, end: float | str | None) -> float:
        """Return the last time of a question; None for that of the fit."""
        return self.steps.times[-1] if end is None else self.find(end, "end")

    def at(self, time: float) -> np.ndarray:
        """Positions of the cells at a time."""
        cells = np.flatnonzero(self.times == time)
        if not len(cells):
            raise ValueError(
                f"no cell of `adata` is at {time:g}, a time of the fit: keep some of these cells."
            )
        return cells

    def step(self, earlier: float, later: float) -> Step:
        """Make the transport of one fitted step."""
        if self.method == "model":
            source = self.at(earlier)
            return self.observed(source, later, *self.draws(source, earlier, later))
        parts = self.parts(earlier, later)  # strata are blocks of K
        target = np.concatenate([part.target for part in parts])
        return Step(
            n_cells=self.adata.n_obs,
            source=np.concatenate([part.source for part in parts]),
            target=target[target >= 0],
            blocks=lambda: (block for part in parts for block in _expected_descendants(part)),
        )

    def parts(self, earlier: float, later: float) -> list[Part]:
        """Rebuild the couplings of a step, one per stratum, as far as their cells are there."""
        course = self.course
        parts = [
            read_part(course.entry, row, course.names, self.cells, self.device)
            for row in course.rows(earlier, later)
        ]
        n_gone = sum(part.n_gone for part in parts)
        parts = [part for part in parts if len(part.source) and (part.target >= 0).any()]
        if not parts:
            raise ValueError(
                "no cells of the fit are left on both sides of the step "
                f"{earlier:g} to {later:g}: keep them in `adata`, or use `method='model'`."
            )
        if n_gone:
            logger.info(
                "%g to %g: %d cells of the fit are not in `adata` and left out.",
                *(earlier, later, n_gone),
            )
        return parts

    def draws(
        self, source: np.ndarray, earlier: float, later: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw descendants of cells, shape `(n, n_samples, p)`; their number per cell, mean 1."""
        sampled, cells = self.course.sampled, self.cells[source]
        condition = time_condition(sampled, earlier, later)
        # noise of its own for each step, the same whatever was asked for before
        rng = numpy_rng([self.seed, *np.searchsorted(sampled, [earlier, later])])
        draws = self.model.sample(cells, condition, n_samples=self.n_samples, rng=rng).numpy()
        growth = self.model.growth(cells, condition).double().numpy()
        return draws, growth / growth.mean()

    def observed(
        self, source: np.ndarray, later: float, draws: np.ndarray, growth: np.ndarray
    ) -> Step:
        """Make the step in which each draw counts as the observed cell nearest to it."""
        return step_of_draws(self.cells, source, self.at(later), draws, growth)

    def expected_places(
        self, earlier: float, later: float, spaces: list[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Find the mean place of descendants in the representation and in other spaces."""
        if self.method == "coupling":
            step = self.step(earlier, later)
            return step.source, [mean_over_descendants(step, places) for places in spaces]
        source = self.at(earlier)
        draws, growth = self.draws(source, earlier, later)
        means = [draws.mean(axis=1)]
        if len(spaces) > 1:
            step = self.observed(source, later, draws, growth)
            means += [mean_over_descendants(step, places) for places in spaces[1:]]
        return source, means

    def epsilon(self, earlier: float, later: float) -> float:
        """Return epsilon of a step in units of the squared distance."""
        solver = self.course.params["solver"]
        if not isinstance(solver, dict) or solver.get("cost") != "squared_euclidean":
            raise ValueError(
                "`bridge_noise` needs a fit whose cost is the squared distance; "
                "this fit has another cost."
            )
        pairs = self.course.entry[PAIRS].iloc[self.course.rows(earlier, later)]
        return float(pairs["epsilon_absolute"].mean())


def open_transport(
    adata: AnnData,
    key: str,
    method: Method,
    *,
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
) -> Transport:
    """Look up the fit of a time course, and check what every question about it takes."""
    check_anndata(adata)
    if method not in ("coupling", "model"):
        raise ValueError(f"`method={method!r}` must be 'coupling' or 'model'.")
    check_count("n_samples", n_samples, 1)
    device = None if device is None else usable_device(device)  # None is the CPU for couplings
    course = read_course(adata, get.fit_entry(adata, key), key)
    return Transport(adata, course, method, n_samples, seed_of(rng), device)


def _expected_descendants(part: Part) -> Iterator[Block]:
    """Yield blocks of `K = n P / mass`."""
    kept, scale = np.flatnonzero(part.target >= 0), part.n_source / part.mass
    if sparse.issparse(part.plan):
        yield part.source, part.target[kept], scale * part.plan[:, kept]
        return
    for rows, mass in part.plan.mass_blocks():
        yield part.source[rows], part.target[kept], scale * mass.cpu().double().numpy()[:, kept]
