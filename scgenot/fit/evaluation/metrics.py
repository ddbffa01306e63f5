"""Metrics of an evaluation, each for many resamples of the cells at once.

A resample says how often each cell counts. A metric is prepared once for the predicted and the true cells of a method,
and then gives its value for every resample; with every cell counting once it is that of :mod:`scgenot.metrics`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist
from sklearn.neighbors import KNeighborsClassifier

from scgenot.fit.evaluation.parts import Part
from scgenot.metrics.matching import match_fractions

MAX_ASSIGNED = 500  # cells a side between which an optimal assignment is sought
N_CHANGES = 50  # features of the correlation of changes
N_NEIGHBORS = 5  # that vote for a label


@dataclass(frozen=True)
class Counts:
    """How often each cell counts, one row a resample."""

    predicted: np.ndarray
    true: np.ndarray
    source: np.ndarray


@dataclass(frozen=True)
class Compared:
    """Predicted and true cells of one method."""

    predicted: np.ndarray
    true: np.ndarray
    part: Part

    @cached_property
    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """Features of both, shapes `(k, g)` and `(m, g)`."""
        true = (
            self.part.true_features
            if self.true is self.part.true
            else self.part.to_features(self.true)
        )
        return self.part.to_features(self.predicted), true


Statistic = Callable[[Counts], np.ndarray]
Metric = Callable[[Compared], Statistic]
Plain = Callable[[np.ndarray, np.ndarray], float]


def edistance(cells: Compared) -> Statistic:
    """Squared energy distance, unbiased."""
    return two_sample(cells, lambda x, y: -cdist(x, y))


def mmd(cells: Compared) -> Statistic:
    """Squared maximum mean discrepancy, unbiased; one bandwidth for all methods, the median distance of true cells."""
    width = np.median(pdist(cells.part.true))
    return two_sample(cells, lambda x, y: np.exp(-cdist(x, y, "sqeuclidean") / (2 * width**2)))


def two_sample(
    cells: Compared, kernel: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Statistic:
    """`E k(x, x') + E k(y, y') - 2 E k(x, y)`, no cell compared with itself, nor with its copy in a resample."""
    within_predicted, within_true = (
        kernel(cells.predicted, cells.predicted),
        kernel(cells.true, cells.true),
    )
    between = kernel(cells.predicted, cells.true)
    for square in (within_predicted, within_true):
        np.fill_diagonal(square, 0)

    def within(square: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return ((counts @ square) * counts).sum(1) / positive(
            counts.sum(1) ** 2 - (counts**2).sum(1)
        )

    def value(counts: Counts) -> np.ndarray:
        x, y = counts.predicted, counts.true
        across = ((x @ between) * y).sum(1) / positive(x.sum(1) * y.sum(1))
        return within(within_predicted, x) + within(within_true, y) - 2 * across

    return value


def wasserstein(cells: Compared) -> Statistic:
    """2-Wasserstein distance between as many cells a side as half of the true ones, at most 500."""
    k = min(len(cells.predicted), len(cells.true), len(cells.part.true) // 2, MAX_ASSIGNED)
    x, y = cells.predicted[:k], cells.true[:k]  # in random order already
    # a shift between the means costs all assignments the same; without it the search takes a fraction of the time
    rows, matched = linear_sum_assignment(cdist(x - x.mean(0) + y.mean(0), y, "sqeuclidean"))
    f, g = potentials(cdist(x, y, "sqeuclidean"), matched[np.argsort(rows)])

    def value(counts: Counts) -> np.ndarray:
        a, b = counts.predicted[:, :k], counts.true[:, :k]
        return np.sqrt(np.maximum((a @ f) / positive(a.sum(1)) + (b @ g) / positive(b.sum(1)), 0))

    return value


def potentials(costs: np.ndarray, matched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the dual potentials of an optimal assignment."""
    own = np.take_along_axis(costs, matched[:, None], 1)
    lengths, g = costs - own, np.zeros(len(costs))
    for _ in range(len(costs)):
        shorter = np.minimum(g, (g[matched][:, None] + lengths).min(0))
        if np.abs(shorter - g).max() <= 1e-9 * costs.mean():
            break
        g = shorter
    return own[:, 0] - g[matched], g


def r2_distance(cells: Compared) -> Statistic:
    """1 less the coefficient of determination of the features' means."""
    return of_means(cells, lambda predicted, true, _: 1 - determination(predicted, true))


def r2_variances(cells: Compared) -> Statistic:
    """Coefficient of determination of the features' variances."""
    predicted, true = (side - side.mean(0) for side in cells.features)

    def variance(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
        n = positive(counts.sum(1, keepdims=True))
        return (counts @ values**2 / n - (counts @ values / n) ** 2) * n / positive(n - 1)

    return lambda counts: determination(
        variance(counts.predicted, predicted), variance(counts.true, true)
    )


def pearson_delta(cells: Compared) -> Statistic:
    """Correlation of mean changes from control over the 50 features that change most."""
    control, true = cells.part.control_features, cells.features[1]
    most = np.argsort(-np.abs(true.mean(0) - control.mean(0)), kind="stable")[:N_CHANGES]

    def correlation(predicted: np.ndarray, true: np.ndarray, source: np.ndarray) -> np.ndarray:
        centre = mean(source, control[:, most])
        changes = [side[:, most] - centre for side in (predicted, true)]
        x, y = (change - change.mean(1, keepdims=True) for change in changes)
        lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        # no change at all correlates with nothing; rounding would correlate with anything
        flat = np.linalg.norm(x, axis=1) <= 1e-9 * np.linalg.norm(y, axis=1)
        return np.where(flat, 0, (x * y).sum(1) / positive(lengths))

    return of_means(cells, correlation)


def wmse(cells: Compared) -> Statistic:
    """Squared error of the features' means, weighted by how far they set the perturbation apart (arXiv 2506.22641)."""
    weights = change_weights(cells.part)
    return of_means(cells, lambda predicted, true, _: (predicted - true) ** 2 @ weights)


def weighted_r2_delta(cells: Compared) -> Statistic:
    """Weighted coefficient of determination of the changes from the mean of all perturbations (arXiv 2506.22641)."""
    weights, centre = change_weights(cells.part), reference_mean(cells.part)
    return of_means(
        cells, lambda predicted, true, _: determination(predicted - centre, true - centre, weights)
    )


def reference_mean(part: Part) -> np.ndarray:
    """Mean of each feature over all perturbations; over control cells where there is one perturbation only."""
    return part.control_features.mean(0) if part.others is None else part.others.centre


def change_weights(part: Part) -> np.ndarray:
    """Weight of each feature: Welch's t of the true cells against other perturbations."""
    true, others = part.true_features, part.others
    if others is None:
        control = part.control_features
        mean_, variance, n = control.mean(0), control.var(0, ddof=1), len(control)
    else:
        mean_, variance, n = others.mean, others.variance, others.n_cells
    error = np.sqrt(true.var(0, ddof=1) / len(true) + variance / n)
    score = np.abs(true.mean(0) - mean_) / np.where(error > 0, error, np.inf)
    span = score.max() - score.min()
    weights = np.ones_like(score) if span == 0 else ((score - score.min()) / span) ** 2
    return weights / weights.sum()


def foscttm(cells: Compared) -> Statistic:
    """Fraction of samples closer than the true match; a cell's fraction is among all cells, in every resample."""
    return of_cells(match_fractions(cells.predicted, cells.true))


def label_transfer(cells: Compared) -> Statistic:
    """Share of predicted cells whose label the nearest measured cells tell."""
    part = cells.part
    classifier = KNeighborsClassifier(N_NEIGHBORS).fit(part.reference, part.reference_labels)
    return of_cells(classifier.predict(cells.predicted) == part.labels)


def plain(metric: Plain) -> Metric:
    """Prepare a function of predicted and true cells, which sees the cells of each resample."""

    def prepare(cells: Compared) -> Statistic:
        def value(counts: Counts) -> np.ndarray:
            found = []
            for a, b in zip(counts.predicted.astype(int), counts.true.astype(int), strict=True):
                found.append(
                    metric(np.repeat(cells.predicted, a, axis=0), np.repeat(cells.true, b, axis=0))
                )
            return np.array(found, dtype=float)

        return value

    return prepare


def of_means(
    cells: Compared, function: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
) -> Statistic:
    """Prepare a function of the means of predicted and true features, `(b, g)` each, and of the source's counts."""
    predicted, true = cells.features
    return lambda counts: function(
        mean(counts.predicted, predicted), mean(counts.true, true), counts.source
    )


def of_cells(scores: np.ndarray) -> Statistic:
    """Prepare the mean of a score that each predicted cell has."""
    return lambda counts: mean(counts.predicted, scores[:, None].astype(float))[:, 0]


def mean(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of each column in each resample, shape `(b, g)`."""
    return counts @ values / positive(counts.sum(1, keepdims=True))


def positive(values: np.ndarray) -> np.ndarray:
    """Return what to divide by; NaN where that is 0, as where a resample has none of a small half's cells."""
    return np.where(values > 0, values, np.nan)


def determination(
    predicted: np.ndarray, true: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """1 - residual over total sum of squares, row by row; NaN where the truth is one number."""
    weights = np.full(true.shape[1], 1 / true.shape[1]) if weights is None else weights
    total = (true - (true @ weights)[:, None]) ** 2 @ weights
    return 1 - (true - predicted) ** 2 @ weights / positive(total)


MEANS = {"r2_distance": r2_distance, "r2_variances": r2_variances}
POPULATIONS = {"edistance": edistance, "mmd": mmd, "wasserstein": wasserstein, **MEANS}
CHANGES = {"pearson_delta": pearson_delta, "wmse": wmse, "weighted_r2_delta": weighted_r2_delta}
MATCHES = {"foscttm": foscttm, "label_transfer": label_transfer}
HIGHER_IS_BETTER = ("r2_variances", "pearson_delta", "weighted_r2_delta", "label_transfer")
