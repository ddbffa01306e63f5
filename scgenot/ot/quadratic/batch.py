"""Descents from many starts at once: one tensor program for a few hundred cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scgenot.ot.blocks import ON_GPU, exp_
from scgenot.ot.cost import Cost, spaced
from scgenot.ot.dual import Problem
from scgenot.ot.iterate import ABSORB, SMALLEST
from scgenot.ot.quadratic.cost import FusedCost, Lineariser, QuadraticCost
from scgenot.ot.quadratic.descent import STILL_BOUNDS
from scgenot.ot.quadratic.intra import Intra
from scgenot.ot.quadratic.search import Optimum

# entries of all kernels that are worked on at once: what the cache of a processor holds
ENTRIES = 2**20
# Sinkhorn iterations between two linearisations; as many rounds of them before the first
INNER, ROUNDS = 20, 3
# descents whose barycenters correlate so well at the larger epsilon go on as one
SAME_PLAN = 0.99


@dataclass(frozen=True)
class States:
    """Where descents stand, one a row: linearised costs, potentials, objectives, barycenters."""

    core: Tensor
    gram_x: Tensor
    gram_y: Tensor
    g: Tensor
    objective: Tensor
    barycenter: Tensor

    def __getitem__(self, which) -> "States":
        """Return some of them."""
        return States(*(value[which] for value in vars(self).values()))

    @staticmethod
    def cat(parts: "Sequence[States]") -> "States":
        """Join several."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return States(*(torch.cat(column) for column in columns))


class BatchDescender:
    """The balanced fixed-point iterations of :class:`Descender`, for many starts at once."""

    def __init__(
        self,
        cells: Problem,
        source: Intra,
        target: Intra,
        fused: FusedCost | None,
        *,
        max_outer: int,
    ):
        self.cells, self.fused, self.max_outer = cells, fused, max_outer
        self.alpha, n_shared = (0.0, 0) if fused is None else (fused.alpha, fused.n_shared)
        x, y = (side[:, : side.shape[1] - n_shared] for side in (cells.x, cells.y))
        self.lineariser = Lineariser(source, target, x, y)
        self.linear = 0.0 if fused is None else replace(fused, alpha=1.0)(cells.x, cells.y)
        self.features = target.geometry(y)
        self.few = tuple(spaced(len(side), 200).to(side.device) for side in (x, y))

    def run(self, starts: Sequence[Cost], epsilons: Sequence[float]) -> list[Optimum]:
        """Descend from the plan of each start; return the end of each."""
        entries = ENTRIES * (ON_GPU if self.cells.x.is_cuda else 1)
        size = max(1, entries // (len(self.cells.x) * len(self.cells.y)))
        states = in_parts(lambda part: self._started(part, epsilons[0]), starts, size)
        home = list(range(len(starts)))
        for epsilon in epsilons:
            if epsilon != epsilons[0]:
                kept, member = merged(states)
                states, home = states[kept], [member[k] for k in home]
            states = in_parts(lambda part, e=epsilon: self._descended(part, e), states, size)
        return [self._optimum(states, k) for k in home]

    def _optimum(self, states: States, number: int) -> Optimum:
        """Return one of the ends, its cost on features."""
        cost = QuadraticCost(states.core[number], states.gram_x[number], states.gram_y[number])
        if self.fused is not None:
            cost = replace(self.fused, quadratic=cost)
        return Optimum(float(states.objective[number]), cost, states.barycenter[number])

    def _started(self, starts: Sequence[Cost], epsilon: float) -> States:
        """States at the plans that costs on cells give."""
        cost = torch.stack([start(self.cells.x, self.cells.y) for start in starts])
        g = torch.zeros_like(self.cells.b).expand(len(starts), -1)
        for _ in range(ROUNDS):
            plan, g = self._plan(cost, g, epsilon)
        return self._linearised(plan, g, epsilon)

    def _descended(self, states: States, epsilon: float) -> States:
        """Linearise and solve in turn, each until its cost stands still."""
        moving = torch.arange(len(states.g), device=states.g.device)
        for _ in range(self.max_outer):
            before = states[moving]
            cost = self._costs(before)
            after = self._linearised(*self._plan(cost, before.g, epsilon), epsilon)
            for whole, part in zip(vars(states).values(), vars(after).values(), strict=True):
                whole[moving] = part
            moving = moving[self._movement(before, after) >= STILL_BOUNDS[1] * epsilon]
            if not len(moving):
                break
        return states

    def _plan(self, cost: Tensor, g: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """Plans after some Sinkhorn iterations from `g`, shape `(s, n, m)`, and their `g`."""
        a, b = self.cells.a, self.cells.b
        log_k = (g[:, None] - cost).div_(epsilon)
        kernel = exp_(log_k.sub_(log_k.amax(2, keepdim=True)), SMALLEST[log_k.dtype]).mul_(b)
        kernel.div_(kernel.sum(2, keepdim=True))
        limit, u = torch.tensor(ABSORB).exp().item(), torch.ones_like(cost[..., :1])
        for _ in range(INNER):
            v = (b[:, None] / (kernel.mT @ (a[:, None] * u))).clamp_(1 / limit, limit)
            u = (1 / (kernel @ v)).clamp_(1 / limit, limit)
        plan = kernel.mul_(a[:, None] * u).mul_(v.mT)
        return plan, g + epsilon * v.squeeze(2).log()

    def _costs(self, states: States, rows=slice(None), columns=slice(None)) -> Tensor:
        """Linearised costs of cells, shape `(s, n, m)`."""
        u_x, u_y = self.lineariser.u_x[rows], self.lineariser.u_y[columns]
        cost = (u_x @ states.core).mul_(-4) @ u_y.T
        cost.add_(2 * forms(u_x, states.gram_x)[:, :, None])
        cost.add_(2 * forms(u_y, states.gram_y)[:, None])
        if self.fused is None:
            return cost
        return cost.mul_(1 - self.alpha).add_(self.linear[rows][:, columns], alpha=self.alpha)

    def _linearised(self, plan: Tensor, g: Tensor, epsilon: float) -> States:
        """States at plans, shape `(s, n, m)`."""
        v_x, v_y = self.lineariser.v_x, self.lineariser.v_y
        p, q = plan.sum(2), plan.sum(1)
        p_v = plan if v_y is None else plan @ v_y
        core = p_v if v_x is None else v_x.T @ p_v
        gram_x, gram_y = grams(v_x, p), grams(v_y, q)
        u_x, u_y = self.lineariser.u_x, self.lineariser.u_y
        distortion = (p * forms(u_x, gram_x)).sum(1) + (q * forms(u_y, gram_y)).sum(1)
        distortion -= 2 * (core * (u_x.T @ (plan @ u_y))).sum((1, 2))
        shared = (plan * self.linear).sum((1, 2)) if self.fused else 0.0
        entropy = torch.special.xlogy(plan, plan / (self.cells.a[:, None] * self.cells.b))
        objective = (1 - self.alpha) * distortion + self.alpha * shared
        objective += epsilon * entropy.sum((1, 2))
        return States(core, gram_x, gram_y, g, objective, self._barycenters(plan))

    def _barycenters(self, plan: Tensor) -> Tensor:
        """Centred means of the targets of each cell, as rows of length 1."""
        a = self.cells.a[:, None]
        mean = plan @ self.features / a.clamp(min=torch.finfo(a.dtype).tiny)
        mean = ((mean - (a * mean).sum(1, keepdim=True)) * a.sqrt()).flatten(1)
        return torch.nn.functional.normalize(mean, dim=1)

    def _movement(self, before: States, after: States) -> Tensor:
        """Root mean square change of each cost, but for constants of rows and columns."""
        change = self._costs(after, *self.few) - self._costs(before, *self.few)
        change -= change.mean(1, keepdim=True)
        return (change - change.mean(2, keepdim=True)).square().mean((1, 2)).sqrt()


def in_parts(function: Callable[..., States], values, size: int) -> States:
    """Apply a function to so many values at a time."""
    n_values = len(values.g) if isinstance(values, States) else len(values)
    return States.cat([function(values[k : k + size]) for k in range(0, n_values, size)])


def merged(states: States) -> tuple[list[int], list[int]]:
    """One of the states of each group that agrees; and the number of the group of each state."""
    agree = states.barycenter @ states.barycenter.T >= SAME_PLAN
    kept, member = [], []
    for number in range(len(agree)):
        home = next((k for k, first in enumerate(kept) if agree[number, first]), len(kept))
        if home == len(kept):
            kept.append(number)
        member.append(home)
    return kept, member


def forms(u: Tensor, gram: Tensor) -> Tensor:
    """Return `u_i^T G_s u_i`, shape `(s, n)`; a vector stands for a diagonal G."""
    return gram @ u.square().T if gram.ndim == 2 else ((u @ gram) * u).sum(2)


def grams(v: Tensor | None, weights: Tensor) -> Tensor:
    """Return `V^T diag(w_s) V`, shape `(s, r, r)`, or the weights where V is the identity."""
    return weights if v is None else v.T @ (weights[:, :, None] * v)
