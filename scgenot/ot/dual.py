"""Solve for the two potentials of an entropic coupling whose cost is given."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scgenot.ot.anderson import Extrapolation
from scgenot.ot.blocks import log_sums
from scgenot.ot.cost import Cost, spaced
from scgenot.ot.iterate import Iterate, Problem, ScaledPlan, StreamedPlan

# with more cells than this on a side, all but the last epsilon are solved on so many of them
WARM_CELLS = 1500
# what is extended to all cells has their sampling error anyway
WARM_ITERATIONS, WARM_TOLERANCE = 100, 1e-3
# iterations and tolerance at all but the last epsilon: a rough solution is all the next one needs
ROUGH = (20, 1e-2)
# factor between two epsilons on the way down: a new kernel costs as much as five iterations
LEVEL = 5


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
    extrapolation = Extrapolation(problem.a[None])
    for iteration in range(1, max_iterations + 1):
        try:
            change, error = plan.step()
        except FloatingPointError:
            change, error = _step_in_log_domain(plan, problem)
            extrapolation = Extrapolation(problem.a[None])
        if error < tolerance:
            return Solution(plan, iteration, error, converged=True)
        # the last step is a plain one: it leaves the rows exact; steps beyond a cut are cut again
        if iteration < max_iterations and not problem.caps.is_partial:
            plan.move(extrapolation(change[None], [error])[0])
    return Solution(plan, max_iterations, error, converged=False)


def _step_in_log_domain(plan: Iterate, problem: Problem) -> tuple[Tensor, float]:
    """Make the step that under- or overflowed as a stable one."""
    stable = StreamedPlan(plan.cost, problem, plan.epsilon, plan.potentials()[1])
    found = stable.step()
    plan.rebuild(stable.g)
    return found


def levels(epsilon: float, start: float) -> list[float]:
    """Return the wanted epsilon and larger ones, up to about `start`."""
    found = [epsilon]
    while found[-1] * LEVEL <= start:
        found.append(found[-1] * LEVEL)
    return found


def anneal_dual(
    cost: Cost,
    problem: Problem,
    *,
    epsilon: float,
    start: float,
    max_iterations: int,
    tolerance: float,
) -> Solution:
    """Solve from a large epsilon down to the wanted one; all but the last solve with few cells."""
    some = [spaced(len(x), WARM_CELLS).to(x.device) for x in (problem.x, problem.y)]
    is_whole = max(len(problem.x), len(problem.y)) <= WARM_CELLS
    few = problem if is_whole else problem.subset(*some)
    g, used = None, 0
    limits = dict(zip(("max_iterations", "tolerance"), ROUGH, strict=True))
    for level in levels(epsilon, start)[:0:-1]:
        rough = solve_dual(cost, few, epsilon=level, g=g, **limits)
        g, used = rough.plan.potentials()[1], used + rough.iterations
        del rough  # frees its kernel before the next one is made
    if not is_whole:
        limits = {"max_iterations": WARM_ITERATIONS, "tolerance": WARM_TOLERANCE}
        last = solve_dual(cost, few, epsilon=epsilon, g=g, **limits)
        g, used = extended(last.plan, problem.y), used + last.iterations
    limits = {"max_iterations": max_iterations, "tolerance": tolerance}
    last = solve_dual(cost, problem, epsilon=epsilon, g=g, **limits)
    last.iterations += used
    return last


def refined(
    cost: Cost, problem: Problem, epsilon: float, g: Tensor, n_steps: int, tolerance: float
) -> Solution:
    """Make a few steps on all cells with weight from a potential that was extended to them.

    It fits few cells; a step on all takes off most of what is wrong but masses of clusters that
    lie far apart.
    """
    a, b = problem.a.nonzero()[:, 0], problem.b.nonzero()[:, 0]
    limits = {"max_iterations": n_steps, "tolerance": tolerance}
    return solve_dual(cost, problem.subset(a, b), epsilon=epsilon, g=g[b], **limits)


def extended(plan: Iterate, y: Tensor) -> Tensor:
    """Potential of other target cells: the update that the source cells of a plan give."""
    shift = (plan.potentials()[0] / plan.epsilon + plan.a.log())[:, None]
    blocks = (plan.cost(plan.x, part) / -plan.epsilon for part in y.split(WARM_CELLS))
    sums = [log_sums(log_k.add_(shift), 0) for log_k in blocks]
    return -plan.tau[1] * plan.epsilon * torch.cat(sums)
