"""Sparse plans: at most a few targets for each source cell, by construction."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from scipy.optimize import minimize
from torch import Tensor

from scgenot._check import check_count, check_number
from scgenot._outcome import Outcome
from scgenot._typed import check_fields
from scgenot._warn import warn_user
from scgenot.ot.blocks import row_blocks
from scgenot.ot.cost import Cost, FittedCost, fitted, mean_cost, squared_euclidean
from scgenot.ot.diagnostics import Diagnostics
from scgenot.ot.dual import Problem
from scgenot.ot.plan import SparsePlan
from scgenot.ot.precision import in_own_precision
from scgenot.ot.sinkhorn import check_limits, to_problem
from scgenot.pair import Pair


@dataclass(frozen=True)
class SparseOT:
    """Optimal transport in which each source cell has at most `max_targets` target cells.

    Minimizes `<c, P> + gamma n / 2 |P|^2` over plans with at most `max_targets` entries per row
    (Liu, Puigcerver, Blondel 2023, arXiv 2209.15466), by L-BFGS on the concave dual of the target
    side. With as many targets as cells it is quadratically regularized transport (Blondel, Seguy,
    Rolet 2018); with one target, unregularized transport. Row marginals are exact. With few targets
    the problem is not convex, and column marginals have an error, reported in
    `diagnostics.marginal_error`.

    Parameters
    ----------
    max_targets
        Maximum number of target cells per source cell.
    gamma
        Strength of the regularization in units of the mean cost: the penalty of a source cell with
        k equal targets is `gamma / (2 k)`. Larger values spread cells over more targets, up to
        `max_targets`.
    cost
        Cost function `(x, y) -> (n, m)`, or an object whose `fit(x, y)` returns one.
    relative
        Whether `gamma` is in units of the mean cost; False minimizes `<c, P> + gamma / 2 |P|^2`.
    max_iterations
        Maximum number of iterations of L-BFGS.
    tolerance
        Error of the target marginal, as L1 distance, at which to stop.
    memory_limit
        Maximum size of a stored cost matrix in GiB; larger ones are evaluated in blocks (slower).
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Raises
    ------
    TypeError
        When an option is not a number, or not an integer where a count is asked for.
    ValueError
        When `max_targets` is below 1, or a number is out of range.

    See Also
    --------
    :class:`~scgenot.ot.SparsePlan` : the returned plan.

    Examples
    --------
    >>> plan = sg.ot.SparseOT(max_targets=5)(pair)
    >>> plan.mass, plan.diagnostics.marginal_error
    """

    max_targets: int = 10
    gamma: float = 0.05
    cost: Cost | FittedCost = squared_euclidean
    relative: bool = True
    max_iterations: int = 500
    tolerance: float = 1e-3
    memory_limit: float = 2.0
    device: str | None = None

    dtype = torch.float64  # a line search needs the digits
    tau, keep = (1.0, 1.0), None

    def __post_init__(self):
        check_fields(self)
        check_count("max_targets", self.max_targets, 1)
        check_count("max_iterations", self.max_iterations, 1)
        check_number("gamma", self.gamma, "positive", lambda gamma: 0 < gamma < float("inf"))
        check_limits(self.tolerance, self.memory_limit)

    @in_own_precision
    def __call__(self, pair: Pair) -> SparsePlan:
        """Solve."""
        if pair.source.shape[1] != pair.target.shape[1]:
            raise ValueError(
                f"`source` has {pair.source.shape[1]} columns, `target` {pair.target.shape[1]}: a "
                "linear cost compares cells in one space."
            )
        problem = to_problem(pair, self)
        cost = fitted(self.cost, problem.x, problem.y)
        scale = mean_cost(cost, problem.x, problem.y)
        gamma = self.gamma * scale * len(problem.x) if self.relative else self.gamma
        dual = SemiDual(cost, problem, min(self.max_targets, len(problem.y)), gamma)
        beta, iterations = ascend(dual, self.max_iterations, self.tolerance)
        return self._plan(dual, beta, iterations, scale)

    def _plan(self, dual: "SemiDual", beta: Tensor, iterations: int, scale: float) -> SparsePlan:
        """Return the plan of the potential of the targets, with its diagnostics."""
        mass = dual.plan(beta)
        b, shape = dual.problem.b.cpu().numpy(), mass.shape
        error = float(np.abs(np.asarray(mass.sum(0)).ravel() - b).sum())
        sent = np.asarray(mass.sum(1)).ravel()
        squares = np.asarray(mass.power(2).sum(1)).ravel()
        has = squares > 0
        converged = error <= self.tolerance
        found = Diagnostics(
            method=f"sparse, at most {dual.k} targets",
            epsilon=dual.gamma / (scale * shape[0]),
            epsilon_absolute=dual.gamma,
            marginal_error=error,
            iterations=iterations,
            converged=converged,
            mass=float(mass.sum()),
            effective_targets=float(np.median(sent[has] ** 2 / squares[has])),
            cost=dual.transport_cost(mass) / float(mass.sum()),
            objective=dual.value,
            outcomes=(Outcome.CONVERGED if converged else Outcome.COLUMNS_OFF,),
        )
        if not converged:
            warn_user(
                f"Coupling of {shape[0]} x {shape[1]} cells with at most {dual.k} targets each: "
                f"column sums have an error of {error:.2g} after {iterations} iterations. "
                + Outcome.COLUMNS_OFF.sentence
            )
        return SparsePlan(mass, dual.problem.a.cpu().numpy(), found)

    def with_epsilon_of(self, found: Diagnostics) -> "SparseOT":
        """Return the solver with the regularisation of a plan that it found, for more like it.

        Parameters
        ----------
        found
            Diagnostics of that plan.

        Returns
        -------
        The solver itself: `gamma` is in units of a pair's own costs, or absolute.
        """
        return self


class SemiDual:
    """The dual of the target side: `beta' b - sum_i max_p <beta - c_i, p> - gamma / 2 |p|^2`.

    The maximum is over rows p of mass a_i with at most k entries: the k largest of `beta - c_i`,
    projected to the simplex.
    """

    def __init__(self, cost: Cost, problem: Problem, k: int, gamma: float):
        self.cost, self.problem, self.k, self.gamma = cost, problem, k, gamma
        self.value, self.error = float("nan"), float("inf")
        self.held = [c for _, c in self._costs()] if problem.fits() else None

    def _costs(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield blocks of rows of the cost."""
        for rows in row_blocks(len(self.problem.x), len(self.problem.y)):
            yield rows, self.cost(self.problem.x[rows], self.problem.y)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield blocks of rows of the cost, kept in memory where they fit."""
        if self.held is None:
            yield from self._costs()
        else:
            slices = row_blocks(len(self.problem.x), len(self.problem.y))
            yield from zip(slices, self.held, strict=True)

    def rows(self, beta: Tensor) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
        """Yield slices of source cells, their targets, the mass there, and `beta - c` there."""
        rank = torch.arange(1, self.k + 1, device=beta.device)
        for rows, cost in self.blocks():
            top, columns = (beta - cost).topk(self.k, dim=1)
            over = (top.cumsum(1) / self.gamma - self.problem.a[rows, None]) / rank
            inside = (top / self.gamma > over).sum(1, keepdim=True).clamp(min=1)
            mass = (top / self.gamma - over.gather(1, inside - 1)).clamp(min=0)
            yield rows, columns, mass, top

    def __call__(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """Return minus the dual and its gradient, for a minimiser."""
        beta = torch.as_tensor(values).to(self.problem.b)
        received, total = torch.zeros_like(beta), beta @ self.problem.b
        for _, columns, mass, top in self.rows(beta):
            total -= (mass * top).sum() - self.gamma / 2 * mass.square().sum()
            received.index_add_(0, columns.flatten(), mass.flatten())
        slope = received - self.problem.b
        self.value, self.error = float(total), float(slope.abs().sum())
        return -self.value, slope.cpu().numpy()

    def plan(self, beta: Tensor) -> sp.csr_matrix:
        """Return the plan of a potential, sparse `(n, m)`."""
        found = [(columns.cpu(), mass.cpu()) for _, columns, mass, _ in self.rows(beta)]
        columns, mass = (torch.cat(part).numpy() for part in zip(*found, strict=True))
        indptr = np.arange(len(mass) + 1) * self.k
        out = sp.csr_matrix((mass.ravel(), columns.ravel(), indptr), shape=self.shape)
        out.eliminate_zeros()
        out.sort_indices()
        return out

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of source and of target cells."""
        return len(self.problem.x), len(self.problem.y)

    def transport_cost(self, mass: sp.csr_matrix) -> float:
        """Return `<c, P>`."""
        return sum(
            float(mass[rows].multiply(cost.cpu().numpy()).sum()) for rows, cost in self.blocks()
        )


def ascend(dual: SemiDual, max_iterations: int, tolerance: float) -> tuple[Tensor, int]:
    """Maximise a semi-dual by L-BFGS; return the potential with the smallest error, iterations."""
    best, n_done = [float("inf"), float("nan"), np.zeros(dual.shape[1])], 0

    def noted(values: np.ndarray) -> tuple[float, np.ndarray]:
        out = dual(values)
        if dual.error < best[0]:
            best[:] = dual.error, dual.value, values.copy()
        return out

    def stop(intermediate_result) -> None:
        nonlocal n_done
        n_done += 1
        if best[0] < tolerance:
            raise StopIteration

    minimize(
        noted,
        best[2],
        jac=True,
        method="L-BFGS-B",
        callback=stop,
        # its own tests are off: where it is not smooth, a short step means nothing
        options={"maxiter": max_iterations, "maxcor": 20, "ftol": 0.0, "gtol": 0.0},
    )
    dual.value = best[1]
    return torch.as_tensor(best[2]).to(dual.problem.b), n_done
