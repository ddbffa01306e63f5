"""Sinkhorn iterations: two ways to hold the plan while it is solved.

The plan is `P_ij = a_i b_j exp((f_i + g_j - c_ij) / eps)`.
With tau = lambda / (lambda + eps) in (0, 1], one for each side, an iteration is (math:
`docs/math.md`)

    f_i = -tau_a eps log sum_j b_j exp((g_j - c_ij) / eps),   g_j likewise over i with tau_b.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from scgenot.ot.blocks import column_sums, exp_, row_blocks, row_sums
from scgenot.ot.cost import Cost, against
from scgenot.ot.partial import Caps

# scalings outside exp(+-ABSORB) are absorbed into the potentials; float32 overflows at exp(88)
ABSORB = 30.0
# kernel entries below this are zero: times the smallest scaling they would be denormal
SMALLEST = {torch.float32: 1e-24, torch.float64: 1e-280}


@dataclass(frozen=True)
class Problem:
    """Two weighted populations and how tightly their marginals are held."""

    x: Tensor
    y: Tensor
    a: Tensor
    b: Tensor
    tau: tuple[float, float] = (1.0, 1.0)
    memory_limit: float = 2.0
    caps: Caps = field(default_factory=Caps)

    def subset(self, rows: Tensor, columns: Tensor) -> "Problem":
        """Return the problem on some of the cells, their weights scaled to sum 1."""
        a, b = self.a[rows], self.b[columns]
        return replace(self, x=self.x[rows], y=self.y[columns], a=a / a.sum(), b=b / b.sum())

    def fits(self) -> bool:
        """Whether the kernel fits into the memory limit, and into half of what a card has free."""
        limit = self.memory_limit * 2**30
        if self.x.is_cuda:
            limit = min(limit, torch.cuda.mem_get_info(self.x.device)[0] / 2)
        return len(self.x) * len(self.y) * self.x.element_size() <= limit


class Iterate:
    """A plan while it is solved."""

    def __init__(self, cost: Cost, problem: Problem, epsilon: float, g: Tensor):
        self.cost, self.epsilon, self.tau = cost, epsilon, problem.tau
        self.x, self.y, self.a, self.b = problem.x, problem.y, problem.a, problem.b
        self.f = torch.zeros_like(self.a)
        self.caps = replace(problem.caps)  # a plan finds a price of its own
        self.rebuild(g)

    def apply(self, values: Tensor) -> Tensor:
        """Return `P @ values` for values of shape `(m, d)`."""
        return torch.cat([mass @ values for _, mass in self.blocks()])

    def apply_transposed(self, values: Tensor) -> Tensor:
        """Return `P.T @ values` for values of shape `(n, d)`."""
        return sum(mass.T @ values[rows] for rows, mass in self.blocks())


class StreamedPlan(Iterate):
    """Log-domain iterations that evaluate the cost block by block."""

    def _log_blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield `-c / eps` by blocks of rows."""
        cost = against(self.cost, self.y)
        for rows in row_blocks(len(self.x), len(self.y), self.x.device):
            yield rows, cost(self.x[rows]) / -self.epsilon

    def rebuild(self, g: Tensor) -> None:
        """Set g, and f from it, which makes the rows of a balanced plan exact."""
        self.g = g = self.caps.cut_target(g)
        shift = g / self.epsilon + self.b.log()
        sums = row_sums(self.cost, self.x, self.y, shift, self.epsilon)
        self.f = self.caps.cut_source(-self.tau[0] * self.epsilon * sums, self.a, self.epsilon)

    def step(self) -> tuple[Tensor, float]:
        """Update g, then f; return the change of f, over epsilon, and the error before."""
        shift = self.f / self.epsilon + self.a.log()
        columns = column_sums(self.cost, self.x, self.y, shift, self.epsilon)
        before = self.f
        self.rebuild(-self.tau[1] * self.epsilon * columns)
        change = (self.f - before) / self.epsilon
        return change, float(relative_change(change, self.a, self.tau[0]))

    def move(self, by: Tensor) -> None:
        """Add `by`, times epsilon, to f."""
        self.f = self.f + self.epsilon * by

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of source cells and the plan's mass in their rows."""
        shift = self.g / self.epsilon + self.b.log()
        for rows, log_k in self._log_blocks():
            log_k += shift
            log_k += (self.f[rows] / self.epsilon + self.a[rows].log())[:, None]
            yield rows, exp_(log_k)

    def potentials(self) -> tuple[Tensor, Tensor]:
        """Return f and g."""
        return self.f, self.g


class ScaledPlan(Iterate):
    """Matrix-multiply iterations on a stored kernel."""

    def __init__(self, cost: Cost, problem: Problem, epsilon: float, g: Tensor):
        self.kernel = problem.x.new_empty(len(problem.x), len(problem.y))
        super().__init__(cost, problem, epsilon, g)

    def rebuild(self, g: Tensor) -> None:
        """Fill the kernel from g, with one exact row update, so that rows start balanced."""
        self.g = g = self.caps.cut_target(g)
        self.u, self.v = torch.ones_like(self.a), torch.ones_like(self.b)
        cost = against(self.cost, self.y)
        for rows in row_blocks(len(self.x), len(self.y), self.x.device):
            log_k = torch.sub(g, cost(self.x[rows])).div_(self.epsilon)
            top = log_k.amax(1)
            kernel = exp_(log_k.sub_(top[:, None]), SMALLEST[log_k.dtype])
            log_sum = top + kernel.mv(self.b).log()
            self.f[rows] = -self.tau[0] * self.epsilon * log_sum
            scale = torch.exp(top - self.tau[0] * log_sum)
            torch.mul(kernel, scale[:, None], out=self.kernel[rows])
        if self.caps.is_partial:
            whole, self.f = self.f, self.caps.cut_source(self.f, self.a, self.epsilon)
            self.kernel.mul_(torch.exp((self.f - whole) / self.epsilon)[:, None])

    def step(self) -> tuple[Tensor, float]:
        """Update v, then u; return the change of log u and the error before."""
        (tau_a, tau_b), a, b = self.tau, self.a, self.b
        v = self.kernel.T.mv(a * self.u).pow_(-tau_b)
        v.mul_(torch.exp(-(1 - tau_b) * self.g / self.epsilon))
        v = self._cut_target(v)
        u = self.kernel.mv(b * v).pow_(-tau_a).mul_(torch.exp(-(1 - tau_a) * self.f / self.epsilon))
        u = self._cut_source(u)
        change, log_v = (u / self.u).log_(), v.log()
        largest = torch.maximum(u.log().abs().max(), log_v.abs().max())
        # read together: each reading makes a GPU wait
        error, largest = torch.stack([relative_change(change, a, tau_a), largest]).tolist()
        if not largest < 2 * ABSORB:
            raise FloatingPointError
        self.u, self.v = u, v
        if largest > ABSORB:
            self.rebuild(self.g + self.epsilon * log_v)
        return change, error

    def move(self, by: Tensor) -> None:
        """Add `by` to log u."""
        self.u = self.u * by.exp()

    def _cut_target(self, v: Tensor) -> Tensor:
        """Cut an update of the target side at the cap of its potential."""
        return torch.minimum(v, torch.exp(-self.g / self.epsilon)) if self.caps.is_partial else v

    def _cut_source(self, u: Tensor) -> Tensor:
        """Cut an update of the source side, at a new cap where a share is kept."""
        if not self.caps.is_partial:
            return u
        f = self.caps.cut_source(self.f + self.epsilon * u.log(), self.a, self.epsilon)
        return torch.exp((f - self.f) / self.epsilon)

    def apply(self, values: Tensor) -> Tensor:
        """Return `P @ values` for values of shape `(m, d)`."""
        return (self.a * self.u)[:, None] * (self.kernel @ ((self.b * self.v)[:, None] * values))

    def apply_transposed(self, values: Tensor) -> Tensor:
        """Return `P.T @ values` for values of shape `(n, d)`."""
        return (self.b * self.v)[:, None] * (self.kernel.T @ ((self.a * self.u)[:, None] * values))

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of source cells and the plan's mass in their rows."""
        for rows in row_blocks(len(self.x), len(self.y), self.x.device):
            left = (self.a[rows] * self.u[rows])[:, None]
            yield rows, left * self.kernel[rows] * (self.b * self.v)

    def potentials(self) -> tuple[Tensor, Tensor]:
        """Return f and g, scalings included."""
        return self.f + self.epsilon * self.u.log(), self.g + self.epsilon * self.v.log()


@dataclass(frozen=True)
class Totals:
    """Sums over a plan."""

    cost: float
    divergence: float
    penalty: float


def totals(plan: Iterate, cost: Cost | None = None) -> Totals:
    """Sum over a plan, block by block."""
    f, g = plan.potentials()
    own = other = 0.0
    source, target = torch.empty_like(plan.a), torch.zeros_like(plan.b)
    own_costs = against(plan.cost, plan.y)
    for rows, block in plan.blocks():
        own_cost = own_costs(plan.x[rows])
        source[rows] = block.sum(1)
        target += block.sum(0)
        own += float((block * own_cost).sum(dtype=torch.float64))
        if cost is not None:
            other += float((block * cost(plan.x[rows], plan.y)).sum(dtype=torch.float64))
    mass = float(source.sum(dtype=torch.float64))
    divergence = (float(f @ source + target @ g) - own) / plan.epsilon - mass + 1
    sides = zip(plan.tau, (source, target), (plan.a, plan.b), strict=True)
    penalty = sum(
        tau / (1 - tau) * plan.epsilon * divergence_from(w, p) for tau, p, w in sides if tau < 1
    )
    return Totals(own if cost is None else other, divergence, penalty)


def divergence_from(weights: Tensor, marginal: Tensor) -> float:
    """`KL(marginal | weights)`; entries without weight have no mass either."""
    logs = torch.log(marginal.double() / weights).nan_to_num_(0.0, neginf=0.0)
    return float(marginal.double() @ logs - marginal.sum() + weights.sum())


def relative_change(log_scaling: Tensor, weights: Tensor, tau: float) -> Tensor:
    """L1 distance of the marginal from the one its potential implies, before its update."""
    return (weights * torch.expm1(-log_scaling / tau).abs()).sum()
