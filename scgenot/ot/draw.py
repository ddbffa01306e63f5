"""Draws of plans by the inverse of a cumulative sum."""

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor


def uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw uniform numbers in double precision by a generator of any device."""
    drawn = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)
    return drawn.to(device)


def shuffled(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw an order of `n` entries by a generator of any device."""
    return torch.randperm(n, generator=generator, device=generator.device).to(device)


def systematic(mass: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw `n` sorted entries by their mass, each its expected number of times give or take one."""
    cumulative = mass.double().cumsum(0)
    start = uniform((), generator, mass.device)
    levels = (torch.arange(n, device=mass.device) + start) / n * cumulative[-1]
    return torch.searchsorted(cumulative, levels, right=True).clamp_(max=len(mass) - 1)


def invert(cumulative: Tensor, quantiles: Tensor) -> Tensor:
    """Columns at the quantiles, shape `(k, d)`, of cumulative rows, shape `(k, m)`."""
    top = cumulative[:, -1:]
    # rounding must neither lose the top of the range nor point past the last cell with mass
    below = torch.nextafter(top, torch.zeros_like(top))
    level = torch.minimum((quantiles * top).to(top.dtype), below)
    return torch.searchsorted(cumulative, level, right=True)


def invert_rows(p: Tensor, rows: Tensor, quantiles: Tensor) -> Tensor:
    """Columns at the quantiles of the given rows of `p`; rows are sorted."""
    count = torch.bincount(rows, minlength=len(p))
    width, m = int(count.max()), p.shape[1]
    slot = torch.arange(len(rows), device=p.device) - (count.cumsum(0) - count)[rows]
    if width * len(p) <= 2 * len(rows) + len(p):
        levels = quantiles.new_zeros(len(p), width)
        levels[rows, slot] = quantiles
        return invert(p.cumsum(1), levels)[rows, slot]
    # one cell has most of the pairs: all rows as one, which takes double precision
    cumulative = p.cumsum(1, dtype=torch.float64)
    number = torch.arange(len(p), device=p.device, dtype=torch.float64)[:, None]
    cumulative = (cumulative / cumulative[:, -1:]).add_(number).view(-1)
    place = torch.searchsorted(cumulative, rows + quantiles, right=True)
    return (place - rows * m).clamp_(max=m - 1)


def largest_entries(
    blocks: Iterable[tuple[slice, Tensor]], k: int, shape: tuple[int, int]
) -> sp.csr_matrix:
    """Keep the `k` largest entries of each row of a plan, given block by block."""
    mass, index = zip(*(block.topk(k, dim=1) for _, block in blocks), strict=True)
    mass, index = torch.cat(mass).cpu().numpy(), torch.cat(index).cpu().numpy()
    out = sp.csr_matrix((mass.ravel(), index.ravel(), np.arange(len(mass) + 1) * k), shape=shape)
    out.sort_indices()
    return out
