"""One step of optimization, the same in all trainings: AdamW, a schedule, clipping, an average."""

import math

import torch
from torch import Tensor, nn

# numbers to which parts are padded: products of unaligned matrices are slower and rounded otherwise
ALIGNMENT = 64


class Descent:
    """AdamW with warm-up and half a cosine, clipped gradients, and averaged weights.

    Trained parameters become views of one vector, and their gradients of another: one operation
    updates all, where one for each takes longer.
    """

    def __init__(
        self,
        model: nn.Module,
        average: nn.Module,
        *,
        steps: int,
        learning_rate: float,
        weight_decay: float,
        warmup: int,
        ema_decay: float,
        clip: float = 1.0,
    ):
        self.model, self.average = model, average
        self.steps, self.learning_rate, self.warmup = steps, learning_rate, warmup
        self.ema_decay, self.clip = ema_decay, clip
        trained = [p.requires_grad for p in model.parameters()]
        average.requires_grad_(requires_grad=False)
        self.averaged = _joined(average, trained)
        self.weights = nn.Parameter(_joined(model, trained))
        self.weights.grad = torch.zeros_like(self.weights)
        for parameter, grad in _views(model, trained, self.weights.grad):
            parameter.grad = grad
        self.optimizer = torch.optim.AdamW(
            [self.weights], lr=0.0, weight_decay=weight_decay, fused=True
        )

    def step(self, k: int, loss: Tensor) -> None:
        """Make step `k`, from 0, for a loss."""
        self.backward(loss)
        self.move(k)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradient of a loss."""
        self.weights.grad.zero_()
        loss.backward()

    def move(self, k: int) -> None:
        """Move the weights, and the average after them."""
        rate = min(1.0, (k + 1) / self.warmup) if self.warmup else 1.0
        rate *= self.learning_rate * (1 + math.cos(math.pi * k / self.steps)) / 2
        self.optimizer.param_groups[0]["lr"] = rate
        nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.optimizer.step()
        self.averaged.lerp_(self.weights.data, 1 - min(self.ema_decay, (1 + k) / (10 + k)))
        for old, new in zip(self.average.buffers(), self.model.buffers(), strict=True):
            old.copy_(new)


def _joined(module: nn.Module, chosen: list[bool]) -> Tensor:
    """Make some parameters of a module views of one vector, and return the vector."""
    some = _chosen(module, chosen)
    vector = torch.cat([p.detach().new_zeros(_padded(p)) for p in some])
    for parameter, part in _views(module, chosen, vector):
        part.copy_(parameter.detach())
        parameter.data = part
    return vector


def _views(
    module: nn.Module, chosen: list[bool], vector: Tensor
) -> list[tuple[nn.Parameter, Tensor]]:
    """Pair some parameters of a module with their parts of a vector."""
    some = _chosen(module, chosen)
    parts = vector.split([_padded(p) for p in some])
    return [(p, part[: p.numel()].view_as(p)) for p, part in zip(some, parts, strict=True)]


def _chosen(module: nn.Module, chosen: list[bool]) -> list[nn.Parameter]:
    """Return some parameters of a module."""
    return [p for p, is_chosen in zip(module.parameters(), chosen, strict=True) if is_chosen]


def _padded(parameter: nn.Parameter) -> int:
    """Length of the part of a parameter."""
    return -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
