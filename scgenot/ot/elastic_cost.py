"""Elastic costs `|x - y|^2 / 2 + strength tau(x - y)`: displacements that touch few features."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scgenot._check import check_number
from scgenot._typed import typed
from scgenot.ot.blocks import row_blocks
from scgenot.ot.cost import squared_euclidean
from scgenot.ot.plan import UnsupportedPlan

Kind = Literal["l1", "stvs"]


def stvs(z: Tensor, gamma: float) -> Tensor:
    """Penalty `gamma^2 (s + 1/2 - exp(-2 s) / 2)`, `s = asinh(|z| / 2 gamma)`, of each entry."""
    s = (z.abs() / (2 * gamma)).asinh()
    return gamma**2 * (s + 0.5 - (-2 * s).exp() / 2)


@dataclass(frozen=True)
class Elastic:
    """Elastic cost, see :func:`~scgenot.ot.elastic`.

    Parameters
    ----------
    strength, kind
        As in :func:`~scgenot.ot.elastic`.

    See Also
    --------
    :meth:`scgenot.ot.Coupling.displacement` : sparse displacements with this cost.
    """

    strength: float
    kind: Kind

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Costs `(n, m)`, without a matrix product: an array of the features of some pairs."""
        out = x.new_empty(len(x), len(y))
        for rows in row_blocks(len(x), len(y) * x.shape[1]):
            z = x[rows, None] - y
            out[rows] = z.square().sum(2) / 2 + self.penalty(z).sum(2)
        return out

    def penalty(self, z: Tensor) -> Tensor:
        """Penalty of each entry of displacements, times the strength."""
        if self.kind == "l1":
            return self.strength * z.abs()
        return stvs(z, self.strength)

    def slope(self, z: Tensor) -> Tensor:
        """Derivative of the cost in the displacement, `z + strength tau'(z)`."""
        if self.kind == "l1":
            return z + self.strength * z.sign()
        # the inverse of the prox
        return (z + z.sign() * (z.square() + 4 * self.strength**2).sqrt()) / 2

    def prox(self, u: Tensor) -> Tensor:
        """Displacement with slope `u`; entries below a threshold are 0."""
        if self.kind == "l1":
            return u.sign() * (u.abs() - self.strength).clamp(min=0)
        return torch.where(u.abs() > self.strength, u - self.strength**2 / u, 0.0)


@typed
def elastic(strength: float, *, kind: Kind = "l1") -> Elastic:
    r"""Cost `|x - y|^2 / 2 + strength tau(x - y)`, with displacements in few features.

    `tau` is the sum over features of `|z|` ("l1"), or of a penalty that grows logarithmically and
    shrinks large displacements less ("stvs"). :meth:`Coupling.displacement` returns the
    displacements. They are sparse if the coupling is diffuse. With a small epsilon, each cell moves
    to a single target, and all features change.

    Parameters
    ----------
    strength
        Features with a mean slope up to this value do not change; in units of the features.
    kind
        `"l1"` or `"stvs"`.

    Returns
    -------
    A cost function for :class:`Sinkhorn`.

    Raises
    ------
    TypeError
        When `strength` is not a number.
    ValueError
        When `strength` is not positive, or `kind` is unknown.

    References
    ----------
    Cuturi, Klein, Ablin (2023), *Monge, Bregman and Occam*, arXiv 2302.04065, sections
    3 and 4.

    Examples
    --------
    >>> coupling = sg.ot.Sinkhorn(cost=sg.ot.elastic(2.0))(pair)
    >>> coupling.displacement().count_nonzero(1)  # features that move, a cell
    """
    check_number("strength", strength, "positive and finite", lambda s: 0 < s < math.inf)
    return Elastic(float(strength), kind)


def barycentric_slope(cost: Elastic, x: Tensor, y: Tensor, law: Tensor) -> Tensor:
    """Gradient of the potential at cells, `sum_j p_j(x) slope(x - y_j)`, shape `(n, d)`."""
    out = torch.empty_like(x)
    for rows in row_blocks(len(x), len(y) * x.shape[1]):
        slopes = cost.slope(x[rows, None] - y)
        out[rows] = torch.einsum("nm,nmd->nd", law[rows], slopes)
    return out


def displaced(cost, x: Tensor, y: Tensor, blocks: Iterable[Tensor]) -> Tensor:
    """Move cells by the map of a coupling, given the laws of their targets block by block."""
    if cost is squared_euclidean:
        return torch.cat([law @ y for law in blocks]) - x
    if not hasattr(cost, "prox"):
        raise UnsupportedPlan(
            "`displacement` needs a coupling by `sg.ot.elastic` or `sg.ot.squared_euclidean`; "
            f"its cost is {getattr(cost, '__name__', type(cost).__name__)}."
        )
    slopes, start = [], 0
    for law in blocks:
        slopes.append(barycentric_slope(cost, x[start : start + len(law)], y, law))
        start += len(law)
    return -cost.prox(torch.cat(slopes))
