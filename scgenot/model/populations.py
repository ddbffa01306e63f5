"""Batches of source and target cells of a few links."""

import torch

from scgenot.model.batches import DRAW, SHUFFLE, Batch, Draws, stream

# links in one step, and batches of a link drawn at a time
N_LINKS, ROUND = 4, 32
MIN_BATCH = 32


class Populations:
    """Source and target cells of links by step; the same step gives the same cells.

    Cells are drawn as pairs from the plan of their link, so that both sides have its marginals. The
    loss has the same mean as with independent draws of both sides, and less noise. A batch consists
    of two samples without common source cells.
    """

    def __init__(self, draws: Draws):
        self.draws = draws
        gone = [any(bool(mask.all()) for mask in masks) for masks in draws.held_out]
        self.links = [k for k, out in enumerate(gone) if not out]
        self.per_step = min(N_LINKS, len(self.links))
        size = max(MIN_BATCH, draws.batch_size // self.per_step)
        self.sizes = [min(size, 2 * max(len(p.source), len(p.target))) for p in draws.pairs]
        self.rounds = {}

    def batch(self, step: int) -> list[tuple[int, Batch, Batch]]:
        """Give the links of a step, each with two samples of its cells; all links in turn."""
        out, n = [], len(self.links)
        for visit in range(step * self.per_step, (step + 1) * self.per_step):
            turn, place = divmod(visit, n)
            order = torch.randperm(n, generator=stream(self.draws.seed, SHUFFLE, turn))
            k = self.links[int(order[place])]
            out.append((k, *self.samples(k, turn)))
        return out

    def samples(self, k: int, turn: int) -> tuple[Batch, Batch]:
        """Give two samples of link `k` when it has its turn."""
        size, number = self.sizes[k], turn // ROUND
        if self.rounds.get(k, (None,))[0] != number:
            i, j = self.draws.draw(k, ROUND * size, DRAW, number)
            self.rounds[k] = number, i, j
        rows = slice(turn % ROUND * size, (turn % ROUND + 1) * size)
        i, j = (side[rows] for side in self.rounds[k][1:])
        # by halves of the source cells that are there, so that each sample has some
        different, place = i.unique(return_inverse=True)
        n = len(different)
        order = torch.randperm(n, generator=stream(self.draws.seed, SHUFFLE, turn, k))
        first = (order < (n + 1) // 2).to(i.device)[place]
        if n == 1:  # the plan has its mass on one cell: the two samples are its targets
            first = torch.arange(size, device=i.device) % 2 == 0
        return tuple(
            self.draws.cells(torch.full_like(i[one], k), i[one], j[one]) for one in (first, ~first)
        )
