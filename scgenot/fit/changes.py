"""Changes of features under a perturbation, summed over blocks of cells."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scgenot.fit.decoder import MAX_VALUES
from scgenot.fit.sample import Drawn
from scgenot.model.generate import blocks


@dataclass(frozen=True)
class Changes:
    """Changes of features of a group of cells."""

    n_cells: int
    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray
    up: np.ndarray
    spread: np.ndarray  # variance of the changed cells
    moved: np.ndarray


# changes up to this part of a value are rounding
ROUNDING = 1e-6


def sum_changes(
    drawn: Iterable[Drawn], to_features: Callable[[np.ndarray], pd.DataFrame], n_features: int
) -> Changes:
    """Sum up the changes of a group of cells, block by block."""
    n_cells, n_samples = 0, 1
    total, square, within, up, moved, after, after_square = np.zeros((7, n_features))
    for change, before in feature_changes(drawn, to_features, n_features):
        own, n_samples = change.mean(1), change.shape[1]
        n_cells += len(own)
        total += own.sum(0)
        square += (own**2).sum(0)
        within += change.var(1, ddof=1).sum(0)
        up += ((change > 0).sum((0, 1)) + (change >= 0).sum((0, 1))) / 2
        moved += (np.abs(change) > ROUNDING * (1 + np.abs(before[:, None]))).sum((0, 1))
        changed = change + before[:, None]
        after += changed.sum((0, 1))
        after_square += (changed**2).sum((0, 1))
    n_draws = n_cells * n_samples
    mean, within = total / n_cells, within / n_cells
    # means of few draws vary by the draws too; that part is taken off
    between = (square - n_cells * mean**2) / max(n_cells - 1, 1) - within / n_samples
    spread = after_square / n_draws - (after / n_draws) ** 2
    return Changes(
        n_cells,
        mean,
        np.sqrt(np.maximum(between, 0)),
        np.sqrt(within),
        up / n_draws,
        np.maximum(spread, 0),
        moved / n_draws,
    )


def feature_changes(
    drawn: Iterable[Drawn], to_features: Callable[[np.ndarray], pd.DataFrame], n_features: int
) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield the changes of some cells after others, `(n, n_samples, g)`, and what they were."""
    for block in drawn:
        _, n_samples, q = block.draws.shape
        for rows in blocks(len(block.draws), max(1, MAX_VALUES // (n_samples * n_features))):
            draws = block.draws[rows]
            after = (
                to_features(draws.reshape(-1, q))
                .to_numpy(dtype=float)
                .reshape(len(draws), n_samples, -1)
            )
            before = to_features(block.source[rows, :q]).to_numpy(dtype=float)
            yield after - before[:, None], before
