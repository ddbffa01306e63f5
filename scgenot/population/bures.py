"""The Bures-Wasserstein geometry of Gaussian populations.

The squared 2-Wasserstein distance between Gaussians is `|m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x^.5
S_y S_x^.5)^.5)`. It is computed as the minimum of `|S_x^.5 - U S_y^.5|^2` over rotations `U`, which
avoids differences of large numbers and needs no inverse (Bhatia, Jain, Lim 2019, *On the
Bures-Wasserstein distance between positive definite matrices*, arXiv 1712.01504).

All functions accept stacks of any shape and compute in the precision of their inputs: use double.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scgenot._progress import progress_bar

BLOCK = 2**21  # entries of the matrices of pairs that are held at once: 16 MB in double precision
MAX_BARYCENTER_STEPS = 200


@dataclass(frozen=True)
class Gaussians:
    """Means of shape `(..., d)` and covariances of shape `(..., d, d)`."""

    mean: Tensor
    covariance: Tensor

    def __len__(self) -> int:
        """Return how many there are along the first axis."""
        return len(self.mean)

    def __getitem__(self, rows) -> "Gaussians":
        """Return those at some positions of the first axis."""
        return Gaussians(self.mean[rows], self.covariance[rows])

    def to(self, device) -> "Gaussians":
        """Return them on a device."""
        return Gaussians(self.mean.to(device), self.covariance.to(device))


@dataclass(frozen=True)
class Velocity:
    """Velocity of a Gaussian: `dm/dt = mean`, `dS/dt = L S + S L`, `L = linear` symmetric."""

    mean: Tensor
    linear: Tensor


def root(covariance: Tensor) -> Tensor:
    """Symmetric square root; eigenvalues that are 0 up to rounding count as 0."""
    values, vectors = torch.linalg.eigh(covariance)
    least = values[..., -1:].clamp(min=0) * values.shape[-1] * torch.finfo(values.dtype).eps
    values = torch.where(values > least, values, 0.0)
    return vectors * values.sqrt()[..., None, :] @ vectors.mT


def distance(x: Gaussians, y: Gaussians, *, squared: bool = False) -> Tensor:
    """2-Wasserstein distance between Gaussians, one for each element of the stacks."""
    found = _squared(x.mean - y.mean, root(x.covariance), root(y.covariance))
    return found if squared else found.sqrt()


def distances(x: Gaussians, y: Gaussians | None = None, *, progress: bool = False) -> Tensor:
    """2-Wasserstein distances of all pairs, shape `(n, m)`; of `x` to itself without a `y`."""
    roots = [root(x.covariance)]
    roots.append(roots[0] if y is None else root(y.covariance))
    n, m = map(len, roots)
    if y is None:
        rows, columns = torch.triu_indices(n, n, 1, device=x.mean.device)
    else:
        rows, columns = torch.cartesian_prod(*(torch.arange(k) for k in (n, m))).T
    size = max(1, BLOCK // roots[0][0].numel())
    blocks = list(zip(rows.split(size), columns.split(size), strict=True))
    found = x.mean.new_zeros(n, m)
    others = x if y is None else y
    for i, j in progress_bar(blocks, shown=progress, desc="Bures distances"):
        found[i, j] = _squared(x.mean[i] - others.mean[j], roots[0][i], roots[1][j]).sqrt()
    return found + found.T if y is None else found


def transport(x: Gaussians, y: Gaussians) -> Tensor:
    """Matrix `A` of the optimal map `m_y + A (z - m_x)`: symmetric, with `A S_x A = S_y`.

    If `S_x` is singular, `A` is 0 in the directions that no linear map of `x` can reach.
    """
    last = root(y.covariance)
    # S_y^.5 (S_y^.5 S_x S_y^.5)^-.5 S_y^.5, from the singular values of S_x^.5 S_y^.5
    _, values, vectors = torch.linalg.svd(root(x.covariance) @ last)
    least = values[..., :1] * values.shape[-1] * torch.finfo(values.dtype).eps
    inverse = torch.where(values > least, 1 / values, 0.0)
    half = vectors @ last
    return half.mT * inverse[..., None, :] @ half


def geodesic(x: Gaussians, y: Gaussians, t: float | Tensor) -> Gaussians:
    """Gaussians at the times `t` in [0, 1] of the shortest paths from `x` to `y`."""
    t = _times(t, x)
    matrix, _ = _maps(x, y, t)
    mean = x.mean + t * (y.mean - x.mean)
    return Gaussians(mean, _moved(x.covariance, matrix))


def velocity(x: Gaussians, y: Gaussians, t: float | Tensor) -> Velocity:
    """Velocity at the times `t` of the shortest paths: `(m_y - m_x, (A - I) M_t^-1)`."""
    matrix, change = _maps(x, y, _times(t, x))
    linear = torch.linalg.solve(matrix, change)  # both are functions of A: they commute
    return Velocity(y.mean - x.mean, (linear + linear.mT) / 2)


def squared_speed(at: Gaussians, moved: Velocity) -> Tensor:
    """Squared Riemannian norm `|dm|^2 + tr(S L^2)` of a velocity, or of a difference of two."""
    spread = (moved.linear @ at.covariance * moved.linear).sum((-2, -1))
    return moved.mean.square().sum(-1) + spread


def step(at: Gaussians, moved: Velocity, dt: float | Tensor) -> Gaussians:
    """Move by `S <- (I + dt L) S (I + dt L)'`, a covariance for any `L` and `dt`."""
    dt = _times(dt, at)
    eye = torch.eye(at.mean.shape[-1]).to(at.mean)
    matrix = eye + dt[..., None] * moved.linear
    return Gaussians(at.mean + dt * moved.mean, _moved(at.covariance, matrix))


def barycenter(
    x: Gaussians, weights: Tensor | None = None, *, tolerance: float = 1e-12
) -> Gaussians:
    """Gaussian with the smallest mean squared distance to a stack of Gaussians.

    The fixed point of Álvarez-Esteban et al. (2016), *A fixed-point approach to barycenters in
    Wasserstein space*, arXiv 1511.05355: the mean of the maps to all is the identity.
    """
    weights = torch.ones(len(x)).to(x.mean) if weights is None else weights.to(x.mean)
    weights = weights / weights.sum()
    at = Gaussians(weights @ x.mean, torch.tensordot(weights, x.covariance, 1))
    for _ in range(MAX_BARYCENTER_STEPS):
        everywhere = Gaussians(x.mean, at.covariance.expand_as(x.covariance))
        mean_map = torch.tensordot(weights, transport(everywhere, x), 1)
        before, at = at, Gaussians(at.mean, _moved(at.covariance, mean_map))
        if (at.covariance - before.covariance).abs().max() <= tolerance * at.covariance.abs().max():
            break
    return at


def _squared(shift: Tensor, x_root: Tensor, y_root: Tensor) -> Tensor:
    """Squared distances from differences of means and square roots of covariances."""
    left, _, right = torch.linalg.svd(x_root @ y_root)
    spread = (x_root - left @ right @ y_root).square().sum((-2, -1))
    return shift.square().sum(-1) + spread


def _maps(x: Gaussians, y: Gaussians, t: Tensor) -> tuple[Tensor, Tensor]:
    """`M_t = (1 - t) I + t A`, which moves `x` to time `t`, and `A - I`."""
    eye = torch.eye(x.mean.shape[-1]).to(x.mean)
    change = transport(x, y) - eye
    return eye + t[..., None] * change, change


def _moved(covariance: Tensor, matrix: Tensor) -> Tensor:
    """`M S M'`, symmetric to the last bit."""
    moved = matrix @ covariance @ matrix.mT
    return (moved + moved.mT) / 2


def _times(t: float | Tensor, x: Gaussians) -> Tensor:
    """Times as a tensor with a last axis of 1, beside the means."""
    return torch.as_tensor(t, dtype=x.mean.dtype, device=x.mean.device)[..., None]
