"""Linear entropic optimal transport: balanced and unbalanced Sinkhorn on whole populations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from scgenot._check import check_count, check_number, usable_device
from scgenot._typed import check_fields
from scgenot.ot import many
from scgenot.ot.confidence import Confidence
from scgenot.ot.cost import Cost, FittedCost, fitted, mean_cost, spaced, squared_euclidean
from scgenot.ot.coupling import Coupling
from scgenot.ot.diagnostics import Diagnostics, NotSolved, warn_of_problems, with_diagnostics
from scgenot.ot.dual import Problem, Solution, anneal_dual
from scgenot.ot.extension import solve_on_subset
from scgenot.ot.partial import Caps, check_matched, check_partial
from scgenot.ot.precision import in_own_precision
from scgenot.pair import Pair

# epsilon="auto" tries these, smallest first
AUTO_EPSILON = (0.01, 0.02, 0.05, 0.1, 0.2)
# and takes the first that gives the median cell this many effective targets
MIN_EFFECTIVE_TARGETS = 4


@dataclass(frozen=True)
class Sinkhorn:
    """Entropic optimal transport between two populations in one space.

    Minimizes `<c, P> + eps KL(P | a b^T)` over couplings (Cuturi 2013, arXiv 1306.0895). With `tau
    < 1`, deviations of the marginals are penalized by `lambda KL`, with `tau = lambda / (lambda +
    eps)` (Chizat et al. 2018, arXiv 1607.05816). With `price` or `keep` the coupling is partial:
    cells without a counterpart are not matched (Caffarelli and McCann 2010; updates as in arXiv
    2404.03446).

    Parameters
    ----------
    epsilon
        Entropic regularization in units of the mean cost; `"auto"` for the smallest of .01, .02,
        .05, .1, .2 with a median effective number of targets per cell of at least 4.
    tau
        Relaxation of the source and of the target side, each in (0, 1]; 1 for a fixed marginal.
    price
        Price of a unit of unmatched mass, on either side, in the units of epsilon: two cells are
        matched only if their cost is below twice the price. None: all mass is matched.
    keep
        Share of the mass to match, in (0, 1], instead of a price; the solver finds the price.
    cost
        Cost function `(x, y) -> (n, m)`, or an object whose `fit(x, y)` returns one.
    relative
        Whether `epsilon` and `price` are in units of the mean cost, or of the cost itself.
    max_iterations
        Maximum number of iterations at the final epsilon.
    tolerance
        Marginal error, as L1 distance, at which to stop.
    max_cells
        Maximum number of cells per side; larger problems are solved on a random subset, with the
        masses that its regions have among all cells, and extended by the dual.
    refine
        Number of iterations on all cells after the extension, at most until the tolerance is
        reached. Each one computes all pairwise costs twice.
    memory_limit
        Maximum size of a stored kernel in GiB; larger ones are evaluated in blocks (slower).
    dtype
        `torch.float32` or `torch.float64`.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    rng
        Seed of the subset.

    Raises
    ------
    TypeError
        When an option is not a number, or not an integer where a count is asked for.
    ValueError
        When `epsilon` is not positive or "auto", `tau` not two numbers in (0, 1], a number out of
        range, `price`, `keep` and `tau` are combined, or no cells are matched at the price.
    NotSolved
        When the numbers overflow, as for an `epsilon` that is too small.

    Examples
    --------
    >>> coupling = sg.ot.Sinkhorn(epsilon=0.02, tau=(0.9, 1))(pair)
    >>> sg.ot.Sinkhorn(keep=0.9)(pair).growth() < 0.5  # cells without a counterpart
    """

    epsilon: float | str = 0.05
    tau: tuple[float, float] = (1.0, 1.0)
    price: float | None = None
    keep: float | None = None
    cost: Cost | FittedCost = squared_euclidean
    relative: bool = True
    max_iterations: int = 2000
    tolerance: float = 1e-4
    max_cells: int = 20_000
    refine: int = 3
    memory_limit: float = 2.0
    dtype: torch.dtype = torch.float32
    device: str | None = None
    rng: int = 0

    def __post_init__(self):
        check_options(self.epsilon, self.tau)
        check_fields(self)
        check_partial(self.tau, self.price, self.keep)
        check_count("max_iterations", self.max_iterations, 1)
        check_count("max_cells", self.max_cells, 1)
        check_count("refine", self.refine, 0)
        check_limits(self.tolerance, self.memory_limit)

    @in_own_precision
    def __call__(self, pair: Pair) -> Coupling:
        """Solve."""
        if pair.source.shape[1] != pair.target.shape[1]:
            raise ValueError(
                f"`source` has {pair.source.shape[1]} columns, `target` {pair.target.shape[1]}: a "
                "linear cost compares cells in one space. Use `GromovWasserstein` for two."
            )
        problem = to_problem(pair, self)
        cost = fitted(self.cost, problem.x, problem.y)

        def solve(problem: Problem) -> Coupling:
            scale = mean_cost(cost, problem.x, problem.y)
            if self.price is not None:
                price = self.price * (scale if self.relative else 1)
                problem = replace(problem, caps=Caps(price=price))
            if self.epsilon != "auto":
                return self._solve(cost, problem, self.epsilon, scale)
            shape = len(problem.x), len(problem.y)
            tried = partial(self._solve, cost, scale=scale)
            return choose_epsilon(tried, problem, shape, AUTO_EPSILON)

        coupling = solve_on_subset(solve, problem, self.max_cells, self.rng, refine=self.refine)
        if self.price is not None:
            check_matched(coupling, self.price)
        return coupling

    def solve_all(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Coupling]]:
        """Solve many pairs, small ones of about one size together.

        Each coupling is the one of a call with its pair, up to the tolerance.

        Parameters
        ----------
        pairs
            The pairs.

        Yields
        ------
        Position of a pair and its coupling, in the order in which they are solved. Errors and
        warnings of a pair are raised before it is yielded.
        """
        is_plain = type(self) is Sinkhorn and self.price is None and self.keep in (None, 1)
        if not is_plain or self.epsilon == "auto":
            yield from ((k, self(pair)) for k, pair in enumerate(pairs))
            return
        for batch in many.batches(self, pairs):
            found = [None]
            if len(batch) > 1:
                found = many.solve_together(self, [to_problem(pairs[k], self) for k in batch])
            for k, coupling in zip(batch, found, strict=True):
                if coupling is None:
                    coupling = self(pairs[k])
                else:
                    warn_of_problems(coupling)
                yield k, coupling

    def _solve(self, cost: Cost, problem: Problem, epsilon: float, scale: float) -> Coupling:
        absolute = epsilon * scale if self.relative or self.epsilon == "auto" else epsilon
        solution = anneal_dual(
            cost,
            problem,
            epsilon=absolute,
            start=scale,
            max_iterations=self.max_iterations,
            tolerance=self.tolerance,
        )
        return to_coupling(
            *(cost, problem, solution),
            relative=absolute / scale,
            method="sinkhorn",
            tolerance=self.tolerance,
        )

    def with_epsilon_of(self, found: Diagnostics) -> "Sinkhorn":
        """Return the solver with the epsilon of a plan that it found, for more pairs like it.

        Parameters
        ----------
        found
            Diagnostics of that plan.

        Returns
        -------
        A solver whose epsilon is in units of the cost; relative where those are a pair's own.
        """
        if not hasattr(self.cost, "fit"):
            unit = found.epsilon_absolute / found.epsilon if self.relative else 1.0
            price = None if self.price is None else self.price * unit
            return replace(self, epsilon=found.epsilon_absolute, price=price, relative=False)
        return replace(self, epsilon=found.epsilon)


def check_limits(tolerance: float, memory_limit: float) -> None:
    """Raise an error unless both are numbers, at least 0."""
    for name, value in (("tolerance", tolerance), ("memory_limit", memory_limit)):
        check_number(name, value, "at least 0", lambda limit: limit >= 0)


def check_options(epsilon: float | str, tau) -> None:
    """Raise a ValueError unless epsilon is positive or "auto" and tau two numbers in (0, 1]."""
    is_auto = isinstance(epsilon, str) and epsilon == "auto"
    if not (is_auto or (isinstance(epsilon, Real) and 0 < epsilon < float("inf"))):
        raise ValueError(f'`epsilon` is {epsilon!r}: give a positive number or "auto".')
    if not (
        isinstance(tau, (tuple, list))
        and len(tau) == 2
        and all(isinstance(t, Real) and 0 < t <= 1 for t in tau)
    ):
        raise ValueError(
            f"`tau` is {tau!r}: give two numbers in (0, 1], source and target side; 1 is balanced."
        )


def to_problem(pair: Pair, solver) -> Problem:
    """Turn the arrays of a pair into tensors; shared features become further columns."""
    device = usable_device(solver.device)

    def tensor(*columns) -> Tensor:
        # a copy: the caller's array may be read-only, reversed or of another byte order, and may
        # change later
        given = [np.array(part, dtype=float, order="C") for part in columns if part is not None]
        parts = [torch.from_numpy(part).to(device, solver.dtype) for part in given]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    x, y = tensor(pair.source, pair.source_shared), tensor(pair.target, pair.target_shared)
    a, b = tensor(pair.source_weights), tensor(pair.target_weights)
    keep = None if solver.keep == 1 else solver.keep
    return Problem(x, y, a, b, tuple(solver.tau), solver.memory_limit, Caps(keep=keep))


def to_coupling(
    cost: Cost,
    problem: Problem,
    solution: Solution,
    *,
    relative: float,
    method: str,
    tolerance: float,
    confidence: Confidence | None = None,
    transport=None,
) -> Coupling:
    """Wrap a solution with its diagnostics."""
    g, epsilon, price = solution.plan.potentials()[1], solution.plan.epsilon, None
    if solution.plan.caps.is_partial:  # solved with the cap 0 of g
        price = solution.plan.caps.price
        g = g + price
    populations = problem.x, problem.y, problem.a, problem.b
    options = {"confidence": confidence, "price": price}
    return with_diagnostics(
        # f follows from g
        Coupling(cost, *populations, problem.a, g, epsilon, problem.tau, **options),
        solution,
        method=method,
        epsilon=relative,
        tolerance=tolerance,
        transport=transport,
    )


def choose_epsilon(solve, whole, shape: tuple[int, int], candidates: tuple[float, ...]) -> Coupling:
    """Solve with the smallest candidate that gives the median cell enough effective targets."""
    rows, columns = (spaced(n, 2000) for n in shape)
    is_whole = (len(rows), len(columns)) == shape
    small = whole if is_whole else whole.subset(rows, columns)
    for epsilon in candidates:
        try:
            coupling = solve(small, epsilon)
        except NotSolved:
            if epsilon == candidates[-1]:
                raise
            continue
        if coupling.diagnostics.effective_targets >= MIN_EFFECTIVE_TARGETS:
            break
    return coupling if is_whole else solve(whole, epsilon)
