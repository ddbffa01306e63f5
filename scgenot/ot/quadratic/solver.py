"""Quadratic and fused entropic optimal transport: couple populations of different spaces."""

from dataclasses import dataclass, replace

import torch

from scgenot._check import check_count, check_number
from scgenot._typed import check_fields
from scgenot.ot.cost import Cost, FittedCost, fitted, squared_euclidean
from scgenot.ot.coupling import Coupling
from scgenot.ot.diagnostics import Diagnostics
from scgenot.ot.dual import Problem
from scgenot.ot.partial import check_partial
from scgenot.ot.precision import in_own_precision
from scgenot.ot.quadratic.cost import transport_value
from scgenot.ot.quadratic.problem import QuadraticTask
from scgenot.ot.sinkhorn import (
    check_limits,
    check_options,
    choose_epsilon,
    solve_on_subset,
    to_problem,
)
from scgenot.pair import Pair

# epsilon="auto" tries these, smallest first; in units of intra-costs of mean 1
AUTO_EPSILON = (0.002, 0.005, 0.01, 0.02, 0.05)


@dataclass(frozen=True)
class GromovWasserstein:
    """Entropic Gromov-Wasserstein coupling, which matches distances within both populations.

    Minimizes `sum_ijkl (C_x(i,k) - C_y(j,l))^2 P_ij P_kl + eps KL(P | a b^T)` (Peyré, Cuturi,
    Solomon 2016) from many starts: sign flips and rotations of the matched principal axes. Each
    start is run on a random subset of the cells, and the one with the lowest objective is refined
    on all cells.

    Parameters
    ----------
    epsilon
        Entropic regularization, in units in which both intra-costs have mean 1; `"auto"` for the
        smallest of .002, .005, .01, .02, .05 with a median effective number of targets per cell of
        at least 4.
    tau
        Relaxation of the source and of the target side, each in (0, 1]; 1 for a fixed marginal.
    keep
        Share of the mass to match, in (0, 1]; None for all. There is no `price`, because the cost
        of a match depends on all other matches.
    intra_cost
        "sqeuclidean" or "inner" (exact low-rank form, any number of cells), or a cost function
        (dense, see `max_dense_cells`); one for both sides or a pair.
    geometry
        Transformation of rows: "unit" (centred, then scaled to unit length), "centred" or "raw";
        one for both sides or a pair.
    relative
        Whether intra-costs are divided by their means; False for absolute costs and epsilon.
    n_starts
        Number of starts on a subset of the cells; 1 for no search.
    search_cells
        Number of cells per side of that subset.
    max_outer
        Maximum number of linearizations at each epsilon.
    max_iterations
        Maximum number of Sinkhorn iterations per linearization; forty times as many for the last
        one.
    tolerance
        Marginal error, as L1 distance, at which to stop.
    max_cells
        Maximum number of cells per side; larger problems are solved on a random subset and extended
        by the dual.
    max_dense_cells
        Maximum number of cells per side if an intra-cost is a function.
    memory_limit
        Maximum size of a stored kernel in GiB; larger ones are evaluated in blocks (slower).
    dtype
        `torch.float32` or `torch.float64`.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    rng
        Seed of the starts and subsets.
    progress
        Whether to show a progress bar of the search.

    Raises
    ------
    TypeError
        When an option is not a number, or not an integer where a count is asked for.
    ValueError
        When `epsilon` is not positive or "auto", `tau` not two numbers in (0, 1], a number out of
        range, or `keep` is given with `tau`.

    Examples
    --------
    >>> coupling = sg.ot.GromovWasserstein(epsilon=0.05, n_starts=4)(pair)
    >>> coupling.confidence.ambiguous
    """

    epsilon: float | str = 0.01
    tau: tuple[float, float] = (1.0, 1.0)
    keep: float | None = None
    intra_cost: str | Cost | FittedCost | tuple = "sqeuclidean"
    geometry: str | tuple[str, str] = "unit"
    relative: bool = True
    n_starts: int = 40
    search_cells: int = 500
    max_outer: int = 20
    max_iterations: int = 50
    tolerance: float = 1e-4
    max_cells: int = 20_000
    max_dense_cells: int = 4000
    memory_limit: float = 2.0
    dtype: torch.dtype = torch.float32
    device: str | None = None
    rng: int = 0
    progress: bool = False

    def __post_init__(self):
        check_options(self.epsilon, self.tau)
        check_fields(self)
        check_partial(self.tau, None, self.keep)
        for name in (
            "n_starts",
            "search_cells",
            "max_outer",
            "max_iterations",
            "max_cells",
            "max_dense_cells",
        ):
            check_count(name, getattr(self, name), 1)
        check_limits(self.tolerance, self.memory_limit)

    @in_own_precision
    def __call__(self, pair: Pair) -> Coupling:
        """Solve."""
        pair = replace(pair, source_shared=None, target_shared=None)
        return self._solve(pair, to_problem(pair, self))

    def _solve(
        self, pair: Pair, problem: Problem, alpha: float = 0.0, linear: Cost | None = None
    ) -> Coupling:
        """Solve with a weight `alpha` on a linear cost of the last, shared columns."""
        n_shared = 0 if pair.source_shared is None else pair.source_shared.shape[1]

        def solve(problem: Problem) -> Coupling:
            task = QuadraticTask.prepare(self, problem, n_shared, alpha, linear)
            if self.epsilon == "auto":
                shape = len(problem.x), len(problem.y)
                return choose_epsilon(QuadraticTask.solve, task, shape, AUTO_EPSILON)
            return task.solve(self.epsilon)

        return solve_on_subset(solve, problem, self.max_cells, self.rng, transport_value)

    @property
    def has_orientation(self) -> bool:
        """Whether shared features say which way round the two spaces match."""
        return False

    def with_epsilon_of(self, found: Diagnostics) -> "GromovWasserstein":
        """Return the solver with the epsilon of a plan that it found, for more pairs like it.

        Parameters
        ----------
        found
            Diagnostics of that plan.

        Returns
        -------
        A solver whose epsilon is a number; in units of a pair's own intra-costs, when relative.
        """
        return replace(self, epsilon=found.epsilon)


@dataclass(frozen=True)
class FusedGromovWasserstein(GromovWasserstein):
    """Fused Gromov-Wasserstein coupling, from shared features and distances within each side.

    The cost is `alpha` times a linear cost on the shared features plus `1 - alpha` times the
    quadratic one, each scaled to mean 1 (Vayer et al. 2020, arXiv 1811.02834). The shared features
    determine the orientation, so that one start is sufficient.

    Parameters
    ----------
    alpha
        Weight of the shared features, from 0 (only the quadratic cost) to 1 (only the linear one).
    cost
        Cost function on the shared features.
    n_starts
        Number of starts, including the one from the shared features; 1 for only this one.
    epsilon, tau, keep, intra_cost, geometry, relative, search_cells, max_outer, max_iterations
        As in :class:`GromovWasserstein`.
    tolerance, max_cells, max_dense_cells, memory_limit, dtype, device, rng, progress
        As in :class:`GromovWasserstein`.

    Raises
    ------
    TypeError
        When an option is not a number, or not an integer where a count is asked for.
    ValueError
        When `alpha` is not between 0 and 1, or as for :class:`GromovWasserstein`.

    Examples
    --------
    >>> coupling = sg.ot.FusedGromovWasserstein(alpha=0.5)(pair_with_shared)
    """

    alpha: float = 0.3
    cost: Cost | FittedCost = squared_euclidean
    n_starts: int = 1

    def __post_init__(self):
        super().__post_init__()
        expected = "from 0 (quadratic) to 1 (linear)"
        check_number("alpha", self.alpha, expected, lambda alpha: 0 <= alpha <= 1)

    @property
    def has_orientation(self) -> bool:
        """Whether shared features say which way round the two spaces match."""
        return self.alpha > 0

    @in_own_precision
    def __call__(self, pair: Pair) -> Coupling:
        """Solve."""
        if pair.source_shared is None:
            raise ValueError(
                "`source_shared` and `target_shared` are missing: a fused coupling needs features "
                "that both populations have."
            )
        problem = to_problem(pair, self)
        k = pair.source_shared.shape[1]
        x, y = problem.x[:, -k:], problem.y[:, -k:]
        return self._solve(pair, problem, self.alpha, fitted(self.cost, x, y))
