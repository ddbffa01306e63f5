"""Gradients of a loss; on a GPU the launches of all its kernels are recorded once and replayed."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from scgenot.model.descent import Descent

logger = logging.getLogger("scgenot")

# steps before the recording, in which libraries choose their kernels and take their workspace
WARM_STEPS = 3

# other modules may do in Python what a recording would not repeat
RECORDED = ("scgenot.", "torch.nn.")

Batch = Sequence[Tensor | None]
Loss = Callable[[Batch, torch.Generator], Tensor]


def can_record(field: nn.Module) -> bool:
    """Whether a step of a field is the same kernels each time: it is made of known modules."""
    return all(type(part).__module__.startswith(RECORDED) for part in field.modules())


class Gradients:
    """Loss of a batch, whose gradient is left in the vector of a :class:`Descent`.

    A small network keeps a GPU busy for less time than it takes to launch its kernels. With
    `recorded`, they are launched together from a CUDA graph, with the same results: all batches
    must then have the same shape, and the loss must neither read values from the GPU nor have
    steps of Python that change from call to call.
    """

    def __init__(self, loss: Loss, descent: Descent, *, recorded: bool):
        self.loss, self.descent = loss, descent
        self.device = descent.weights.device
        self.generator = torch.Generator(self.device)
        self.stream = torch.cuda.Stream(self.device) if recorded else None
        self.graph, self.n_calls = None, 0

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """Compute the gradient, with random numbers of the seed; return the loss."""
        self.generator.manual_seed(seed)
        if self.stream is None:
            return self._compute(batch)
        self.n_calls += 1
        if self.n_calls <= WARM_STEPS:
            return self._warm(batch)
        if self.graph is None and not self._record(batch):
            return self(batch, seed)
        for place, values in zip(self.batch, batch, strict=True):
            if place is not None:
                place.copy_(values)
        self.generator.manual_seed(seed)
        self.graph.replay()
        return self.value

    def _compute(self, batch: Batch) -> Tensor:
        """Compute the gradient, kernel by kernel."""
        loss = self.loss(batch, self.generator)
        self.descent.backward(loss)
        return loss.detach()

    def _warm(self, batch: Batch) -> Tensor:
        """Compute the gradient on the stream of the recording, as PyTorch asks for before it."""
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            loss = self._compute(batch)
        torch.cuda.current_stream(self.device).wait_stream(self.stream)
        return loss

    def _record(self, batch: Batch) -> bool:
        """Record the kernels of a step; whether that was possible."""
        self.batch = [None if values is None else values.clone() for values in batch]
        graph = torch.cuda.CUDAGraph()
        try:
            graph.register_generator_state(self.generator)
            with torch.cuda.graph(graph, stream=self.stream):
                self.value = self._compute(self.batch)
        except (AttributeError, RuntimeError) as error:  # of older releases of PyTorch too
            logger.info(f"Training steps are not recorded: {str(error).partition(chr(10))[0]}")
            self.stream, self.generator = None, torch.Generator(self.device)
            return False
        self.graph = graph
        return True
