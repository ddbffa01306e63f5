"""Fits by several processes, in a process group of PyTorch.

Each process reads the same cells. Couplings are divided between the processes and exchanged. In
training, each process takes its share of a batch and gradients are averaged, so that all processes
end with the same model. Without a process group, there is one process and no exchange.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, distributed

from scgenot._check import best_device

ENDED = (
    "Processes that fit together could not exchange values ({}): one of them has ended. See its "
    "output, start all of them again, and use a checkpoint to continue training."
)


def n_ranks() -> int:
    """Return the number of processes."""
    grouped = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if grouped else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if n_ranks() > 1 else 0


def shared_work(make: Callable[[Sequence], list], items: Sequence) -> list:
    """Return `make(items)`, one result an item, of which each process computes its share.

    Results must be picklable. An error of one process is raised in all.
    """
    n = n_ranks()
    if n == 1:
        return make(items)
    made, failed = [], None
    try:
        made = make(items[rank() :: n])
    except Exception as error:  # noqa: BLE001 - the others wait for this process
        failed = error
    found = [None] * n
    _exchange(distributed.all_gather_object, found, (made, failed))
    for _, error in found:
        if error is not None:
            raise error
    return [found[k % n][0][k // n] for k in range(len(items))]


def check_share(batch_size: int) -> None:
    """Raise a ValueError unless a batch can be divided between the processes."""
    if batch_size % n_ranks():
        raise ValueError(
            f"`batch_size={batch_size}` must be a multiple of the {n_ranks()} processes, each of "
            "which takes an equal share."
        )


def share(batch: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return the rows of a batch that this process takes."""
    return [None if rows is None else rows[rank() :: n_ranks()] for rows in batch]


def averaged(parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
    """Average gradients, in place, and a loss over the processes; return the loss."""
    if n_ranks() == 1:
        return loss
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([loss.detach().reshape(1), *(grad.flatten() for grad in grads)])
    _exchange(distributed.all_reduce, flat)
    parts = (flat / n_ranks()).split([1, *(grad.numel() for grad in grads)])
    for grad, part in zip(grads, parts[1:], strict=True):
        grad.copy_(part.view_as(grad))
    return parts[0][0]


def _exchange(call: Callable, *args) -> None:
    """Exchange values between processes; raise a clear error if one of them has ended."""
    device = torch.device(best_device())
    own_card = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    try:
        with own_card:  # where NCCL puts what it exchanges
            call(*args)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise RuntimeError(ENDED.format(reason)) from error
