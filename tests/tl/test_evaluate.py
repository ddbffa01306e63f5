"""evaluate: rows as by hand, intervals that cover, a verdict that names who wins, and no leak."""

import json
import logging
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import torch
from anndata import AnnData, read_h5ad
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm, ttest_ind
from sklearn.metrics import r2_score

import scgenot as sg
from scgenot import baselines, metrics
from scgenot._outcome import Outcome
from scgenot._random import numpy_rng
from scgenot.fit.evaluation import metrics as prepared
from scgenot.fit.evaluation.comparison import (
    BASELINE,
    COUPLING,
    GENOT,
    MODEL,
    Comparison,
    Others,
    Prediction,
    choose,
    split_all,
    with_profiles,
)
from scgenot.fit.evaluation.coverage import Distances, first_half
from scgenot.fit.evaluation.fitted import choose_links
from scgenot.fit.evaluation.generic import generic_comparisons
from scgenot.fit.evaluation.metrics import Counts, Populations
from scgenot.fit.evaluation.scores import Score, as_rows, make_table, resample, score_all
from scgenot.fit.evaluation.screen import Moments, other_cells
from scgenot.fit.evaluation.verdict import compare, interval, verdict
from scgenot.fit.regions import score
from scgenot.metrics.inputs import mean
from scgenot.metrics.transport import assignment_potentials
from scgenot.pair import Link, Pair
from truth.responses import LEAN, known_cells, known_fit

FEW = sg.model.FlowMatching(steps=5)
DRUG = {"A": [2.0, 0.0, -1.0], "B": [0.0, 1.0, 0.0]}


def two_populations(n=40, m=50, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 1.4 * rng.normal(size=(m, d)) + np.arange(d)


def as_it_is(states):
    return states


def comparison_of(predicted, true, **options):
    """Make a comparison whose only prediction is these cells."""
    options = {"control": predicted - 1} | options
    predictions = {GENOT: Prediction.of_all(MODEL, predicted)}
    return Comparison("A", "all", predictions, true, len(predicted), GENOT, as_it_is, **options)


def value_of(metric, comparison, counts=None):
    cells = Populations(comparison.predictions[GENOT].cells, comparison.true, comparison)
    if counts is None:
        sizes = len(cells.predicted), len(cells.true), comparison.n_source
        counts = Counts(*(np.ones((1, n)) for n in sizes))
    return metric(cells, counts)


def of(table, method, metric, condition=None):
    rows = table[table["method"] == method]
    return (
        rows[metric].iloc[0]
        if condition is None
        else rows.loc[rows["condition"] == condition, metric].iloc[0]
    )


class TestMetrics:
    def test_every_cell_once_is_the_metric(self):
        x, y = two_populations()
        comparison = comparison_of(x, y)
        width = np.median(np.linalg.norm(y[:, None] - y[None], axis=2)[np.triu_indices(50, 1)])
        expected = {
            "edistance": metrics.energy_distance(x, y, unbiased=True),
            "mmd": metrics.mmd(x, y, bandwidths=width, unbiased=True),
            "wasserstein": metrics.wasserstein(x[:25], y[:25]),
            "r2_distance": 1 - metrics.r2_means(x, y),
            "r2_variances": metrics.r2_variances(x, y),
        }
        assert list(expected) == list(prepared.POPULATIONS)
        expected["squared_error_means"] = metrics.squared_error_means(x, y)
        # the regions of `calibrate`, one half of the predicted cells against the other
        held = score(y, x[::2], x[1::2], [0.8, 0.9])
        for name, level in prepared.IDEAL.items():
            expected[name] = (held.scores <= held.raw_threshold(level)).mean()
        offered = {**prepared.POPULATIONS, **prepared.INDEPENDENT}
        assert set(expected) == set(offered)
        for name, metric in offered.items():
            assert value_of(metric, comparison)[0] == pytest.approx(expected[name], rel=1e-9), name
        found = value_of(prepared.pearson_delta, comparison)[0]
        assert found == pytest.approx(
            metrics.change_correlation(x, y, comparison.control), abs=1e-12
        )

    def test_matches(self):
        x = np.random.default_rng(0).normal(size=(30, 3))
        y = x + 0.5 * np.random.default_rng(1).normal(size=(30, 3))
        labels = np.where(x[:, 0] > 0, "a", "b")
        comparison = comparison_of(
            x, y, paired=True, labels=labels, reference=y, reference_labels=labels
        )
        assert value_of(prepared.foscttm, comparison)[0] == pytest.approx(metrics.foscttm(x, y))
        assert value_of(prepared.label_transfer, comparison)[0] == metrics.label_transfer(
            x, y, labels, labels
        )

    def test_a_resample_is_the_metric_of_repeated_cells(self):
        x, y = two_populations()
        comparison = comparison_of(x, y)
        rng = np.random.default_rng(3)
        a, b = (
            rng.multinomial(n, np.full(n, 1 / n), size=3).astype(float) for n in (len(x), len(y))
        )
        counts = Counts(a, b, a)
        found = value_of(prepared.r2_distance, comparison, counts)
        repeated = prepared.plain(lambda p, t: 1 - metrics.r2_means(p, t))
        np.testing.assert_allclose(found, value_of(repeated, comparison, counts))
        # with copies of a cell compared to each other the energy would be higher: they are left
        # out, and only they
        for k, energy in enumerate(value_of(prepared.edistance, comparison, counts)):
            i, j = (np.repeat(np.arange(c.shape[1]), c[k].astype(int)) for c in (a, b))

            def within(cells, rows):
                distances = np.linalg.norm(cells[rows][:, None] - cells[rows][None], axis=2)
                return distances[rows[:, None] != rows[None]].mean()

            across = np.linalg.norm(x[i][:, None] - y[j][None], axis=2).mean()
            assert energy == pytest.approx(2 * across - within(x, i) - within(y, j))

    def test_potentials_are_the_dual(self):
        x, y = two_populations(30, 30)
        costs = ((x[:, None] - y[None]) ** 2).sum(2)
        matched = linear_sum_assignment(costs)[1]
        f, g = assignment_potentials(x, y)
        assert (f[:, None] + g[None] <= costs + 1e-9).all()
        np.testing.assert_allclose(f + g[matched], costs[np.arange(30), matched])

    def test_wasserstein_of_a_resample(self):
        """The dual potentials of the sample give a bound of the exact cost, and it is near."""
        ot = pytest.importorskip("ot")
        x, y = two_populations(30, 60)
        rng = np.random.default_rng(0)
        a, b = (rng.multinomial(n, np.full(n, 1 / n), size=20).astype(float) for n in (30, 60))
        found = value_of(prepared.wasserstein, comparison_of(x, y), Counts(a, b, a))
        costs = ((x[:30, None] - y[None, :30]) ** 2).sum(2)
        exact = [
            np.sqrt(ot.emd2(p / p.sum(), q / q.sum(), costs))
            for p, q in zip(a, b[:, :30], strict=True)
        ]
        assert (found <= np.array(exact) + 1e-7).all()
        assert np.corrcoef(found, exact)[0, 1] > 0.8

    def test_weighted_errors_are_those_of_the_paper(self):
        x, y = two_populations(d=6)
        rng = np.random.default_rng(1)
        pool, centre = rng.normal(size=(80, 6)), rng.normal(size=6)
        comparison = comparison_of(
            x, y, others=Others(pool.mean(0), pool.var(0, ddof=1), len(pool), centre)
        )
        score = np.abs(ttest_ind(y, pool, equal_var=False).statistic)
        weights = ((score - score.min()) / (score.max() - score.min())) ** 2
        weights /= weights.sum()
        np.testing.assert_allclose(prepared.change_weights(comparison), weights)
        error = (weights * (x.mean(0) - y.mean(0)) ** 2).sum()
        assert value_of(prepared.wmse, comparison)[0] == pytest.approx(error)
        expected = r2_score(y.mean(0) - centre, x.mean(0) - centre, sample_weight=weights)
        assert value_of(prepared.weighted_r2_delta, comparison)[0] == pytest.approx(expected)
        average = comparison_of(x - x.mean(0) + centre, y, others=comparison.others)
        assert value_of(prepared.weighted_r2_delta, average)[0] <= 0

    def test_discrimination_is_that_of_all_conditions(self):
        rng = np.random.default_rng(0)
        control, effects = rng.normal(size=(50, 6)), rng.normal(size=(5, 6))
        predicted = [control + 0.5 * effect + 0.3 * rng.normal(size=6) for effect in effects]
        true = [rng.normal(size=(40, 6)) + effect for effect in effects]
        found = [comparison_of(p, t, control=control) for p, t in zip(predicted, true, strict=True)]
        found = [value_of(prepared.discrimination, one)[0] for one in with_profiles(found)]
        means = [np.stack([cells.mean(0) for cells in side]) for side in (predicted, true)]
        expected = metrics.perturbation_discrimination(*(m - control.mean(0) for m in means))
        np.testing.assert_allclose(found, expected)

    def test_conditions_are_told_apart_within_their_group(self):
        x, y = two_populations()
        groups = ["g", "h", "g", "h", "g"]
        found = [comparison_of(x, y + k) for k in range(5)]
        found = with_profiles(
            [replace(one, group=group) for one, group in zip(found, groups, strict=True)]
        )
        assert [one.profiles.own for one in found] == [0, 0, 1, 1, 2]
        np.testing.assert_allclose(found[2].profiles.means, [y.mean(0) + k for k in (0, 2, 4)])
        np.testing.assert_allclose(found[1].profiles.means, [y.mean(0) + k for k in (1, 3)])

    def test_the_ceiling_tells_halves_of_all_conditions_apart(self):
        rng = np.random.default_rng(0)
        control, effects = rng.normal(size=(50, 6)), rng.normal(size=(5, 6))
        true = [rng.normal(size=(40, 6)) + 0.3 * effect for effect in effects]
        found = with_profiles([comparison_of(control, t, control=control) for t in true])
        chosen = {"discrimination": prepared.discrimination}
        scores = [score_all(one, chosen, 2, rng)["replicate"] for one in found]
        sides = (np.stack([t[rows].mean(0) for t in true]) for rows in (slice(20), slice(20, 40)))
        expected = metrics.perturbation_discrimination(*(m - control.mean(0) for m in sides))
        np.testing.assert_allclose([s.values["discrimination"][0] for s in scores], expected)


class TestCoverage:
    @staticmethod
    def of(predicted, true, level=0.8):
        ones = (np.ones((1, len(side))) for side in (predicted, true))
        return Distances.of(predicted, true).coverage(level, *ones)[0]

    @pytest.mark.medium
    @pytest.mark.parametrize("level", [0.8, 0.9])
    def test_of_the_right_law_is_the_level(self, level):
        """True and predicted cells are alike: `k` of `f + 1` are no farther than the `k`-th of
        `f`.
        """
        rng = np.random.default_rng(0)
        found = [
            self.of(rng.normal(size=(38, 3)), rng.normal(size=(30, 3)), level) for _ in range(400)
        ]
        expected = np.ceil(level * 19) / 20
        assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / np.sqrt(400))

    def test_of_too_narrow_and_too_wide_predictions(self):
        rng = np.random.default_rng(0)
        predicted, true = rng.normal(size=(2, 400, 3))
        assert self.of(0.5 * predicted, true) < 0.6
        assert self.of(2 * predicted, true) > 0.9
        assert self.of(predicted + 10, true) == 0

    def test_copies_do_not_measure_each_other(self):
        rng = np.random.default_rng(0)
        cells = rng.normal(size=(60, 2))
        predicted = rng.permutation(np.repeat(cells, 7, axis=0))
        inside = first_half(predicted)
        assert inside.sum() == 7 * 30
        assert not set(map(tuple, predicted[inside])) & set(map(tuple, predicted[~inside]))
        assert self.of(predicted, rng.normal(size=(500, 2))) == pytest.approx(0.8, abs=0.2)
        # one cell for all: its region is itself
        assert self.of(np.zeros((20, 2)), cells) == 0

    def test_a_resample_counts_repeated_cells(self):
        rng = np.random.default_rng(0)
        x, y = two_populations(40, 30)
        a, b = (rng.multinomial(n, np.full(n, 1 / n), size=4).astype(float) for n in (40, 30))
        b[3] = 0
        measured = Distances.of(x, y)
        found = measured.coverage(0.9, a, b)
        for k in range(3):
            own = np.repeat(measured.own, a[k, 1::2].astype(int))
            threshold = np.quantile(own, 0.9, method="inverted_cdf")
            inside = np.repeat(measured.true <= threshold, b[k].astype(int))
            assert found[k] == pytest.approx(inside.mean())
        assert np.isnan(found[3])

    def test_neither_more_nor_less_is_better(self):
        values = {GENOT: (MODEL, 0.95), "near": (BASELINE, 0.75), "far": (BASELINE, 0.5)}
        scores = {
            name: Score(kind, 9, 9, {"coverage_80": np.full(4, value)})
            for name, (kind, value) in values.items()
        }
        (found,) = compare(scores, [], prepared.IDEAL, 0.9)
        assert (found["best"], found["outcome"]) == ("near", "loses to")
        assert (found["value"], found["best_value"]) == (0.95, 0.75)
        assert found["difference"] == pytest.approx(0.15 - 0.05)
        row = {"method": GENOT, "coverage_80_scaled": np.nan}
        text = verdict([found], [row, row | {"method": "near"}], "far", 0.9)
        assert "(0.95 against 0.75; 0.8 is right; difference of the errors 0.1, " in text
        scores["replicate"] = Score("ceiling", 9, 9, {"coverage_80": np.full(4, 0.8)})
        directions = {"higher_is_better": [], "ideal": prepared.IDEAL}
        rows = as_rows(scores, "A", "all", negative="far", level=0.9, **directions)
        scaled = {row["method"]: row["coverage_80_scaled"] for row in rows}
        # an error of 0.3 is 0, none is 1
        assert scaled[GENOT] == pytest.approx(0.5)
        assert scaled["near"] == pytest.approx(1 - 0.05 / 0.3)


class TestIntervals:
    """Coverage over repeated experiments, within three standard deviations of a binomial."""

    N = 200

    def covered(self, metric, truth, rng, *, level=0.9, difference=False):
        hits = 0
        for _ in range(self.N):
            x, y = rng.normal(size=(60, 1)), 1 + rng.normal(size=(80, 1))
            predictions = {
                GENOT: Prediction.of_all(MODEL, x),
                "other": Prediction.of_all(BASELINE, 0.5 * x - 1),
            }
            whole = Comparison("", "", predictions, y, 60, "other", as_it_is, control=x)
            scores = score_all(whole, {"metric": metric}, 100, rng)
            if difference:
                (found,) = compare(scores, ["metric"], {}, level)
                low, high = found["low"], found["high"]
            else:
                low, high = interval(scores[GENOT].values["metric"], level)
            hits += low <= truth <= high
        return hits / self.N

    def check(self, share):
        # a bootstrap of 60 cells and 100 resamples is a little narrow
        assert share == pytest.approx(0.9, abs=0.02 + 3 * np.sqrt(0.9 * 0.1 / self.N))

    def test_of_a_mean(self):
        def shift(cells, counts):
            return (
                mean(cells.true, counts.true)[:, 0] - mean(cells.predicted, counts.predicted)[:, 0]
            )

        self.check(self.covered(shift, 1.0, np.random.default_rng(0)))

    @pytest.mark.medium
    def test_of_the_energy_distance(self):
        # E|N(m, s^2)| = 2 s phi(m / s) + m (1 - 2 Phi(-m / s)); within either population m = 0
        s = np.sqrt(2)
        across = 2 * s * norm.pdf(1 / s) + 1 - 2 * norm.cdf(-1 / s)
        self.check(
            self.covered(
                prepared.edistance, 2 * across - 2 * 2 * s * norm.pdf(0), np.random.default_rng(1)
            )
        )

    def test_of_a_paired_difference(self):
        """The difference of x and x / 2 - 1 varies by half of what x does: the pairing is used."""

        def first(cells, counts):
            return mean(cells.predicted, counts.predicted)[:, 0]

        self.check(self.covered(first, 1.0, np.random.default_rng(2), difference=True))

    def test_a_resample_without_cells_does_not_count(self):
        """Of a half of five cells a resample may have one cell or none, which has no distance."""
        x, y = two_populations(10, 10)
        comparison = comparison_of(x, y)
        counts = Counts(np.ones((3, 10)), np.eye(10)[:3], np.ones((3, 10)))
        counts.true[2] = 0
        for metric in (prepared.edistance, prepared.mmd, prepared.r2_variances):
            assert np.isnan(value_of(metric, comparison, counts)).all()
        assert interval(np.array([1.0, np.nan, 2.0, np.nan, 2.0]), 0.9) == (1.0, 1.0)
        assert np.isnan(interval(np.array([1.0, np.nan]), 0.9)).all()

    def test_an_interval_holds_its_value(self):
        values = np.concatenate([[0.0], np.random.default_rng(0).pareto(0.3, size=200) + 5])
        low, high = interval(values, 0.95)
        assert low <= 0 <= high

    def test_choosing_cells_keeps_sources_and_predictions_together(self):
        comparison = comparison_of(np.arange(10.0)[:, None], np.arange(20.0)[:, None])
        order = np.array([7, 2, 5])
        chosen = choose(comparison, order, np.array([3, 1]), group="g")
        np.testing.assert_array_equal(chosen.predictions[GENOT].cells[:, 0], order)
        np.testing.assert_array_equal(chosen.predictions[GENOT].rows, [0, 1, 2])
        np.testing.assert_array_equal(chosen.true[:, 0], [3, 1])
        assert (resample(5, 9, numpy_rng(0)).sum(1) == 5).all()

    def test_choosing_cells_keeps_few_random_ones(self):
        """Of 5 random cells for 1,000 source cells, 20 of these would keep none on average."""
        few = Prediction(BASELINE, np.arange(5.0)[:, None], np.arange(100, 600, 100))
        whole = comparison_of(np.zeros((1000, 1)), np.zeros((10, 1)))
        whole = replace(whole, predictions={**whole.predictions, "random": few})
        for source, cells in (
            (np.arange(20), [0, 1, 2, 3, 4]),
            (np.array([3, 400, 7]), [3, 0, 1]),  # own ones first: groups share as few as possible
        ):
            found = choose(whole, source, np.arange(4), group="g").predictions["random"]
            np.testing.assert_array_equal(found.cells[:, 0], cells)
            np.testing.assert_array_equal(found.rows, np.arange(len(cells)))


def table_of(predictions, true, **options):
    """Make the table of one comparison in the plane, predictions by name and kind."""
    found = {name: Prediction.of_all(*prediction) for name, prediction in predictions.items()}
    whole = Comparison("A", "all", found, true, len(true), "chance", as_it_is)
    chosen = {name: prepared.POPULATIONS[name] for name in ("edistance", "r2_variances")}
    fixed = {"higher_is_better": ["r2_variances"], "n_resamples": 20, "level": 0.9, "seed": 0}
    return make_table([whole], chosen, **fixed, **options)


class TestVerdict:
    def test_predictions_that_are_not_finite_lose(self):
        x, y = two_populations(40, 40)
        broken = x.copy()
        broken[3, 0] = np.nan
        kinds = {GENOT: (MODEL, broken), "chance": (BASELINE, x), "coupling": (COUPLING, y + 0.1)}
        table = table_of(kinds, y)
        assert np.isnan(of(table, GENOT, "edistance"))
        assert np.isfinite(of(table, "chance", "edistance"))
        lines = table.attrs["verdict"].split("\n")
        assert lines[0] == (
            "GENOT beats the best baseline beyond the interval on 0 of 2 metrics and loses on 2 "
            "(edistance, r2_variances). "
            "It loses to its own coupling beyond the interval on 2 of 2 metrics (edistance, "
            "r2_variances)."
        )
        assert lines[1].startswith("edistance: GENOT has no value (")

    def test_nothing_to_compare_with_is_no_praise(self):
        x = np.full((40, 4), np.nan)
        kinds = {GENOT: (MODEL, x), "chance": (BASELINE, x)}
        verdict = table_of(kinds, two_populations(40, 40)[1]).attrs["verdict"]
        assert verdict == "GENOT cannot be compared: no metric has a value for any baseline."

    def test_the_coupling_that_was_better_is_in_the_headline(self):
        x, y = two_populations(200, 200)
        kinds = {GENOT: (MODEL, x), "chance": (BASELINE, x - 9), "coupling": (COUPLING, y + 0.01)}
        head = table_of(kinds, y).attrs["verdict"].split("\n")[0]
        assert "on 1 of 2 metrics (edistance)" in head
        assert head.endswith(
            "It loses to its own coupling beyond the interval on 2 of 2 metrics (edistance, "
            "r2_variances)."
        )

    def test_a_coupling_that_is_not_told_apart_is_not_in_the_headline(self):
        x, y = two_populations(200, 200)
        rng = np.random.default_rng(1)
        near = y + 0.1 * rng.normal(size=(2, *y.shape))
        kinds = {
            GENOT: (MODEL, near[0]),
            "chance": (BASELINE, x - 9),
            "coupling": (COUPLING, near[1]),
        }
        table = table_of(kinds, y)
        found = {c["outcome"] for c in table.attrs["comparisons"] if c["kind"] == COUPLING}
        assert found == {"cannot be distinguished from"}
        head, *details = table.attrs["verdict"].split("\n")
        assert "coupling" not in head
        assert "; it cannot be distinguished from coupling (" in details[0]

    def test_a_better_coupling_is_named_where_no_baseline_has_a_value(self):
        x, y = two_populations(200, 200)
        none = np.full_like(x, np.nan)
        kinds = {GENOT: (MODEL, x), "chance": (BASELINE, none), "coupling": (COUPLING, y + 0.01)}
        head = table_of(kinds, y).attrs["verdict"].split("\n")[0]
        assert head.startswith(
            "GENOT cannot be compared: no metric has a value for any baseline. It"
        )
        assert "It loses to its own coupling beyond the interval on 2 of 2 metrics" in head

    def test_problems_of_the_fit_are_in_the_verdict(self):
        x, y = two_populations(40, 40)
        ends = [Outcome.BLURRED, Outcome.COMPLETED, Outcome.FEW_STEPS]
        kinds = {GENOT: (MODEL, x), "chance": (BASELINE, x - 9)}
        table = table_of(kinds, y, outcomes=ends, notes=["Two cells were left out."])
        lines = table.attrs["verdict"].split("\n")
        expected = [
            Outcome.BLURRED.sentence,
            Outcome.FEW_STEPS.sentence,
            "Two cells were left out.",
        ]
        assert lines[1:4] == expected
        assert table.attrs["outcomes"] == ["blurred", "completed", "few steps"]

    def test_attributes_are_plain(self):
        x, y = two_populations(40, 40)
        kinds = {GENOT: (MODEL, x), "chance": (BASELINE, x - 9)}
        table = table_of(kinds, y, outcomes=[Outcome.BLURRED])
        assert json.loads(json.dumps(table.attrs)) == table.attrs


class TestGenericTask:
    def links(self, n=60):
        rng = np.random.default_rng(0)
        stratum = {"type": "T"}
        found = []
        for shift, rows in ((3.0, np.arange(n)), (-3.0, np.arange(n, 2 * n))):
            source = rng.normal(size=(n, 2))
            pair = Pair(source, rng.normal(size=(n, 2)) + shift, name=f"shift {shift:g}")
            found.append(Link(pair, rows, rows, {"shift": shift}, stratum))
        return found

    def comparisons(self, *, one_space, coupled, groups=None):
        def draw(cells, condition):
            return cells + 3

        fitted = self.links()
        options = {"one_space": one_space, "to_features": as_it_is, "groups": groups}
        return fitted, list(generic_comparisons(fitted, fitted[:1], draw, coupled, **options))

    @pytest.mark.medium
    def test_in_one_space(self):
        groups = np.repeat(["a", "b"], 60).astype(object)
        fitted, found = self.comparisons(
            one_space=True,
            coupled=lambda cells, link: cells + link.labels["shift"],
            groups=(groups, groups[::-1]),
        )
        comparison, source_groups, true_groups = found[0]
        assert {name: p.kind for name, p in comparison.predictions.items()} == {
            GENOT: MODEL,
            "plain coupling": COUPLING,
            **dict.fromkeys(
                [
                    *("identity", "mean shift", "Gaussian map", "random target cells"),
                    *("discrete plan", "discrete plan, displacement", "light bridge"),
                ],
                BASELINE,
            ),
        }
        # baselines are made of the cells of the same question
        pair = fitted[0].pair
        shifted = baselines.mean_shift(pair.source, pair.target, pair.source)
        np.testing.assert_array_equal(comparison.predictions["mean shift"].cells, shifted)
        assert comparison.condition == "shift 3"
        assert comparison.negative == "identity"
        assert set(source_groups) == {"a"}
        assert set(true_groups) == {"b"}

    def test_across_two_spaces(self):
        _, found = self.comparisons(one_space=False, coupled=lambda cells, link: None)
        (comparison,) = split_all(found, min_cells=20)
        assert list(comparison.predictions) == [GENOT, "random target cells"]
        chosen = {"edistance": prepared.edistance}
        fixed = {"higher_is_better": [], "n_resamples": 5, "level": 0.9, "seed": 0}
        table = make_table([comparison], chosen, **fixed)
        assert list(table["kind"]) == [MODEL, BASELINE, "ceiling"]


@pytest.fixture(scope="module")
def screen():
    """A fit whose model is exact, `x + change + LEAN (x - MEAN) + SPREAD noise`."""
    return known_fit(known_cells(300))


def new_donor(n=300, *, shift=(2.0, 0.0, 0.0), seed=9):
    """Draw cells of another donor: the same law of the response, other control cells."""
    adata = known_cells(n, rng=seed)
    adata.obs_names = [f"new-{name}" for name in adata.obs_names]
    adata.X = (adata.X + np.array(shift) @ (np.eye(3) + LEAN * 0)).astype(np.float32)
    treated = (adata.obs["drug"] != "control").to_numpy()
    adata.X[treated] += (np.array(shift) @ LEAN.T).astype(np.float32)
    return adata


class TestScreen:
    @pytest.mark.medium
    def test_an_exact_model_wins_and_reaches_the_ceiling(self, screen):
        table = sg.tl.evaluate(screen, new_donor(), metrics=["edistance", "mmd"])
        found = {c["metric"]: c for c in table.attrs["comparisons"] if c["kind"] == "baseline"}
        assert found["edistance"]["outcome"] == "beats"
        verdict = table.attrs["verdict"]
        assert (
            f"edistance: GENOT beats the best baseline, {found['edistance']['best']} (" in verdict
        )
        assert verdict.startswith(
            "GENOT beats the best baseline beyond the interval on 2 of 2 metrics (edistance, mmd)"
        )
        assert "; it beats plain coupling (" in verdict
        for condition in DRUG:
            # the law is exact, so the distance is 0 within what resampling says of it
            assert (
                of(table, GENOT, "edistance_low", condition)
                < 0
                < of(table, GENOT, "edistance_high", condition)
            )
            assert of(table, GENOT, "edistance_scaled", condition) == pytest.approx(1, abs=0.2)
            assert (
                of(table, "random cells of all perturbations", "edistance_scaled", condition) == 0
            )
            assert of(table, "replicate", "edistance_scaled", condition) == 1

    @pytest.mark.medium
    def test_regions_of_an_exact_model_hold_what_they_say(self, screen):
        table = sg.tl.evaluate(screen, new_donor(), metrics=["coverage_80", "coverage_90"])
        assert table.attrs["ideal"] == {"coverage_80": 0.8, "coverage_90": 0.9}
        for condition in DRUG:
            for name, level in table.attrs["ideal"].items():
                error = np.sqrt(level * (1 - level) * (1 / 300 + 1 / 150))
                found = of(table, GENOT, name, condition)
                assert found == pytest.approx(level, abs=4 * error)
                low, high = (
                    of(table, GENOT, f"{name}_{end}", condition) for end in ("low", "high")
                )
                assert low < found < high
        # untreated cells are elsewhere
        assert of(table, "identity", "coverage_90", "A") < 0.8

    @pytest.mark.medium
    def test_a_model_that_takes_one_drug_for_another_loses(self, screen):
        swapped = new_donor()
        swapped.obs["drug"] = swapped.obs["drug"].astype(str).replace({"A": "B", "B": "A"})
        asked = sg.tl.evaluate(screen, swapped, metrics=["edistance"])
        # the baselines are fooled as well, but for those that look at all drugs
        assert asked.attrs["comparisons"][0]["outcome"] == "loses to"
        assert "on 0 of 1 metrics and loses on 1 (edistance)." in asked.attrs["verdict"]

    @pytest.mark.medium
    def test_rows_are_those_by_hand(self, screen):
        new = new_donor(120)
        table = sg.tl.evaluate(screen, new[new.obs["drug"] != "B"].copy(), n_cells=None)
        control, treated, query, true = (
            cells.X[cells.obs["drug"] == drug].astype(float)
            for cells, drug in ((screen, "control"), (screen, "A"), (new, "control"), (new, "A"))
        )
        by_hand = {
            "identity": query,
            "mean shift": baselines.mean_shift(control, treated, query),
            "Gaussian map": baselines.gaussian_map(control, treated, query),
        }
        for method, cells in by_hand.items():
            energy = metrics.energy_distance(cells, true, unbiased=True)
            assert of(table, method, "edistance") == pytest.approx(energy), method
            assert of(table, method, "r2_distance") == pytest.approx(
                1 - metrics.r2_means(cells, true)
            ), method
            assert of(table, method, "pearson_delta") == pytest.approx(
                metrics.change_correlation(cells, true, query), abs=1e-9
            ), method
        assert set(table["kind"]) == {"model", "coupling", "baseline", "ceiling"}
        assert (table["condition"] == "A").all()
        assert of(table, "replicate", "n_predicted") == 60

    @pytest.mark.medium
    def test_the_plain_coupling_is_that_of_the_fit(self, screen):
        """Draws from the rows of the dual: their mean is the barycenter that the solver gives."""
        new = new_donor(300)
        control, treated = (
            screen.X[screen.obs["drug"] == drug].astype(float) for drug in ("control", "A")
        )
        query = new.X[new.obs["drug"] == "control"]
        plan = sg.ot.Sinkhorn(epsilon=0.05)(sg.pair.Pair(control, treated))
        rows = plan.rows(torch.as_tensor(query)).double().cpu().numpy()
        mean, square = rows @ treated, rows @ treated**2
        table = sg.tl.evaluate(
            screen,
            new,
            metrics={"mean": lambda predicted, true: predicted[:, 0].mean()},
            n_cells=None,
        )
        sd = np.sqrt((square - mean**2)[:, 0].sum()) / 300
        assert of(table, "plain coupling", "mean", "A") == pytest.approx(
            mean[:, 0].mean(), abs=5 * sd
        )

    @pytest.mark.medium
    def test_the_range_that_a_baseline_fills(self, screen):
        table = sg.tl.evaluate(screen, new_donor(), metrics=["edistance", "wmse"], n_resamples=20)
        found = {
            (t["condition"], t["metric"]): (t["method"], t["scaled"])
            for t in table.attrs["trivial"]
        }
        assert set(found) == {(c, m) for c in ("mean", "A", "B") for m in ("edistance", "wmse")}
        rows = table[(table["condition"] == "A") & (table["kind"] == "baseline")]
        best = rows.loc[rows["edistance"].idxmin()]
        assert found["A", "edistance"] == (best["method"], best["edistance_scaled"])

    @pytest.mark.medium
    def test_cells_are_coupled_within_their_stratum(self):
        """Strata that lie apart: a held-out cell is sent to a target cell of its own."""
        adata, new = known_cells(40), new_donor(60)
        for cells in (adata, new):
            cells.X[cells.obs["group"] == "h"] += 100
        known_fit(adata, covariates=["group"])
        first = {"low": lambda predicted, true: (predicted[:, 0] < 60).mean()}
        table = sg.tl.evaluate(
            adata, new, metrics=first, groupby="group", min_cells=10, n_resamples=2
        )
        rows = table[(table["method"] == "plain coupling") & (table["condition"] != "mean")]
        assert rows.set_index("group")["low"].groupby("group").mean().to_dict() == {
            "g": 1.0,
            "h": 0.0,
        }

    @pytest.mark.medium
    def test_cells_of_a_new_donor_are_coupled_within_their_type(self):
        adata, new = known_cells(40), new_donor(60)
        for cells in (adata, new):
            cells.X[cells.obs["group"] == "h"] += 100
        adata.obs["donor"], new.obs["donor"] = np.resize(["d1", "d2"], adata.n_obs), "d9"
        with pytest.warns(UserWarning, match="pooled"):
            known_fit(adata, covariates=["group", "donor"])
        first = {"low": lambda predicted, true: (predicted[:, 0] < 60).mean()}
        table = sg.tl.evaluate(
            adata, new, metrics=first, groupby="group", min_cells=10, n_resamples=2
        )
        rows = table[(table["method"] == "plain coupling") & (table["condition"] != "mean")]
        assert rows.set_index("group")["low"].groupby("group").mean().to_dict() == {
            "g": 1.0,
            "h": 0.0,
        }

    def test_a_cell_takes_the_nearest_stratum_that_holds_it(self):
        sizes = [
            ({"type": "T", "donor": "d1"}, 10),
            ({"type": "T"}, 30),  # pooled over donors
            ({"type": "TB", "donor": "d1"}, 1000),
            ({}, 5),
        ]
        links = [
            SimpleNamespace(stratum=stratum, source_names=np.arange(n)) for stratum, n in sizes
        ]
        kinds = ["T"] * 4001 + ["DC", "TB"]
        donors = ["d1"] + ["d9"] * 4002
        cells = [{"type": t, "donor": d} for t, d in zip(kinds, donors, strict=True)]
        found = choose_links(links, cells, np.random.default_rng(0))
        assert found[[0, -2, -1]].tolist() == [0, 3, 2]
        assert set(found[1:4001]) == {0, 1}
        assert np.mean(found[1:4001] == 0) == pytest.approx(
            0.25, abs=4 * np.sqrt(0.25 * 0.75 / 4000)
        )

    @pytest.mark.medium
    def test_plans_of_baselines_are_no_risk_of_the_users(self, screen):
        with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("error", UserWarning)
            for bound in ("BLURRED_TARGETS", "BLURRED_SHARE"):
                patch.setattr(f"scgenot.ot.diagnostics.{bound}", 0)
            sg.tl.evaluate(screen, new_donor(40), metrics=["edistance"], n_resamples=5)

    @pytest.mark.medium
    def test_after_a_file(self, screen, tmp_path):
        screen.write_h5ad(tmp_path / "fit.h5ad")
        options = {"metrics": ["edistance"], "n_resamples": 5}
        tables = [
            sg.tl.evaluate(fit, new_donor(40), **options)
            for fit in (screen, read_h5ad(tmp_path / "fit.h5ad"))
        ]
        pd.testing.assert_frame_equal(*tables)

    @pytest.mark.medium
    def test_mean_rows_average_the_others(self, screen):
        table = sg.tl.evaluate(screen, new_donor(), metrics=["edistance"], groupby="group")
        parts = table[table["condition"] != "mean"]
        assert set(zip(parts["condition"], parts["group"], strict=True)) == {
            (d, g) for d in "AB" for g in "gh"
        }
        for method in (GENOT, "mean shift per group"):
            mean = parts.loc[parts["method"] == method, "edistance"].mean()
            assert of(table, method, "edistance", "mean") == pytest.approx(mean)

    @pytest.mark.medium
    def test_same_seed_same_bits(self, screen):
        tables = [sg.tl.evaluate(screen, new_donor(60), rng=3, n_resamples=5) for _ in range(2)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
        assert tables[0].attrs == tables[1].attrs
        assert len(pd.concat(tables)) == 2 * len(tables[0])
        other = sg.tl.evaluate(screen, new_donor(60), rng=4, n_resamples=5)
        assert not np.allclose(other["edistance"], tables[0]["edistance"])

    @pytest.mark.medium
    def test_what_the_fit_has_seen_is_refused(self, screen):
        with pytest.raises(ValueError, match="600 of 600 true cells that the fit has seen"):
            sg.tl.evaluate(screen, screen)
        table = sg.tl.evaluate(
            screen, screen, in_sample=True, metrics=["r2_distance"], n_resamples=5
        )
        assert set(table["condition"]) == {"mean", "A", "B"}
        # control cells may be of the fit
        new = new_donor(50)
        new.obs_names = [*screen.obs_names[:50], *new.obs_names[50:]]
        sg.tl.evaluate(screen, new, metrics=["r2_distance"], n_resamples=5)

    @pytest.mark.medium
    def test_functions_of_your_own(self, screen):
        def size(predicted, true):
            return float(len(predicted))

        table = sg.tl.evaluate(
            screen, new_donor(50), metrics=[size, "edistance"], maximize=["size"], n_resamples=5
        )
        assert of(table, GENOT, "size", "A") == 50
        assert table.attrs["higher_is_better"] == ["size"]

    @pytest.mark.medium
    def test_a_name_of_your_own_keeps_the_direction(self, screen):
        named = {"variances": "r2_variances", "covered": "coverage_80", "size": lambda p, t: 1.0}
        table = sg.tl.evaluate(screen, new_donor(50), metrics=named, n_resamples=5)
        assert table.attrs["higher_is_better"] == ["variances"]
        assert table.attrs["ideal"] == {"covered": 0.8}
        table = sg.tl.evaluate(screen, new_donor(50), metrics=[metrics.r2_variances], n_resamples=5)
        assert table.attrs["higher_is_better"] == ["r2_variances"]

    @pytest.mark.medium
    @pytest.mark.parametrize(
        ("options", "error", "match"),
        [
            (
                {"metrics": ["energy"]},
                ValueError,
                r"`metrics` has \['energy'\]; for the task 'perturbation' there are",
            ),
            ({"metrics": "edistance"}, TypeError, "give a list"),
            ({"metrics": ["label_transfer"]}, ValueError, "label_transfer"),
            ({"n_resamples": 1}, ValueError, "`n_resamples=1`"),
            ({"interval": 1.0}, ValueError, "`interval=1.0`"),
            ({"n_cells": 5}, ValueError, "`n_cells=5`"),
            (
                {"maximize": ["size"], "metrics": ["mmd"]},
                ValueError,
                r"`maximize` has \['size'\], not .* \['mmd'\]",
            ),
            ({"maximize": "mmd"}, TypeError, "`maximize='mmd'` is text"),
            (
                {"min_cells": 1000},
                ValueError,
                r"`min_cells=1000` cells on both sides \(A: 30 source and 30 true",
            ),
            (
                {"min_cells": 31, "groupby": "group"},
                ValueError,
                r"\(A, group \w+: \d+ source .* lower `min_cells`",
            ),
            ({"groupby": "donor"}, KeyError, "`groupby='donor'` is not in obs"),
            ({"key": "other"}, KeyError, "other"),
        ],
    )
    def test_bad_options(self, screen, options, error, match):
        with pytest.raises(error, match=match):
            sg.tl.evaluate(screen, new_donor(30), **options)

    @pytest.mark.medium
    def test_bad_cells(self, screen):
        with pytest.raises(TypeError, match="held_out"):
            sg.tl.evaluate(screen, (screen, screen))
        new = new_donor(30)
        with pytest.raises(ValueError, match="control cells only"):
            sg.tl.evaluate(screen, new[new.obs["drug"] == "control"].copy())
        new.obs["drug"] = new.obs["drug"].astype(str).replace({"B": "C"})
        with pytest.raises(KeyError, match="'C', which the fit has not seen"):
            sg.tl.evaluate(screen, new)
        some = screen[50:].copy()
        with pytest.raises(ValueError, match="lacks 50 of 300 cells that were fitted"):
            sg.tl.evaluate(some, new_donor(30))


class TestDiscrimination:
    @pytest.mark.medium
    def test_fewer_than_three_conditions(self, screen, caplog):
        options = {"n_resamples": 5, "min_cells": 10}
        with caplog.at_level(logging.INFO, logger="scgenot"):
            table = sg.tl.evaluate(screen, new_donor(60), **options)
        assert not [column for column in table if column.startswith("discrimination")]
        assert "squared_error_means" in table
        assert "'discrimination' needs 3 or more held-out conditions in each group" in caplog.text
        with pytest.raises(ValueError, match=r"'discrimination' needs 3 .* 2 in 'all'"):
            sg.tl.evaluate(screen, new_donor(60), metrics=["discrimination"], **options)

    @pytest.mark.slow
    def test_the_average_of_all_is_chance(self):
        adata = sg.datasets.screen(60, drugs=4, heterogeneity=0.0, rng=0)
        adata.obs["donor"] = np.where(np.arange(adata.n_obs) % 2, "d1", "d2")
        seen, new = (adata[adata.obs["donor"] == donor].copy() for donor in ("d1", "d2"))
        sg.tl.fit_perturbation(seen, "drug", "control", learner=FEW, progress=False)
        names = ["discrimination", "squared_error_means"]
        table = sg.tl.evaluate(seen, new, metrics=names, n_cells=None, n_resamples=20)
        assert table.attrs["higher_is_better"] == ["discrimination"]
        average = "mean shift of all perturbations"
        assert of(table, average, "discrimination", "mean") == pytest.approx(0.5)
        # untreated cells are as like to every drug
        assert of(table, "identity", "discrimination", "D1") == 0.5
        x, drug = new.obsm["X_pca"].astype(float), new.obs["drug"].to_numpy()
        old, known = seen.obsm["X_pca"].astype(float), seen.obs["drug"].to_numpy()
        drugs = [d for d in pd.unique(drug) if d != "control"]
        true = np.stack([x[drug == d].mean(0) - x[drug == "control"].mean(0) for d in drugs])
        shift = np.stack([old[known == d].mean(0) - old[known == "control"].mean(0) for d in drugs])
        expected = metrics.perturbation_discrimination(shift, true)
        for name, value in zip(drugs, expected, strict=True):
            assert of(table, "mean shift", "discrimination", name) == pytest.approx(value)
        assert of(table, "replicate", "discrimination", "mean") > 0.5


class TestGenes:
    NAMES = ("r2_distance", "r2_variances", "squared_error_means", "wmse")

    def table(self, prepare):
        """Evaluate a fit on one of two donors; `prepare` embeds all cells before the split."""
        adata = known_cells(80)
        rng = np.random.default_rng(0)
        genes = 0.1 * adata.X @ rng.gamma(1.0, size=(3, 12)) + 0.01 * rng.normal(size=(240, 12))
        adata = AnnData(genes.astype(np.float32), obs=adata.obs)
        adata.obs["donor"] = np.where(np.arange(240) % 2, "d1", "d2")
        prepare(adata)
        seen, new = (adata[adata.obs["donor"] == donor].copy() for donor in ("d1", "d2"))
        options = {"use_rep": "X_pca", "learner": FEW, "progress": False}
        sg.tl.fit_perturbation(seen, "drug", "control", adjust=False, **options)
        return seen, new, sg.tl.evaluate(seen, new, n_cells=None, n_resamples=5)

    @pytest.mark.medium
    def test_of_scanpys_components_that_were_made_before_the_split(self):
        seen, new, table = self.table(lambda adata: sc.pp.pca(adata, n_comps=3))
        loadings = seen.varm["PCs"]
        for drug in "AB":
            predicted, true = (
                new.obsm["X_pca"][new.obs["drug"] == name].astype(float) @ loadings.T
                for name in ("control", drug)
            )
            # the means of the features are the same on both sides: variances do not know of them
            expected = metrics.r2_variances(predicted, true)
            assert of(table, "identity", "r2_variances", drug) == pytest.approx(expected, rel=1e-4)
            expected = metrics.squared_error_means(predicted, true)
            assert of(table, "identity", "squared_error_means", drug) == pytest.approx(
                expected, rel=1e-4
            )
            # nearly all of the variance is in three components: these are means of the genes too
            query, genes = (new.X[new.obs["drug"] == name] for name in ("control", drug))
            expected = 1 - metrics.r2_means(query, genes)
            assert of(table, "identity", "r2_distance", drug) == pytest.approx(expected, rel=0.05)

    @pytest.mark.medium
    def test_are_those_of_an_embedding_of_ours(self):
        embedded = self.table(
            lambda adata: sg.tl.embed(adata, n_components=3, mask_var=None, adjust=False)
        )[2]
        scanpys = self.table(lambda adata: sc.pp.pca(adata, n_comps=3))[2]
        for name in self.NAMES:
            assert of(scanpys, "identity", name, "A") == pytest.approx(
                of(embedded, "identity", name, "A"), rel=0.02
            ), name

    @pytest.mark.medium
    def test_nothing_decodes(self, caplog):
        def forget(adata):
            sc.pp.pca(adata, n_comps=3)
            adata.X = np.log1p(adata.X)

        with caplog.at_level(logging.INFO, logger="scgenot"):
            _, new, table = self.table(forget)
        assert "Nothing decodes states to features" in caplog.text
        predicted, true = (new.obsm["X_pca"][new.obs["drug"] == name] for name in ("control", "A"))
        expected = metrics.r2_variances(predicted, true)
        assert of(table, "identity", "r2_variances", "A") == pytest.approx(expected)


class TestUnseenConditions:
    def test_others_are_pooled(self):
        rng = np.random.default_rng(0)
        cells = {
            (frozenset(name), None): rng.normal(size=(n, 4)) + n
            for name, n in (("A", 5), ("B", 8), ("C", 11))
        }
        moments = {key: Moments(len(x), x.mean(0), x.var(0, ddof=1)) for key, x in cells.items()}
        pool = np.concatenate(list(cells.values())[1:])
        found = other_cells(moments, (frozenset("A"), None))
        np.testing.assert_allclose(found.mean, pool.mean(0))
        np.testing.assert_allclose(found.variance, pool.var(0, ddof=1))
        np.testing.assert_allclose(
            found.center, np.mean([x.mean(0) for x in cells.values()], axis=0)
        )
        assert found.n_cells == 19
        assert (
            other_cells({key: moments[key] for key in list(cells)[:1]}, next(iter(cells))) is None
        )

    @pytest.mark.medium
    def test_combination_and_drug_by_embedding(self):
        adata = sg.datasets.screen(60, drugs=5, combinations=["D1+D2"], heterogeneity=0.0, rng=0)
        seen = adata[~adata.obs["drug"].isin(["D1+D2", "D5"])].copy()
        options = {
            "embedding": adata.uns["embedding"],
            "separator": "+",
            "learner": FEW,
            "progress": False,
        }
        seen.obs["drug"] = seen.obs["drug"].astype(str)
        seen.obs.iloc[-1, seen.obs.columns.get_loc("drug")] = (
            "D3+D4"  # so that the fit knows of pairs
        )
        seen.obs.iloc[-2, seen.obs.columns.get_loc("drug")] = "D3+D4"
        sg.tl.fit_perturbation(seen, "drug", "control", **options)
        held_out = adata[adata.obs["drug"].isin(["D1+D2", "D5", "control"])].copy()
        held_out.obs["drug"] = held_out.obs["drug"].astype(str).replace({"D1+D2": "D2+D1"})
        table = sg.tl.evaluate(seen, held_out, n_cells=None, n_resamples=10)
        x, names = adata.obsm["X_pca"].astype(float), adata.obs["drug"].to_numpy()
        kept = {
            name: x[np.isin(adata.obs_names, seen.obs_names[seen.obs["drug"] == name])]
            for name in names
        }
        control = x[names == "control"]
        shift = {name: kept[name].mean(0) - control.mean(0) for name in ("D1", "D2", "D3", "D4")}
        expected = metrics.energy_distance(
            control + shift["D1"] + shift["D2"], x[names == "D1+D2"], unbiased=True
        )
        assert of(table, "sum of mean shifts", "edistance", "D2+D1") == pytest.approx(
            expected, rel=1e-4
        )
        # four drugs and an intercept with three numbers each: the regression is exact
        tokens = adata.uns["embedding"]
        full = np.column_stack([np.ones(4), tokens.loc[list(shift)].to_numpy()])
        at = np.r_[1, tokens.loc["D5"]] @ np.linalg.solve(full, np.stack(list(shift.values())))
        expected = metrics.energy_distance(control + at, x[names == "D5"], unbiased=True)
        assert of(table, "mean shift by embedding", "edistance", "D5") == pytest.approx(
            expected, rel=1e-3
        )
        # what only some conditions have is in no mean
        assert "sum of mean shifts" not in set(table.loc[table["condition"] == "mean", "method"])

    @pytest.mark.medium
    def test_dose_between_doses(self):
        adata = sg.datasets.screen(60, drugs=["A"], doses=(0.1, 1.0, 10.0), rng=0)
        seen = adata[adata.obs["dose"] != 1].copy()
        sg.tl.fit_perturbation(
            seen, "drug", "control", dose_key="dose", learner=FEW, progress=False
        )
        held_out = adata[adata.obs["dose"].isin([0, 1])].copy()
        table = sg.tl.evaluate(seen, held_out, n_cells=None, n_resamples=10)
        x, dose = adata.obsm["X_pca"].astype(float), adata.obs["dose"].to_numpy()
        assert set(table["condition"]) == {"A 1"}
        for method, level in (("dose below", 0.1), ("dose above", 10.0)):
            expected = metrics.energy_distance(x[dose == level], x[dose == 1], unbiased=True)
            assert of(table, method, "edistance") == pytest.approx(expected)
        fraction = (np.log1p(100) - np.log1p(10)) / (np.log1p(1000) - np.log1p(10))
        control, low, high = (x[dose == level] for level in (0, 0.1, 10))
        shifted = baselines.interpolated_shift(control, low, high, fraction, control)
        expected = metrics.energy_distance(shifted, x[dose == 1], unbiased=True)
        assert of(table, "interpolation of means", "edistance") == pytest.approx(expected)
        assert "plain coupling" not in set(table["method"])
        assert "control cells to predict from were fitted, too" in table.attrs["verdict"]
        names, is_control = held_out.obs_names, held_out.obs["dose"] == 0
        held_out.obs_names = np.where(is_control, "new " + names, names)
        others = sg.tl.evaluate(seen, held_out, n_resamples=10)
        assert "were fitted, too" not in others.attrs["verdict"]

    def test_doses_in_mol_per_litre_are_told_apart(self):
        """1e-9 and 1e-8 differ by less than any tolerance that is not relative."""
        adata = sg.datasets.screen(60, drugs=["A"], doses=(0.1, 1.0, 10.0), rng=0)
        adata.obs["dose"] *= 1e-8
        seen = adata[adata.obs["dose"] != 1e-8].copy()
        sg.tl.fit_perturbation(
            seen, "drug", "control", dose_key="dose", learner=FEW, progress=False
        )
        options = {"metrics": ["edistance"], "n_resamples": 2, "in_sample": True}
        table = sg.tl.evaluate(seen, adata, **options)
        found = table[table["method"] == "interpolation of means"]
        assert list(found["condition"]) == ["A 1e-08"]
        adata.obs_names = "new " + adata.obs_names
        sg.tl.calibrate(adata, model=seen, dose=1e-8, levels=[0.5])
        assert (seen.uns["genot"]["calibration"]["n"] == 60).all()

    def test_doses_of_a_combination_differ_by_rounding(self):
        options = {"drugs": ["A", "B", "C"], "combinations": ["A+B", "A+C"], "rng": 0}
        adata = sg.datasets.screen(60, doses=(0.3, 1.0), **options)
        seen = adata[adata.obs["drug"] != "A+B"].copy()
        options = {"dose_key": "dose", "separator": "+", "learner": FEW, "progress": False}
        sg.tl.fit_perturbation(seen, "drug", "control", **options)
        held_out = adata[adata.obs["drug"].isin(["A+B", "control"])].copy()
        held_out.obs["dose"] *= 1 + 1e-9
        table = sg.tl.evaluate(seen, held_out, metrics=["edistance"], n_resamples=2)
        found = table[table["method"] == "sum of mean shifts"]
        assert set(found["condition"]) == {"mean", "A+B 0.3", "A+B 1"}

    @pytest.mark.medium
    def test_mean_shifts_of_fitted_cells_score_too_well(self):
        """The right law has the energy distance 0; fitted cells, moved, fall below it."""
        rng, same, new = np.random.default_rng(0), [], []
        treated, true = rng.normal(size=(2, 1500, 10))
        for _ in range(60):
            fitted, others = rng.normal(3, 1, (2, 20, 10))
            for query, found in ((fitted, same), (others, new)):
                moved = baselines.mean_shift(fitted, treated, query)
                found.append(metrics.energy_distance(moved, true, unbiased=True))
        errors = [np.std(found) / np.sqrt(len(found)) for found in (same, new)]
        assert np.mean(same) < -3 * errors[0]
        # new cells show the error of a shift of 20 cells, |noise|^2 of 10 / 20
        assert np.mean(new) > 3 * errors[1]


def course(times=(0, 1, 2, 3), n=60, seed=0, name="c"):
    """Cells whose mean follows a parabola, `(t, t^2)`."""
    rng = np.random.default_rng(seed)
    time = np.repeat(times, n)
    cells = np.column_stack([time, time**2, time * 0]) + np.array([0.1, 0.2, 0.3]) * rng.normal(
        size=(len(time), 3)
    )
    obs = pd.DataFrame({"day": time, "donor": rng.choice(list("ab"), len(time))})
    obs.index = [f"{name}{i}" for i in range(len(time))]
    return AnnData(cells.astype(np.float32), obs=obs)


def at(adata, day):
    return adata.X[adata.obs["day"] == day].astype(float)


@pytest.fixture(scope="module")
def fitted_course():
    adata = course((0, 1, 3))
    sg.tl.fit_trajectory(adata, "day", use_rep="X", learner=FEW, progress=False)
    return adata


class TestCourse:
    @pytest.mark.medium
    def test_a_left_out_time(self, fitted_course):
        new = course((2,), name="new")
        table = sg.tl.evaluate(fitted_course, new, n_cells=50, n_resamples=20)
        x, y, true = (
            at(cells, day) for cells, day in ((fitted_course, 1), (fitted_course, 3), (new, 2))
        )
        assert (table["condition"] == "2").all()
        assert table.attrs["negative"] == "time before"
        assert table["kind"].value_counts()["coupling"] == 2
        # of the mean of the course, (2, 4), the line is off by 1, the spline by less
        half_way = metrics.r2_means((x + y) / 2, true)
        assert of(table, "mean shift", "r2_distance") == pytest.approx(1 - half_way, abs=0.05)
        assert of(table, "coupling, clock, pace and bend", "edistance") < of(
            table, "plain coupling", "edistance"
        )
        everything = sg.tl.evaluate(
            fitted_course, new, n_cells=None, n_resamples=5, metrics=["edistance"]
        )
        for method, cells in (("time before", x), ("time after", y)):
            energy = metrics.energy_distance(cells, true, unbiased=True)
            assert of(everything, method, "edistance") == pytest.approx(energy)

    @pytest.mark.medium
    def test_cells_of_a_new_donor(self, fitted_course):
        new = course((0, 1, 3), seed=4, name="new")
        table = sg.tl.evaluate(
            fitted_course, new, n_cells=None, n_resamples=20, metrics=["edistance", "mmd"]
        )
        assert set(table["condition"]) == {"mean", "0 to 1", "1 to 3"}
        x, y, query, true = (
            at(cells, day)
            for cells, day in ((fitted_course, 1), (fitted_course, 3), (new, 1), (new, 3))
        )
        energy = metrics.energy_distance(baselines.gaussian_map(x, y, query), true, unbiased=True)
        assert of(table, "Gaussian map", "edistance", "1 to 3") == pytest.approx(
            energy, rel=1e-6, abs=1e-9
        )
        # five steps of training are no model, and the verdict says so
        assert "on 0 of 2 metrics and loses on 2" in table.attrs["verdict"]

    def test_a_cell_that_is_there_but_not_coupled_tells_the_answer(self):
        adata = course()
        sg.tl.fit_trajectory(
            adata, "day", use_rep="X", pairs=[(0, 1), (1, 3)], learner=FEW, progress=False
        )
        for options in ({}, {"in_sample": True}):
            with pytest.raises(ValueError, match="60 of 60 true cells"):
                sg.tl.evaluate(adata, adata[adata.obs["day"] == 2].copy(), **options)

    @pytest.mark.medium
    def test_text_and_categories(self):
        adata = course((0, 1, 3))
        adata.obs["day"] = "day " + adata.obs["day"].astype(str)
        sg.tl.fit_trajectory(adata, "day", use_rep="X", learner=FEW, progress=False)
        new = course((2,), name="new")
        new.obs["day"] = "day 2"
        table = sg.tl.evaluate(adata, new, n_resamples=5, metrics=["r2_distance"], n_cells=50)
        assert (table["condition"] == "2").all()
        stages = {"0": "egg", "1": "larva", "3": "fly"}
        adata = course((0, 1, 3))
        adata.obs["day"] = pd.Categorical(
            adata.obs["day"].astype(str).map(stages), stages.values(), ordered=True
        )
        sg.tl.fit_trajectory(adata, "day", use_rep="X", learner=FEW, progress=False)
        new.obs["day"] = "pupa"
        with pytest.raises(ValueError, match="cannot be placed between its times"):
            sg.tl.evaluate(adata, new)

    def test_bad_times(self, fitted_course):
        with pytest.raises(ValueError, match=r"cells at \[5.0\]: neither both times"):
            sg.tl.evaluate(fitted_course, course((5,), name="new"))
        with pytest.raises(
            ValueError, match=r"`groupby='donor'` needs .* left-out times \[2.0\] there"
        ):
            sg.tl.evaluate(fitted_course, course((2,), name="new"), groupby="donor")
        new = course((2,), name="new")
        del new.obs["day"]
        with pytest.raises(KeyError, match="`time_key='day'` is not in obs of `held_out`"):
            sg.tl.evaluate(fitted_course, new)


@pytest.fixture(scope="module")
def sides():
    source, target = sg.datasets.twins(160)
    target = target[source.obs["partner"]].copy()  # row i of both is one cell
    target.obs_names = [f"target-{i}" for i in range(160)]
    return source, target


@pytest.fixture(scope="module")
def fitted_source(sides):
    source, target = (side[:100].copy() for side in sides)
    solver = sg.ot.GromovWasserstein(n_starts=2, search_cells=60)
    with warnings.catch_warnings(action="ignore"):  # of an ambiguous match, here not the question
        sg.tl.fit_translation(source, target, solver=solver, learner=FEW, progress=False)
    return source


class TestTranslation:
    @pytest.mark.medium
    def test_rows_are_those_by_hand(self, sides, fitted_source):
        source, target = (side[100:].copy() for side in sides)
        options = {"label_key": "cell_type", "n_cells": None, "n_resamples": 50}
        table = sg.tl.evaluate(fitted_source, (source, target), **options)
        sg.tl.coupling(source, model=fitted_source, top_k=100)
        true = target.obsm["X_lsi"].astype(float)
        training = sides[1][:100].obsm["X_lsi"]
        mean = source.obsm["genot_coupling"] @ training * 60
        assert of(table, "plain coupling, mean", "foscttm") == pytest.approx(
            metrics.foscttm(mean, true), abs=1e-3
        )
        labels = source.obs["cell_type"], target.obs["cell_type"]
        expected = metrics.label_transfer(mean, true, *labels)
        assert of(table, "plain coupling, mean", "label_transfer") == pytest.approx(expected)
        # chance; the fractions of 60 cells have a standard deviation of about a third
        assert of(table, "random matching", "foscttm") == pytest.approx(
            0.5, abs=5 / 3 / np.sqrt(60)
        )
        assert of(table, "replicate", "foscttm") == 0
        assert of(table, "replicate", "label_transfer") == metrics.label_transfer(
            true, true, *labels
        )
        assert {"GENOT", "GENOT, mean"} <= set(table["method"])
        assert table.attrs["comparisons"][0]["model"] == "GENOT, mean"
        # a cell and its own translation have noise in common
        assert not set(prepared.INDEPENDENT) & set(table)
        assert table.loc[table["method"] == "ridge, shown the pairs", "kind"].item() == "supervised"
        # random matching is the right population: there is no range to calibrate a distance by
        assert table["edistance_scaled"].isna().all()

    def test_functions_see_pairs(self, sides, fitted_source):
        def error(predicted, true):
            return float(((predicted - true) ** 2).mean())

        held_out = tuple(side[100:].copy() for side in sides)
        table = sg.tl.evaluate(fitted_source, held_out, metrics=[error], n_resamples=5)
        assert of(table, "replicate", "error") == 0
        assert of(table, "ridge, shown the pairs", "error") < of(table, "random matching", "error")

    def test_bad_cells(self, sides, fitted_source):
        source, target = (side[100:].copy() for side in sides)
        with pytest.raises(TypeError, match=r"must be \(source, target\)"):
            sg.tl.evaluate(fitted_source, source)
        with pytest.raises(KeyError, match="`label_key` names 'typo'"):
            sg.tl.evaluate(fitted_source, (source, target), label_key="typo")
        with pytest.raises(ValueError, match="60 source and 59 target cells"):
            sg.tl.evaluate(fitted_source, (source, target[1:].copy()))
        with pytest.raises(ValueError, match="100 of 100 true cells"):
            sg.tl.evaluate(fitted_source, tuple(side[:100].copy() for side in sides))


@pytest.mark.filterwarnings("ignore")
def test_pertpy_has_the_same_numbers():
    """Its energy distance and MMD are biased; its Gaussian kernel is `exp(-|x - y|^2)`."""
    pertpy = pytest.importorskip("pertpy")
    x, y = two_populations(100, 120)
    ours = {
        "edistance": metrics.energy_distance(x, y),
        "mmd": metrics.mmd(x, y, bandwidths=1 / np.sqrt(2)),
        "r2_distance": 1 - metrics.r2_means(x, y),
    }
    for name, value in ours.items():
        options = {"kernel": "rbf"} if name == "mmd" else {}
        # pertpy's reference comes first
        assert pertpy.tl.Distance(name, obsm_key="X_pca")(y, x, **options) == pytest.approx(
            value
        ), name
