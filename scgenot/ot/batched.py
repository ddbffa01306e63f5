"""Many entropic couplings at once, one with one, on tensors padded to one size.

Populations of a batch are padded by cells of weight 0. Cells are centered on the mean of their
population, because the squared distance between means is a term of the cost for any epsilon. After
one step in the log domain, rows and columns of the kernel have entries near 1, so that all other
steps are matrix products in single precision.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scgenot.ot.precision import in_own_precision

CHECK = 5  # iterations between looks at the error
SMALLEST = 1e-37


@dataclass(frozen=True)
class Settings:
    """How entropic problems are solved; `epsilon` in units of the squared distance."""

    epsilon: float
    tolerance: float = 1e-3
    max_iterations: int = 2000
    device: str = "cpu"


@dataclass(frozen=True)
class Batch:
    """Centred populations padded to one size, shapes `(b, n, d)` and `(b, n)`."""

    cells: Tensor
    weights: Tensor

    @classmethod
    def of(cls, clouds: Sequence[np.ndarray], device: str) -> "Batch":
        """Center and pad populations."""
        n, b = max(map(len, clouds)), len(clouds)
        cells, weights = np.zeros((b, n, clouds[0].shape[1]), np.float32), np.zeros((b, n))
        for k, cloud in enumerate(clouds):
            cells[k, : len(cloud)] = cloud - cloud.mean(0)
            weights[k, : len(cloud)] = 1 / len(cloud)
        return cls(*(torch.from_numpy(part).float().to(device) for part in (cells, weights)))


@dataclass
class Plans:
    """Entropic plans of a batch: `kernel * u * v`, with potentials relative to epsilon."""

    kernel: Tensor
    f: Tensor
    g: Tensor
    u: Tensor
    v: Tensor
    a: Tensor
    b: Tensor
    error: Tensor

    def values(self) -> Tensor:
        """`min <c, P> + eps KL(P | a b')` of centred cells, in units of epsilon."""
        sides = (self.a, self.f, self.u), (self.b, self.g, self.v)
        return sum(
            (mass.double() * torch.where(mass > 0, base + scale.log(), 0.0).double()).sum(1)
            for mass, base, scale in sides
        )

    def barycenters(self, y: Tensor) -> Tensor:
        """Mean of the cells `y` that each cell is coupled with, shape `(b, n, d)`."""
        rows = self.u[..., None] * torch.bmm(self.kernel, self.v[..., None] * y)
        return rows / self.a.clamp(min=SMALLEST)[..., None]


@in_own_precision
def solve(x: Batch, y: Batch, settings: Settings) -> Plans:
    """Couple populations of two batches, one with one, by Sinkhorn's iterations."""
    eps = settings.epsilon
    log_k = torch.baddbmm(
        -(x.cells.square().sum(2)[:, :, None] + y.cells.square().sum(2)[:, None]) / eps,
        x.cells,
        y.cells.mT,
        alpha=2 / eps,
    )
    a, b = x.weights, y.weights
    log_k += a.log()[:, :, None] + b.log()[:, None]
    # of cells that are padding: minus infinity less itself
    f = (a.log() - log_k.logsumexp(2)).nan_to_num(0, 0, 0)
    g = (b.log() - log_k.add_(f[:, :, None]).logsumexp(1)).nan_to_num(0, 0, 0)
    kernel = log_k.add_(g[:, None]).exp_()
    plans = Plans(kernel, f, g, torch.ones_like(a), torch.ones_like(b), a, b, a.sum(1))
    _iterate(plans, settings)
    return plans


def _iterate(plans: Plans, settings: Settings) -> None:
    """Scale rows and columns until the row marginals of all problems are met."""
    kernel, a, b = plans.kernel, plans.a[..., None], plans.b[..., None]
    u, v = plans.u[..., None], plans.v[..., None]
    for iteration in range(settings.max_iterations):
        rows = torch.bmm(kernel, v)
        if iteration % CHECK == 0:
            plans.error = (u * rows - a).abs().sum((1, 2))
            # written so that NaN ends the loop
            if not (plans.error > settings.tolerance).any():
                break
        u = a / rows.clamp(min=SMALLEST)
        v = b / torch.bmm(kernel.mT, u).clamp(min=SMALLEST)
    plans.u, plans.v = u[..., 0], v[..., 0]
