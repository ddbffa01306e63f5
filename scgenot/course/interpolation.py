"""A population at a time that was not sampled, from pairs of a cell before and a cell after.

Straight lines between paired cells (McCann 1997) miss four things, and each has one function:
cells of one sample are not equally far (:func:`clock_fractions`), a population does not go at one
pace (:func:`fit_pace`), its course bends (:func:`bend`), and some cells multiply or die on the way
(:func:`pair_weights`).
:func:`interpolate_pairs` puts them together.
"""

from dataclasses import dataclass

import numpy as np

from scgenot._check import check_count
from scgenot._random import Rng, numpy_rng, systematic
from scgenot.course.clock import Samples, bend, clock_fractions, fit_clock, fit_pace

# the smallest growth of a cell that pairs are weighted by
HARDLY = 1e-6


@dataclass(frozen=True)
class Interpolation:
    """A population between two times, and where each of its cells comes from.

    Parameters
    ----------
    cells
        The predicted cells, shape `(n, p)`.
    pairs
        Which pair each of them was made from, shape `(n,)`.
    fractions
        How far each has come from its source to its target cell, from 0 to 1, shape `(n,)`.
    progress
        How far the population has come, from 0 to 1.
    """

    cells: np.ndarray
    pairs: np.ndarray
    fractions: np.ndarray
    progress: float


def interpolate_pairs(
    source: np.ndarray,
    target: np.ndarray,
    time: float,
    *,
    step: tuple[float, float],
    samples: Samples | None = None,
    growth: tuple[np.ndarray, np.ndarray] | None = None,
    epsilon: float = 0.0,
    n: int | None = None,
    rng: Rng = 0,
) -> Interpolation:
    """Predict the population at a time between two samples from pairs of cells.

    Parameters
    ----------
    source, target
        Cells before and after, shape `(k, p)`; row i of both is a pair.
    time
        Time to predict.
    step
        Times of the source and of the target cells.
    samples
        Cells at each sampled time, both times of the step among them, for clock, pace and bend;
        None for straight lines at one speed.
    growth
        Growth of the source and of the target cells of the pairs, two arrays of shape `(k,)`; None
        for pairs that count alike.
    epsilon
        Noise of the Brownian bridge, in units of the squared distance; 0 for none.
    n
        Number of cells to predict; None for one per pair.
    rng
        Seed.

    Raises
    ------
    TypeError
        When `n` is not an integer.
    ValueError
        When an array has another shape or is not finite, `time` is outside `step`, `n` or `epsilon`
        is too small, a growth is not positive, or `samples` lacks a time of the step.
    """
    source, target = _matrix(source, "source"), _matrix(target, "target")
    if source.shape != target.shape:
        raise ValueError(
            f"`source` has shape {source.shape} and `target` {target.shape}: "
            "row i of both must be a pair."
        )
    before, after = step
    if not before < after:
        raise ValueError(f"`step` is {tuple(step)}: the earlier time must come first.")
    if not before <= time <= after:
        raise ValueError(f"`time={time}` is outside the step from {before} to {after}.")
    if n is not None:
        check_count("n", n, 1)
    generator, way = numpy_rng(rng), None
    if samples is not None:
        samples = _checked(samples, step, source.shape[1])
        means = {t: population.mean(0) for t, population in samples.items()}
        pace = fit_pace(means)
        way = {float(pace(t)): mean for t, mean in means.items()}
        before, time, after = (float(pace(t)) for t in (before, time, after))
        # the clock reads places on the way: those of a calendar would favour the long steps
        clock = fit_clock({float(pace(t)): population for t, population in samples.items()})
    s = (time - before) / (after - before)
    pairs = np.arange(len(source))
    if growth is not None or n is not None:
        weights = pair_weights(*_growths(growth, len(source)), s)
        pairs = systematic(weights, len(source) if n is None else n, generator)
    x, y = source[pairs], target[pairs]
    fractions = np.full(len(pairs), s)
    if samples is not None:
        fractions = clock_fractions(clock(x), clock(y), s, rng=generator)
    cells = (1 - fractions[:, None]) * x + fractions[:, None] * y
    if samples is not None:
        cells += bend(fractions, (before, after), way)
    if epsilon != 0:
        cells += bridge_noise(fractions, source.shape[1], epsilon, rng=generator)
    return Interpolation(cells, pairs, fractions, s)


def pair_weights(source_growth: np.ndarray, target_growth: np.ndarray, s: float) -> np.ndarray:
    """Return weights that turn pairs of an unbalanced coupling into a population."""
    logs = []
    for name, growth in (("source", source_growth), ("target", target_growth)):
        growth = np.asarray(growth, dtype=float)
        if not (np.isfinite(growth) & (growth > 0)).all():
            raise ValueError(
                f"growth of the {name} cells must be positive and finite: drop pairs without mass."
            )
        logs.append(np.log(growth))
    exponent = (s - 1) * logs[0] - s * logs[1]
    weights = np.exp(exponent - exponent.max())
    return weights / weights.sum()


def growth_of_mass(mass: np.ndarray) -> np.ndarray:
    """Return the growth of the cells of one side from the mass of each: mean 1, always positive."""
    return np.maximum(mass * len(mass) / mass.sum(), HARDLY)


def bridge_noise(
    fractions: np.ndarray, n_features: int, epsilon: float, *, rng: Rng = 0
) -> np.ndarray:
    r"""Draw noise of a Brownian bridge, of variance :math:`w (1 - w) \epsilon / 2` per feature."""
    if not epsilon >= 0:
        raise ValueError(f"`epsilon={epsilon}` must be at least 0.")
    scale = np.sqrt(fractions * (1 - fractions) * epsilon / 2)
    return scale[:, None] * numpy_rng(rng).standard_normal((len(fractions), n_features))


def _matrix(values, name: str) -> np.ndarray:
    """Return finite numbers, cells x features, in float64."""
    cells = np.asarray(values, dtype=float)
    if cells.ndim != 2 or 0 in cells.shape:
        raise ValueError(f"`{name}` has shape {cells.shape}: it must be cells x features.")
    if not np.isfinite(cells).all():
        raise ValueError(f"`{name}` has NaN or infinite values: drop those cells.")
    return cells


def _growths(growth: tuple | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the growth on both sides of the pairs; ones when there is none."""
    source, target = (np.ones(k), np.ones(k)) if growth is None else growth
    if np.shape(source) != (k,) or np.shape(target) != (k,):
        raise ValueError(
            f"`growth` has shapes {np.shape(source)} and {np.shape(target)}: "
            f"it must be two arrays of shape ({k},), one value per pair."
        )
    return source, target


def _checked(
    samples: Samples, step: tuple[float, float], n_features: int
) -> dict[float, np.ndarray]:
    """Return the samples in the order of time as finite matrices of one width."""
    missing = [t for t in step if t not in samples]
    if missing:
        raise ValueError(
            f"`samples` has no cells at {missing}: both times of the step {tuple(step)} are needed."
        )
    checked = {t: _matrix(samples[t], f"samples[{t}]") for t in sorted(samples)}
    for t, population in checked.items():
        if population.shape[1] != n_features:
            raise ValueError(
                f"`samples` has {population.shape[1]} features at {t}, the pairs have {n_features}."
            )
    return checked
