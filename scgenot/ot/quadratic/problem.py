"""One quadratic problem: search over starts on a subset, refine on all cells."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scgenot._progress import progress_bar
from scgenot.ot.cost import Cost, mean_cost
from scgenot.ot.coupling import Coupling
from scgenot.ot.diagnostics import NotSolved
from scgenot.ot.dual import Problem
from scgenot.ot.quadratic.batch import BatchDescender
from scgenot.ot.quadratic.cost import FusedCost, LiftedCost, transport_value
from scgenot.ot.quadratic.descent import Descender
from scgenot.ot.quadratic.intra import Intra, fit_intra
from scgenot.ot.quadratic.search import Confidence, Optimum, distinct, judge, leaders
from scgenot.ot.quadratic.starts import principal_starts
from scgenot.ot.sinkhorn import to_coupling

# the search compares answers, so that it need not solve them to the end
SEARCH_TOLERANCE = 1e-3
# leaders of the search are compared on so many times as many cells
JUDGE_FACTOR = 4
# starts are told apart on so few cells; at most so many distinct ends are searched further
FEW_CELLS, MOST_DISTINCT = 300, 16


@dataclass(frozen=True)
class QuadraticTask:
    """A quadratic problem with everything fitted."""

    options: "GromovWasserstein"  # noqa: F821, it imports this module
    problem: Problem
    source: Intra
    target: Intra
    fused: FusedCost | None

    @classmethod
    def prepare(
        cls, options, problem: Problem, n_shared: int, alpha: float, linear: Cost | None
    ) -> "QuadraticTask":
        """Fit the intra-costs and the scales on all cells."""
        sides = []
        for side, cells, weights in ((0, problem.x, problem.a), (1, problem.y, problem.b)):
            sides.append(
                fit_intra(
                    _of_side(options.intra_cost, side),
                    cells[:, : cells.shape[1] - n_shared],
                    weights,
                    geometry=_of_side(options.geometry, side),
                    scaled=options.relative,
                    max_dense_cells=options.max_dense_cells,
                )
            )
        fused = None
        if linear is not None:
            x, y = problem.x[:, -n_shared:], problem.y[:, -n_shared:]
            scale = mean_cost(linear, x, y) if options.relative else 1.0
            fused = FusedCost(no_cost, linear, alpha, scale, n_shared)
        return cls(options, problem, *sides, fused)

    @property
    def n_shared(self) -> int:
        """Number of shared features, the last columns of the cells."""
        return 0 if self.fused is None else self.fused.n_shared

    def subset(self, rows: Tensor, columns: Tensor) -> "QuadraticTask":
        """Return the task on some of the cells, in the units of all cells."""
        source, target = self.source.restrict(rows), self.target.restrict(columns)
        problem = self.problem.subset(rows, columns)
        return replace(self, problem=problem, source=source, target=target)

    def solve(self, epsilon: float) -> Coupling:
        """Search, refine on all cells, and wrap the best descent as a coupling."""
        cost, confidence = self._start(epsilon)
        descent = self._descender(self.options.tolerance).run(cost, [epsilon])
        solution = descent.solution
        return to_coupling(
            self._on_cells(solution.plan.cost),
            self.problem,
            replace(solution, converged=solution.converged and descent.stationary),
            relative=epsilon,
            method="gromov-wasserstein" if self.fused is None else "fused gromov-wasserstein",
            tolerance=self.options.tolerance,
            confidence=confidence,
            transport=transport_value,
        )

    def _start(self, epsilon: float) -> tuple[Cost, Confidence | None]:
        """Return the cost to start from: of the shared features, or of the search."""
        shared = [] if self.fused is None or self.fused.alpha == 0 else [self._on_cells(self.fused)]
        n_starts = self.options.n_starts - len(shared)
        if n_starts <= 0:
            return shared[0], None
        if n_starts + len(shared) == 1:
            return self._starts(1, seed=0)[0], None
        generator = torch.Generator().manual_seed(self.options.rng)
        # of few cells still a subset, or two subsets could not disagree
        one, two = (self._subset(self.options.search_cells, generator, share=0.8) for _ in range(2))
        first = one._searched(shared + one._starts(n_starts, seed=0), epsilon)
        second = two._searched(shared + two._starts(max(1, n_starts // 2), seed=1), epsilon)
        # of all cells where that can be: two mirror images are only as good as each other on the
        # same cells
        more = self._subset(JUDGE_FACTOR * self.options.search_cells, generator, share=1)
        led = ([o.cost for o in leaders(optima)] for optima in (first, second))
        judged = [more._optima(costs, epsilon) for costs in led]
        if not any(judged):
            raise NotSolved(
                f"Every start of the search failed: `epsilon`={epsilon:.3g} is too small for these "
                "cells. Raise it, or solve with `dtype=torch.float64`."
            )
        return judge(len(shared) + n_starts, first, *judged)

    def _subset(self, n_cells: int, generator: torch.Generator, *, share: float) -> "QuadraticTask":
        """Return the balanced task on some cells: growth says nothing of orientation."""
        rows, columns = (
            torch.randperm(size, generator=generator)[: min(n_cells, max(2, int(share * size)))]
            for size in (len(self.problem.x), len(self.problem.y))
        )
        task = self.subset(rows, columns)
        return replace(task, problem=replace(task.problem, tau=(1.0, 1.0)))

    def _starts(self, n_starts: int, *, seed: int) -> list[Cost]:
        sides, unit = (self.problem.x, self.problem.y), 1.0
        x, y = (cells[:, : cells.shape[1] - self.n_shared] for cells in sides)
        if not self.options.relative:
            unit = self.source.size(x, self.problem.a) * self.target.size(y, self.problem.b)
        seed, geometries = seed + 2 * self.options.rng, (self.source.geometry, self.target.geometry)
        return principal_starts(x, y, *geometries, unit=unit, n_starts=n_starts, rng=seed)

    def _searched(self, costs: list[Cost], epsilon: float) -> list[Optimum]:
        """Descend from each cost on few cells, then from the best distinct ends; one a start."""
        if self.problem.caps.is_partial:  # cells that stay behind are not for the batch
            return self._optima(costs, epsilon)
        sides = (self.problem.x, self.problem.y)
        few = self.subset(*(torch.arange(min(FEW_CELLS, len(cells))) for cells in sides))
        descender = BatchDescender(
            *(few.problem, few.source, few.target, few.fused), max_outer=self.options.max_outer
        )
        ends = [end for end in descender.run(costs, [3 * epsilon, epsilon]) if end.is_finite]
        groups = distinct([replace(end, cost=few._on_cells(end.cost)) for end in ends])
        groups = groups[:MOST_DISTINCT]
        led = self._descended([group[0].cost for group in groups], epsilon)
        found = zip(led, groups, strict=True)
        return [end for end, group in found for _ in group if end.is_finite]

    def _optima(self, costs: list[Cost], epsilon: float) -> list[Optimum]:
        """Descend from each cost; descents that overflow are left out."""
        return [end for end in self._descended(costs, epsilon) if end.is_finite]

    def _descended(self, costs: list[Cost], epsilon: float) -> list[Optimum]:
        """Descend from each cost."""
        descender = self._descender(SEARCH_TOLERANCE)
        rows = self.target.geometry(self.problem.y[:, : len(self.target.geometry.mean)])
        bar = progress_bar(costs, shown=self.options.progress, desc="searching for the best match")
        ends = (Optimum.of(descender.run(cost, [3 * epsilon, epsilon]), rows) for cost in bar)
        return [replace(end, cost=self._on_cells(end.cost)) for end in ends]

    def _descender(self, tolerance: float) -> Descender:
        return Descender(
            *(self.problem, self.source, self.target, self.fused),
            max_outer=self.options.max_outer,
            max_iterations=self.options.max_iterations,
            tolerance=tolerance,
        )

    def _on_cells(self, cost: Cost) -> LiftedCost:
        return LiftedCost(cost, self.source, self.target, self.n_shared)


def no_cost(x: Tensor, y: Tensor) -> Tensor:
    """Return zeros: the quadratic part of a fused cost before there is a plan."""
    return torch.zeros(len(x), len(y), dtype=x.dtype, device=x.device)


def _of_side(option, side: int):
    return option[side] if isinstance(option, tuple) else option
