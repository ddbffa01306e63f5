"""Matching among nearest neighbors, by densities of source and target cells."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scgenot._check import check_count
from scgenot._outcome import Outcome
from scgenot._typed import check_fields
from scgenot.ot.blocks import row_blocks
from scgenot.ot.cost import Cost, squared_euclidean
from scgenot.ot.diagnostics import Diagnostics
from scgenot.ot.plan import SparsePlan
from scgenot.ot.precision import in_own_precision
from scgenot.ot.sinkhorn import to_problem
from scgenot.pair import Pair


@dataclass(frozen=True)
class Neighbors:
    """Match each source cell with the target cells in its neighborhood.

    The neighborhood of a cell consists of the nearest cells of both populations that together have
    the mass of `n_neighbors` cells of the smaller one. The matched share of a source cell is

        `min(1, target mass / mass of other source cells)`

    in its neighborhood, distributed over the target cells there in proportion to their weights. If
    both populations are similar, almost all mass is matched. A cell of a type that the targets lack
    has no target cells around it, even if the type is close to another one, which a price of the
    distance (:class:`~scgenot.ot.Sinkhorn`) cannot separate. Only the mass of source cells is
    limited, not that of target cells: at least half of the mass of a type is matched unless the
    type is more than twice as frequent among the source cells.

    The method compares densities and not costs: if populations are separated as a whole, for
    example by a batch effect, no cell has a counterpart. The plan does not extend to new cells.

    Parameters
    ----------
    n_neighbors
        Size of a neighborhood, at most half of the smaller population. Smaller values find smaller
        types, larger values have a smaller sampling error.
    cost
        Cost function `(x, y) -> (n, m)` that defines the nearest cells.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Raises
    ------
    TypeError
        When an option has a wrong type.
    ValueError
        When `n_neighbors` is less than 2.

    See Also
    --------
    :func:`scgenot.tl.transfer` : uses it by default.

    Examples
    --------
    >>> plan = sg.ot.Neighbors(n_neighbors=30)(pair)
    >>> kept, _ = plan.kept()
    """

    n_neighbors: int = 30
    cost: Cost = squared_euclidean
    device: str | None = None

    # what makes a problem of a pair asks for these
    dtype, memory_limit = torch.float32, 2.0
    tau, keep = (1.0, 1.0), None

    def __post_init__(self):
        check_fields(self)
        check_count("n_neighbors", self.n_neighbors, 2)

    @in_own_precision
    def __call__(self, pair: Pair) -> SparsePlan:
        """Match."""
        if pair.source.shape[1] != pair.target.shape[1]:
            raise ValueError(
                f"`source` has {pair.source.shape[1]} columns, `target` {pair.target.shape[1]}: "
                "neighbors need both in the same space."
            )
        problem = to_problem(pair, self)
        (x, a), (y, b) = (problem.x, problem.a), (problem.y, problem.b)
        near = self.around(x, y, a, b)
        kept = np.minimum(near.ratio, 1.0)
        received = np.minimum(self.around(y, x, b, a).ratio, 1.0)
        mass = sp.diags_array(a.double().cpu().numpy() * kept) @ near.shares
        mass.eliminate_zeros()
        return SparsePlan(
            mass, a.double().cpu().numpy(), self._diagnostics(mass, near), (kept, received)
        )

    def around(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> "Around":
        """Look around each cell of x: how much of y is there, and how much of the rest of x."""
        n, m = len(x), len(y)
        held = min(self.n_neighbors, min(n, m) // 2) / min(n, m)
        cells, own = torch.cat([x, y]), torch.arange(n, device=x.device)
        each = torch.cat([torch.full_like(a, 1 / n), torch.full_like(b, 1 / m)])
        weight = torch.cat([a, b]).double()
        # no neighborhood has more cells than this: all of the larger population
        most = min(n + m - 1, math.ceil(held * max(n, m)) + 1)
        ratio, indptr, columns, data = [], [np.zeros(1, int)], [], []
        for rows in row_blocks(n, n + m):
            cost = self.cost(x[rows], cells)
            cost[torch.arange(len(cost), device=x.device), own[rows]] = torch.inf  # not itself
            order = cost.topk(most, dim=1, largest=False).indices
            # the first cells up to the one that completes the neighborhood
            inside = each[order].cumsum(1) - each[order] < held * (1 - 1e-6)
            found = torch.where(inside, weight[order], 0.0)
            there = torch.where(order >= n, found, 0.0)
            target, others = there.sum(1), (found - there).sum(1)
            others = others / (1 - a[rows].double()).clamp(min=1e-12)
            ratio.append((target / others).nan_to_num(nan=1.0, posinf=1.0))
            shares = there / target.clamp(min=1e-300)[:, None]
            entry = shares > 0
            indptr.append(entry.sum(1).cpu().numpy())
            columns.append((order[entry] - n).cpu().numpy())
            data.append(shares[entry].cpu().numpy())
        ends = np.cumsum(np.concatenate(indptr))
        entries = np.concatenate(data), np.concatenate(columns), ends
        return Around(torch.cat(ratio).cpu().numpy(), sp.csr_array(entries, shape=(n, m)))

    def _diagnostics(self, mass: sp.csr_array, near: "Around") -> Diagnostics:
        """Say how the plan was found."""
        squares = near.shares.power(2).sum(1)
        targets = 1 / squares[squares > 0]
        return Diagnostics(
            method=f"{self.n_neighbors} nearest neighbors",
            epsilon=float("nan"),
            epsilon_absolute=float("nan"),
            marginal_error=0.0,
            iterations=0,
            converged=True,
            mass=float(mass.sum()),
            effective_targets=float(np.median(targets)) if len(targets) else float("nan"),
            outcomes=(Outcome.CONVERGED,),
        )


@dataclass(frozen=True)
class Around:
    """Neighborhoods of the cells of a population.

    Parameters
    ----------
    ratio
        Mass of the other population relative to that of other cells of the same one, shape `(n,)`.
    shares
        Weights of the cells of the other population, in rows that sum to 1, shape `(n, m)`.

    See Also
    --------
    :class:`~scgenot.ot.Neighbors` : computes them.
    """

    ratio: np.ndarray
    shares: sp.csr_array
