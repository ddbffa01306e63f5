"""The units of the cells: networks see every column centred and scaled."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from scgenot._check import as_array
from scgenot.pair import Pair


class Standardizer(nn.Module):
    """Mean and standard deviation of each column, kept with the weights of a model."""

    def __init__(self, size: int, name: str):
        super().__init__()
        self.name = name
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, blocks: Sequence[np.ndarray]) -> None:
        """Take the columns' moments over all cells of all blocks."""
        n = sum(len(block) for block in blocks)
        with np.errstate(over="ignore", invalid="ignore"):  # such columns are named below
            mean = sum(block.sum(0, dtype=float) for block in blocks) / n
            std = np.sqrt(sum(((block - mean) ** 2).sum(0) for block in blocks) / n)
        std[std <= 1e-6 * np.abs(mean)] = 1
        self.mean.copy_(torch.as_tensor(mean))
        self.std.copy_(torch.as_tensor(std))
        # of values too large or too close for the precision of the networks
        bad = ~(self.mean.isfinite() & self.std.isfinite() & (self.std > 0))
        if bad.any():
            raise ValueError(
                f"`{self.name}` cells cannot be standardized in columns "
                f"{bad.nonzero()[:5, 0].tolist()}: their means or standard deviations are not "
                f"between the smallest and the largest {self.mean.dtype}. Rescale these columns."
            )

    def forward(self, cells: np.ndarray | Tensor) -> Tensor:
        """Cells `(n, size)` from their own units to standard ones, on the device of the model."""
        cells = to_tensor(cells, self.mean)
        if cells.ndim != 2 or cells.shape[1] != len(self.mean):
            raise ValueError(
                f"`{self.name}` has shape {tuple(cells.shape)}, expected (n, {len(self.mean)})."
            )
        return (cells - self.mean) / self.std

    def undo(self, cells: Tensor) -> Tensor:
        """Cells `(..., size)` from standard units back to their own."""
        return cells * self.std + self.mean


class Units(nn.Module):
    """Units of source cells, of target cells and of what the flow generates."""

    def __init__(self, source_dim: int, target_dim: int, *, displacement: bool):
        super().__init__()
        if displacement and source_dim < target_dim:
            raise ValueError(
                "`displacement=True` needs sources in the space of the targets, but they have "
                f"{source_dim} < {target_dim} columns."
            )
        self.source = Standardizer(source_dim, "source")
        self.target = Standardizer(target_dim, "target")
        self.displacement = Standardizer(target_dim, "target") if displacement else None

    @property
    def flow(self) -> Standardizer:
        """Units of what the flow generates."""
        return self.target if self.displacement is None else self.displacement

    def fit(self, pairs: Sequence[Pair], displacements: np.ndarray | Tensor | None = None) -> None:
        """Take mean and standard deviation of every column over the cells of all pairs."""
        self.source.fit([pair.source for pair in pairs])
        self.target.fit([pair.target for pair in pairs])
        if self.displacement is not None:
            self.displacement.fit([np.asarray(displacements)])

    def enter(self, source: Tensor, target: np.ndarray | Tensor) -> Tensor:
        """Target cells `(n, q)` in the coordinates of the flow, given source cells `(n, p)`."""
        target = to_tensor(target, self.flow.mean, "target")
        if self.displacement is not None:
            target = target - source[:, : target.shape[1]]
        return self.flow(target)

    def leave(self, source: Tensor, points: Tensor) -> Tensor:
        """Points of the flow `(n, n_samples, q)` as target cells, given source cells `(n, p)`."""
        target = self.flow.undo(points)
        return target if self.displacement is None else target + source[:, None, : target.shape[-1]]


def to_tensor(values: np.ndarray | Tensor, like: Tensor, name: str = "source") -> Tensor:
    """Bring an array or tensor to the type and device of a tensor; a ValueError names it."""
    if isinstance(values, Tensor):
        return values.to(like)
    values = as_array(values.toarray() if hasattr(values, "toarray") else values, name)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` must be an array of numbers; found {values.dtype}.")
    return torch.tensor(np.array(values, dtype=float), dtype=like.dtype, device=like.device)
