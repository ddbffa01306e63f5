"""Starts of a quadratic coupling: guesses of how the principal axes of two spaces correspond."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scgenot.ot.quadratic.intra import Geometry


@dataclass(frozen=True)
class Start:
    """Linear cost `-k z_x^T S z_y` on rows that favours one orientation."""

    cross: Tensor
    source: Geometry
    target: Geometry
    strength: float

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the cost of every pair of cells, shape `(n, m)`."""
        p, q = self.cross.shape  # shared features may follow
        return (-self.strength * self.source(x[:, :p]) @ self.cross) @ self.target(y[:, :q]).T


def principal_starts(
    x: Tensor,
    y: Tensor,
    source: Geometry,
    target: Geometry,
    *,
    unit: float = 1.0,
    n_starts: int,
    rng: int,
) -> list[Start]:
    """Make starts from sign flips and random rotations of the matched principal axes, in turn."""
    z_x, z_y = source(x), target(y)
    axes_x, axes_y = _scaled_axes(z_x), _scaled_axes(z_y)
    k = min(axes_x.shape[1], axes_y.shape[1])
    generator = torch.Generator().manual_seed(rng)
    spread_x, spread_y = (float((z - z.mean(0)).square().sum(1).mean()) for z in (z_x, z_y))
    strength = 4 * unit / (spread_x * spread_y)
    starts = []
    for number in range(n_starts):
        turn = _rotation(k, generator) if number % 2 else _flips(k, generator, identity=number == 0)
        cross = axes_x[:, :k] @ turn.to(x) @ axes_y[:, :k].T
        starts.append(Start(cross, source, target, strength))
    return starts


def _scaled_axes(z: Tensor) -> Tensor:
    """Principal axes as columns, each as long as the standard deviation along it, widest first."""
    variance, axes = torch.linalg.eigh(torch.cov(z.T).reshape(z.shape[1], z.shape[1]))
    axes = axes * torch.where(((z - z.mean(0)) @ axes).pow(3).sum(0) < 0, -1, 1)
    return (axes * variance.clamp(min=0).sqrt()).flip(1)


def _flips(k: int, generator: torch.Generator, *, identity: bool) -> Tensor:
    signs = torch.ones(k) if identity else torch.randint(0, 2, (k,), generator=generator) * 2.0 - 1
    return torch.diag(signs)


def _rotation(k: int, generator: torch.Generator) -> Tensor:
    """Orthogonal matrix drawn uniformly (Mezzadri 2007, arXiv math-ph/0609050)."""
    q, r = torch.linalg.qr(torch.randn(k, k, generator=generator, dtype=torch.float64))
    return (q * r.diagonal().sign()).float()
