"""A population at a time nobody sampled, from pairs of a cell before and a cell after.

Straight lines between paired cells (McCann 1997) miss three things, and each has one function: cells of one sample are
not equally far (:func:`clock_fractions`), the course of a population bends (:func:`bend`), and some cells multiply or
die on the way (:func:`pair_weights`). :func:`interpolate_pairs` puts them together.
"""

from dataclasses import dataclass

import numpy as np

from scgenot._random import Rng, numpy_rng
from scgenot.course.clock import Course, bend, clock_fractions, fit_clock


@dataclass(frozen=True)
class Interpolation:
    """A population between two times, and where each of its cells comes from."""

    cells: np.ndarray
    pairs: np.ndarray
    fractions: np.ndarray


def interpolate_pairs(
    source: np.ndarray,
    target: np.ndarray,
    time: float,
    *,
    step: tuple[float, float],
    course: Course | None = None,
    growth: tuple[np.ndarray, np.ndarray] | None = None,
    epsilon: float = 0.0,
    n: int | None = None,
    rng: Rng = 0,
) -> Interpolation:
    """Predict the population at a time between two samples from pairs of cells."""
    source, target = _matrix(source, "source"), _matrix(target, "target")
    if source.shape != target.shape:
        raise ValueError(
            f"`source` has shape {source.shape}, `target` {target.shape}: row i of both must be a pair."
        )
    before, after = step
    if not before < after:
        raise ValueError(f"`step` is {tuple(step)}: the earlier time comes first.")
    if not before <= time <= after:
        raise ValueError(
            f"`time={time}` is outside the step from {before} to {after}: nothing is predicted beyond it."
        )
    if n is not None and n < 1:
        raise ValueError(f"`n={n}` must be at least 1.")
    generator, s = numpy_rng(rng), (time - before) / (after - before)
    pairs = np.arange(len(source))
    if growth is not None or n is not None:
        weights = pair_weights(*_growths(growth, len(source)), s)
        pairs = _resample(weights, len(source) if n is None else n, generator)
    x, y = source[pairs], target[pairs]
    fractions = np.full(len(pairs), s)
    if course is not None:
        course = _checked(course, step, source.shape[1])
        clock = fit_clock(course)
        fractions = clock_fractions(clock(x), clock(y), s, rng=generator)
    cells = (1 - fractions[:, None]) * x + fractions[:, None] * y
    if course is not None:
        cells += bend(fractions, step, {t: population.mean(0) for t, population in course.items()})
    if epsilon != 0:
        cells += bridge_noise(fractions, source.shape[1], epsilon, rng=generator)
    return Interpolation(cells, pairs, fractions)


def pair_weights(source_growth: np.ndarray, target_growth: np.ndarray, s: float) -> np.ndarray:
    """Weights that turn pairs of an unbalanced coupling into a population."""
    logs = []
    for name, growth in (("source", source_growth), ("target", target_growth)):
        growth = np.asarray(growth, dtype=float)
        if not (np.isfinite(growth) & (growth > 0)).all():
            raise ValueError(
                f"growth of the {name} cells must be positive and finite: no pair comes from a dead cell."
            )
        logs.append(np.log(growth))
    exponent = (s - 1) * logs[0] - s * logs[1]
    weights = np.exp(exponent - exponent.max())
    return weights / weights.sum()


def bridge_noise(
    fractions: np.ndarray, n_features: int, epsilon: float, *, rng: Rng = 0
) -> np.ndarray:
    r"""Noise of a Brownian bridge, variance :math:`w (1 - w) \epsilon / 2` in each direction."""
    if not epsilon >= 0:
        raise ValueError(f"`epsilon={epsilon}` must not be negative.")
    scale = np.sqrt(fractions * (1 - fractions) * epsilon / 2)
    return scale[:, None] * numpy_rng(rng).standard_normal((len(fractions), n_features))


def _resample(weights: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """Draw `n` rows, each its expected number of times give or take one."""
    levels = (np.arange(n) + generator.random()) / n
    return np.minimum(np.searchsorted(weights.cumsum(), levels, side="right"), len(weights) - 1)


def _matrix(values, name: str) -> np.ndarray:
    cells = np.asarray(values, dtype=float)
    if cells.ndim != 2 or 0 in cells.shape:
        raise ValueError(
            f"`{name}` has shape {cells.shape}: a matrix of cells x features is needed."
        )
    if not np.isfinite(cells).all():
        raise ValueError(f"`{name}` has NaN or infinite values: drop those cells.")
    return cells


def _growths(growth: tuple | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    source, target = (np.ones(k), np.ones(k)) if growth is None else growth
    if np.shape(source) != (k,) or np.shape(target) != (k,):
        raise ValueError(
            f"`growth` has shapes {np.shape(source)} and {np.shape(target)}: one number for each side of {k} pairs."
        )
    return source, target


def _checked(course: Course, step: tuple[float, float], n_features: int) -> dict[float, np.ndarray]:
    """The course in the order of time, its populations as matrices."""
    missing = [t for t in step if t not in course]
    if missing:
        raise ValueError(
            f"`course` has no cells at {missing}: it needs both times of the step {tuple(step)}."
        )
    checked = {t: _matrix(course[t], f"course[{t}]") for t in sorted(course)}
    for t, population in checked.items():
        if population.shape[1] != n_features:
            raise ValueError(
                f"`course` has {population.shape[1]} features at {t}, the pairs {n_features}."
            )
    return checked
