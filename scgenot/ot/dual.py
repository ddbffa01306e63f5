"""Solve for the two potentials of an entropic coupling whose cost is given."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scgenot.ot.cost import Cost
from scgenot.ot.plan import ScaledPlan, StreamedPlan


@dataclass(frozen=True)
class Problem:
    """Two weighted populations and how tightly their marginals are held.

    Parameters
    ----------
    x, y
        Cells, shapes `(n, p)` and `(m, q)`.
    a, b
        Weights, shapes `(n,)` and `(m,)`, each summing to 1.
    tau
        Relaxation of the source and of the target side, each in (0, 1]; 1 holds the marginal.
    memory_limit
        Largest kernel to hold, in GiB; a larger one is evaluated block by block in every iteration.
    """

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
    """What the iterations ended with.

    Parameters
    ----------
    plan
        The plan, able to multiply matrices.
    iterations
        Number of iterations, over all values of epsilon.
    error
        Marginal error at the end: L1 distance of the marginal from the one the potential implies.
    converged
        Whether the error fell below the tolerance.
    """

    plan: ScaledPlan | StreamedPlan
    iterations: int
    error: float
    converged: bool


def solve_dual(
    cost: Cost, problem: Problem, *, epsilon: float, g: Tensor | None = None, max_iterations: int, tolerance: float
) -> Solution:
    """Iterate from the potential `g` at one value of epsilon until the marginal error is below `tolerance`.

    Parameters
    ----------
    cost
        Cost function.
    problem
        The populations.
    epsilon
        Entropic regularisation, in the units of the cost.
    g
        Target potential to start from, shape `(m,)`; zeros when None.
    max_iterations
        Give up after so many iterations.
    tolerance
        Marginal error to reach.

    Returns
    -------
    The plan and how the iterations ended.
    """
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
    """Over-relaxation of Sinkhorn from its own rate of convergence (Lehmann et al. 2022, arXiv 2012.12562).

    Plain iterations close the error by a factor `theta` each; relaxed by `w = 2 / (1 + sqrt(1 - theta))` they close
    it by `w - 1`. Where the error rises fourfold instead, plain iterations take over.
    """

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
    """Make the step that under- or overflowed as a stable one, and fill the kernel again from where it leads.

    Returns the marginal error before the step.
    """
    g = plan.potentials()[1]
    stable = StreamedPlan(plan.cost, plan.x, plan.y, plan.a, plan.b, plan.epsilon, plan.tau, g)
    error = stable.step()
    plan.rebuild(stable.g)
    return error


def anneal_dual(
    cost: Cost, problem: Problem, *, epsilon: float, start: float, max_iterations: int, tolerance: float
) -> Solution:
    """Solve from a large epsilon down to the wanted one, each level starting from the potentials of the last.

    Parameters
    ----------
    cost
        Cost function.
    problem
        The populations.
    epsilon
        Entropic regularisation to end with, in the units of the cost.
    start
        Largest epsilon to begin with.
    max_iterations, tolerance
        As in :func:`solve_dual`, for the last level.

    Returns
    -------
    The plan at `epsilon`; iterations are counted over all levels.
    """
    levels = [epsilon]
    while levels[-1] * 3 <= start:
        levels.append(levels[-1] * 3)
    g, used = None, 0
    for level in reversed(levels[1:]):
        # a rough solution is all that the next level needs
        rough = solve_dual(cost, problem, epsilon=level, g=g, max_iterations=20, tolerance=1e-2)
        g, used = rough.plan.potentials()[1], used + rough.iterations
        del rough  # frees its kernel before the next one is made
    last = solve_dual(cost, problem, epsilon=epsilon, g=g, max_iterations=max_iterations, tolerance=tolerance)
    last.iterations += used
    return last


def best_shift(plan: ScaledPlan | StreamedPlan, problem: Problem) -> float:
    """Constant to move from g to f that raises the unbalanced dual most (Séjourné et al. 2022, arXiv 2201.00730).

    The plan depends on `f + g` only; the penalties `-lam <a, exp(-f / lam)>` of both sides do not. Plain iterations
    close this gap at rate `tau_a tau_b`, which is slow near 1.
    """
    f, g = plan.potentials()
    lam_a, lam_b = (tau / (1 - tau) * plan.epsilon for tau in problem.tau)
    log_a = torch.logsumexp(problem.a.log() - f / lam_a, 0)
    log_b = torch.logsumexp(problem.b.log() - g / lam_b, 0)
    return float(lam_a * lam_b / (lam_a + lam_b) * (log_a - log_b))
