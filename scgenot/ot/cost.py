"""Costs between two sets of cells: any callable `(x, y) -> (n, m)`; these are the usual ones."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from scgenot.ot.precision import in_own_precision, own_precision

Cost = Callable[[Tensor, Tensor], Tensor]

# a cell is broken when its cost is over so many times the median one, ...
FAR = 100
# ... unless more than one cell in so many is; with fewer cells than the last number none is
RARE, FEWEST = 20, 10
# costs that the median one of a cell is taken of
N_MEDIAN = 100


class FittedCost(Protocol):
    """A cost that looks at both populations before it is used, such as a graph distance."""

    def fit(self, x: Tensor, y: Tensor) -> Cost:
        """Return the cost function for these populations."""


def squared_euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distance, summed over dimensions: `|x - y|^2`.

    Parameters
    ----------
    x, y
        Cells, shapes `(n, p)` and `(m, p)`.

    Returns
    -------
    Costs, shape `(n, m)`.

    Examples
    --------
    >>> sg.ot.squared_euclidean(x, y)  # the default of sg.ot.Sinkhorn
    """
    return _squared_distances_to(y)(x)


def _squared_distances_to(y: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the squared distances to `y` as a function."""
    # distances do not see a shift; float32 does, where the cells lie far from the origin
    center = bulk_center(y)
    y = y - center
    lengths = y.square().sum(1)

    def cost(x: Tensor) -> Tensor:
        x = x - center
        products = torch.addmm(lengths, x, y.T, alpha=-2)
        return products.add_(x.square().sum(1, keepdim=True)).clamp_(min=0)

    return cost


squared_euclidean.against = _squared_distances_to


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distance `|x - y|`.

    Parameters
    ----------
    x, y
        Cells, shapes `(n, p)` and `(m, p)`.

    Returns
    -------
    Costs, shape `(n, m)`.

    Examples
    --------
    >>> solver = sg.ot.Sinkhorn(cost=sg.ot.euclidean)
    """
    return squared_euclidean(x, y).sqrt_()


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """One minus the cosine of the angle between two cells, from 0 to 2; 1 for a cell at the origin.

    Parameters
    ----------
    x, y
        Cells, shapes `(n, p)` and `(m, p)`.

    Returns
    -------
    Costs, shape `(n, m)`.

    Examples
    --------
    >>> solver = sg.ot.Sinkhorn(cost=sg.ot.cosine)
    """
    unit = torch.nn.functional.normalize
    return 1 - unit(x, dim=1) @ unit(y, dim=1).T


def coulomb(x: Tensor, y: Tensor) -> Tensor:
    """Coulomb cost `1 / |x - y|^2`, which is large between close cells.

    Parameters
    ----------
    x, y
        Cells, shapes `(n, p)` and `(m, p)`.

    Returns
    -------
    Costs, shape `(n, m)`; coincident cells cost at most the inverse of 1e-6 times the median
    squared distance from `y` to its center.

    Examples
    --------
    >>> solver = sg.ot.Sinkhorn(cost=sg.ot.coulomb)
    """
    # of `y` alone, so that a block of rows costs what it costs among all
    spread = float((y - bulk_center(y)).square().sum(1).median())
    tiny = torch.finfo(x.dtype).tiny
    return 1 / squared_euclidean(x, y).clamp_(min=1e-6 * spread + tiny)


def mean_cost(cost: Cost, x: Tensor, y: Tensor, *, n_cells: int = 2000) -> float:
    """Mean cost over evenly spaced cells of both sides, the unit of epsilon.

    It is robust to a few outliers: cells with a median cost of more than 100 times that of the
    median cell are left out if they are at most 5 % of their side. Otherwise it is the mean.

    Parameters
    ----------
    cost
        Cost function.
    x, y
        Cells, shapes `(n, p)` and `(m, q)`.
    n_cells
        Maximum number of cells per side; the same cells in each call.

    Returns
    -------
    The mean cost.

    Raises
    ------
    TypeError
        When `cost` does not return a tensor.
    ValueError
        When the mean is not a positive finite number, as for constant cells, or the costs are on
        another device than the cells.

    Examples
    --------
    >>> sg.ot.mean_cost(sg.ot.euclidean, x, y)
    """
    x, y = (cells[spaced(len(cells), n_cells).to(cells.device)] for cells in (x, y))
    return costs_and_unit(cost, x, y)[1]


def costs_and_unit(cost: Cost, x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """Costs, checked, and their mean but for broken cells."""
    costs, (some_x, some_y) = cost(x, y), (spaced(len(cells), N_MEDIAN) for cells in (x, y))
    _check_costs(costs, x)
    rows = _typical_rows(costs[:, some_y.to(y.device)])
    columns = _typical_rows(costs[some_x.to(x.device)].T)
    typical = costs if rows.all() and columns.all() else costs[rows][:, columns]
    mean = float(typical.mean(1).mean(dtype=torch.float64))
    if not mean > 0 or mean == float("inf"):
        raise ValueError(
            f"`cost` has mean {mean} over the cells: it must be positive and finite. "
            "Constant or duplicated cells, NaN, or a cost that is negative on average lead to this."
        )
    return costs, mean


def _check_costs(costs, x: Tensor) -> None:
    """Raise unless what a cost function returned is a tensor on the device of the cells."""
    if not isinstance(costs, Tensor):
        raise TypeError(f"`cost` returned {type(costs).__name__}: it must return a tensor.")
    if costs.device != x.device:
        raise ValueError(
            f"`cost` returned a tensor on {costs.device}, the cells are on {x.device}: compute the "
            f"cost on the device of its arguments, or pass `device={str(costs.device)!r}`."
        )


def spaced(n: int, n_cells: int) -> Tensor:
    """Indices of at most `n_cells` of `n` cells, evenly spaced so that the choice never changes."""
    if n <= n_cells:
        return torch.arange(n)
    return torch.linspace(0, n - 1, n_cells, dtype=torch.float64).round().long()


def against(cost: Cost, y: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the cost to cells `y` as a function `x -> (n, m)`, for many blocks of `x`.

    A cost that has a method `against(y)` makes there what follows from `y` alone, once.
    """
    with own_precision():
        to_y = cost.against(y) if hasattr(cost, "against") else lambda x: cost(x, y)
    return in_own_precision(to_y)


def fitted(cost: Cost | FittedCost, x: Tensor, y: Tensor) -> Cost:
    """Return a cost function for these populations, fitted to them where it can be."""
    return cost.fit(x, y) if hasattr(cost, "fit") else cost


def is_typical(sizes: Tensor) -> Tensor:
    """Mask of all cells but a few of over `FAR` times the median size."""
    far = sizes > FAR * sizes.median()
    n_most = -(-len(sizes) // RARE) if len(sizes) >= FEWEST else 0
    # a median of 0 says nothing of what is large
    return ~far if far.sum() <= n_most and sizes.median() > 0 else torch.ones_like(far)


def _typical_rows(costs: Tensor) -> Tensor:
    """Mask of all rows but a few whose median is over `FAR` times that of the median row."""
    mean, most = costs.mean(), FAR**0.5
    near = (costs > mean / most) & (costs < mean * most)
    # medians take long; where most of each row is near, so is its median
    if (2 * near.sum(1) > costs.shape[1]).all():
        return torch.ones_like(costs[:, 0], dtype=torch.bool)
    return is_typical(costs.median(1).values)


def bulk_center(cells: Tensor) -> Tensor:
    """Center of most cells, which a broken one does not move, shape `(p,)`."""
    return cells[spaced(len(cells), 101)].median(0).values


NAMED_COSTS = {cost.__name__: cost for cost in (squared_euclidean, euclidean, cosine, coulomb)}
