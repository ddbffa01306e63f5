"""Entropic transport between many populations at once, on tensors padded to one size.

Populations of a batch are padded by cells of weight 0. Cells are centered on the mean of their
population, because the squared distance between means is a term of the cost for any epsilon. After
one step in the log domain, rows and columns of the kernel have entries near 1, so that all other
steps are matrix products in single precision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scgenot._progress import progress_bar
from scgenot._warn import warn_user

# entries of the kernels of a batch: what stays in the cache of a core, and what fills a GPU
BLOCK, BLOCK_GPU = 2**18, 2**26
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


def divergences(
    clouds: Sequence[np.ndarray],
    *,
    epsilon: float,
    device: str = "cpu",
    progress: bool = False,
) -> np.ndarray:
    """Debiased transport costs between all pairs of populations, shape `(n, n)`.

    `W(x, y) - (W(x, x) + W(y, y)) / 2` with the squared Euclidean cost (Feydy et al. 2019, arXiv
    1810.08278, eq. 3), symmetric, 0 for equal populations and `|s|^2` for a shift by `s`. `epsilon`
    is in units of the squared distance.
    """
    settings = Settings(epsilon, device=device)
    n, sizes = len(clouds), np.array(list(map(len, clouds)))
    means = np.array([np.asarray(cloud, dtype=float).mean(0) for cloud in clouds])
    order = np.argsort(sizes)  # populations of similar size need little padding
    i, j = (order[side] for side in np.triu_indices(n))
    found, errors = np.zeros((n, n)), np.zeros(len(i))
    blocks = list(batches(sizes[i], sizes[j], device))
    for rows in progress_bar(blocks, shown=progress, desc="Sinkhorn distances"):
        sides = [Batch.of([clouds[k] for k in side[rows]], device) for side in (i, j)]
        plans = solve(*sides, settings)
        found[i[rows], j[rows]] = epsilon * plans.values().cpu().numpy()
        errors[rows] = plans.error.cpu().numpy()
    found = np.where(found == 0, found.T, found)
    if (errors > settings.tolerance).any():
        warn_user(
            f"{(errors > settings.tolerance).sum()} of {len(i)} Sinkhorn distances did not "
            f"converge: marginal error up to {errors.max():.2g}. Raise `epsilon`."
        )
    own = np.diag(found)
    squared = found - (own[:, None] + own) / 2
    squared += np.square(means[:, None] - means).sum(2)
    squared[np.diag_indices(n)] = 0
    return np.maximum((squared + squared.T) / 2, 0)


def batches(n: np.ndarray, m: np.ndarray, device: str) -> Iterator[slice]:
    """Yield runs of problems whose padded kernels have at most a block's entries."""
    most = BLOCK if str(device) == "cpu" else BLOCK_GPU
    start, rows, columns = 0, 0, 0
    for k in range(len(n)):
        rows, columns = max(rows, n[k]), max(columns, m[k])
        if k > start and (k + 1 - start) * rows * columns > most:
            yield slice(start, k)
            start, rows, columns = k, n[k], m[k]
    yield slice(start, len(n))
