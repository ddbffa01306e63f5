"""Thresholds of scores: what a model says they are, and what held-out cells say."""

from collections.abc import Sequence

import numpy as np

from scgenot._check import check_share


def conformal_threshold(scores: np.ndarray, level: float) -> np.ndarray:
    """Return what a new score does not exceed with probability `level` or slightly more."""
    rank = int(np.ceil((len(scores) + 1) * level - 1e-9))
    if rank > len(scores):
        return np.full(scores.shape[1:], np.inf)
    return np.partition(scores, rank - 1, axis=0)[rank - 1]


def check_levels(levels: Sequence[float]) -> None:
    """Raise unless levels are a list of probabilities between 0 and 1: a TypeError for its type,
    else a ValueError.
    """
    if not isinstance(levels, (Sequence, np.ndarray)) or isinstance(levels, str):
        raise TypeError(f"`levels={levels!r}` must be a list of probabilities, such as (0.8, 0.9).")
    if len(levels) == 0:
        raise ValueError("`levels` is empty: give probabilities between 0 and 1.")
    for level in levels:
        check_share("levels", level)


def check_enough(n: int, levels: Sequence[float]) -> None:
    """Raise a ValueError when `n` scores are too few for the threshold of a level, which would be
    infinite.
    """
    level = max(levels)
    needed = int(np.ceil(level / (1 - level) - 1e-9))
    if n < needed:
        raise ValueError(
            f"`levels` has {level:g}, which takes {needed} held-out treated cells; found {n}: "
            f"hold out more cells, or give levels up to {np.floor(1000 * n / (n + 1)) / 1000:g}."
        )


def weighted_quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """Return the smallest value up to which the values hold `level` of the weight."""
    order = np.argsort(values)
    held = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(held, level * held[-1])])


def swapped_coverage(scores: np.ndarray, halves: Sequence[np.ndarray], level: float) -> np.ndarray:
    """Return the share of scores under thresholds from the half that they are not in."""
    under = 0
    for half in halves:
        parts = scores[half], scores[~half]
        under += sum(
            (part <= conformal_threshold(other, level)).sum(0)
            for part, other in (parts, parts[::-1])
        )
    return under / (len(halves) * len(scores))


def random_halves(strata: np.ndarray, rng: np.random.Generator, n: int = 10) -> list[np.ndarray]:
    """Return masks of half of the cells of each stratum, several; the odd ones go either way in
    turn.
    """
    halves = []
    for _ in range(n):
        order = rng.permutation(len(strata))
        order = order[np.argsort(strata[order], kind="stable")]
        halves.append(np.isin(np.arange(len(strata)), order[::2]))
    return halves
