"""Sinkhorn divergence: entropic transport cost between two populations, less that within them."""

import torch
from torch import Tensor

from scgenot._check import check_count, check_number
from scgenot._typed import typed
from scgenot._warn import warn_user
from scgenot.ot.cost import bulk_center, is_typical, squared_euclidean
from scgenot.ot.dual import Problem, solve_dual
from scgenot.ot.iterate import SMALLEST
from scgenot.ot.precision import in_own_precision

# cells of one population: the kernel within it is held whole, .8 GB in double precision
MAX_CELLS = 10_000
# marginal errors at which to stop; the dual value is off by their squares
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}


@typed
@torch.no_grad()
@in_own_precision
def sinkhorn_divergence(
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float = 0.05,
    scale: float | None = None,
    x_weights: Tensor | None = None,
    y_weights: Tensor | None = None,
    max_iterations: int = 10_000,
    tolerance: float | None = None,
) -> Tensor:
    """Debiased entropic transport cost `W(x, y) - (W(x, x) + W(y, y)) / 2`.

    The cost is the squared Euclidean one. `W` includes the penalty `eps KL(P | a b^T)` (Feydy et
    al. 2019, arXiv 1810.08278, eq. 3). The divergence of equal populations is 0, and of a
    population and its shift by `s` it is `|s|^2`.

    Parameters
    ----------
    x, y
        Cells, shapes `(n, d)` and `(m, d)`, at most 10,000 each; both of `torch.float32` or of
        `torch.float64`.
    epsilon
        Entropic regularisation in units of `scale`.
    scale
        A squared distance; None for the mean squared distance between cells of `y`. Set it for a
        divergence that is symmetric in x and y.
    x_weights, y_weights
        Non-negative weights, shapes `(n,)` and `(m,)`, scaled to sum 1; None for uniform.
    max_iterations
        Maximum number of iterations; a warning is raised without convergence.
    tolerance
        Marginal error, as L1 distance, at which to stop; None for 1e-4 in single and 1e-6 in double
        precision.

    Returns
    -------
    The divergence, a scalar without gradient; NaN when a cell is not finite.

    Raises
    ------
    TypeError
        When `max_iterations` is not an integer.
    ValueError
        When `epsilon` is not positive, all cells of `y` are the same point and `scale` is None, or
        there are too many cells.

    Examples
    --------
    >>> sg.ot.sinkhorn_divergence(x, y, epsilon=0.1)
    """
    if not 0 < epsilon < float("inf"):
        raise ValueError(f"`epsilon={epsilon}` must be positive.")
    check_count("max_iterations", max_iterations, 1)
    for name, value in (("scale", scale), ("tolerance", tolerance)):
        if value is not None:
            check_number(name, value, "positive, or None", lambda each: 0 < each < float("inf"))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or 0 in (*x.shape, *y.shape):
        raise ValueError(
            f"`x` has shape {tuple(x.shape)}, `y` {tuple(y.shape)}: give cells with equal features."
        )
    largest = max(len(x), len(y))
    if largest > MAX_CELLS:
        raise ValueError(
            f"{largest} cells need a matrix of {largest**2:.1e} entries: "
            f"subsample to {MAX_CELLS} cells."
        )
    (x, a), (y, b) = _positive_cells(x, x_weights), _positive_cells(y, y_weights)
    if scale is None:
        if (y == y[0]).all():
            raise ValueError(
                "The cells that `epsilon` is relative to are all the same point: it has no scale."
            )
        # the mean squared distance, pairs of a cell and itself included, without broken cells
        inner = is_typical((y - bulk_center(y)).square().sum(1))
        cells, mass = y[inner].double(), b[inner].double() / b[inner].double().sum()
        scale = 2 * float(mass @ (cells - mass @ cells).square().sum(1))
    if not (x.isfinite().all() and y.isfinite().all()):
        return x.new_tensor(float("nan"))
    tolerance = TOLERANCE[x.dtype] if tolerance is None else tolerance
    limits = {"max_iterations": max_iterations, "tolerance": tolerance}
    # about their means, whose squared distance is a summand of the divergence whatever epsilon is
    shift = a @ x - b @ y
    x, y = x - a @ x, y - b @ y
    f, g = (_within(*side, epsilon * scale, **limits) for side in ((x, a), (y, b)))
    value = _between(Problem(x, y, a, b), epsilon * scale, g, limits)
    value -= a.double() @ f.double() + b.double() @ g.double()
    return (shift.double().square().sum() + value).to(x.dtype)


def _positive_cells(cells: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cells whose weight is not 0, and their weights with sum 1."""
    if weights is None:
        return cells, torch.full_like(cells[:, 0], 1 / len(cells))
    weights = weights.to(cells)
    return cells[weights > 0], weights[weights > 0] / weights.sum()


def _between(problem: Problem, epsilon: float, g: Tensor, limits: dict) -> Tensor:
    """`min <c, P> + eps KL(P | a b^T)`, from the dual."""
    solution = solve_dual(squared_euclidean, problem, epsilon=epsilon, g=g, **limits)
    if not solution.converged:
        warn_user(
            f"The Sinkhorn divergence did not converge: marginal error {solution.error:.2g} after "
            f"{solution.iterations} iterations. Raise `epsilon`, `max_iterations` or `tolerance`."
        )
    f, g = solution.plan.potentials()
    return problem.a.double() @ f.double() + problem.b.double() @ g.double()


def _within(
    x: Tensor, a: Tensor, epsilon: float, *, max_iterations: int, tolerance: float
) -> Tensor:
    """Potential of `min <c, P> + eps KL(P | a a^T)`, whose mean is half the minimum."""
    kernel = (squared_euclidean(x, x) / -epsilon).exp_()
    torch.nn.functional.threshold_(kernel, SMALLEST[kernel.dtype], 0.0)
    u = torch.ones_like(a)
    for _ in range(max_iterations):
        update = 1 / kernel.mv(a * u)
        error = float(a @ (u / update - 1).abs())
        # of `u` and its update, whose plan has mass 1, the dual value is twice the mean log of this
        u = (u * update).sqrt_()
        if error < tolerance:
            break
    return epsilon * u.log()
