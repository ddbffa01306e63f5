"""Training data: pairs of cells drawn from couplings, in rounds of many batches."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from scgenot.pair import Pair

# pairs of cells held in memory at a time
MAX_ROUND = 2**18
# pairs of cells that the units of displacements are taken from
MAX_DISPLACEMENTS = 2**16
# draws of each source cell in a round
DRAWS_PER_CELL = 64
MAX_HELD_OUT, MIN_HELD_OUT, MAX_VALIDATED_PAIRS = 1000, 32, 64

# streams of random numbers: what is drawn at a step depends on the seed, the stream and the step, not on the past
HOLD_OUT, DRAW, SHUFFLE, NOISE, VALIDATE = range(5)


class SamplesPairs(Protocol):
    """What training needs of a coupling."""

    def sample_pairs(self, n_pairs: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Indices of source and target cells drawn from the plan, sources from its first marginal."""
        ...


class Batch(NamedTuple):
    """Paired cells and their conditions (None when there are none)."""

    source: Tensor
    target: Tensor
    condition: Tensor | None


def stream(seed: int, *key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make the generator of one seed, stream and step."""
    state = np.random.SeedSequence([seed, *key]).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state) >> 1)


class HeldOut(NamedTuple):
    """Masks of the source cells `(n,)` and target cells `(m,)` of a pair, True where held out."""

    source: Tensor
    target: Tensor


def held_out(pairs: Sequence[Pair], fraction: float, seed: int) -> list[HeldOut]:
    """Choose source and target cells to validate on; both, for a network that knows the target cells by heart
    predicts them well for new source cells too.

    A side has at least 32, to be a sample at all, but at most a quarter of its cells and at most 1000. Of many pairs,
    64 evenly spaced ones are validated on.

    Parameters
    ----------
    pairs
        Populations.
    fraction
        Part of the cells to hold out; 0 for none.
    seed
        Seed of the run.

    Returns
    -------
    Masks of each pair.

    See Also
    --------
    :func:`~scgenot.model.train` : validates on these.
    """
    validated = set(
        np.linspace(0, len(pairs) - 1, min(len(pairs), MAX_VALIDATED_PAIRS)).astype(int).tolist()
    )
    masks = []
    for k, pair in enumerate(pairs):
        part = fraction if k in validated else 0.0
        generator = stream(seed, HOLD_OUT, k)
        masks.append(
            HeldOut(*(_choose(len(side), part, generator) for side in (pair.source, pair.target)))
        )
    return masks


def _choose(n: int, fraction: float, generator: torch.Generator) -> Tensor:
    size = min(max(round(fraction * n), MIN_HELD_OUT), n // 4, MAX_HELD_OUT) if fraction else 0
    mask = torch.zeros(n, dtype=torch.bool)
    mask[torch.randperm(n, generator=generator)[:size]] = True
    return mask


class Draws:
    """Batches of paired cells; the same step gives the same batch, whatever came before."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        couplings: Sequence[SamplesPairs],
        held_out: Sequence[HeldOut],
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
    ):
        self.couplings, self.seed, self.batch_size, self.device = (
            couplings,
            seed,
            batch_size,
            device,
        )
        self.held_out = held_out
        self.source, self.source_start = _stack([pair.source for pair in pairs], device)
        self.target, self.target_start = _stack([pair.target for pair in pairs], device)
        self.condition = None
        if pairs[0].condition is not None:
            self.condition = torch.as_tensor(
                np.stack([pair.condition for pair in pairs]), dtype=torch.float32
            ).to(device)
        n_source = [len(pair.source) for pair in pairs]
        self.steps_per_round = max(1, min(DRAWS_PER_CELL * sum(n_source), MAX_ROUND) // batch_size)
        self.n_draws = [
            -(-self.steps_per_round * batch_size * n // sum(n_source)) for n in n_source
        ]
        self.round, self.index = -1, None

    def batch(self, step: int) -> Batch:
        """Give the batch of a step."""
        if step // self.steps_per_round != self.round:
            self.round = step // self.steps_per_round
            self.index = self._draw_round(self.round)
        start = step % self.steps_per_round * self.batch_size
        # fewer are left than were drawn, for some were held out: past the end, begin again
        rows = (
            torch.arange(start, start + self.batch_size, device=self.device) % self.index.shape[1]
        )
        return self.cells(*self.index[:, rows])

    def cells(self, pair: Tensor, i: Tensor, j: Tensor) -> Batch:
        """Look up cells by pair and by their indices within it, each of shape `(n,)`."""
        condition = None if self.condition is None else self.condition[pair]
        return Batch(
            self.source[self.source_start[pair] + i],
            self.target[self.target_start[pair] + j],
            condition,
        )

    def displacements(self) -> Tensor:
        """Target minus source cells of a round, shape `(n, q)`, on the CPU."""
        source, target, _ = self.cells(*self._draw_round(0)[:, :MAX_DISPLACEMENTS])
        return (target - source[:, : target.shape[1]]).cpu()

    def _draw_round(self, number: int) -> Tensor:
        """Indices of pair, source and target, shape `(3, n)`, shuffled."""
        drawn = []
        for k, n_pairs in enumerate(self.n_draws):
            i, j = self.draw(k, n_pairs, DRAW, number)
            keep = ~(
                self.held_out[k].source.to(i.device)[i] | self.held_out[k].target.to(j.device)[j]
            )
            drawn.append(torch.stack([torch.full_like(i[keep], k), i[keep], j[keep]]))
        index = torch.cat(drawn, 1)
        if index.shape[1] == 0:
            raise ValueError(
                "No pair could be drawn for training: the couplings have their mass on held-out cells."
            )
        order = torch.randperm(index.shape[1], generator=stream(self.seed, SHUFFLE, number))
        return index[:, order.to(self.device)]

    def draw(self, k: int, n_pairs: int, *key: int) -> tuple[Tensor, Tensor]:
        """Draw pairs from coupling `k` with the random numbers of `key`; indices of source and target."""
        coupling = self.couplings[k]
        generator = stream(self.seed, *key, k, device=getattr(coupling, "device", "cpu"))
        i, j = coupling.sample_pairs(n_pairs, generator=generator)
        return i.to(self.device), j.to(self.device)


def _stack(blocks: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """All cells in one tensor and where each block starts; a population that several pairs share is kept once."""
    unique = {id(block): block for block in blocks}
    starts, n = {}, 0
    for key, block in unique.items():
        starts[key], n = n, n + len(block)
    cells = torch.tensor(np.concatenate(list(unique.values())), dtype=torch.float32, device=device)
    return cells, torch.tensor([starts[id(block)] for block in blocks], device=device)
