"""Descendants and ancestors of observed cells, by the coupling or by the model of a fit."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from anndata import AnnData

from scgenot._check import check_count, usable_device
from scgenot._random import Rng, numpy_rng, seed_of
from scgenot.cells.read import check_unique
from scgenot.cells.tasks import TimeCourse
from scgenot.course.chain import Block, Step, mean_over_descendants, step_of_draws
from scgenot.course.steps import Path, Steps
from scgenot.fit.fit import Fit, open_fit
from scgenot.fit.sample import takes_antithetic
from scgenot.fit.stored_link import LinkHere
from scgenot.ot import squared_euclidean
from scgenot.ot.plan import require

logger = logging.getLogger("scgenot")

Method = Literal["coupling", "model"]
# how the usual cost is stored
SQUARED = ("squared_euclidean", squared_euclidean)


@dataclass(frozen=True)
class Transport:
    """What makes the steps of a fit of a time course."""

    adata: AnnData
    fit: Fit
    method: Method
    n_samples: int
    seed: int
    device: str | None

    @cached_property
    def steps(self) -> Steps:
        """The fitted steps."""
        return Steps(self.fit.task.steps)

    @cached_property
    def times(self) -> np.ndarray:
        """Time of each cell, NaN for times that are not in the fit."""
        return self.fit.task.times(self.adata)

    @cached_property
    def cells(self) -> np.ndarray:
        """Cells in the representation of the fit, shape `(n_cells, p)`."""
        return self.fit.cells(self.adata)

    def find(self, time: float | str, argument: str) -> float:
        """Find the fitted time that a number or a label stands for."""
        return self.fit.task.scale.find(time, argument)

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
            left=self.left(parts),
        )

    @property
    def is_partial(self) -> bool:
        """Whether couplings of the fit leave cells behind, and the question is put to them."""
        return self.method == "coupling" and any(link.kept is not None for link in self.fit.links)

    def left(self, parts: list[LinkHere]) -> tuple[np.ndarray, np.ndarray] | None:
        """What partial couplings leave behind, as :class:`Step` has it."""
        left = np.zeros((2, self.adata.n_obs))
        for part in (part for part in parts if part.left is not None):
            here = part.target >= 0
            left[0, part.source], left[1, part.target[here]] = part.left[0], part.left[1][here]
        return tuple(left) if self.is_partial else None

    def parts(self, earlier: float, later: float) -> list[LinkHere]:
        """Rebuild the couplings of a step, one per stratum, as far as their cells are there."""
        wanted = {"source_time": earlier, "target_time": later}
        parts = [
            link.here(self.adata.obs_names, self.cells, self.device)
            for link in self.fit.links
            if all(np.isclose(link.labels[name], time) for name, time in wanted.items())
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
        sampled, cells = self.fit.task.scale.times, self.cells[source]
        condition, model = self.fit.task.condition(earlier, later), self.fit.model
        # noise of its own for each step, the same whatever was asked for before
        rng = numpy_rng([self.seed, *np.searchsorted(sampled, [earlier, later])])
        options = {"n_samples": self.n_samples, "rng": rng}
        # for means of draws, such as velocities
        options |= {"antithetic": True} if takes_antithetic(model, self.n_samples) else {}
        draws = np.asarray(model.sample(cells, condition, **options))
        growth = self.growth("growth", cells, condition)
        return draws, growth / growth.mean()

    def growth(self, which: str, cells: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Return the growth that the model gives cells; 1 where it knows of none."""
        known = getattr(self.fit.model, which, None)
        found = np.ones(len(cells)) if known is None else known(cells, condition)
        return np.asarray(found, dtype=float)

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
        solver = self.fit.provenance["solver"]
        if not isinstance(solver, dict) or solver.get("cost") not in SQUARED:
            raise ValueError(
                "`bridge_noise` needs a fit whose cost is the squared distance; "
                "this fit has another cost."
            )
        if "epsilon" not in solver:
            raise ValueError(
                "`bridge_noise` needs a fit whose solver has an epsilon, such as "
                f"`sg.ot.Sinkhorn()`; this one was made with `sg.ot.{solver.get('type')}`."
            )
        table = self.fit.table
        here = np.isclose(table["source_time"], earlier) & np.isclose(table["target_time"], later)
        return float(table["epsilon_absolute"][here].mean())


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
    if method not in ("coupling", "model"):
        raise ValueError(f"`method={method!r}` must be 'coupling' or 'model'.")
    check_count("n_samples", n_samples, 1)
    device = None if device is None else usable_device(device)  # None is the CPU for couplings
    fit = open_fit(adata, key, None, device)
    fit.needs(TimeCourse, "A question across time")
    check_unique(adata, "obs")
    return Transport(adata, fit, method, n_samples, seed_of(rng), device)


def _expected_descendants(part: LinkHere) -> Iterator[Block]:
    """Yield blocks of `K = n P / mass`."""
    kept = np.flatnonzero(part.target >= 0)
    for rows, mass in require(part.plan, "mass_blocks", "method='coupling'")():
        block = part.scale * mass.cpu().double().numpy()[:, kept]
        yield part.source[rows], part.target[kept], block
