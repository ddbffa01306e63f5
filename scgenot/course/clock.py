"""What all samples of a course say about the way between two of them.

How far each cell has come (:func:`fit_clock`, :func:`clock_fractions`), how fast the course goes
(:func:`fit_pace`), and where its way bends (:func:`bend`).
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator

from scgenot._random import Rng, numpy_rng

Samples = Mapping[float, np.ndarray]  # time -> cells
Clock = Callable[[np.ndarray], np.ndarray]

# of the mean pace of a course, the least that is taken for a step
SLOWEST = 0.01

_PENALTY = 0.01  # of the clock's ridge regression, in units of the mean variance


def fit_clock(samples: Samples) -> Clock:
    """Learn to read the time of a single cell, by ridge regression over all samples."""
    cells = np.concatenate(list(samples.values()))
    sizes = np.array([len(population) for population in samples.values()])
    times = np.repeat(np.array(list(samples), dtype=float), sizes)
    weights = np.repeat(1 / sizes, sizes) / len(samples)
    mean_cell, mean_time = weights @ cells, weights @ times
    centered = cells - mean_cell
    weighted = (centered * weights[:, None]).T
    covariance = weighted @ centered
    penalty = _PENALTY * np.trace(covariance) / len(covariance)
    if penalty == 0:  # all cells are one point: no cell is ahead of another
        return lambda cells: np.full(len(cells), mean_time)
    slope = np.linalg.solve(covariance + penalty * np.eye(len(covariance)), weighted @ times)
    return lambda cells: (cells - mean_cell) @ slope + mean_time


def clock_fractions(
    source_clock: np.ndarray, target_clock: np.ndarray, s: float, *, rng: Rng = 0
) -> np.ndarray:
    """Return how far each pair has come when the fraction `s` of the time has passed."""
    generator = numpy_rng(rng)
    span = target_clock - source_clock
    reading = source_clock + s * span
    swapped = np.flatnonzero(generator.random(len(reading)) < 4 * s * (1 - s))
    reading[swapped] = reading[generator.permutation(swapped)]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        fractions = np.clip((reading - source_clock) / span, 0, 1)
    fractions = np.where(span == 0, s, fractions)
    fractions[np.setdiff1d(np.arange(len(reading)), swapped)] = s  # not what rounding makes of it
    return fractions


def fit_pace(means: Mapping[float, np.ndarray]) -> Callable[[float], float]:
    """Learn how far the course has come by a time: the way of the mean, monotone between samples.

    Through the summed distances between means of successive samples, with the tangents of Fritsch
    and Butland (1984): where the course slows down from sample to sample it does within a step.
    """
    times = sorted(means)
    ways = [np.linalg.norm(means[later] - means[earlier]) for earlier, later in pairwise(times)]
    if not np.sum(ways) > 0:
        return float
    # a mean that stands still is passed too: each step leads on
    least = SLOWEST * np.sum(ways) * np.diff(times) / (times[-1] - times[0])
    return PchipInterpolator(times, np.cumsum([0, *np.maximum(ways, least)]))


def bend(
    fractions: np.ndarray, step: tuple[float, float], means: Mapping[float, np.ndarray]
) -> np.ndarray:
    """Return how far the mean of a population lies off the straight line of a step.

    The way is monotone between two samples in each coordinate (Fritsch and Butland 1984), so that
    it cannot overshoot.
    """
    places, w = sorted(means), fractions[:, None]
    line = (1 - w) * means[step[0]] + w * means[step[1]]
    if len(places) == 2:
        return np.zeros_like(line)
    way = PchipInterpolator(places, np.stack([means[place] for place in places]))
    return np.where((w == 0) | (w == 1), 0, way(step[0] + fractions * (step[1] - step[0])) - line)
