"""How treated cells score against the population that is predicted for them, though nobody knows
their source cells.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from anndata import AnnData
from sklearn.neighbors import NearestNeighbors

from scgenot._random import numpy_rng
from scgenot.cells.strata import Strata
from scgenot.fit.conformal import weighted_quantile
from scgenot.fit.sample import draw_blocks
from scgenot.pair import Question

# a score is the distance to this neighbour
NEIGHBOR = 10
# cells generated for each half of a stratum's control cells, or one for each, of at most so many
# control cells
N_GENERATED = 1000
MAX_CONTROLS = 2000


@dataclass(frozen=True)
class RegionScores:
    """Held-out treated cells, and how they lie in what is predicted for their condition and
    stratum.
    """

    scores: np.ndarray
    own: np.ndarray
    weights: np.ndarray
    beyond: np.ndarray
    strata: np.ndarray

    def raw_threshold(self, level: float) -> float:
        """Return what the score of a cell does not exceed with probability `level` if the model is
        right.
        """
        return weighted_quantile(self.own, self.weights, level)


def pool(parts: Iterable[RegionScores]) -> RegionScores:
    """Put strata together."""
    parts = list(parts)
    together = [
        np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(RegionScores)[:-1]
    ]
    return RegionScores(
        *together, np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts])
    )


def score_conditions(
    fit,
    adata: AnnData,
    cells: np.ndarray,
    asked: Sequence[tuple[str, float | None]],
    groupby: Sequence[str],
    levels: Sequence[float],
    *,
    guidance: float,
    seed: int,
) -> Iterator[RegionScores]:
    """Score the treated cells of each condition, stratum by stratum."""
    strata, found = Strata.read(adata, groupby, argument="groupby"), []
    for target, dose in asked:
        question = fit.ask(adata, target, dose)
        treated = fit.task.treated_rows(adata, target, question.answer.get(fit.task.dose_key))
        if len(treated) == 0:
            raise ValueError(
                f"`target={target!r}` at `dose={dose}` has no treated cell among those held out."
            )
        if len(question.rows) < 2:
            raise ValueError(
                f"`held_out` has {len(question.rows)} control cell: regions need 2 or more, half "
                "of which predict for the other half. Add some; they may be of the fit."
            )
        found.append((question, treated, strata.split(question.rows, treated)))
    strata.report({question.name: (question.rows, *parts) for question, *parts in found})
    for question, _, parts in found:
        for _, controls, rows in parts:
            halves = [
                generate(fit, cells, question, half, guidance=guidance, seed=seed + number)
                for number, half in enumerate(halve(controls, seed))
            ]
            yield score(cells[rows][:, : halves[0].shape[1]], *halves, levels)


def halve(rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut control cells in two at random: what is generated from one half is as new to the other as
    treated cells.
    """
    rows = numpy_rng(seed).permutation(rows)[: 2 * MAX_CONTROLS]
    return rows[::2], rows[1::2]


def generate(
    fit, cells: np.ndarray, question: Question, rows: np.ndarray, *, guidance: float, seed: int
) -> np.ndarray:
    """Generate equally many cells from each control cell."""
    condition = question.condition[np.searchsorted(question.rows, rows)]
    # a map has one answer for a cell: the same cell again is no neighbor
    n_samples = 1 if getattr(fit.model, "deterministic", False) else -(-N_GENERATED // len(rows))
    options = {"n_samples": n_samples, "guidance": guidance, "seed": seed}
    drawn = [block.draws for block in draw_blocks(fit.model, cells[rows], condition, **options)]
    return np.concatenate(drawn).reshape(-1, drawn[0].shape[2])


def neighbor_distances(reference: np.ndarray, *sides: np.ndarray) -> list[np.ndarray]:
    """Return the distance of cells to their 10th nearest reference cell, for each population."""
    tree = NearestNeighbors(n_neighbors=min(NEIGHBOR, len(reference))).fit(reference)
    return [tree.kneighbors(side)[0][:, -1] for side in sides]


def score(
    treated: np.ndarray, reference: np.ndarray, fresh: np.ndarray, levels: Sequence[float]
) -> RegionScores:
    """Score the treated cells of one stratum against generated ones, and generated ones against
    others.
    """
    scores, own = neighbor_distances(reference, treated, fresh)
    scale = np.median(own) or 1.0
    tails = np.array([[(1 - level) / 2, (1 + level) / 2] for level in levels])
    generated = np.concatenate([reference, fresh])
    lower, upper = (np.quantile(generated, side, axis=0) for side in tails.T)
    length = np.where(upper > lower, upper - lower, 1)
    beyond = np.maximum(lower - treated[:, None], treated[:, None] - upper) / length
    weights = np.full(len(own), len(scores) / len(own))
    return RegionScores(
        scores / scale, own / scale, weights, beyond, np.zeros(len(scores), dtype=int)
    )
