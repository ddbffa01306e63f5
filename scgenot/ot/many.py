"""Many small linear couplings at once, on tensors padded to one size.

An iteration on a small problem takes longer to call than to compute. The iterations are those of
`ScaledPlan`, on stacked kernels; each problem ends where it would end alone. Padding has no weight
and a potential g of minus infinity, so that its kernel entries are 0.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scgenot._check import usable_device
from scgenot.ot.anderson import Extrapolation
from scgenot.ot.blocks import exp_
from scgenot.ot.cost import Cost, costs_and_unit, fitted
from scgenot.ot.coupling import Coupling
from scgenot.ot.diagnostics import NotSolved, with_diagnostics
from scgenot.ot.dual import ROUGH, WARM_CELLS, levels
from scgenot.ot.iterate import ABSORB, SMALLEST, Problem
from scgenot.ot.precision import in_own_precision
from scgenot.pair import Pair

# kernel entries of a batch, which takes about four times their memory; so many times on a GPU
BATCH_ENTRIES, ON_GPU = 2**21, 2**4
# a problem is small where so many like it make a batch
FEWEST = 8
# share of the entries of a batch that may be padding
PADDING = 1 / 8


def each_solved(solver, pairs: Sequence[Pair]) -> Iterator[tuple[int, object]]:
    """Yield the position and the plan of each pair; a solver may solve several together."""
    if hasattr(solver, "solve_all"):
        return iter(solver.solve_all(pairs))
    return ((k, solver(pair)) for k, pair in enumerate(pairs))


def batches(solver, pairs: Sequence[Pair]) -> Iterator[list[int]]:
    """Yield positions of small pairs of about one size together, and of each other one alone."""
    on_gpu = 1 if torch.device(usable_device(solver.device)).type == "cpu" else ON_GPU
    most = min(BATCH_ENTRIES * on_gpu, solver.memory_limit * 2**30 / solver.dtype.itemsize)
    sizes = {k: (len(pair.source), len(pair.target)) for k, pair in enumerate(pairs)}
    small = {k for k, size in sizes.items() if is_small(solver, pairs[k], most / math.prod(size))}
    yield from ([k] for k in sizes if k not in small)
    # numbers of source cells within a fourth of each other, then by those of target cells
    order = sorted(small, key=lambda k: (round(math.log(sizes[k][0], 1.25)), sizes[k][1]))
    batch, shape, filled = [], (0, 0), 0
    for k in order:
        wider, more = tuple(map(max, shape, sizes[k])), filled + math.prod(sizes[k])
        padded = (len(batch) + 1) * math.prod(wider)
        if batch and (padded > most or padded - more > PADDING * most):
            yield batch
            batch, wider, more = [], sizes[k], math.prod(sizes[k])
        batch.append(k)
        shape, filled = wider, more
    if batch:
        yield batch


def is_small(solver, pair: Pair, n_fit: float) -> bool:
    """Whether a pair can be solved with others, `n_fit` of which fit into a batch."""
    sides = pair.source, pair.target
    return (
        n_fit >= FEWEST
        and max(map(len, sides)) <= min(WARM_CELLS, solver.max_cells)
        and pair.source.shape[1] == pair.target.shape[1]
        and min(pair.source_weights.min(), pair.target_weights.min()) > 0
    )


@dataclass
class Small:
    """A small problem and where its iterations are.

    `levels` are the wanted epsilon and those before it; `is_lost` says that numbers overflowed.
    """

    problem: Problem
    cost: Cost
    costs: Tensor
    unit: float
    levels: list[float]
    g: Tensor
    iterations: int = 0
    converged: bool = False
    is_lost: bool = False

    @classmethod
    def of(cls, solver, problem: Problem) -> "Small":
        """Evaluate the cost."""
        cost = fitted(solver.cost, problem.x, problem.y)
        costs, unit = costs_and_unit(cost, problem.x, problem.y)
        epsilon = solver.epsilon * (unit if solver.relative else 1)
        return cls(problem, cost, costs, unit, levels(epsilon, unit), torch.zeros_like(problem.b))


@in_own_precision
def solve_together(solver, problems: Sequence[Problem]) -> list[Coupling | None]:
    """Return the coupling of each problem; None where it needs a solver of its own."""
    small = [Small.of(solver, problem) for problem in problems]
    stack = Stack(small, solver.tau)
    for level in range(max(len(one.levels) for one in small) - 1, 0, -1):
        stack.start(level)
        stack.run(*ROUGH)
    stack.start(0)
    stack.run(solver.max_iterations, solver.tolerance, is_last=True)
    return [None if one.is_lost else coupling_of(one, solver) for one in small]


def coupling_of(solved: Small, solver) -> Coupling | None:
    """Return the coupling of a problem with its diagnostics; None when it has no mass."""
    problem, epsilon = solved.problem, solved.levels[0]
    cells = problem.x, problem.y, problem.a, problem.b
    coupling = Coupling(solved.cost, *cells, problem.a, solved.g, epsilon, problem.tau)
    told = {"method": "sinkhorn", "epsilon": epsilon / solved.unit, "tolerance": solver.tolerance}
    try:
        return with_diagnostics(coupling, solved, **told)
    except NotSolved:
        return None


class Stack:
    """Small problems with their kernels stacked; shapes `(b, n, m)`, `(b, n)` and `(b, m)`."""

    def __init__(self, small: Sequence[Small], tau: tuple[float, float]):
        self.small, self.tau = list(small), tau
        self.costs, self.a, self.b = (
            padded(parts)
            for parts in zip(*((s.costs, s.problem.a, s.problem.b) for s in small), strict=True)
        )

    def start(self, level: int) -> None:
        """Go to one of the epsilons, with all problems that begin there or before."""
        self.going = [
            k for k, one in enumerate(self.small) if level < len(one.levels) and not one.is_lost
        ]
        epsilon = [one.levels[min(level, len(one.levels) - 1)] for one in self.small]
        self.epsilon = self.a.new_tensor(epsilon)[:, None]
        self.rebuild(padded([one.g for one in self.small]).masked_fill_(self.b == 0, -torch.inf))

    def rebuild(self, g: Tensor) -> None:
        """Fill the kernels from g, with one exact row update, so that rows start balanced."""
        self.g, tau = g, self.tau[0]
        log_k = torch.sub(g[:, None], self.costs).div_(self.epsilon[:, :, None])
        top = log_k.amax(2)
        kernel = exp_(log_k.sub_(top[:, :, None]), SMALLEST[log_k.dtype])
        log_sum = top + products(kernel, self.b).log()
        self.f = -tau * self.epsilon * log_sum
        self.kernel = kernel.mul_(torch.exp(top - tau * log_sum)[:, :, None])
        self.u, self.v = torch.ones_like(self.a), torch.ones_like(self.b)

    def step(self) -> tuple[Tensor, Tensor, Tensor]:
        """Update v, then u; return the change of log u, errors before and largest scalings."""
        (tau_a, tau_b), a, b = self.tau, self.a, self.b
        v = products(self.kernel.mT, a * self.u).pow_(-tau_b)
        v.mul_(torch.exp(-(1 - tau_b) * self.g / self.epsilon))
        self.v = torch.where(b > 0, v, 1.0)
        u = products(self.kernel, b * self.v).pow_(-tau_a)
        u = torch.where(a > 0, u.mul_(torch.exp(-(1 - tau_a) * self.f / self.epsilon)), 1.0)
        change, self.u = (u / self.u).log_(), u
        error = (a * torch.expm1(-change / tau_a).abs()).sum(1)
        return change, error, torch.cat([u, self.v], 1).log_().abs_().amax(1)

    def run(self, max_iterations: int, tolerance: float, *, is_last: bool = False) -> None:
        """Iterate until each problem has ended, and tell each where it ended."""
        extrapolation = Extrapolation(self.a)
        going = self.going
        for iteration in range(1, max_iterations + 1):
            change, error, largest = self.step()
            # read together: each reading makes a GPU wait
            errors, sizes = torch.stack([error, largest]).tolist()
            g, before, going = self.g + self.epsilon * self.v.log(), going, []
            for k in before:
                one = self.small[k]
                one.is_lost, one.converged = not sizes[k] < 2 * ABSORB, errors[k] < tolerance
                if one.is_lost:
                    continue
                if one.converged or iteration == max_iterations:
                    one.g, one.iterations = g[k, : len(one.g)], one.iterations + iteration
                else:
                    going.append(k)
            if not going:
                return
            is_absorbed = any(sizes[k] > ABSORB for k in going)
            if is_last and 2 * len(going) <= len(self.small):
                kept = torch.tensor(going, device=self.a.device)
                self._take(kept)
                extrapolation.take(kept)
                change, errors, g = change[kept], [errors[k] for k in going], g[kept]
                going = list(range(len(going)))
            if is_absorbed:
                self.rebuild(g)
            self.u = self.u * extrapolation(change, errors).exp()

    def _take(self, kept: Tensor) -> None:
        """Keep some of the problems."""
        self.small = [self.small[k] for k in kept.tolist()]
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[kept])


def padded(parts: Sequence[Tensor]) -> Tensor:
    """Stack tensors, with zeros after the smaller ones."""
    shape = (max(sizes) for sizes in zip(*(part.shape for part in parts), strict=True))
    stacked = parts[0].new_zeros(len(parts), *shape)
    for row, part in zip(stacked, parts, strict=True):
        row[tuple(slice(size) for size in part.shape)] = part
    return stacked


def products(kernel: Tensor, vectors: Tensor) -> Tensor:
    """Multiply each kernel by a vector."""
    return torch.bmm(kernel, vectors[:, :, None])[:, :, 0]
