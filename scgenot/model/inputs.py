"""What every use of a model does first: conditions in shape, networks in evaluation, cells in blocks."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor, nn

from scgenot.model.standardiser import to_tensor


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
    return to_tensor(condition, model.source_units.mean).expand(n, -1)


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
