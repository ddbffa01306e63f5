"""Blocks of rows of a kernel, and sums in the log domain: by blocks, or in one pass of a GPU."""

import logging
import math
from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from scgenot.ot.cost import Cost, against, bulk_center, squared_euclidean

logger = logging.getLogger("scgenot")

# elements of one block of rows: small enough for the cache of a processor and for any memory limit,
# large enough for the BLAS; a GPU is kept busy by so many times as many
BLOCK_ELEMENTS = 2**18
ON_GPU = 2**7
# cells of a side from which on one pass of a GPU is faster, and dimensions that fit its memory
FUSED_CELLS, FUSED_DIMS = 2**12, 64


def row_blocks(n: int, m: int, device: torch.device | None = None) -> Iterator[slice]:
    """Slices of `n` rows, each with at most about `BLOCK_ELEMENTS` of `m` columns."""
    is_gpu = device is not None and device.type != "cpu"
    size = max(1, BLOCK_ELEMENTS * (ON_GPU if is_gpu else 1) // max(m, 1))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def exp_(log: Tensor, smallest: float = 2e-35) -> Tensor:
    """Exponential in place, zero under `smallest`: processors take long over denormal numbers."""
    log.clamp_(min=math.log(smallest))
    return torch.nn.functional.threshold_(log.exp_(), 1.001 * smallest, 0.0)


def log_sums(log: Tensor, dim: int = 1) -> Tensor:
    """Logarithm of the sums of exponentials; overwrites `log`."""
    top = log.amax(dim, keepdim=True)
    return exp_(log.sub_(top)).sum(dim).log_().add_(top.squeeze(dim))


def laws(log: Tensor) -> Tensor:
    """Softmax of the rows, in place."""
    exp_(log.sub_(log.amax(1, keepdim=True)))
    return log.div_(log.sum(1, keepdim=True))


def row_sums(cost: Cost, x: Tensor, y: Tensor, shift: Tensor, epsilon: float) -> Tensor:
    """Return `log sum_j exp(shift_j - c(x_i, y_j) / epsilon)`, shape `(n,)`."""
    if can_fuse(cost, x, y):
        return _fused(x, y, shift, epsilon)
    to_y, rows = against(cost, y), row_blocks(len(x), len(y), x.device)
    return torch.cat([log_sums((to_y(x[some]) / -epsilon).add_(shift)) for some in rows])


def column_sums(cost: Cost, x: Tensor, y: Tensor, shift: Tensor, epsilon: float) -> Tensor:
    """Return `log sum_i exp(shift_i - c(x_i, y_j) / epsilon)`, shape `(m,)`."""
    if can_fuse(cost, x, y):
        return _fused(y, x, shift, epsilon)
    sums, to_y = torch.full_like(y[:, 0], -torch.inf), against(cost, y)
    for rows in row_blocks(len(x), len(y), x.device):
        log_k = (to_y(x[rows]) / -epsilon).add_(shift[rows, None])
        sums = torch.logaddexp(sums, log_sums(log_k, 0))
    return sums


def can_fuse(cost: Cost, x: Tensor, y: Tensor) -> bool:
    """Whether sums over these costs have a kernel of their own."""
    return (
        cost is squared_euclidean
        and x.is_cuda
        and x.dtype == torch.float32
        and x.shape[1] <= FUSED_DIMS
        and min(len(x), len(y)) >= FUSED_CELLS
        and _kernel_runs(x.device)
    )


@cache
def _kernel_runs(device: torch.device) -> bool:
    """Whether the kernel runs on a card: it is tried once, on one cell."""
    try:
        probe = torch.zeros(1, FUSED_DIMS, device=device)
        return float(_fused(probe, probe, probe[0, :1], 1.0)) == 0
    except Exception as error:  # noqa: BLE001 - no Triton, an older card, too little shared memory
        reason = str(error).partition("\n")[0]
        logger.info(f"Sums over costs are computed in blocks on {device}: {reason}")
        return False


def _fused(x: Tensor, y: Tensor, shift: Tensor, epsilon: float) -> Tensor:
    """Sum over squared distances that are not stored."""
    from scgenot.ot.fused import fused_log_sums

    center = bulk_center(y)  # as squared_euclidean does
    return fused_log_sums(x - center, y - center, shift, epsilon)
