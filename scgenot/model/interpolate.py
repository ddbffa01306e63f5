"""A population at a time nobody sampled, from pairs of a cell before and a cell after.

Straight lines between paired cells (McCann 1997) miss three things, and each has one function: cells of one sample are
not equally far (:func:`clock_fractions`), the course of a population bends (:func:`bend`), and some cells multiply or
die on the way (:func:`pair_weights`). :func:`interpolate_pairs` puts them together.
"""

from dataclasses import dataclass

import numpy as np

from scgenot._rng import Rng, numpy_rng
from scgenot.model.course import Course, bend, clock_fractions, fit_clock


@dataclass(frozen=True)
class Interpolation:
    """A population between two times, and where each of its cells comes from.

    Parameters
    ----------
    cells
        Predicted cells, shape `(n, d)`.
    pairs
        Row of the pair on whose path each cell lies, shape `(n,)`.
    fractions
        How far along the path it lies, from 0 at the source to 1 at the target, shape `(n,)`.
    """

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
    r"""Predict the population at a time between two samples from pairs of cells.

    A pair `(x, y)` is at :math:`(1 - w) x + w y + b(w) + \xi`: its own fraction `w` of the way
    (:func:`clock_fractions`), the bend `b` of the course there (:func:`bend`) and noise (:func:`bridge_noise`); pairs
    are drawn by :func:`pair_weights`. At either end of the step this gives the paired cells of that end as they are,
    weighted back to the population that was sampled.

    Parameters
    ----------
    source, target
        Row `i` of both is a pair, shapes `(k, d)`: drawn from a coupling, or source cells with generated targets.
    time
        Time to predict, within the step.
    step
        Times of the source and of the target cells, the first one earlier.
    course
        All sampled populations by their times, those of the step among them, shapes `(m, d)`. More times tell more of
        the clock, and without times outside the step nothing bends. None for straight lines at one speed.
    growth
        Growth of the source and of the target cells as :func:`pair_weights` takes it, two arrays of shape `(k,)`; None
        when the coupling is balanced.
    epsilon
        Entropic regularisation of the coupling in the units of the squared distance, for noise; 0 for none.
    n
        Cells to predict; None for as many as pairs.
    rng
        Seed of the draws.

    Returns
    -------
    The predicted population.

    Raises
    ------
    ValueError
        When an array is unfit, `time` is outside the step, or the step is not in the course.
    """
    source, target = _matrix(source, "source"), _matrix(target, "target")
    if source.shape != target.shape:
        raise ValueError(f"`source` has shape {source.shape}, `target` {target.shape}: row i of both must be a pair.")
    before, after = step
    if not before < after:
        raise ValueError(f"`step` is {tuple(step)}: the earlier time comes first.")
    if not before <= time <= after:
        raise ValueError(f"`time={time}` is outside the step from {before} to {after}: nothing is predicted beyond it.")
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
    r"""Weights that turn pairs of an unbalanced coupling into a population, :math:`\eta(x)^{s - 1} \xi(y)^{-s}`.

    An unbalanced coupling sends more from cells that multiply than was sampled of them, and less to targets that it
    cannot explain. Pairs drawn from it are weighted back to the sampled source cells at `s = 0` and to the sampled
    target cells at `s = 1`; in between a cell that has `eta` descendants at the end counts :math:`\eta^s`, as at a
    constant rate of growth.

    Parameters
    ----------
    source_growth
        :math:`\eta`: mass that the coupling sends from the source cell of each pair over the share of that cell among
        the sampled ones, shape `(k,)`.
    target_growth
        :math:`\xi`: the same of the target cell, mass received, shape `(k,)`.
    s
        Fraction of the time that has passed, in [0, 1].

    Returns
    -------
    Weights that sum to 1, shape `(k,)`, for pairs drawn in proportion to the mass of the coupling.

    Raises
    ------
    ValueError
        When a growth is not positive and finite.
    """
    logs = []
    for name, growth in (("source", source_growth), ("target", target_growth)):
        growth = np.asarray(growth, dtype=float)
        if not (np.isfinite(growth) & (growth > 0)).all():
            raise ValueError(f"growth of the {name} cells must be positive and finite: no pair comes from a dead cell.")
        logs.append(np.log(growth))
    exponent = (s - 1) * logs[0] - s * logs[1]
    weights = np.exp(exponent - exponent.max())
    return weights / weights.sum()


def bridge_noise(fractions: np.ndarray, n_features: int, epsilon: float, *, rng: Rng = 0) -> np.ndarray:
    r"""Noise of a Brownian bridge, variance :math:`w (1 - w) \epsilon / 2` in each direction.

    With it, straight lines between the pairs of an entropic coupling of cost :math:`|x - y|^2` are the Schrödinger
    bridge: the most likely way from source to target of particles that diffuse with variance :math:`\epsilon / 2` in
    the time of the step.

    Parameters
    ----------
    fractions
        Fractions `w` of the step, shape `(n,)`.
    n_features
        Columns `d` of a cell.
    epsilon
        Entropic regularisation in the units of the cost.
    rng
        Seed of the noise.

    Returns
    -------
    Noise, shape `(n, d)`.

    Raises
    ------
    ValueError
        When `epsilon` is negative.

    References
    ----------
    Léonard (2014), *A survey of the Schrödinger problem and some of its connections with optimal transport*, arXiv
    1308.0215, section 2.
    """
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
        raise ValueError(f"`{name}` has shape {cells.shape}: a matrix of cells x features is needed.")
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
        raise ValueError(f"`course` has no cells at {missing}: it needs both times of the step {tuple(step)}.")
    checked = {t: _matrix(course[t], f"course[{t}]") for t in sorted(course)}
    for t, population in checked.items():
        if population.shape[1] != n_features:
            raise ValueError(f"`course` has {population.shape[1]} features at {t}, the pairs {n_features}.")
    return checked
