"""What a whole course of samples says about the way between two of them: how far each cell is, and where it bends."""

from collections.abc import Callable, Mapping

import numpy as np

from scgenot._random import Rng, numpy_rng

Course = Mapping[float, np.ndarray]
Clock = Callable[[np.ndarray], np.ndarray]

_PENALTY = 0.01  # of the clock's ridge regression, in units of the mean variance


def fit_clock(course: Course) -> Clock:
    """Learn to read a cell's own time."""
    cells = np.concatenate(list(course.values()))
    times = np.concatenate([np.full(len(population), float(t)) for t, population in course.items()])
    weights = np.concatenate(
        [np.full(len(population), 1 / len(population)) for population in course.values()]
    )
    weights /= len(course)
    mean_cell, mean_time = weights @ cells, weights @ times
    centred = cells - mean_cell
    covariance = (centred * weights[:, None]).T @ centred
    penalty = _PENALTY * np.trace(covariance) / len(covariance)
    if penalty == 0:  # all cells are one point: no cell is ahead of another
        return lambda cells: np.full(len(cells), mean_time)
    slope = np.linalg.solve(
        covariance + penalty * np.eye(len(covariance)), (centred * weights[:, None]).T @ times
    )
    return lambda cells: (cells - mean_cell) @ slope + mean_time


def clock_fractions(
    source_clock: np.ndarray, target_clock: np.ndarray, s: float, *, rng: Rng = 0
) -> np.ndarray:
    """How far each pair has come when the fraction `s` of the time has passed."""
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
    """How far the course of a population's mean lies off the straight line of a step."""
    (before, after), w = step, fractions[:, None]
    length = after - before
    velocity = (means[after] - means[before]) / length
    turn = []  # tangent minus velocity, at both ends
    for end, others in (
        (before, [t for t in means if t < before]),
        (after, [t for t in means if t > after]),
    ):
        if not others:
            turn.append(np.zeros_like(velocity))
            continue
        neighbour = min(others, key=lambda t: abs(t - end))
        outside = (means[neighbour] - means[end]) / (neighbour - end)
        turn.append((outside - velocity) * length / (length + abs(neighbour - end)))
    return length * (w * (1 - w) ** 2 * turn[0] - w**2 * (1 - w) * turn[1])
