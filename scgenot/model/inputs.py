"""What every use of a model does first: conditions in shape, networks in evaluation, cells in blocks."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from scgenot.model.units import to_tensor


def conditions(model, condition: np.ndarray | Tensor | None, n: int) -> Tensor | None:
    """Bring the conditions of `n` cells to shape `(n, c)`; None when the model takes none."""
    if condition is None and model.condition_dim == 0:
        return None
    shape = None if condition is None else tuple(condition.shape)
    if shape not in ((model.condition_dim,), (n, model.condition_dim)):
        raise ValueError(
            f"`condition` has shape {shape}, the model was made for ({n}, {model.condition_dim}) "
            f"or ({model.condition_dim},)."
        )
    return to_tensor(condition, model.units.source.mean).expand(n, -1)


def shown(model, condition: Tensor | None) -> Tensor | None:
    """Add the column that says whether a condition is hidden, none of them, if the model knows hidden ones."""
    if condition is None or model.condition_dropout == 0:
        return condition
    return torch.cat([condition, torch.zeros_like(condition[:, :1])], 1)


def dropped(model, condition: Tensor | None, *, generator: torch.Generator) -> Tensor | None:
    """Hide the conditions of some cells while training, if the model is to know hidden ones."""
    given = shown(model, condition)
    if given is condition or not model.training:
        return given
    hidden = (
        torch.rand(len(given), 1, generator=generator, device=given.device)
        < model.condition_dropout
    )
    return torch.where(hidden, unconditional(given), given)


def blurred(units: nn.Module, cells: Tensor, noise: float, *, generator: torch.Generator) -> Tensor:
    """Standardise cells with noise added, as much in every column: `noise` times their root mean variance."""
    if noise:
        spread = units.std.square().mean().sqrt()
        cells = cells + noise * spread * torch.randn(
            cells.shape, generator=generator, device=cells.device
        )
    return units(cells)


def unconditional(condition: Tensor) -> Tensor:
    """Conditions of which nothing is known."""
    hidden = torch.zeros_like(condition)
    hidden[..., -1] = 1
    return hidden


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off inside a `with` block."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def blocks(n: int, size: int) -> Iterator[slice]:
    """Yield slices of `n` rows, `size` at a time."""
    for start in range(0, n, size):
        yield slice(start, start + size)
