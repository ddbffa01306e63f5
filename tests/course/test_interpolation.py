from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from scgenot.course.clock import bend, clock_fractions, fit_clock, fit_pace
from scgenot.course.interpolation import bridge_noise, interpolate_pairs, pair_weights
from scgenot.metrics import energy_distance
from scgenot.ot import Sinkhorn
from scgenot.pair import Pair
from truth.gaussians import random_problem


def parabola(t):
    return np.array([1 + t, 2 * t - 0.3 * t**2, -0.5 * t**2])


def synchronous_course(times, n=50):
    """Cells that move along a parabola in step, each with its own place in two more dimensions."""
    own = np.random.default_rng(0).standard_normal((n, 2))
    own -= own.mean(0)  # nothing of it tells the time
    return {t: np.hstack([np.tile(parabola(t), (n, 1)), own]) for t in times}


def test_a_clock_in_one_dimension_is_the_shrunken_regression():
    course = {2.0: np.array([[0.0], [2.0], [4.0]]), 5.0: np.array([[7.0], [9.0]])}
    # samples weigh alike: means 2 and 8, variance within (8/3 + 1) / 2 and between 9;
    # covariance with time 4.5
    variance = (8 / 3 + 1) / 2 + 9
    slope = 4.5 / (1.01 * variance)
    cells = np.array([[-1.0], [5.0], [6.0]])
    np.testing.assert_allclose(fit_clock(course)(cells), 3.5 + slope * (cells[:, 0] - 5))


def test_a_clock_sees_neither_rotation_nor_units_nor_repeated_cells():
    rng = np.random.default_rng(0)
    course = {
        t: rng.standard_normal((20, 4)) + t * np.array([1, 0.5, 0, 0]) for t in (0.0, 1.0, 3.0)
    }
    rotation = 7 * np.linalg.qr(rng.standard_normal((4, 4)))[0]
    changed = {t: cells @ rotation + 5 for t, cells in course.items()}
    changed[1.0] = np.repeat(changed[1.0], 3, axis=0)
    new = rng.standard_normal((10, 4))
    np.testing.assert_allclose(fit_clock(changed)(new @ rotation + 5), fit_clock(course)(new))


@pytest.mark.parametrize("s", [0.0, 0.3, 0.5, 1.0])
def test_pairs_that_run_in_step_are_all_at_s(s):
    np.testing.assert_allclose(clock_fractions(np.full(40, 2.0), np.full(40, 6.0), s), s)
    np.testing.assert_array_equal(
        clock_fractions(np.full(40, 2.0), np.full(40, 2.0), s), np.full(40, s)
    )


def test_swapped_readings_are_those_of_the_pairs():
    rng = np.random.default_rng(0)
    source, target = (
        rng.uniform(0, 1, 500),
        rng.uniform(9, 10, 500),
    )  # so far apart that every path reads every swap
    readings = 0.6 * source + 0.4 * target
    w = clock_fractions(source, target, 0.4, rng=1)
    np.testing.assert_allclose(np.sort(source + w * (target - source)), np.sort(readings))
    # a pair keeps its own with probability 1 - 4 s (1 - s) = .04: 20 of 500, standard error 4.4;
    # one swaps with itself
    assert 2 <= (w == 0.4).sum() <= 40


def test_overlapping_samples_hold_cells_back_at_their_ends():
    rng = np.random.default_rng(0)
    source, target = rng.normal(0, 3, 2000), rng.normal(1, 3, 2000)
    w = clock_fractions(source, target, 0.5)
    assert ((w >= 0) & (w <= 1)).all()
    between = (w > 0) & (w < 1)
    # a path from x to y reads another pair's q = (x' + y') / 2 with probability 2 P(x < q < y), by
    # Sheppard's formula with Corr(q - x, y - q) = -4.5 / 13.5; the means, half a unit apart, change
    # it by less than .02
    chance = 2 * (0.25 + np.arcsin(-4.5 / 13.5) / (2 * np.pi))
    assert abs(between.mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / 2000) + 0.02


def butland(left, right, before, after):
    """Tangent between two secants (Fritsch and Butland 1984): a weighted harmonic mean, or 0."""
    if left * right <= 0:
        return 0.0
    w1, w2 = 2 * after + before, after + 2 * before
    return (w1 + w2) / (w1 / left + w2 / right)


def test_the_pace_is_monotone_and_known():
    """One coordinate at uneven times: the Hermite cubic with the tangents of the paper."""
    times, places = (0.0, 1.0, 4.0, 10.0), (0.0, 3.0, 4.0, 4.5)
    pace = fit_pace({t: np.array([place]) for t, place in zip(times, places, strict=True)})
    left, right = butland(3, 1 / 3, 1, 3), butland(1 / 3, 1 / 12, 3, 6)
    for time in (1.0, 1.5, 2.0, 3.0, 4.0):
        w, h = (time - 1) / 3, 3.0
        expected = (
            *((1 + 2 * w) * (1 - w) ** 2 * 3, w**2 * (3 - 2 * w) * 4),
            *(w * (1 - w) ** 2 * h * left, w**2 * (w - 1) * h * right),
        )
        assert float(pace(time)) == pytest.approx(sum(expected))


def test_the_pace_of_a_uniform_course_is_time():
    velocity = np.array([3.0, -4.0])
    pace = fit_pace({t: t * velocity for t in (0.0, 2.0, 3.0, 9.0)})
    times = np.linspace(0, 9, 19)
    np.testing.assert_allclose(pace(times), 5 * times, atol=1e-12)
    alike = {t: np.ones(2) for t in (0.0, 1.0, 5.0)}  # nothing tells how fast
    assert fit_pace(alike)(2.5) == 2.5


def test_the_calendar_only_says_where_the_pace_is():
    """Samples at other times in the same order: at the same place, the population is the same."""
    rng = np.random.default_rng(0)
    days, ticks = (0.0, 1.0, 2.0, 3.0), (0.0, 5.0, 6.0, 30.0)
    samples = [rng.standard_normal((40, 3)) + 4 * rng.standard_normal(3) for _ in days]
    pairs, found = (samples[1], samples[2][rng.permutation(40)]), []
    for times in (days, ticks):
        course = dict(zip(times, samples, strict=True))
        pace = fit_pace({t: cells.mean(0) for t, cells in course.items()})
        middle = (pace(times[1]) + pace(times[2])) / 2
        time = brentq(lambda t, pace=pace, place=middle: pace(t) - place, *times[1:3], xtol=1e-14)
        found.append(interpolate_pairs(*pairs, time, step=times[1:3], samples=course, rng=0).cells)
    np.testing.assert_allclose(*found, atol=1e-9)


def test_a_course_that_stands_still_goes_on():
    pace = fit_pace({0.0: np.zeros(1), 1.0: np.ones(1), 2.0: np.ones(1), 3.0: np.zeros(1)})
    assert (np.diff(pace(np.linspace(0, 3, 31))) > 0).all()


@pytest.mark.medium
@pytest.mark.parametrize("seed", range(5))
def test_the_mean_never_leaves_the_means_of_the_step(seed):
    """At any uneven times: what overshoots is further off than a straight line can be."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1, 6) ** 3 + 0.01)
    course = {t: rng.standard_normal((8, 4)) + 5 * rng.standard_normal(4) for t in times}
    means = {t: cells.mean(0) for t, cells in course.items()}
    for before, after in pairwise(times):
        low, high = np.sort([means[before], means[after]], axis=0)
        for time in np.linspace(before, after, 9):
            found = interpolate_pairs(
                *(np.tile(means[end], (2, 1)) for end in (before, after)),
                time,
                step=(before, after),
                samples={t: np.tile(mean, (2, 1)) for t, mean in means.items()},
            ).cells.mean(0)
            # one fraction for all pairs of a point: the clock reads equal cells
            assert (found >= low - 1e-9).all()
            assert (found <= high + 1e-9).all()


def test_a_course_played_backwards_is_the_same():
    rng = np.random.default_rng(0)
    means = {t: rng.standard_normal(3) for t in (0.0, 1.0, 2.5, 3.0, 5.0)}
    mirrored = {-t: mean for t, mean in means.items()}
    w = np.linspace(0, 1, 9)
    np.testing.assert_allclose(
        bend(w, (1.0, 2.5), means), bend(1 - w, (-2.5, -1.0), mirrored), atol=1e-12
    )
    pace, back = fit_pace(means), fit_pace(mirrored)
    np.testing.assert_allclose(np.diff(pace([1.2, 2.0])), np.diff(back([-2.0, -1.2])))


def test_the_course_is_smooth_where_steps_meet():
    rng = np.random.default_rng(0)
    means = {t: rng.standard_normal(3) for t in (0.0, 1.0, 2.5, 3.0, 5.0)}

    def course(t, step):
        w = np.array([(t - step[0]) / (step[1] - step[0])])
        return ((1 - w) * means[step[0]] + w * means[step[1]] + bend(w, step, means))[0]

    for before, knot, after in ((0.0, 1.0, 2.5), (1.0, 2.5, 3.0), (2.5, 3.0, 5.0)):
        h = 1e-6
        left = (course(knot, (before, knot)) - course(knot - h, (before, knot))) / h
        right = (course(knot + h, (knot, after)) - course(knot, (knot, after))) / h
        np.testing.assert_allclose(left, right, atol=1e-4)
        np.testing.assert_array_equal(bend(np.array([0.0, 1.0]), (before, knot), means), 0)


def test_two_times_do_not_bend_nor_does_a_line():
    w = np.linspace(0, 1, 5)
    np.testing.assert_array_equal(bend(w, (0.0, 1.0), {0.0: np.zeros(2), 1.0: np.ones(2)}), 0)
    line = {t: t * np.array([1.0, -2.0]) for t in (0.0, 2.0, 3.0, 7.0)}
    np.testing.assert_allclose(bend(w, (2.0, 3.0), line), 0, atol=1e-12)


def test_an_unbalanced_plan_is_weighted_back_to_both_samples():
    rng = np.random.default_rng(0)
    source, target = rng.standard_normal((30, 2)), 1 + rng.standard_normal((20, 2))
    coupling = Sinkhorn(epsilon=0.1, tau=(0.6, 0.7), dtype=torch.float64)(Pair(source, target))
    plan = np.concatenate([block.cpu().numpy() for _, block in coupling.mass_blocks()])
    eta, xi = plan.sum(1) * 30, plan.sum(0) * 20
    assert eta.max() > 1.5 * eta.min()
    i, j = (index.ravel() for index in np.indices(plan.shape))
    populations = {}
    for s in (0.0, 0.5, 1.0):
        # all pairs at once, each with its mass in place of its number of draws
        weighted = pair_weights(eta[i], xi[j], s) * plan.ravel()
        populations[s] = (weighted / weighted.sum()).reshape(plan.shape)
    np.testing.assert_allclose(populations[0.0].sum(1), 1 / 30)
    np.testing.assert_allclose(populations[1.0].sum(0), 1 / 20)
    middle = np.sqrt(populations[0.0] * populations[1.0])
    np.testing.assert_allclose(populations[0.5], middle / middle.sum())


def test_growing_cells_count_more_as_time_goes_on():
    # two kinds of cells, half of the source each; one has four descendants where the other has one
    eta = np.array(
        [1.6] * 80 + [0.4] * 20
    )  # of 100 pairs drawn from the plan 80 are of the growing kind
    for s in (0.0, 0.25, 0.5, 1.0):
        share = pair_weights(eta, np.ones(100), s)[:80].sum()
        assert share == pytest.approx(4**s / (4**s + 1))


def test_the_bridge_of_gaussians_is_schroedingers():
    """The rest of the way is the entropic plan of the rest of the time, (1 - s) epsilon."""
    problem = random_problem(3, np.random.default_rng(0), relative_epsilon=0.3)
    s, C = 0.3, problem.C
    noise = s * (1 - s) * problem.epsilon / 2
    middle = (
        (1 - s) ** 2 * problem.A + s**2 * problem.B + s * (1 - s) * (C + C.T) + noise * np.eye(3)
    )
    rest = replace(
        problem, a=(1 - s) * problem.a + s * problem.b, A=middle, epsilon=(1 - s) * problem.epsilon
    )
    np.testing.assert_allclose(rest.C, (1 - s) * C + s * problem.B, atol=1e-10)

    rng, n = np.random.default_rng(1), 100_000
    x = problem.sample_source(n, rng)
    y = problem.sample_conditional(x, 1, rng)[:, 0]
    cells = interpolate_pairs(x, y, s, step=(0, 1), epsilon=problem.epsilon).cells
    # a covariance of n cells has standard errors up to sqrt(2 / n) times the largest variance
    sigma = np.sqrt(2 / n) * np.linalg.eigvalsh(middle)[-1]
    np.testing.assert_allclose(np.cov(cells.T), middle, atol=4 * sigma)
    np.testing.assert_allclose(cells.mean(0), rest.a, atol=4 * np.sqrt(np.trace(middle) / n))


def test_noise_has_the_variance_of_its_fraction():
    w = np.repeat([0.0, 0.2, 0.5, 1.0], 20_000)
    found = bridge_noise(w, 2, 3.0).reshape(4, -1).var(1)
    np.testing.assert_allclose(found, [0, 0.24, 0.375, 0], rtol=4 * np.sqrt(2 / 40_000))


@pytest.mark.parametrize("at_end", [False, True])
def test_the_ends_of_a_step_are_the_paired_cells(at_end):
    rng = np.random.default_rng(0)
    course = {t: rng.standard_normal((40, 3)) + t for t in (0, 1, 3, 4)}
    x, y = course[1][rng.permutation(40)], course[3][rng.permutation(40)]
    found = interpolate_pairs(x, y, 3 if at_end else 1, step=(1, 3), samples=course, epsilon=1.0)
    np.testing.assert_array_equal(found.cells, y if at_end else x)
    np.testing.assert_array_equal(found.pairs, np.arange(40))


def test_without_a_course_the_lines_are_straight_and_run_at_one_speed():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 30, 3))
    found = interpolate_pairs(x, y, 4.5, step=(4, 6))
    np.testing.assert_allclose(found.cells, 0.75 * x + 0.25 * y)
    np.testing.assert_array_equal(found.fractions, 0.25)


def test_growth_and_n_draw_pairs_in_proportion():
    x = np.arange(4.0)[:, None]
    growth = np.array([1.0, 2.0, 4.0, 8.0]), np.ones(4)
    found = interpolate_pairs(x, x + 10, 0, step=(0, 1), growth=growth, n=1500)
    expected = 1500 * (1 / growth[0]) / (1 / growth[0]).sum()
    np.testing.assert_allclose(np.bincount(found.pairs), expected, atol=1)
    np.testing.assert_array_equal(found.cells, x[found.pairs])


def test_a_bent_course_in_step_is_met_better_than_by_a_line():
    """Cells on a parabola, which no cubic in another time than the true one meets exactly."""
    course = synchronous_course((0.0, 2.0, 4.0, 7.0, 8.0))
    truth = synchronous_course((3.0,))[3.0]
    found = interpolate_pairs(course[2.0], course[4.0], 3.0, step=(2.0, 4.0), samples=course)
    straight = interpolate_pairs(course[2.0], course[4.0], 3.0, step=(2.0, 4.0)).cells
    np.testing.assert_allclose(found.cells.std(0)[:3], 0, atol=1e-12)  # they go in step
    assert np.abs(found.cells - truth).max() < np.abs(straight - truth).max() / 2


def test_cells_out_of_step_are_met_better_than_by_a_straight_line():
    """Cells on half a circle, own times normal around that of the sample; pairs in their order."""
    rng = np.random.default_rng(0)

    def sample(time, n=400):
        own = np.sort(rng.normal(time, 0.5, n))
        circle = np.column_stack([-np.cos(own), np.sin(own)])
        return np.hstack([3 * circle, 0.2 * rng.standard_normal((n, 3))])

    course = {t: sample(t) for t in (0.5, 2.5)}
    truth = sample(1.5)
    found = interpolate_pairs(course[0.5], course[2.5], 1.5, step=(0.5, 2.5), samples=course).cells
    straight = interpolate_pairs(course[0.5], course[2.5], 1.5, step=(0.5, 2.5)).cells
    errors = [energy_distance(cells, truth, unbiased=True) for cells in (found, straight)]
    assert errors[0] < 0.8 * errors[1]


def test_the_same_seed_gives_the_same_bits():
    rng = np.random.default_rng(0)
    course = {t: rng.standard_normal((30, 2)) + t for t in (0, 1, 2)}
    growth = rng.uniform(0.5, 2, (2, 30))
    found = [
        interpolate_pairs(
            course[0],
            course[1],
            0.4,
            step=(0, 1),
            samples=course,
            growth=growth,
            epsilon=1,
            rng=seed,
        )
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(found[0].cells, found[1].cells)
    assert not np.array_equal(found[0].cells, found[2].cells)


def test_cells_that_are_all_alike_have_a_clock():
    course = {0: np.ones((5, 2)), 1: np.ones((5, 2))}
    np.testing.assert_array_equal(fit_clock(course)(np.zeros((3, 2))), 0.5)
    np.testing.assert_array_equal(
        interpolate_pairs(course[0], course[1], 0.5, step=(0, 1), samples=course).cells, 1
    )


GOOD = {"source": np.ones((5, 2)), "target": np.ones((5, 2)), "time": 1.0, "step": (0.0, 2.0)}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"time": 3.0}, r"`time=3.0` is outside the step"),
        ({"step": (2.0, 0.0)}, r"`step` is \(2.0, 0.0\)"),
        ({"step": (1.0, 1.0)}, r"`step` is \(1.0, 1.0\)"),
        ({"target": np.ones((4, 2))}, r"row i of both must be a pair"),
        ({"source": np.full((5, 2), np.nan)}, r"`source` has NaN"),
        ({"source": np.ones(5)}, r"`source` has shape \(5,\)"),
        ({"n": 0}, r"`n=0`"),
        ({"epsilon": -1.0}, r"`epsilon=-1.0`"),
        ({"growth": (np.ones(5), np.zeros(5))}, r"growth of the target cells must be positive"),
        ({"growth": (np.ones(4), np.ones(5))}, r"`growth` has shapes \(4,\) and \(5,\)"),
        ({"samples": {0.0: np.ones((3, 2))}}, r"`samples` has no cells at \[2.0\]"),
        (
            {"samples": {0.0: np.ones((3, 2)), 2.0: np.ones((3, 1))}},
            r"`samples` has 1 features at 2.0",
        ),
    ],
)
def test_bad_input(bad, message):
    arguments = {**GOOD, **bad}
    source, target, time = (arguments.pop(name) for name in ("source", "target", "time"))
    with pytest.raises(ValueError, match=message):
        interpolate_pairs(source, target, time, **arguments)
