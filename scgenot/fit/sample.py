"""Draws of a model, a block of source cells at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from scgenot._random import Rng, numpy_rng
from scgenot.model import Genot

# source cells in a block; part of what a seed means, for each block has its own random numbers
BLOCK = 1024


class Block(NamedTuple):
    """Some of the source cells, and what was drawn for them."""

    rows: slice
    source: np.ndarray
    draws: np.ndarray


def draw_blocks(
    genot: Genot,
    cells: np.ndarray,
    condition: np.ndarray | None,
    *,
    n_samples: int,
    guidance: float,
    seed: int,
    progress: bool = False,
) -> Iterator[Block]:
    """Draw target cells block by block, so that memory does not grow with the number of cells."""
    rng: Rng = seed  # the first block has the noise that `genot.sample` gives this seed
    hidden = not progress or len(cells) <= BLOCK
    with tqdm(total=len(cells), desc="predicting", unit="cell", disable=hidden) as bar:
        for start in range(0, len(cells), BLOCK):
            rows = slice(start, min(start + BLOCK, len(cells)))
            told = None if condition is None else condition[rows]
            draws = genot.sample(
                cells[rows], told, n_samples=n_samples, guidance=guidance, rng=rng
            ).numpy()
            yield Block(rows, cells[rows], draws)
            rng = numpy_rng([seed, start + BLOCK])
            bar.update(len(draws))
