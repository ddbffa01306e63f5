"""Solve for the two potentials of an entropic coupling whose cost is given."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scgenot.ot.cost import Cost
from scgenot.ot.iterate import Iterate, Problem, ScaledPlan, StreamedPlan


@dataclass
class Solution:
    """What the iterations ended with."""

    plan: Iterate
    iterations: int
    error: float
    converged: bool


def solve_dual(
    cost: Cost,
    problem: Problem,
    *,
    epsilon: float,
    g: Tensor | None = None,
    max_iterations: int,
    tolerance: float,
) -> Solution:
    """Iterate from the potential `g` at one epsilon until the error is below `tolerance`."""
    start = torch.zeros_like(problem.b) if g is None else g
    make = ScaledPlan if problem.fits() else StreamedPlan
    plan = make(cost, problem, epsilon, start)
    pace = Pace()
    for iteration in range(1, max_iterations + 1):
        try:
            error = plan.step(pace.relaxation)
        except FloatingPointError:
            error, pace = _step_in_log_domain(plan, problem), Pace()
        if error < tolerance and pace.relaxation == 1:
            return Solution(plan, iteration, error, converged=True)
        # the last steps are plain ones: they leave the rows exact
        if not problem.caps.is_partial:  # steps beyond a cut one would be cut again
            pace.note(error, plain=error < tolerance or iteration == max_iterations - 1)
        if iteration % 10 == 0 and max(problem.tau) < 1:
            plan.shift(best_shift(plan))
    return Solution(plan, max_iterations, error, converged=error < tolerance)


@dataclass
class Pace:
    """Over-relaxation of Sinkhorn from its own rate of convergence (Lehmann et al."""

    relaxation: float = 1.0
    last: float = float("inf")
    count: int = 0

    def note(self, error: float, *, plain: bool) -> None:
        """Take in the error of a step and choose the relaxation of the next one."""
        self.count += 1
        if plain or error == 0:
            self.relaxation = 1.0
        elif self.count % 20 == 0:
            rate = (error / self.last) ** (1 / 20)
            if error > 4 * self.last:
                self.relaxation = 1.0
            elif 0 < rate < 1:
                # invert the relation of relaxed to plain rate (Young 1954) for the plain one
                theta = (rate + self.relaxation - 1) ** 2 / (rate * self.relaxation**2)
                best = 2 / (1 + max(1 - theta, 0) ** 0.5)
                # a new relaxation shakes the error for a while: only ever raise it on that evidence
                self.relaxation = min(max(self.relaxation, best), 1.98)
            self.last = error


def _step_in_log_domain(plan: Iterate, problem: Problem) -> float:
    """Make the step that under- or overflowed as a stable one."""
    stable = StreamedPlan(plan.cost, problem, plan.epsilon, plan.potentials()[1])
    error = stable.step()
    plan.rebuild(stable.g)
    return error


def anneal_dual(
    cost: Cost,
    problem: Problem,
    *,
    epsilon: float,
    start: float,
    max_iterations: int,
    tolerance: float,
) -> Solution:
    """Solve from a large epsilon down to the wanted one."""
    levels = [epsilon]
    while levels[-1] * 3 <= start:
        levels.append(levels[-1] * 3)
    g, used = None, 0
    for level in reversed(levels[1:]):
        # a rough solution is all that the next level needs
        rough = solve_dual(cost, problem, epsilon=level, g=g, max_iterations=20, tolerance=1e-2)
        g, used = rough.plan.potentials()[1], used + rough.iterations
        del rough  # frees its kernel before the next one is made
    last = solve_dual(
        cost, problem, epsilon=epsilon, g=g, max_iterations=max_iterations, tolerance=tolerance
    )
    last.iterations += used
    return last


def best_shift(plan: Iterate) -> float:
    """Constant to move from g to f that raises the unbalanced dual most (Séjourné et al."""
    f, g = plan.potentials()
    lam_a, lam_b = (tau / (1 - tau) * plan.epsilon for tau in plan.tau)
    log_a = torch.logsumexp(plan.a.log() - f / lam_a, 0)
    log_b = torch.logsumexp(plan.b.log() - g / lam_b, 0)
    return float(lam_a * lam_b / (lam_a + lam_b) * (log_a - log_b))
