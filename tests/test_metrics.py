"""Metrics against answers worked out by hand and against closed forms."""

from functools import partial

import numpy as np
import ot
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance as scipy_energy_distance
from scipy.stats import norm

from scgenot import metrics
from scgenot.metrics import inputs
from scgenot.metrics.discrimination import cosines, discrimination_from
from scgenot.metrics.transport import _subset, wasserstein_bounds

TWO_SAMPLE = [
    metrics.foscttm,
    metrics.sinkhorn_divergence,
    metrics.energy_distance,
    metrics.mmd,
    metrics.wasserstein,
    metrics.r2_means,
    metrics.r2_variances,
    metrics.squared_error_means,
]


def column(*values):
    return np.array(values, dtype=float)[:, None]


@pytest.fixture
def cells():
    return np.random.default_rng(0).normal(size=(60, 3))


class TestFoscttm:
    def test_identical_is_zero(self, cells):
        assert metrics.foscttm(cells, cells) == 0

    def test_reversed_by_hand(self):
        # 0 meets 2, 1, 0: both others are closer; 1 meets its own at distance 0; 2 as 0: (1 + 0 +
        # 1) / 3 either way
        assert metrics.foscttm(column(0, 1, 2), column(2, 1, 0)) == pytest.approx(2 / 3)

    def test_directions_are_averaged(self):
        # predictions 0, 10; truths 1, 2. From predictions: 0 -> own 1 best (0); 10 -> own 2 best
        # (0). From truths: 1 -> own 0 (0); 2 -> own 10 at 8, the other at 2 (1). Mean of 0 and 1/2.
        assert metrics.foscttm(column(0, 10), column(1, 2)) == pytest.approx(0.25)

    def test_weights_pick_cells(self):
        x, y = np.random.default_rng(0).normal(size=(2, 7, 2))
        d = np.linalg.norm(x[:, None] - y, axis=2)
        for k, weights in enumerate(np.eye(7)):
            nearer = (d[k] < d[k, k]).sum() + (d[:, k] < d[k, k]).sum()
            assert metrics.foscttm(x, y, weights=weights) == pytest.approx(nearer / 12)

    def test_swapped_pair_is_worst(self):
        assert metrics.foscttm(column(0, 1), column(1, 0)) == 1

    def test_one_prediction_for_all_is_chance(self):
        # from truths every prediction ties: .5; from the prediction the truths have ranks 0 .. n-1:
        # mean .5
        assert metrics.foscttm(np.zeros((5, 1)), column(1, 2, 3, 4, 5)) == pytest.approx(0.5)

    def test_duplicated_cells_tie_fairly(self):
        # each pair of twins ties with each other: half of one of three others
        twins = column(0, 0, 5, 5)
        assert metrics.foscttm(twins, twins) == pytest.approx(0.5 / 3)

    def test_chance_for_unrelated_cells(self):
        rng = np.random.default_rng(1)
        # a mean over n cells of fractions of variance at most 1/4: one standard error is below .5 /
        # sqrt(n) = .022
        assert metrics.foscttm(
            rng.normal(size=(500, 4)), rng.normal(size=(500, 4))
        ) == pytest.approx(0.5, abs=0.07)

    def test_blocks_change_nothing(self, cells, monkeypatch):
        noisy = cells + np.random.default_rng(1).normal(size=cells.shape)
        whole = metrics.foscttm(noisy, cells)
        monkeypatch.setattr(inputs, "BLOCK", 7 * len(cells))
        assert metrics.foscttm(noisy, cells) == whole

    def test_lengths_must_match(self, cells):
        with pytest.raises(ValueError, match="`predicted` has 59 cells, `true` 60"):
            metrics.foscttm(cells[1:], cells)


class TestLabelTransfer:
    def test_by_hand(self):
        reference, names = column(0, 1, 10, 11), ["a", "a", "b", "b"]
        assert metrics.label_transfer(
            column(0.4, 10.4, 0.6), reference, ["a", "b", "b"], names, n_neighbors=1
        ) == (pytest.approx(2 / 3))

    def test_trained_on_the_reference(self):
        # predictions of label b lie where the reference has a: a classifier trained on predictions
        # would score 1
        assert (
            metrics.label_transfer(
                column(0, 1, 2), column(0, 1, 2), list("bbb"), list("aaa"), n_neighbors=1
            )
            == 0
        )

    def test_errors(self, cells):
        with pytest.raises(ValueError, match="`labels` has shape"):
            metrics.label_transfer(cells, cells, ["a"], ["a"] * 60)
        with pytest.raises(ValueError, match="`reference_labels` is missing for 1 of 60 cells"):
            metrics.label_transfer(cells, cells, ["a"] * 60, ["a"] * 59 + [np.nan])
        with pytest.raises(ValueError, match="n_neighbors=61"):
            metrics.label_transfer(cells, cells, ["a"] * 60, ["a"] * 60, n_neighbors=61)
        with pytest.raises(ValueError, match="`reference` 2"):
            metrics.label_transfer(cells, cells[:, :2], ["a"] * 60, ["a"] * 60)


class TestSinkhornDivergence:
    def test_identical_is_zero(self, cells):
        assert metrics.sinkhorn_divergence(cells, cells[::-1]) == pytest.approx(0, abs=1e-9)

    @pytest.mark.parametrize("epsilon", [0.05, 0.5])
    def test_shift_is_its_square(self, cells, epsilon):
        # |x - y - s|^2 differs from |x - y|^2 by terms of x or of y alone, and |s|^2: potentials
        # absorb the former
        shift = np.array([1.0, -2.0, 0.5])
        found = metrics.sinkhorn_divergence(cells + shift, cells, epsilon=epsilon)
        assert found == pytest.approx(shift @ shift, abs=1e-8)

    @pytest.mark.parametrize("epsilon", [0.5, 1.0])
    def test_is_pots(self, cells, epsilon):
        x, y = cells[:25], np.random.default_rng(1).normal(1.0, 2.0, (20, 3))
        strength = epsilon * cdist(y, y, "sqeuclidean").mean()

        def cost(x, y):
            options = {"reg": strength, "reg_type": "KL", "max_iter": 10_000, "tol": 1e-9}
            return ot.solve(cdist(x, y, "sqeuclidean"), **options).value

        expected = cost(x, y) - (cost(x, x) + cost(y, y)) / 2
        assert metrics.sinkhorn_divergence(x, y, epsilon=epsilon) == pytest.approx(
            expected, abs=1e-7
        )

    @pytest.mark.medium
    def test_small_epsilon_far_apart(self, cells):
        # potentials differ by thousands of epsilon between the clusters: no kernel holds that
        far = np.array([40.0, 0.0, 0.0])
        x, y = np.r_[cells[:30], cells[30:] + far], np.r_[cells[:40], cells[40:] + far]
        exact = ot.emd2(
            [], [], cdist(x, y, "sqeuclidean")
        )  # a sixth of the cells has to go from one to the other
        assert metrics.sinkhorn_divergence(x, y, epsilon=0.002) == pytest.approx(exact, rel=0.01)
        assert metrics.sinkhorn_divergence(y, y[::-1], epsilon=0.002) == pytest.approx(0, abs=1e-8)

    def test_two_points_by_hand(self):
        # for a large epsilon all plans are products, and E|x-y|^2 - E|x-x'|^2 / 2 - E|y-y'|^2 / 2
        # is the squared difference of the means, (1.5 - .5)^2; the correction is of the order of
        # cost^2 / epsilon = 81 / (4.5 * 1e4)
        assert metrics.sinkhorn_divergence(
            column(0, 1), column(0, 3), epsilon=1e4
        ) == pytest.approx(1, abs=2e-3)

    def test_errors(self, cells):
        with pytest.raises(ValueError, match="`epsilon=0`"):
            metrics.sinkhorn_divergence(cells, cells, epsilon=0)
        with pytest.raises(ValueError, match="same point"):
            metrics.sinkhorn_divergence(cells, np.ones((5, 3)))


class TestEnergyDistance:
    def test_by_hand(self):
        # x = {0, 1}, y = {0, 3}: E|x-y| = (0+3+1+2)/4 = 1.5; E|x-x'| = 1/2 and E|y-y'| = 3/2, or 1
        # and 3 without i = i
        assert metrics.energy_distance(column(0, 1), column(0, 3)) == pytest.approx(1.0)
        assert metrics.energy_distance(column(0, 1), column(0, 3), unbiased=True) == pytest.approx(
            -1.0
        )

    def test_is_scipys_square_in_one_dimension(self):
        x, y = np.random.default_rng(0).normal(size=(2, 40))
        assert metrics.energy_distance(x[:, None], y[:, None]) == pytest.approx(
            scipy_energy_distance(x, y) ** 2
        )

    @pytest.mark.medium
    def test_gaussians(self):
        # E|N(m, v)| = 2 sqrt(v) phi(m / sqrt v) + m (1 - 2 Phi(-m / sqrt v)); x - y ~ N(1, 2), x -
        # x', y - y' ~ N(0, 2)
        def mean_absolute(m, v):
            return 2 * np.sqrt(v) * norm.pdf(m / np.sqrt(v)) + m * (
                1 - 2 * norm.cdf(-m / np.sqrt(v))
            )

        truth = 2 * mean_absolute(1, 2) - 2 * mean_absolute(0, 2)
        rng = np.random.default_rng(0)
        found = metrics.energy_distance(
            rng.normal(1, 1, (4000, 1)), rng.normal(0, 1, (4000, 1)), unbiased=True
        )
        # the influence of a cell, 2 (E|x - Y| - E|x - X|), has a standard deviation of 1.08 here: 4
        # standard errors
        assert found == pytest.approx(truth, abs=4 * 1.08 * np.sqrt(2 / 4000))

    def test_blocks_change_nothing(self, cells, monkeypatch):
        whole = metrics.energy_distance(cells, cells[:20] + 1)
        monkeypatch.setattr(inputs, "BLOCK", 100)
        assert metrics.energy_distance(cells, cells[:20] + 1) == pytest.approx(whole, rel=1e-12)


class TestMmd:
    def test_by_hand(self):
        # h = 1: k(0, 1) = e^-1/2, k(0, 2) = e^-2, k(1, 2) = e^-1/2 with x = {0, 1}, y = {0, 2}
        k1, k2 = np.exp(-0.5), np.exp(-2)
        between = (1 + k2 + k1 + k1) / 4
        assert metrics.mmd(column(0, 1), column(0, 2), bandwidths=1) == pytest.approx(
            (2 + 2 * k1) / 4 + (2 + 2 * k2) / 4 - 2 * between
        )
        assert metrics.mmd(
            column(0, 1), column(0, 2), bandwidths=1, unbiased=True
        ) == pytest.approx(k1 + k2 - 2 * between)

    def test_bandwidths_are_averaged(self, cells):
        each = [metrics.mmd(cells, cells + 1, bandwidths=h) for h in (0.5, 2)]
        assert metrics.mmd(cells, cells + 1, bandwidths=(0.5, 2)) == pytest.approx(np.mean(each))

    def test_median_of_true_cells(self):
        # distances between 0, 1, 4 are 1, 3, 4: the median is 3
        x, y = column(0, 2), column(0, 1, 4)
        assert metrics.mmd(x, y) == pytest.approx(metrics.mmd(x, y, bandwidths=3))

    @pytest.mark.medium
    def test_gaussians(self):
        # E k over x - y ~ N(m, v) is exp(-m^2 / (2 (1 + v))) / sqrt(1 + v) with h = 1; here v = 2,
        # m = 0 or 1
        truth = 2 * (1 - np.exp(-1 / 6)) / np.sqrt(3)
        rng = np.random.default_rng(0)
        found = metrics.mmd(
            rng.normal(1, 1, (4000, 1)), rng.normal(0, 1, (4000, 1)), bandwidths=1, unbiased=True
        )
        # the influence of a cell, 2 (E k(x, X) - E k(x, Y)), has a standard deviation of .374 here:
        # 4 standard errors
        assert found == pytest.approx(truth, abs=4 * 0.374 * np.sqrt(2 / 4000))

    def test_errors(self, cells):
        with pytest.raises(ValueError, match="`bandwidths=-1`"):
            metrics.mmd(cells, cells, bandwidths=-1)
        with pytest.raises(ValueError, match="median distance of 0"):
            metrics.mmd(cells, np.ones((5, 3)))


class TestWasserstein:
    def test_sorts_in_one_dimension(self):
        x, y = np.random.default_rng(0).normal(size=(2, 40)) * [[1], [3]]
        expected = np.sqrt(np.mean((np.sort(x) - np.sort(y)) ** 2))
        assert metrics.wasserstein(x[:, None], y[:, None]) == pytest.approx(expected)

    def test_is_pots(self, cells):
        x, y = cells[:50], np.random.default_rng(1).normal(1.0, 2.0, (50, 3))
        assert metrics.wasserstein(x, y) == pytest.approx(
            np.sqrt(ot.emd2([], [], cdist(x, y, "sqeuclidean")))
        )

    def test_shift_is_its_length(self, cells):
        # far from the origin, where squared distances between cells are lost in those between
        # populations
        assert metrics.wasserstein(cells[::-1] + np.array([3e4, 4e4, 0]), cells) == pytest.approx(
            5e4, rel=1e-12
        )
        assert metrics.wasserstein(cells[::-1], cells) == pytest.approx(0, abs=1e-12)

    def test_subset_rule(self, cells):
        x, y = cells, cells[:40] + 1
        values = [metrics.wasserstein(x, y, rng=seed) for seed in (0, 0, 1)]
        assert values[0] == values[1] != values[2]  # 40 of the 60 cells are drawn
        subset = x[np.random.default_rng(0).choice(60, 40, replace=False)]
        assert values[0] == metrics.wasserstein(subset, y, rng=5)  # and nothing of equal sides
        assert metrics.wasserstein(x, x, n_cells=60) == 0 < metrics.wasserstein(x, x, n_cells=59)

    def test_errors(self, cells):
        with pytest.raises(ValueError, match="`n_cells=0`"):
            metrics.wasserstein(cells, cells, n_cells=0)


class TestMoments:
    # means of the features 1, 2, 6, variances 2, 0, 8
    TRUE = np.array([[0.0, 2.0, 4.0], [2.0, 2.0, 8.0]])

    def test_means_by_hand(self):
        # residuals 1, 0, 2; deviations from the mean 3 are -2, -1, 3: 1 - 5 / 14. Predicted
        # variances do not matter
        predicted = np.array([[2.0, 1.0, 4.0], [2.0, 3.0, 4.0], [2.0, 2.0, 4.0]])
        assert metrics.r2_means(predicted, self.TRUE) == pytest.approx(1 - 5 / 14)

    def test_variances_by_hand(self):
        # variances 2, 2, 2, residuals 0, 2, 6; deviations from the mean 10 / 3 are -4/3, -10/3,
        # 14/3
        predicted = np.array([[5.0, 1.0, 0.0], [7.0, 3.0, 2.0]])
        total = (4**2 + 10**2 + 14**2) / 9
        assert metrics.r2_variances(predicted, self.TRUE) == pytest.approx(
            1 - (2**2 + 6**2) / total
        )

    @pytest.mark.parametrize("metric", [metrics.r2_means, metrics.r2_variances])
    def test_itself_is_one(self, metric, cells):
        assert metric(cells[::-1], cells) == pytest.approx(1)

    def test_a_wrong_scale_counts(self, cells):
        # the squared correlation would be 1; residuals are the means themselves, and sum (m -
        # mean)^2 <= sum m^2
        assert metrics.r2_means(2 * cells, cells) <= 0

    def test_the_mean_prediction_keeps_means_and_loses_variances(self, cells):
        predicted = np.tile(cells.mean(0), (60, 1))
        variances = cells.var(0, ddof=1)
        expected = 1 - (variances**2).sum() / ((variances - variances.mean()) ** 2).sum()
        assert metrics.r2_means(predicted, cells) == pytest.approx(1)
        assert metrics.r2_variances(predicted, cells) == pytest.approx(expected)

    def test_errors(self, cells):
        with pytest.raises(ValueError, match=r"one mean in all 1 feature\(s\)"):
            metrics.r2_means(cells[:, :1], cells[:, :1])
        with pytest.raises(ValueError, match=r"one variance in all 3 feature\(s\)"):
            metrics.r2_variances(cells, np.ones((5, 3)))


class TestSquaredErrorMeans:
    def test_by_hand(self):
        # means 1 and 4; variances 2 and 8 / 3 of two and four cells
        found = metrics.squared_error_means(column(0, 2), column(2, 4, 4, 6))
        assert found == pytest.approx(9 - 2 / 2 - 8 / 3 / 4)

    def test_noise_is_that_of_the_jackknife(self, cells):
        true, noise = np.random.default_rng(1).normal(size=(25, 3)), 0
        for side in (cells, true):
            left_out = np.array([np.delete(side, i, 0).mean(0) for i in range(len(side))])
            noise += ((left_out - left_out.mean(0)) ** 2).sum() * (len(side) - 1) / len(side)
        error = ((cells.mean(0) - true.mean(0)) ** 2).sum()
        assert metrics.squared_error_means(cells, true) == pytest.approx(error - noise)

    @pytest.mark.medium
    @pytest.mark.parametrize("shift", [0.0, 0.3])
    def test_unbiased(self, shift):
        """On average the squared distance of the laws' means, 3 features each moved by `shift`."""
        rng, spread = np.random.default_rng(2), np.array([1.0, 2.0, 3.0])
        found = [
            metrics.squared_error_means(
                spread * rng.exponential(size=(12, 3)),
                spread * rng.exponential(size=(20, 3)) + shift,
            )
            for _ in range(2000)
        ]
        error = np.std(found) / np.sqrt(len(found))
        assert np.mean(found) == pytest.approx(3 * shift**2, abs=4 * error)
        assert np.mean(found) + 4 * error < (spread**2).sum() * (1 / 12 + 1 / 20)


def test_a_subset_is_drawn_in_proportion_to_weights():
    """Weights as small as those of a population that sums to 1."""
    cells, weights = np.arange(40.0)[:, None], np.repeat([0.05, 0.0], 20)
    kept = _subset(cells, weights, 10, np.random.default_rng(0))
    assert (kept < 20).all()


class TestDiscrimination:
    def test_two_conditions_and_effects_of_rounding(self):
        effects = np.eye(2)
        np.testing.assert_array_equal(metrics.perturbation_discrimination(effects, effects), 1)
        # a row of rounding has no direction, also where another has no effect at all
        rounded = np.array([[1.0, 0], [0, 1e-17], [0, 0]])
        found = cosines(rounded, rounded)
        np.testing.assert_array_equal(found, np.diag([1.0, 0, 0]))

    def test_the_truth_is_told_apart(self):
        effects = np.random.default_rng(0).normal(size=(6, 4))
        np.testing.assert_array_equal(metrics.perturbation_discrimination(effects, effects), 1)
        # the scale of a prediction does not count, its direction does
        scales = np.arange(1, 7)[:, None]
        found = metrics.perturbation_discrimination(scales * effects, effects)
        np.testing.assert_array_equal(found, 1)

    def test_by_hand(self):
        true = np.array([[1, 0], [1, 1], [0, 1], [-1, 0]])
        # cosines of (2, 1) / sqrt(5) with the rows: 2, 3 / sqrt(2), 1, -2
        predicted = np.tile([2, 1], (4, 1))
        found = metrics.perturbation_discrimination(predicted, true)
        np.testing.assert_allclose(found, [2 / 3, 1, 1 / 3, 0])

    def test_one_prediction_for_all_is_chance(self):
        rng = np.random.default_rng(0)
        true, same = rng.normal(size=(9, 5)), np.tile(rng.normal(size=5), (9, 1))
        assert metrics.perturbation_discrimination(same, true).mean() == pytest.approx(0.5)

    def test_no_effect_ties_with_all(self):
        true = np.random.default_rng(0).normal(size=(5, 3))
        for none in (0.0, 1e-15):
            predicted = np.full((5, 3), none)
            np.testing.assert_array_equal(metrics.perturbation_discrimination(predicted, true), 0.5)

    def test_conditions_that_are_alike_tie(self):
        true = np.array([[1.0, 2.0], [0.1, 0.2], [-3.0, 1.0]])
        np.testing.assert_allclose(
            metrics.perturbation_discrimination(true, true), [0.75, 0.75, 1.0]
        )

    def test_some_conditions_among_all(self):
        rng = np.random.default_rng(0)
        predicted, true = rng.normal(size=(2, 7, 4))
        every = metrics.perturbation_discrimination(predicted, true)
        some = metrics.perturbation_discrimination(predicted[[5, 2]], true, rows=[5, 2])
        np.testing.assert_array_equal(some, every[[5, 2]])

    def test_resampled_profiles_of_one_condition(self):
        rng = np.random.default_rng(3)
        predicted, own, control = rng.normal(size=(3, 6, 5)) + 10
        others = rng.normal(size=(8, 5)) + 10
        found = discrimination_from(predicted, own, others, control)
        for k in range(6):
            true = np.vstack([own[k], others]) - control[k]
            (expected,) = metrics.perturbation_discrimination(
                (predicted[k] - control[k])[None], true, rows=[0]
            )
            assert found[k] == pytest.approx(expected)
        own[2] = np.nan
        found = discrimination_from(control, own, others, control)
        np.testing.assert_array_equal(found, [0.5, 0.5, np.nan, 0.5, 0.5, 0.5])

    def test_chance_for_unrelated_effects(self):
        rng = np.random.default_rng(1)
        found = metrics.perturbation_discrimination(*rng.normal(size=(2, 300, 20)))
        assert found.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 300))

    def test_errors(self):
        effects = np.random.default_rng(0).normal(size=(4, 3))
        with pytest.raises(ValueError, match="`predicted` has 3 conditions, `true` 4"):
            metrics.perturbation_discrimination(effects[:3], effects)
        with pytest.raises(ValueError, match="`true` has shape"):
            metrics.perturbation_discrimination(effects[:1], effects[:1])
        with pytest.raises(ValueError, match="`predicted` has 2 features, `true` 3"):
            metrics.perturbation_discrimination(effects[:, :2], effects)
        for rows in ([0, 4], [0], [0.5, 1.0], [-1, 0]):
            with pytest.raises(ValueError, match="`rows` must be 2 integers from 0 to 3"):
                metrics.perturbation_discrimination(effects[:2], effects, rows=rows)
        with pytest.raises(ValueError, match="`rows` must be an array of numbers"):
            metrics.perturbation_discrimination(effects[:2], effects, rows=[[0], [1, 2]])


class TestChangeCorrelation:
    CONTROL = np.array([[0.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0]])

    def changed(self, *by):
        return self.CONTROL + np.array(by, dtype=float)

    def test_by_hand(self):
        # the largest true changes are -4, 3, 2; predicted -2, 1, 1. Deviations -13/3, 8/3, 5/3 and
        # -2, 1, 1
        found = metrics.change_correlation(
            self.changed(-2, 1, 1, 9), self.changed(-4, 3, 2, 0.5), self.CONTROL, n_features=3
        )
        assert found == pytest.approx((26 + 8 + 5) / np.sqrt((13**2 + 8**2 + 5**2) * 6))

    def test_equal_changes_correlate_by_1_however_they_round(self):
        rng = np.random.default_rng(0)
        for changes in rng.normal(size=(50, 7)):
            cells = np.stack([changes, changes])
            found = metrics.change_correlation(cells, cells, np.zeros((2, 7)))
            assert 1 - 1e-12 < found <= 1

    def test_scale_does_not_count_and_sign_does(self):
        true = self.changed(-4, 3, 2, 0.5)
        for factor, expected in ((0.1, 1), (1, 1), (-1, -1)):
            predicted = self.CONTROL + factor * (true - self.CONTROL)
            assert metrics.change_correlation(predicted, true, self.CONTROL) == pytest.approx(
                expected
            )

    def test_no_change_scores_zero(self, cells):
        true = cells + np.array([0, 1, 3])
        for predicted in (cells, cells + 0.1, cells[::-1]):  # reversed, the sums differ by rounding
            assert metrics.change_correlation(predicted, true, cells) == 0

    def test_errors(self, cells):
        with pytest.raises(ValueError, match="`control` 2"):
            metrics.change_correlation(cells, cells, cells[:, :2])
        with pytest.raises(ValueError, match="`true` changes all 3 features equally"):
            metrics.change_correlation(cells + 1, cells[::-1] + 0.1, cells)
        with pytest.raises(ValueError, match="`n_features=1` of 3"):
            metrics.change_correlation(cells, cells + 1, cells, n_features=1)


class TestGrouped:
    @staticmethod
    def shift(predicted, true):
        return float(np.abs(predicted.mean() - true.mean()))

    def test_by_hand(self):
        # a: |0 - 1| = 1 of two cells, b: |10 - 13| = 3 of four; equal weights. c is too small, d
        # and e one-sided
        found = metrics.grouped(
            self.shift,
            column(0, 0, 10, 10, 10, 10, 99, 0, 0),
            column(1, 1, 13, 13, 13, 13, 0, 0, 0, 0),
            list("aabbbbcdd"),
            list("aabbbbccee"),
            min_cells=2,
        )
        assert found == pytest.approx((1 + 3) / 2)

    def test_sees_a_model_that_ignores_its_input(self):
        types, true = np.repeat(["b", "nk", "t"], 30), np.repeat([[0.0], [1.0], [2.0]], 30, axis=0)
        ignorant = true.reshape(30, 3).T.reshape(
            90, 1
        )  # the very same cells, a third of each type to each type
        assert metrics.energy_distance(ignorant, true) == pytest.approx(0, abs=1e-12)
        assert metrics.grouped(metrics.energy_distance, true, true, types, types) == 0
        # {0, 1, 2} against 0, 1 and 2: 2 E|x - y| is 2, 4/3 and 2, E|x - x'| is 8/9 and E|y - y'|
        # is 0
        found = metrics.grouped(metrics.energy_distance, ignorant, true, types, types)
        assert found == pytest.approx((2 + 4 / 3 + 2) / 3 - 8 / 9)

    def test_errors(self, cells):
        names = ["a"] * 30 + ["b"] * 30
        with pytest.raises(
            ValueError, match="`predicted_groups` has 2 groups, `true_groups` 1, and they share 1"
        ):
            metrics.grouped(self.shift, cells, cells, names, ["a"] * 60, min_cells=31)
        with pytest.raises(ValueError, match="`true_groups` has shape"):
            metrics.grouped(self.shift, cells, cells, names, names[1:])
        with pytest.raises(ValueError, match="`predicted_groups` is missing for 1 of 60 cells"):
            metrics.grouped(self.shift, cells, cells, [None, *names[1:]], names)


CONTROL = np.random.default_rng(6).normal(size=(20, 3))
WEIGHTED = {
    "energy": metrics.energy_distance,
    "energy, unbiased": partial(metrics.energy_distance, unbiased=True),
    "mmd": partial(metrics.mmd, bandwidths=1),
    "mmd, unbiased": partial(metrics.mmd, bandwidths=(1, 2), unbiased=True),
    "r2 of means": metrics.r2_means,
    "r2 of variances": metrics.r2_variances,
    "squared error": metrics.squared_error_means,
    "correlation": lambda x, y, **weights: metrics.change_correlation(x, y, CONTROL, **weights),
    "sinkhorn": partial(metrics.sinkhorn_divergence, epsilon=0.5),
    "grouped": lambda x, y, **weights: metrics.grouped(
        metrics.energy_distance, x, y, [0, 1] * (len(x) // 2), [0, 1] * (len(y) // 2), **weights
    ),
}


def weights_of(a, b):
    return {"predicted_weights": a, "true_weights": b}


@pytest.mark.parametrize("metric", WEIGHTED.values(), ids=WEIGHTED)
class TestWeights:
    X = np.random.default_rng(1).normal(size=(30, 3)) * [1, 2, 3]
    Y = np.random.default_rng(2).normal(size=(40, 3)) + np.array([1, 0, 4])
    A = np.random.default_rng(3).integers(0, 4, 30).astype(float)
    B = np.random.default_rng(4).integers(0, 4, 40).astype(float)

    def test_ones_and_their_multiples_are_no_weights(self, metric):
        expected = metric(self.X, self.Y)
        for factor in (1, 0.01):
            weights = weights_of(np.full(30, factor), np.full(40, factor))
            assert metric(self.X, self.Y, **weights) == pytest.approx(expected)

    def test_only_ratios_count(self, metric):
        found = [metric(self.X, self.Y, **weights_of(c * self.A, self.B / c)) for c in (1, 7)]
        assert found[0] == pytest.approx(found[1])
        assert type(found[0]) is float

    def test_rows_are_one_by_one(self, metric):
        a, b = (np.random.default_rng(5).integers(1, 4, (3, n)) for n in (30, 40))
        rows = metric(self.X, self.Y, **weights_of(a, b))
        each = [metric(self.X, self.Y, **weights_of(a[k], b[k])) for k in range(3)]
        np.testing.assert_allclose(rows, each)
        one_side = metric(self.X, self.Y, **weights_of(a[0], b))
        each = [metric(self.X, self.Y, **weights_of(a[0], b[k])) for k in range(3)]
        np.testing.assert_allclose(one_side, each)

    def test_cells_without_weight_are_not_there(self, metric):
        a, b = np.ones(30), np.ones(40)
        a[:10], b[20:] = 0, 0
        found = metric(self.X, self.Y, **weights_of(a, b))
        expected = metric(self.X[10:], self.Y[:20])
        assert found == pytest.approx(expected, abs=1e-9)

    def test_a_row_without_weight_has_no_value(self, metric):
        a = np.ones((2, 30))
        a[1] = 0
        found = metric(self.X, self.Y, predicted_weights=a)
        assert np.isfinite(found[0])
        assert np.isnan(found[1])

    def test_bad_weights(self, metric):
        for bad in (np.zeros(30), -np.ones(30), np.full(30, np.nan)):
            with pytest.raises(ValueError, match="`predicted_weights` must be finite, non-neg"):
                metric(self.X, self.Y, predicted_weights=bad)
        with pytest.raises(ValueError, match=r"`true_weights` has shape \(30,\), expected \(40,"):
            metric(self.X, self.Y, true_weights=np.ones(30))


class TestWhatWeightsMean:
    """What a weight of 2 is: two cells, of which an unbiased metric never compares the copies."""

    X, Y, A, B = TestWeights.X, TestWeights.Y, TestWeights.A, TestWeights.B
    REPEATED = np.repeat(X, A.astype(int), axis=0), np.repeat(Y, B.astype(int), axis=0)

    @pytest.mark.parametrize("name", ["energy", "mmd", "r2 of means", "sinkhorn"])
    def test_repeated_cells(self, name):
        metric = WEIGHTED[name]
        found = metric(self.X, self.Y, **weights_of(self.A, self.B))
        assert found == pytest.approx(metric(*self.REPEATED), rel=1e-6)

    def test_copies_are_not_compared(self):
        rows = [np.repeat(np.arange(len(w)), w.astype(int)) for w in (self.A, self.B)]

        def within(cells, rows, power):
            distances = cdist(cells[rows], cells[rows]) ** power
            return distances[rows[:, None] != rows[None]].mean()

        between = cdist(*self.REPEATED).mean()
        expected = 2 * between - within(self.X, rows[0], 1) - within(self.Y, rows[1], 1)
        found = WEIGHTED["energy, unbiased"](self.X, self.Y, **weights_of(self.A, self.B))
        assert found == pytest.approx(expected)
        # a variance is half the mean squared distance of different cells
        variances = [
            np.array([within(cells[:, [k]], r, 2) / 2 for k in range(3)])
            for cells, r in zip((self.X, self.Y), rows, strict=True)
        ]
        expected = (
            1
            - ((variances[1] - variances[0]) ** 2).sum()
            / ((variances[1] - variances[1].mean()) ** 2).sum()
        )
        found = metrics.r2_variances(self.X, self.Y, **weights_of(self.A, self.B))
        assert found == pytest.approx(expected)
        # the noise of a weighted mean
        shares = [(w**2).sum() / w.sum() ** 2 for w in (self.A, self.B)]
        noise = sum(variance.sum() * w for variance, w in zip(variances, shares, strict=True))
        error = ((self.REPEATED[0].mean(0) - self.REPEATED[1].mean(0)) ** 2).sum()
        found = WEIGHTED["squared error"](self.X, self.Y, **weights_of(self.A, self.B))
        assert found == pytest.approx(error - noise)

    def test_one_cell_is_not_compared_with_itself(self):
        with pytest.raises(ValueError, match="fewer than 2 cells"):
            WEIGHTED["energy, unbiased"](self.X, self.Y, predicted_weights=np.eye(30)[0])

    def test_transport_is_pots(self):
        x, y, costs = self.X, self.Y[:30], cdist(self.X, self.Y[:30], "sqeuclidean")
        a, b = (np.random.default_rng(k).multinomial(30, np.full(30, 1 / 30)) for k in (0, 1))
        # as many draws as the counts sum up to: every cell comes up as often as it counts
        found = metrics.wasserstein(x, y, **weights_of(a, b))
        assert found == pytest.approx(np.sqrt(ot.emd2(a / 30, b / 30, costs)))
        rows = metrics.wasserstein(x, y, **weights_of(np.stack([a, b, 0 * a]), b))
        assert rows[0] == found
        assert np.isnan(rows[2])
        bounds = wasserstein_bounds(x, y, **weights_of(np.stack([a, 0 * a + 1]), b[None]))
        assert bounds[0] <= found + 1e-9
        whole = wasserstein_bounds(x, y, **weights_of(np.ones((1, 30)), np.ones((1, 30))))
        assert whole[0] == pytest.approx(metrics.wasserstein(x, y))

    def test_divergence_is_pots(self):
        x, y, a, b = self.X, self.Y, self.A / self.A.sum(), self.B / self.B.sum()
        strength = 0.5 * b @ cdist(y, y, "sqeuclidean") @ b

        def cost(x, y, a, b):
            options = {"reg": strength, "reg_type": "KL", "max_iter": 10_000, "tol": 1e-9}
            return ot.solve(cdist(x, y, "sqeuclidean"), a, b, **options).value

        (x, a), (y, b) = (x[a > 0], a[a > 0]), (y[b > 0], b[b > 0])
        expected = cost(x, y, a, b) - (cost(x, x, a, a) + cost(y, y, b, b)) / 2
        found = metrics.sinkhorn_divergence(x, y, epsilon=0.5, **weights_of(a, b))
        assert found == pytest.approx(expected, abs=1e-7)

    def test_matches(self):
        x, y = self.X, self.X + np.random.default_rng(5).normal(size=self.X.shape)
        each = [metrics.foscttm(x, y, weights=row) for row in np.eye(30)]
        assert np.mean(each) == pytest.approx(metrics.foscttm(x, y))
        rows = metrics.foscttm(x, y, weights=np.stack([self.A, np.ones(30), np.zeros(30)]))
        expected = [self.A @ each / self.A.sum(), np.mean(each), np.nan]
        np.testing.assert_allclose(rows, expected)
        labels = np.where(x[:, 0] > 0, "a", "b")
        right = [metrics.label_transfer(x, y, labels, labels, weights=row) for row in np.eye(30)]
        assert set(right) == {0.0, 1.0}
        found = metrics.label_transfer(x, y, labels, labels, weights=self.A)
        assert found == pytest.approx(self.A @ right / self.A.sum())
        with pytest.raises(ValueError, match="`weights` must be finite"):
            metrics.foscttm(x, y, weights=-self.A)

    def test_rows_must_agree(self):
        with pytest.raises(ValueError, match=r"\[2, 3\] rows"):
            metrics.r2_means(self.X, self.Y, **weights_of(np.ones((2, 30)), np.ones((3, 40))))


@pytest.mark.parametrize("metric", TWO_SAMPLE, ids=lambda f: f.__name__)
class TestBadInput:
    def test_nan(self, metric, cells):
        bad = cells.copy()
        bad[3, 0] = np.nan
        with pytest.raises(
            ValueError, match="`predicted` has NaN or infinite values in 1 of 60 cells"
        ):
            metric(bad, cells)
        with pytest.raises(ValueError, match="`true` has NaN"):
            metric(cells, bad)

    def test_shapes(self, metric, cells):
        with pytest.raises(ValueError, match="`predicted` has 2 features, `true` 3"):
            metric(cells[:, :2], cells)
        with pytest.raises(ValueError, match=r"`true` has shape \(1, 3\)"):
            metric(cells, cells[:1])
        with pytest.raises(ValueError, match="`predicted` must be numbers"):
            metric(cells[:, 0], cells)

    def test_returns_a_float(self, metric, cells):
        assert type(metric(cells.astype(np.float32), cells)) is float
