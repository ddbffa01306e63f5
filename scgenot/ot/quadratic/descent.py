"""Descend on a quadratic coupling: linearise at the plan, solve, repeat."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from scgenot.ot.cost import Cost, spaced
from scgenot.ot.dual import Problem, Solution, solve_dual
from scgenot.ot.iterate import totals
from scgenot.ot.quadratic.cost import FusedCost, Lineariser
from scgenot.ot.quadratic.intra import Intra

# linearisations end when the cost moves by less than a fraction of epsilon, which rows then change
# by: so many times the tolerance of the marginals, within these bounds (the inner iterations stop
# too early for less)
STILL_FACTOR = 100
STILL_BOUNDS = 0.01, 0.1


@dataclass(frozen=True)
class Descent:
    """Where a descent ended."""

    solution: Solution
    objective: float
    stationary: bool


class Descender:
    """Fixed-point iterations of an entropic quadratic coupling (Peyré, Cuturi, Solomon 2016)."""

    def __init__(
        self,
        cells: Problem,
        source: Intra,
        target: Intra,
        fused: FusedCost | None,
        *,
        max_outer: int,
        max_iterations: int,
        tolerance: float,
    ):
        self.cells, self.fused = cells, fused
        self.max_outer, self.max_iterations, self.tolerance = max_outer, max_iterations, tolerance
        n_shared = 0 if fused is None else fused.n_shared
        x, y = (side[:, : side.shape[1] - n_shared] for side in (cells.x, cells.y))
        self.lineariser = Lineariser(source, target, x, y)
        u_x, u_y = self.lineariser.u_x, self.lineariser.u_y
        if n_shared:
            u_x = torch.cat([u_x, cells.x[:, -n_shared:]], dim=1)
            u_y = torch.cat([u_y, cells.y[:, -n_shared:]], dim=1)
        self.features = replace(cells, x=u_x, y=u_y)

    def run(self, start: Cost, epsilons: Sequence[float]) -> Descent:
        """Descend from the plan that the cost `start` gives at the first epsilon."""
        # balanced, whatever tau: a start says who resembles whom, its size means nothing to the
        # marginals
        balanced = replace(self.cells, tau=(1.0, 1.0))
        solution = solve_dual(
            start, balanced, epsilon=epsilons[0], max_iterations=self.max_iterations, tolerance=1e-2
        )
        g, used = solution.plan.potentials()[1], solution.iterations
        cost, moved = self._linearise(solution), float("inf")
        still = min(max(STILL_FACTOR * self.tolerance, STILL_BOUNDS[0]), STILL_BOUNDS[1])
        for epsilon in epsilons:
            for _ in range(self.max_outer):
                solution = self._solve(cost, epsilon, g, self.max_iterations, 1e-3)
                g, used = solution.plan.potentials()[1], used + solution.iterations
                before, cost = cost, self._linearise(solution)
                moved = self._movement(before, cost) / epsilon
                if moved < still:
                    break
        return self._finish(cost, g, epsilons[-1], used, stationary=moved < STILL_BOUNDS[1])

    def _finish(self, cost: Cost, g, epsilon: float, used: int, *, stationary: bool) -> Descent:
        """Solve for the last linearised cost to the tolerance, and value the plan."""
        solution = self._solve(cost, epsilon, g, 40 * self.max_iterations, self.tolerance)
        solution = replace(solution, iterations=solution.iterations + used)
        distortion = self.lineariser(solution.plan).distortion
        linear = None if self.fused is None else replace(self.fused, alpha=1.0)
        sums = totals(solution.plan, linear)
        objective = distortion + epsilon * sums.divergence + sums.penalty
        if self.fused is not None:
            objective += self.fused.alpha * (sums.cost - distortion)
        return Descent(solution, objective, stationary)

    def _solve(self, cost: Cost, epsilon: float, g, most: int, tolerance: float) -> Solution:
        """Solve for a linearised cost, in at most so many iterations."""
        return solve_dual(
            cost, self.features, epsilon=epsilon, g=g, max_iterations=most, tolerance=tolerance
        )

    def _linearise(self, solution: Solution) -> Cost:
        """Return the whole linearised cost at the plan."""
        quadratic = self.lineariser(solution.plan).cost
        return quadratic if self.fused is None else replace(self.fused, quadratic=quadratic)

    def _movement(self, before: Cost, after: Cost) -> float:
        """Root mean square change of the cost."""
        sides = self.features.x, self.features.y
        x, y = (cells[spaced(len(cells), 200).to(cells.device)] for cells in sides)
        change = after(x, y) - before(x, y)
        change = change - change.mean(0)
        return float((change - change.mean(1, keepdim=True)).square().mean().sqrt())
