"""What all samples of a course say about the way between two of them.

How far each cell has come (:func:`fit_clock`, :func:`clock_fractions`), and where the way bends
(:func:`bend`).
"""

from collections.abc import Callable, Mapping

import numpy as np

from scgenot._random import Rng, numpy_rng

Samples = Mapping[float, np.ndarray]  # time -> cells
Clock = Callable[[np.ndarray], np.ndarray]

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


def bend(
    fractions: np.ndarray, step: tuple[float, float], means: Mapping[float, np.ndarray]
) -> np.ndarray:
    """Return how far the mean of a population lies off the straight line of a step."""
    (before, after), w = step, fractions[:, None]
    length = after - before
    velocity = (means[after] - means[before]) / length
    turn = []  # tangent minus velocity, at both ends
    outer = [t for t in means if t < before], [t for t in means if t > after]
    for end, others in zip(step, outer, strict=True):
        if not others:
            turn.append(np.zeros_like(velocity))
            continue
        neighbor = min(others, key=lambda t: abs(t - end))
        outside = (means[neighbor] - means[end]) / (neighbor - end)
        turn.append((outside - velocity) * length / (length + abs(neighbor - end)))
    return length * (w * (1 - w) ** 2 * turn[0] - w**2 * (1 - w) * turn[1])
