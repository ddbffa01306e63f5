"""Solve for the two potentials of an entropic coupling whose cost is given."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scgenot.ot.cost import Cost
from scgenot.ot.iterate import ScaledPlan, StreamedPlan


@dataclass(frozen=True)
class Problem:
    """Two weighted populations and how tightly their marginals are held."""

    x: Tensor
    y: Tensor
    a: Tensor
    b: Tensor
    tau: tuple[float, float] = (1.0, 1.0)
    memory_limit: float = 2.0

    def subset(self, rows: Tensor, columns: Tensor) -> "Problem":
        """Return the problem on some of the cells, their weights scaled to sum 1."""
        a, b = self.a[rows], self.b[columns]
        return replace(self, x=self.x[rows], y=self.y[columns], a=a / a.sum(), b=b / b.sum())

    def fits(self) -> bool:
        """Whether the kernel fits into the memory limit."""
        return len(self.x) * len(self.y) * self.x.element_size() <= self.memory_limit * 2**30


@dataclass
class Solution:
    """What the iterations ended with."""

    plan: ScaledPlan | StreamedPlan
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
    plan = make(cost, problem.x, problem.y, problem.a, problem.b, epsilon, problem.tau, start)
    pace = Pace()
    for iteration in range(1, max_iterations + 1):
        try:
            error = plan.step(pace.relaxation)
        except FloatingPointError:
            error, pace = _step_in_log_domain(plan), Pace()
        if error < tolerance and pace.relaxation == 1:
            return Solution(plan, iteration, error, converged=True)
        # the last steps are plain ones: they leave the rows exact
        pace.note(error, plain=error < tolerance or iteration == max_iterations - 1)
        if iteration % 10 == 0 and max(problem.tau) < 1:
            plan.shift(best_shift(plan, problem))
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


def _step_in_log_domain(plan: ScaledPlan) -> float:
    """Make the step that under- or overflowed as a stable one."""
    g = plan.potentials()[1]
    stable = StreamedPlan(plan.cost, plan.x, plan.y, plan.a, plan.b, plan.epsilon, plan.tau, g)
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


def best_shift(plan: ScaledPlan | StreamedPlan, problem: Problem) -> float:
    """Constant to move from g to f that raises the unbalanced dual most (Séjourné et al."""
    f, g = plan.potentials()
    lam_a, lam_b = (tau / (1 - tau) * plan.epsilon for tau in problem.tau)
    log_a = torch.logsumexp(problem.a.log() - f / lam_a, 0)
    log_b = torch.logsumexp(problem.b.log() - g / lam_b, 0)
    return float(lam_a * lam_b / (lam_a + lam_b) * (log_a - log_b))
