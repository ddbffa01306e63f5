"""Baselines against answers worked out by hand, closed forms, and the laws they draw from."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from scgenot import baselines, ot
from scgenot.pair import Pair
from truth.plans import check_frequencies


def column(*values):
    return np.array(values, dtype=float)[:, None]


def correlated(n, dim, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=dim) + rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim))


def same_cells(one, other):
    """The same rows, each as often, in whatever order."""
    np.testing.assert_array_equal(one[np.lexsort(one.T)], other[np.lexsort(other.T)])


@pytest.fixture
def cells():
    return np.random.default_rng(0).normal(size=(60, 3))


class TestDraws:
    def test_identity_is_a_copy(self, cells):
        predicted = baselines.identity(cells)
        np.testing.assert_array_equal(predicted, cells)
        assert not np.shares_memory(predicted, cells)

    def test_random_targets_are_drawn_evenly(self, cells):
        same_cells(baselines.random_targets(cells, 60), cells)
        assert len(np.unique(baselines.random_targets(cells, 40), axis=0)) == 40
        counts = np.unique(baselines.random_targets(cells, 150), axis=0, return_counts=True)[1]
        assert sorted(counts) == [2] * 30 + [3] * 30

    @pytest.mark.medium
    def test_random_targets_favour_no_cell_and_no_order(self):
        # of 5 cells 2: each ordered pair of different cells with probability 1 / 20
        draws = [
            baselines.random_targets(column(*range(5)), 2, rng=seed)[:, 0] for seed in range(4000)
        ]
        counts = np.zeros((5, 5))
        np.add.at(counts, tuple(np.array(draws, dtype=int).T), 1)
        check_frequencies(counts.ravel(), (1 - np.eye(5)).ravel())

    def test_mixture(self, cells):
        # 10 draws at s = .35 have 3 or 4 targets with equal probability: standard error .5 /
        # sqrt(400) = .025
        n_targets = [
            int((baselines.mixture(cells, cells + 99, 0.35, 10, rng=r) > 50).sum()) / 3
            for r in range(400)
        ]
        assert set(n_targets) == {3, 4}
        assert np.mean(n_targets) == pytest.approx(3.5, abs=4 * 0.025)

    def test_mixture_at_the_ends(self, cells):
        same_cells(baselines.mixture(cells, cells + 9, 0, 60), cells)
        same_cells(baselines.mixture(cells, cells + 9, 1, 60), cells + 9)

    def test_random_pairs_are_the_product(self):
        i, j = baselines.random_pairs(4, 6, 24_000)
        assert set(np.bincount(i)) == {6000}
        assert set(np.bincount(j)) == {4000}
        check_frequencies(np.bincount(6 * i + j, minlength=24), np.full(24, 1 / 24))

    def test_halves(self, cells):
        first, second = baselines.halves(cells[:59], rng=1)
        assert len(first) == 29
        same_cells(np.vstack([first, second]), cells[:59])
        assert not np.array_equal(first, baselines.halves(cells[:59], rng=2)[0])


class TestMeanShift:
    def test_by_hand(self):
        source, target = (
            np.array([[0.0, 0.0], [2.0, 4.0]]),
            np.array([[5.0, 2.0], [5.0, 2.0], [8.0, -1.0]]),
        )
        # means (1, 2) and (6, 1)
        predicted = baselines.mean_shift(source, target, np.array([[10.0, 10.0], [0.0, 0.0]]))
        np.testing.assert_allclose(predicted, [[15, 9], [5, -1]])

    def test_by_group(self):
        # a moves by 10, b by -2; c has no target and d no source cell, e is new: all of them the
        # shift of all, from mean (0 + 2 + 4 + 8) / 4 = 3.5 to (10 + 12 + 2 + 6) / 4 = 7.5
        predicted = baselines.mean_shift(
            column(0, 2, 4, 8),
            column(10, 12, 2, 6),
            column(0, 0, 0, 0, 0),
            groups=(list("aabc"), list("aabd"), list("abcde")),
            min_cells=1,
        )
        np.testing.assert_allclose(predicted[:, 0], [10, -2, 4, 4, 4])

    def test_small_groups_take_the_shift_of_all(self, cells):
        names = ["a"] * 51 + ["b"] * 9
        target = cells + np.where(np.array(names) == "a", 1, 5)[:, None]
        predicted = baselines.mean_shift(cells, target, cells, groups=(names, names, names))
        np.testing.assert_allclose(predicted[:51], cells[:51] + 1)
        np.testing.assert_allclose(predicted[51:], cells[51:] + (51 * 1 + 9 * 5) / 60)

    def test_interpolated(self):
        source, low, high = column(0, 2), column(3, 5, 7), column(11, 11)
        for fraction, shift in ((0, 4), (0.25, 0.75 * 4 + 0.25 * 10), (1, 10)):
            predicted = baselines.interpolated_shift(source, low, high, fraction, column(100, 0))
            np.testing.assert_allclose(predicted[:, 0], [100 + shift, shift])

    def test_errors(self, cells):
        with pytest.raises(ValueError, match="`groups` has 2 parts"):
            baselines.mean_shift(cells, cells, cells, groups=(["a"] * 60, ["a"] * 60))
        with pytest.raises(ValueError, match="`groups of target` has shape"):
            baselines.mean_shift(cells, cells, cells, groups=(["a"] * 60, ["a"], ["a"] * 60))
        with pytest.raises(ValueError, match="`groups of query` is missing for 1 of 60"):
            baselines.mean_shift(
                cells, cells, cells, groups=(["a"] * 60, ["a"] * 60, ["a"] * 59 + [None])
            )


class TestGaussianMap:
    @staticmethod
    def slope(source, target):
        """The map is affine: its slope is what it does to the unit vectors."""
        basis = np.vstack([np.zeros(source.shape[1]), np.eye(source.shape[1])])
        images = baselines.gaussian_map(source, target, basis)
        return images[1:] - images[0]

    def test_is_the_optimal_map_of_the_empirical_moments(self):
        # an affine map with a symmetric positive slope is a gradient of a convex function: if it
        # carries one Gaussian to the other it is the optimal one, and there is no second
        source, target = correlated(50, 5, 0), correlated(70, 5, 1)
        mapped = baselines.gaussian_map(source, target, source)
        np.testing.assert_allclose(mapped.mean(0), target.mean(0), atol=1e-9)
        np.testing.assert_allclose(np.cov(mapped.T), np.cov(target.T), atol=1e-9)
        slope = self.slope(source, target)
        np.testing.assert_allclose(slope, slope.T, atol=1e-9)
        assert np.linalg.eigvalsh(slope).min() > 0

    def test_recovers_the_map_between_known_gaussians(self):
        # N(1, 4) to N(-2, 9): T(x) = -2 + 1.5 (x - 1). The standard error of the slope is 1.5 /
        # sqrt(n), that of either mean, carried along, 3 / sqrt(n): six of them at |x - 1| <= 4
        rng, n, x = np.random.default_rng(0), 20_000, np.linspace(-3, 5, 9)
        found = baselines.gaussian_map(
            rng.normal(1, 2, (n, 1)), rng.normal(-2, 3, (n, 1)), x[:, None]
        )
        bound = 6 * np.sqrt(3**2 + 3**2 + (1.5 * 4) ** 2) / np.sqrt(n)
        np.testing.assert_allclose(found[:, 0], -2 + 1.5 * (x - 1), atol=bound)

    def test_shrinks_when_cells_are_few(self):
        source, target = correlated(49, 5, 0), correlated(70, 5, 1)
        slope = self.slope(source, target)
        A, B = ledoit_wolf(source)[0], ledoit_wolf(target)[0]
        np.testing.assert_allclose(slope @ A @ slope.T, B, atol=1e-9)

    def test_flat_directions_end_at_the_mean(self):
        source, target = correlated(50, 3, 0), correlated(50, 3, 1)
        source[:, 2] = 7
        query = np.random.default_rng(2).normal(size=(5, 3))
        found = baselines.gaussian_map(source, target, query)
        np.testing.assert_allclose(found[:, 2], target[:, 2].mean())
        np.testing.assert_allclose(
            found[:, :2], baselines.gaussian_map(source[:, :2], target[:, :2], query[:, :2])
        )

    def test_one_point_to_a_population(self):
        found = baselines.gaussian_map(np.ones((30, 2)), correlated(30, 2, 0), np.zeros((1, 2)))
        np.testing.assert_allclose(found[0], correlated(30, 2, 0).mean(0))

    def test_errors(self, cells):
        with pytest.raises(ValueError, match="`target` has 1 cell"):
            baselines.gaussian_map(cells, cells[:1], cells)


class TestPlans:
    # on a line the optimal plan keeps the order; exchanging neighbours costs 2, which is 180 times
    # epsilon
    SOURCE = column(3, 0, 4, 1, 2, 5, 7, 6)
    TARGET = np.sort(SOURCE, axis=0)[::-1] + 0.3
    SHARP = 0.001

    def test_follows_the_optimal_plan(self):
        query = self.SOURCE + 0.2
        drawn = baselines.plan_nearest(self.SOURCE, self.TARGET, query, epsilon=self.SHARP)
        np.testing.assert_allclose(drawn, self.SOURCE + 0.3)
        moved = baselines.plan_nearest(
            self.SOURCE, self.TARGET, query, epsilon=self.SHARP, displacement=True
        )
        np.testing.assert_allclose(moved, query + 0.3)

    def test_draws_from_the_row(self, cells):
        target = cells[:20] + 1
        coupling = ot.Sinkhorn(epsilon=0.05)(Pair(cells, target))
        predicted = baselines.plan_nearest(cells, target, np.tile(cells[7] + 1e-3, (5000, 1)))
        order = (predicted[:, None] == target).all(2).argmax(1)
        np.testing.assert_array_equal(predicted, target[order])  # all of them are targets
        # rows of the plan, solved to a marginal error of 1e-4, differ by less than 5000 draws can
        # tell
        check_frequencies(
            np.bincount(order, minlength=20), coupling.rows()[7].double().cpu().numpy()
        )

    def test_draws_among_the_nearest(self):
        query = np.full((3000, 1), 2.4)  # nearest are 2, 3 and 1
        predicted = baselines.plan_nearest(
            self.SOURCE, self.TARGET, query, epsilon=self.SHARP, n_neighbors=3
        )
        check_frequencies(
            np.bincount(predicted[:, 0].astype(int), minlength=8),
            np.array([0, 1, 1, 1, 0, 0, 0, 0]),
        )

    def test_pairs_are_those_of_the_plan(self):
        i, j = baselines.plan_pairs(self.SOURCE, self.TARGET, 16, epsilon=self.SHARP)
        assert set(np.bincount(i)) == {2}
        np.testing.assert_allclose(self.TARGET[j], self.SOURCE[i] + 0.3)

    def test_straight(self):
        source, target = (
            np.array([[0.0, 0.0], [4.0, 8.0]]),
            np.array([[4.0, 4.0], [8.0, 0.0], [0.0, 8.0]]),
        )
        found = baselines.straight(
            source, target, 0.25, pairs=(np.array([0, 1, 1]), np.array([2, 0, 1]))
        )
        np.testing.assert_allclose(found, [[0, 2], [4, 7], [5, 6]])
        np.testing.assert_allclose(baselines.straight(source, target[:2], 0.5), [[2, 2], [6, 4]])

    def test_straight_lines_between_random_pairs_lose_variance(self, cells):
        # every cell equally often, so that the mean is exact; independent ends have variance (1 -
        # s)^2 A + s^2 B
        target, s, n = 2 * cells[:30] + 5, 0.4, 30_000
        found = baselines.straight(cells, target, s, pairs=baselines.random_pairs(60, 30, n))
        np.testing.assert_allclose(
            found.mean(0), (1 - s) * cells.mean(0) + s * target.mean(0), atol=1e-10
        )
        A, B = cells.var(0), target.var(0)
        # what is random is the covariance of the ends, of standard error (A B / n)^.5, times 2 s (1
        # - s): five of them
        bound = 5 * 2 * s * (1 - s) * np.sqrt(A * B / n).max()
        np.testing.assert_allclose(found.var(0), (1 - s) ** 2 * A + s**2 * B, atol=bound)

    def test_same_seed_same_cells(self, cells):
        first, again, other = (
            baselines.plan_nearest(cells, cells + 1, cells, rng=seed) for seed in (3, 3, 4)
        )
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_errors(self, cells):
        with pytest.raises(ValueError, match="`n_neighbors=61` must be between 1 and the 60"):
            baselines.plan_nearest(cells, cells, cells, n_neighbors=61)
        with pytest.raises(ValueError, match="give `pairs`"):
            baselines.straight(cells, cells[1:], 0.5)
        with pytest.raises(ValueError, match=r"`pairs` have shapes \(2,\) and \(1,\)"):
            baselines.straight(cells, cells, 0.5, pairs=([0, 1], [0]))
        for bad in ([0, -1], [0, 60], [0.0, 1.0]):
            with pytest.raises(ValueError, match="indices of the 60 `target` cells"):
                baselines.straight(cells, cells, 0.5, pairs=([0, 1], bad))


CALLS = {
    "identity": lambda x, query: baselines.identity(query),
    "random_targets": lambda x, target: baselines.random_targets(target, 3),
    "mean_shift": lambda x, query: baselines.mean_shift(x, x, query),
    "gaussian_map": lambda x, target: baselines.gaussian_map(x, target, x),
    "plan_nearest": lambda x, query: baselines.plan_nearest(x, x, query),
    "plan_pairs": lambda x, target: baselines.plan_pairs(x, target, 3),
    "interpolated_shift": lambda x, high: baselines.interpolated_shift(x, x, high, 0.5, x),
    "straight": lambda x, target: baselines.straight(x, target, 0.5),
    "mixture": lambda x, target: baselines.mixture(x, target, 0.5, 3),
    "halves": lambda x, cells: baselines.halves(cells),
}


@pytest.mark.parametrize("name", CALLS)
def test_unfit_cells(name, cells):
    bad = cells.copy()
    bad[3, 0] = np.nan
    argument = CALLS[name].__code__.co_varnames[1]
    with pytest.raises(
        ValueError, match=f"`{argument}` has NaN or infinite values in 1 of 60 cells"
    ):
        CALLS[name](cells, bad)
    with pytest.raises(ValueError, match=f"`{argument}` must be numbers"):
        CALLS[name](cells, cells[:, 0])
    with pytest.raises(ValueError, match=rf"`{argument}` has shape \(0, 3\)"):
        CALLS[name](cells, cells[:0])


@pytest.mark.parametrize(
    "name", [name for name in CALLS if name not in ("identity", "random_targets", "halves")]
)
def test_two_spaces(name, cells):
    with pytest.raises(
        ValueError, match=r"`source` has 3 features, `\w+` 2: give all in one space"
    ):
        CALLS[name](cells, cells[:, :2])


def test_numbers_out_of_range(cells):
    for s in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=f"`s={s}`"):
            baselines.straight(cells, cells, s)
        with pytest.raises(ValueError, match=f"`s={s}`"):
            baselines.mixture(cells, cells, s, 10)
        with pytest.raises(ValueError, match=f"`fraction={s}`"):
            baselines.interpolated_shift(cells, cells, cells, s, cells)
    for n, error in ((0, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match=f"`n={n}`"):
            baselines.random_targets(cells, n)
    with pytest.raises(ValueError, match="`n_target=0`"):
        baselines.random_pairs(5, 0, 5)
    with pytest.raises(ValueError, match="`cells` has 1 cell"):
        baselines.halves(cells[:1])
