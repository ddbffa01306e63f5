"""Simulated cells in blocks: states and decoded features."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from scgenot._progress import progress_bar
from scgenot.fit.lender import Lender
from scgenot.fit.sample import Drawn, draw_blocks
from scgenot.pair import Question

logger = logging.getLogger("scgenot")


class Piece(NamedTuple):
    """Consecutive simulated cells: states, growth, and the cells that provide residuals."""

    states: np.ndarray
    growth: np.ndarray | None
    lenders: np.ndarray | None


@dataclass
class Simulation:
    """Target cells of source cells, ordered by question, sample and source cell.

    `options` has `n_samples`, `progress` and what `draw_blocks` takes.
    """

    fit: object
    cells: np.ndarray
    questions: Sequence[Question]
    lend: Lender | None
    options: dict

    @property
    def n_rows(self) -> int:
        """Number of all cells."""
        return self.options["n_samples"] * sum(len(question.rows) for question in self.questions)

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """Simulate the cells from `start` on, without computing those before.

        Pieces are blocks of source cells or, with several samples, all cells of a question, because
        these are ordered by sample first.
        """
        several, first = len(self.questions) > 1, 0
        shown = self.options["progress"] and several
        bar = progress_bar(self.questions, desc="simulating", unit="target", shown=shown)
        for question in bar:
            skip = max(0, start - first)
            first += self.options["n_samples"] * len(question.rows)
            if first <= start:
                continue
            for begin, states, growth in self._parts(question, skip, several=several):
                lenders = None
                if self.lend is not None:
                    n = self.options["n_samples"] * len(question.rows)
                    lenders = self.lend.choose(question.answer, states, begin, n)
                cut = max(0, skip - begin)
                kept = (None if each is None else each[cut:] for each in (states, growth, lenders))
                yield Piece(*kept)

    def _parts(self, question: Question, skip: int, *, several: bool) -> Iterator[tuple]:
        """Sample the cells of a question: start, states and growth of each part."""
        source, n = self.cells[question.rows], self.options["n_samples"]
        given = {**self.options, "progress": self.options["progress"] and not several}
        begin = skip if n == 1 else 0
        drawn = draw_blocks(self.fit.model, source, question.condition, start=begin, **given)
        if n == 1:
            for one in drawn:
                states = one.draws[:, 0].astype(np.float32)
                yield one.rows.start, states, self._growth(one, question.condition)
            return
        states, growth = None, []
        for one in drawn:
            if states is None:
                states = np.empty((n, len(source), one.draws.shape[2]), np.float32)
            states[:, one.rows] = one.draws.transpose(1, 0, 2)
            growth.append(self._growth(one, question.condition))
        known = growth[0] is not None
        growth = np.tile(np.concatenate(growth), n) if known else None
        yield 0, states.reshape(-1, states.shape[2]), growth

    def _growth(self, drawn: Drawn, condition: np.ndarray | None) -> np.ndarray | None:
        """Growth of source cells; None for a balanced fit."""
        return growth_of_block(self.fit.model, drawn, condition)


def growth_of_block(model, drawn: Drawn, condition: np.ndarray | None) -> np.ndarray | None:
    """Growth of a block of source cells; None if the model has none."""
    if getattr(model, "eta", None) is None:
        return None
    told = None if condition is None else condition[drawn.rows]
    return model.growth(drawn.source, told).numpy()


@dataclass
class Decoding:
    """Decodes states to features, optionally with residuals and negative values set to 0."""

    to_features: Callable[[np.ndarray], pd.DataFrame]
    lend: Lender | None = None
    clip: bool = False
    n_clipped: int = 0
    n_values: int = 0

    def __call__(self, states: np.ndarray, lenders: np.ndarray | None = None) -> pd.DataFrame:
        """Decode a block of cells."""
        frame = self.to_features(states)
        values = frame.to_numpy(dtype=np.float32)
        if lenders is not None:
            values = self.lend.add(frame.to_numpy(), lenders, clip=self.clip).astype(np.float32)
        if self.clip:
            self.n_clipped += int((values < 0).sum())
            self.n_values += values.size
            values = np.maximum(values, 0)
        return pd.DataFrame(values, index=frame.index, columns=frame.columns)

    def log(self) -> None:
        """Log how many values were negative."""
        if self.clip:
            share = 100 * self.n_clipped / max(1, self.n_values)
            logger.info("%.2f %% of the decoded values were negative and are set to 0.", share)
