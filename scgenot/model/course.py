"""What a whole course of samples says about the way between two of them: how far each cell is, and where it bends."""

from collections.abc import Callable, Mapping

import numpy as np

from scgenot._rng import Rng, numpy_rng

Course = Mapping[float, np.ndarray]
Clock = Callable[[np.ndarray], np.ndarray]

_PENALTY = 0.01  # of the clock's ridge regression, in units of the mean variance


def fit_clock(course: Course) -> Clock:
    """Learn to read a cell's own time: ridge regression of the sampling time on the cells of all samples.

    Every sample counts as much as any other, whatever its number of cells; the penalty is 1 % of the mean variance.
    A linear clock runs evenly along a straight line between two cells.

    Parameters
    ----------
    course
        Sampled populations by their times, shapes `(m, d)`; at least two.

    Returns
    -------
    A function from cells, `(n, d)`, to their times, `(n,)`.
    """
    cells = np.concatenate(list(course.values()))
    times = np.concatenate([np.full(len(population), float(t)) for t, population in course.items()])
    weights = np.concatenate([np.full(len(population), 1 / len(population)) for population in course.values()])
    weights /= len(course)
    mean_cell, mean_time = weights @ cells, weights @ times
    centred = cells - mean_cell
    covariance = (centred * weights[:, None]).T @ centred
    penalty = _PENALTY * np.trace(covariance) / len(covariance)
    if penalty == 0:  # all cells are one point: no cell is ahead of another
        return lambda cells: np.full(len(cells), mean_time)
    slope = np.linalg.solve(covariance + penalty * np.eye(len(covariance)), (centred * weights[:, None]).T @ times)
    return lambda cells: (cells - mean_cell) @ slope + mean_time


def clock_fractions(source_clock: np.ndarray, target_clock: np.ndarray, s: float, *, rng: Rng = 0) -> np.ndarray:
    r"""How far each pair has come when the fraction `s` of the time has passed.

    At one speed pair `i` reads :math:`q_i = (1 - s) g(x_i) + s g(y_i)` on the clock `g`. Cells of one sample are not in
    step, so with probability :math:`4 s (1 - s)` (none at the ends, all half way) a pair swaps its reading for that of
    another and goes to where its own path reads it, :math:`w_i = (q_j - g(x_i)) / (g(y_i) - g(x_i))`, held to [0, 1].
    Where samples are far apart compared with their spread on the clock this is `s`; where they overlap the fractions
    spread, and pairs that would have to be further than their ends are the sampled cells themselves.

    Parameters
    ----------
    source_clock, target_clock
        Readings of the paired cells, shapes `(k,)`.
    s
        Fraction of the time that has passed, in [0, 1].
    rng
        Seed of the swaps.

    Returns
    -------
    Fractions, shape `(k,)`; `s` for a pair whose ends read the same.
    """
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


def bend(fractions: np.ndarray, step: tuple[float, float], means: Mapping[float, np.ndarray]) -> np.ndarray:
    r"""How far the course of a population's mean lies off the straight line of a step.

    The course is the cubic spline through the means whose tangent at a time is that of the parabola through it and its
    two neighbours; at the first and the last time it is the line's. Over a step of length `h` with velocity `v`,
    :math:`b(w) = h (w (1 - w)^2 (u_0 - v) - w^2 (1 - w) (u_1 - v))` for tangents :math:`u_0, u_1`; 0 at both ends. With
    two times it is 0, and a parabola between inner times is met exactly.

    Parameters
    ----------
    fractions
        Fractions of the step, shape `(n,)`.
    step
        Times at which it begins and ends.
    means
        Mean of each sampled population by its time, shapes `(d,)`, both times of the step among them.

    Returns
    -------
    Displacements from the line, shape `(n, d)`.

    References
    ----------
    Catmull, Rom (1974), *A class of local interpolating splines*; for uneven times, de Boor (1978), *A practical guide
    to splines*, chapter IV (Bessel's tangents).
    """
    (before, after), w = step, fractions[:, None]
    length = after - before
    velocity = (means[after] - means[before]) / length
    turn = []  # tangent minus velocity, at both ends
    for end, others in ((before, [t for t in means if t < before]), (after, [t for t in means if t > after])):
        if not others:
            turn.append(np.zeros_like(velocity))
            continue
        neighbour = min(others, key=lambda t: abs(t - end))
        outside = (means[neighbour] - means[end]) / (neighbour - end)
        turn.append((outside - velocity) * length / (length + abs(neighbour - end)))
    return length * (w * (1 - w) ** 2 * turn[0] - w**2 * (1 - w) * turn[1])
