"""The units of the cells: networks see every column centred and scaled."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class Standardiser(nn.Module):
    """Mean and standard deviation of each column, kept with the weights of a model.

    Parameters
    ----------
    size
        Number of columns; until fitted, nothing is changed.
    name
        What to call the cells in messages.
    """

    def __init__(self, size: int, name: str):
        super().__init__()
        self.name = name
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, blocks: Sequence[np.ndarray]) -> None:
        """Take the columns' moments over all cells of all blocks.

        Parameters
        ----------
        blocks
            Arrays `(n, size)`. A column that does not vary is centred and not scaled.
        """
        n = sum(len(block) for block in blocks)
        mean = sum(block.sum(0, dtype=float) for block in blocks) / n
        std = np.sqrt(sum(((block - mean) ** 2).sum(0) for block in blocks) / n)
        std[std <= 1e-6 * np.abs(mean)] = 1
        self.mean.copy_(torch.as_tensor(mean))
        self.std.copy_(torch.as_tensor(std))

    def forward(self, cells: np.ndarray | Tensor) -> Tensor:
        """Cells `(n, size)` from their own units to standard ones, on the device of the model."""
        cells = to_tensor(cells, self.mean)
        if cells.ndim != 2 or cells.shape[1] != len(self.mean):
            raise ValueError(f"`{self.name}` has shape {tuple(cells.shape)}, expected (n, {len(self.mean)}).")
        return (cells - self.mean) / self.std

    def undo(self, cells: Tensor) -> Tensor:
        """Cells `(..., size)` from standard units back to their own."""
        return cells * self.std + self.mean


def to_tensor(values: np.ndarray | Tensor, like: Tensor) -> Tensor:
    """Bring an array or tensor to the type and device of a tensor.

    Parameters
    ----------
    values
        Numbers; arrays are copied, for those read from a file may not be writable, which PyTorch warns of.
    like
        Tensor of the wanted type and device.

    Returns
    -------
    The values as a tensor.
    """
    if isinstance(values, Tensor):
        return values.to(like)
    return torch.tensor(np.asarray(values), dtype=like.dtype, device=like.device)
