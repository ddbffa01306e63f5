"""Training data: pairs of cells drawn from plans, in rounds of many batches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scgenot.ot.plan import Plan
from scgenot.pair import Pair

# pairs of cells held in memory at a time
MAX_ROUND = 2**20
# pairs of cells that the units of displacements are taken from
MAX_DISPLACEMENTS = 2**16
# draws of each source cell in a round
DRAWS_PER_CELL = 64

# streams of random numbers: what is drawn at a step depends on seed, stream and step, not the past
HOLD_OUT, DRAW, SHUFFLE, NOISE, VALIDATE = range(5)


class Batch(NamedTuple):
    """Paired cells and their conditions (None when there are none)."""

    source: Tensor
    target: Tensor
    condition: Tensor | None


def stream(seed: int, *key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make the generator of one seed, stream and step."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, *key))


def stream_seed(seed: int, *key: int) -> int:
    """Seed of the generator of one seed, stream and step."""
    state = np.random.SeedSequence([seed, *key]).generate_state(1, np.uint64)[0]
    return int(state) >> 1


class HeldOut(NamedTuple):
    """Masks of the source cells `(n,)` and target cells `(m,)` of a pair, True where held out."""

    source: Tensor
    target: Tensor


class Draws:
    """Batches of paired cells; the same step gives the same batch, whatever came before."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        plans: Sequence[Plan],
        held_out: Sequence[HeldOut],
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
    ):
        self.pairs, self.plans, self.seed = pairs, plans, seed
        self.batch_size, self.device = batch_size, device
        self.held_out = [HeldOut(*(mask.to(device) for mask in masks)) for masks in held_out]
        self.source, self.source_start = _stack([pair.source for pair in pairs], device)
        self.target, self.target_start = _stack([pair.target for pair in pairs], device)
        self.condition = None
        if pairs[0].condition is not None:
            conditions = np.stack([pair.condition for pair in pairs])
            self.condition = torch.as_tensor(conditions, dtype=torch.float32).to(device)
        # a pair that is held out as a whole has nothing to draw
        gone = [any(bool(mask.all()) for mask in masks) for masks in held_out]
        n_source = [len(pair.source) * (not out) for pair, out in zip(pairs, gone, strict=True)]
        n = max(1, sum(n_source))
        self.steps_per_round = max(1, min(DRAWS_PER_CELL * n, MAX_ROUND) // batch_size)
        self.n_draws = [-(-self.steps_per_round * batch_size * k // n) for k in n_source]
        self.round, self.index = -1, None

    def batch(self, step: int) -> Batch:
        """Give the batch of a step."""
        index = self._round(step // self.steps_per_round)
        start = step % self.steps_per_round * self.batch_size
        # fewer are left than were drawn, for some were held out: past the end, begin again
        rows = torch.arange(start, start + self.batch_size, device=self.device) % index.shape[1]
        return self.cells(*index[:, rows])

    def cells(self, pair: Tensor, i: Tensor, j: Tensor) -> Batch:
        """Look up cells by pair and by their indices within it, each of shape `(n,)`."""
        condition = None if self.condition is None else self.condition[pair]
        source = self.source[self.source_start[pair] + i]
        return Batch(source, self.target[self.target_start[pair] + j], condition)

    def displacements(self) -> Tensor:
        """Target minus source cells of the first round, shape `(n, q)`, on the CPU."""
        source, target, _ = self.cells(*self._round(0)[:, :MAX_DISPLACEMENTS])
        return (target - source[:, : target.shape[1]]).cpu()

    def _round(self, number: int) -> Tensor:
        """Indices of pair, source and target of a round, shape `(3, n)`, shuffled."""
        if number == self.round:
            return self.index
        drawn = []
        for k, n_pairs in enumerate(self.n_draws):
            if n_pairs:
                i, j = self.draw(k, n_pairs, DRAW, number)
                keep = ~(self.held_out[k].source[i] | self.held_out[k].target[j])
                drawn.append(torch.stack([torch.full_like(i[keep], k), i[keep], j[keep]]))
        index = torch.cat(drawn, 1) if drawn else torch.empty(3, 0)
        if index.shape[1] == 0:
            raise ValueError(
                "No pair of cells is left for training: the plans have their mass on held-out "
                "cells. Set `validation_fraction=0`, or another `validation_split`."
            )
        order = torch.randperm(index.shape[1], generator=stream(self.seed, SHUFFLE, number))
        self.round, self.index = number, index[:, order.to(self.device)]
        return self.index

    def draw(self, k: int, n_pairs: int, *key: int) -> tuple[Tensor, Tensor]:
        """Draw pairs from plan `k` with the random numbers of `key`: source and target indices."""
        plan = self.plans[k]
        generator = stream(self.seed, *key, k, device=getattr(plan, "device", "cpu"))
        drawn = plan.sample_pairs(n_pairs, generator=generator)
        indices = [torch.as_tensor(side, device=self.device) for side in drawn]
        for name, index in zip(("source", "target"), indices, strict=True):
            n = len(getattr(self.pairs[k], name))
            whole = index.shape == (n_pairs,) and index.dtype in (torch.int32, torch.int64)
            if not whole or int(index.min()) < 0 or int(index.max()) >= n:
                raise ValueError(
                    f"`{type(plan).__name__}.sample_pairs({n_pairs}, generator=...)` must return "
                    f"two arrays of {n_pairs} indices; the {name} indices must be integers from 0 "
                    f"to {n - 1}, found {index.dtype} of shape {tuple(index.shape)}."
                )
        return indices[0].long(), indices[1].long()


def _stack(blocks: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """All cells in one tensor, populations that pairs share once, and where each block starts."""
    unique = {id(block): block for block in blocks}
    starts, n = {}, 0
    for key, block in unique.items():
        starts[key], n = n, n + len(block)
    cells = torch.tensor(np.concatenate(list(unique.values())), dtype=torch.float32, device=device)
    return cells, torch.tensor([starts[id(block)] for block in blocks], device=device)
