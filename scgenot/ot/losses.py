"""Transport costs of batches of cells as losses: values with the gradient that a fixed plan gives.

At the optimum the derivative of the transport cost in the cells is that of the cost alone, the plan
held fixed (envelope theorem), so no iteration is differentiated.
"""

import torch
from torch import Tensor

from scgenot.ot.cost import Cost, squared_euclidean
from scgenot.ot.dual import Problem, solve_dual

MAX_ITERATIONS, TOLERANCE = 50, 1e-2


def transport_loss(
    cost: Cost,
    x: Tensor,
    y: Tensor,
    epsilon: float,
    *,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Tensor:
    """Entropic transport cost `min <c, P> + eps KL(P | a b^T)` of equally weighted cells.

    Parameters
    ----------
    cost
        Cost function `(x, y) -> (n, m)`, differentiable in both.
    x, y
        Cells, shapes `(n, p)` and `(m, q)`.
    epsilon
        Entropic regularisation in units of the cost.
    max_iterations, tolerance
        Most iterations, and the marginal error at which to stop.

    Returns
    -------
    The value, a scalar; its gradient is that of `<c(x, y), P>`.
    """
    costs = cost(x, y)
    with torch.no_grad():
        fixed = costs.detach()
        a, b = (torch.full_like(cells[:, 0].detach(), 1 / len(cells)) for cells in (x, y))
        # the solver asks for blocks of rows of a cost that is there already
        places = torch.arange(len(x)).to(fixed)[:, None]
        problem = Problem(places, y.detach(), a, b, memory_limit=torch.inf)
        limits = {"max_iterations": max_iterations, "tolerance": tolerance}
        solution = solve_dual(
            lambda at, _: fixed[at[:, 0].long()], problem, epsilon=epsilon, **limits
        )
        plan = torch.cat([block for _, block in solution.plan.blocks()])
        f, g = solution.plan.potentials()
        value = a @ f + b @ g - (plan * fixed).sum()
    return (plan * costs).sum() + value


def divergence_loss(
    x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor], epsilon: float, **limits
) -> Tensor:
    """Sinkhorn divergence of two populations from two samples of each, up to what `y` adds.

    `(W(x1, y2) + W(x2, y1)) / 2 - W(x1, x2) / 2` under the squared Euclidean cost (Feydy et al.
    2019, arXiv 1810.08278, eq. 3, has one sample, and each point of it is its own match). Where `x`
    and `y` have one law the mean of its gradient is 0, however few the cells and small `epsilon`;
    with one sample cells are drawn to the middle of their neighbors.

    Parameters
    ----------
    x, y
        Two samples of cells each, shapes `(n, d)`; the samples of `x` must have no cell in common.
    epsilon
        Entropic regularisation, in squared units of the cells.
    limits
        As in :func:`transport_loss`.

    Returns
    -------
    A scalar with gradient in `x`; the divergence has `- W(y1, y2) / 2` too.
    """
    pairs = ((x[0], y[1], 0.5), (x[1], y[0], 0.5), (x[0], x[1], -0.5))
    return sum(
        share * transport_loss(squared_euclidean, first, second, epsilon, **limits)
        for first, second, share in pairs
    )


def gap_loss(cost: Cost, x: Tensor, mapped: Tensor, epsilon: float, **limits) -> Tensor:
    """Entropic Monge gap `mean c(x, T(x)) - W(x, T(x))` (arXiv 2302.04953, def. 3.1).

    Below 0 where the entropy of the plan outweighs the gap.

    Parameters
    ----------
    cost
        Cost function `(x, y) -> (n, m)`, differentiable in the second.
    x, mapped
        Cells and where they are mapped to, shapes `(n, d)`.
    epsilon
        Entropic regularisation in units of the cost.
    limits
        As in :func:`transport_loss`.

    Returns
    -------
    A scalar with gradient in `mapped`.
    """
    # a distance has no derivative at 0, where the identity begins
    mapped = mapped.clone()
    if mapped.requires_grad:
        mapped.register_hook(lambda gradient: gradient.nan_to_num(0.0))
    own = cost(x, mapped).diagonal().mean()
    return own - transport_loss(cost, x, mapped, epsilon, **limits)
