"""The linearised cost of a quadratic coupling: a function of any pair of cells, new ones included.

With `C_x = U_x V_x^T` and likewise for y, the gradient of the distortion `sum (C_x - C_y)^2 P P` at
a plan P is

    c_P(x, y) = 2 [ u(x)^T G_x u(x) + u(y)^T G_y u(y) - 2 u(x)^T (V_x^T P V_y) u(y) ],

where `G_x = V_x^T diag(P 1) V_x`. All that the plan contributes is the core `V_x^T P V_y` and the
two small `G`. The objective is `distortion + eps KL(P | a b^T)`, with the full gradient above (not
half of it), as in POT.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scgenot.ot.cost import Cost, against
from scgenot.ot.coupling import Coupling
from scgenot.ot.iterate import Iterate
from scgenot.ot.quadratic.intra import DenseIntra, Intra


@dataclass(frozen=True)
class QuadraticCost:
    """Linearised cost on features `u(x)`, `u(y)`."""

    core: Tensor
    gram_x: Tensor
    gram_y: Tensor

    def __call__(self, u_x: Tensor, u_y: Tensor) -> Tensor:
        """Return the cost of every pair, shape `(n, m)`."""
        return self.against(u_y)(u_x)

    def against(self, u_y: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the cost to `u_y` as a function."""
        constant = 2 * quadratic_form(u_y, self.gram_y)

        def cost(u_x: Tensor) -> Tensor:
            products = torch.addmm(constant, u_x @ self.core, u_y.T, alpha=-4)
            return products.add_(2 * quadratic_form(u_x, self.gram_x)[:, None])

        return cost


@dataclass(frozen=True)
class FusedCost:
    """`alpha c_linear / scale + (1 - alpha) c_quadratic`."""

    quadratic: Cost
    linear: Cost
    alpha: float
    linear_scale: float
    n_shared: int

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the cost of every pair, shape `(n, m)`."""
        return self.against(y)(x)

    def against(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the cost to `y` as a function."""
        k = self.n_shared
        linear = against(self.linear, y[:, -k:])
        if self.alpha == 1:
            return lambda x: linear(x[:, -k:]) / self.linear_scale
        quadratic, factor = against(self.quadratic, y[:, :-k]), self.alpha / self.linear_scale
        return lambda x: (
            quadratic(x[:, :-k]).mul_(1 - self.alpha).add_(linear(x[:, -k:]), alpha=factor)
        )


@dataclass(frozen=True)
class LiftedCost:
    """A cost on features, as a cost on cells."""

    inner: Cost
    source: Intra
    target: Intra
    n_shared: int = 0

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the cost of every pair, shape `(n, m)`."""
        return self.against(y)(x)

    def against(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the cost to `y` as a function."""
        inner = against(self.inner, lift(self.target, y, self.n_shared))
        return lambda x: inner(lift(self.source, x, self.n_shared))


def lift(intra: Intra, x: Tensor, n_shared: int) -> Tensor:
    """Turn the columns that the quadratic cost sees into features, and keep the shared ones."""
    own = x.shape[1] - n_shared
    return torch.cat([intra.left(x[:, :own]), x[:, own:]], dim=1) if n_shared else intra.left(x)


def quadratic_form(u: Tensor, gram: Tensor) -> Tensor:
    """Return `u_i^T G u_i` for each row, shape `(n,)`; a vector stands for a diagonal G."""
    return u.square() @ gram if gram.ndim == 1 else ((u @ gram) * u).sum(1)


@dataclass(frozen=True)
class Linearisation:
    """The linearised cost at a plan, with the plan's distortion."""

    cost: QuadraticCost
    distortion: float


class Lineariser:
    """Linearises the distortion of two populations at a plan."""

    def __init__(self, source: Intra, target: Intra, x: Tensor, y: Tensor):
        self.u_x, self.u_y = source.left(x), target.left(y)
        self.v_x = None if isinstance(source, DenseIntra) else source.right(x)
        self.v_y = None if isinstance(target, DenseIntra) else target.right(y)
        self._eye = torch.eye(len(y), dtype=y.dtype, device=y.device) if self.v_y is None else None

    def __call__(self, plan: Iterate) -> Linearisation:
        """Return the linearisation at `plan`."""
        v_y = self._eye if self.v_y is None else self.v_y
        ones = torch.ones_like(self.u_y[:, :1])
        moved = plan.apply(torch.cat([v_y, self.u_y, ones], dim=1))
        p_v, p_u, p = moved.tensor_split([v_y.shape[1], v_y.shape[1] + self.u_y.shape[1]], dim=1)
        q = plan.apply_transposed(torch.ones_like(self.u_x[:, :1]))
        core = p_v if self.v_x is None else self.v_x.T @ p_v
        cost = QuadraticCost(core, _gram(self.v_x, p[:, 0]), _gram(self.v_y, q[:, 0]))
        own = p[:, 0] @ quadratic_form(self.u_x, cost.gram_x)
        own += q[:, 0] @ quadratic_form(self.u_y, cost.gram_y)
        return Linearisation(cost, float(own - 2 * (core * (self.u_x.T @ p_u)).sum()))


def _gram(v: Tensor | None, weights: Tensor) -> Tensor:
    return weights if v is None else v.T @ (weights[:, None] * v)


@dataclass(frozen=True)
class Products:
    """Products of a coupling's plan with columns, as :class:`Lineariser` needs them."""

    coupling: Coupling

    def apply(self, values: Tensor) -> Tensor:
        """Return `P @ values` for values of shape `(m, d)`."""
        return torch.cat([mass @ values for _, mass in self.coupling.mass_blocks()])

    def apply_transposed(self, values: Tensor) -> Tensor:
        """Return `P.T @ values` for values of shape `(n, d)`."""
        return sum(mass.T @ values[rows] for rows, mass in self.coupling.mass_blocks())


def transport_value(coupling: Coupling) -> float:
    """Objective of a quadratic coupling without entropy; NaN if dense and extended."""
    cost, own = coupling.cost, coupling.x.shape[1] - coupling.cost.n_shared
    x, y = coupling.x[:, :own], coupling.y[:, : coupling.y.shape[1] - cost.n_shared]
    for intra, cells in ((cost.source, x), (cost.target, y)):
        if isinstance(intra, DenseIntra) and len(intra.reference) != len(cells):
            return float("nan")
    value = Lineariser(cost.source, cost.target, x, y)(Products(coupling)).distortion
    if not cost.n_shared:
        return value
    linear = replace(cost.inner, alpha=1.0)
    part = sum(
        float((mass * linear(coupling.x[rows], coupling.y)).sum(dtype=torch.float64))
        for rows, mass in coupling.mass_blocks()
    )
    return cost.inner.alpha * part + (1 - cost.inner.alpha) * value
