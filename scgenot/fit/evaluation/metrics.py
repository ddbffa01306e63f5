"""The metrics that an evaluation offers: those of :mod:`scgenot.metrics` for many resamples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scgenot import metrics
from scgenot.fit.evaluation.comparison import Comparison
from scgenot.fit.evaluation.coverage import Distances
from scgenot.metrics.discrimination import discrimination_from
from scgenot.metrics.distances import median_distance
from scgenot.metrics.inputs import mean
from scgenot.metrics.moments import determination, weighted_mse, welch_weights
from scgenot.metrics.transport import wasserstein_bounds

MAX_ASSIGNED = 500  # cells a side between which an optimal assignment is sought


@dataclass(frozen=True)
class Counts:
    """How often each cell counts, one row for each resample."""

    predicted: np.ndarray
    true: np.ndarray
    source: np.ndarray

    def first(self, k: int | None = None) -> dict[str, np.ndarray]:
        """Return the counts of the first `k` cells of each side as weights."""
        return {"predicted_weights": self.predicted[:, :k], "true_weights": self.true[:, :k]}


@dataclass(frozen=True)
class Populations:
    """Predicted and true cells that are scored."""

    predicted: np.ndarray
    true: np.ndarray
    comparison: Comparison

    @cached_property
    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """Features of both, shapes `(k, g)` and `(m, g)`."""
        whole = self.comparison
        true = whole.true_features if self.true is whole.true else whole.to_features(self.true)
        return whole.to_features(self.predicted), true

    @cached_property
    def distances(self) -> Distances:
        """Distances to predicted cells, for all levels of regions."""
        return Distances.of(self.predicted, self.true)


Metric = Callable[[Populations, Counts], np.ndarray]
Plain = Callable[[np.ndarray, np.ndarray], float]


def edistance(cells: Populations, counts: Counts) -> np.ndarray:
    """Squared energy distance, unbiased."""
    return metrics.energy_distance(cells.predicted, cells.true, unbiased=True, **counts.first())


def mmd(cells: Populations, counts: Counts) -> np.ndarray:
    """Squared maximum mean discrepancy, unbiased; one bandwidth for all predictions."""
    width = median_distance(cells.comparison.true)
    options = {"bandwidths": width, "unbiased": True} | counts.first()
    return metrics.mmd(cells.predicted, cells.true, **options)


def wasserstein(cells: Populations, counts: Counts) -> np.ndarray:
    """2-Wasserstein distance between as many cells a side as half of the true ones, at most 500."""
    half = len(cells.comparison.true) // 2
    k = min(len(cells.predicted), len(cells.true), half, MAX_ASSIGNED)
    # the cells are in random order already
    return wasserstein_bounds(cells.predicted[:k], cells.true[:k], **counts.first(k))


def r2_distance(cells: Populations, counts: Counts) -> np.ndarray:
    """1 less the coefficient of determination of the features' means."""
    return 1 - metrics.r2_means(*cells.features, **counts.first())


def r2_variances(cells: Populations, counts: Counts) -> np.ndarray:
    """Coefficient of determination of the features' variances."""
    return metrics.r2_variances(*cells.features, **counts.first())


def squared_error_means(cells: Populations, counts: Counts) -> np.ndarray:
    """Squared error of the features' means, less what the noise of both sides adds."""
    return metrics.squared_error_means(*cells.features, **counts.first())


def coverage_80(cells: Populations, counts: Counts) -> np.ndarray:
    """Share of true cells in the region that holds 80 % of the predicted ones."""
    return cells.distances.coverage(0.8, counts.predicted, counts.true)


def coverage_90(cells: Populations, counts: Counts) -> np.ndarray:
    """Share of true cells in the region that holds 90 % of the predicted ones."""
    return cells.distances.coverage(0.9, counts.predicted, counts.true)


def pearson_delta(cells: Populations, counts: Counts) -> np.ndarray:
    """Correlation of mean changes from control over the 50 features that change most."""
    control, weights = cells.comparison.control_features, counts.first()
    return metrics.change_correlation(
        *cells.features, control, control_weights=counts.source, **weights
    )


def wmse(cells: Populations, counts: Counts) -> np.ndarray:
    """Squared error of means, weighted by how far features set the perturbation apart."""
    return weighted_mse(*feature_means(cells, counts), change_weights(cells.comparison))


def weighted_r2_delta(cells: Populations, counts: Counts) -> np.ndarray:
    """Weighted coefficient of determination of changes from the mean of all perturbations."""
    whole = cells.comparison
    center = whole.control_features.mean(0) if whole.others is None else whole.others.center
    predicted, true = feature_means(cells, counts)
    return determination(predicted - center, true - center, change_weights(whole))


def discrimination(cells: Populations, counts: Counts) -> np.ndarray:
    """Share of the other held-out conditions whose true effect is less like the prediction."""
    whole, control = cells.comparison, mean(cells.comparison.control_features, counts.source)
    # of as many cells as its own true profile is, or noise would tell conditions apart
    profiles = whole.profiles.means if cells.true is whole.true else whole.profiles.halves
    others = np.delete(profiles, whole.profiles.own, axis=0)
    return discrimination_from(*feature_means(cells, counts), others, control)


def feature_means(cells: Populations, counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Mean features of predicted and of true cells in each resample, `(b, g)` each."""
    predicted, true = cells.features
    return mean(predicted, counts.predicted), mean(true, counts.true)


def change_weights(comparison: Comparison) -> np.ndarray:
    """Weight of each feature: Welch's t against other perturbations, or else against control."""
    true, others = comparison.true_features, comparison.others
    if others is None:
        control = comparison.control_features
        return welch_weights(true, control.mean(0), control.var(0, ddof=1), len(control))
    return welch_weights(true, others.mean, others.variance, others.n_cells)


def foscttm(cells: Populations, counts: Counts) -> np.ndarray:
    """Fraction of samples closer than the true match."""
    return metrics.foscttm(cells.predicted, cells.true, weights=counts.predicted)


def label_transfer(cells: Populations, counts: Counts) -> np.ndarray:
    """Share of predicted cells whose label the nearest measured cells tell."""
    whole = cells.comparison
    labels = whole.labels, whole.reference_labels
    return metrics.label_transfer(
        cells.predicted, whole.reference, *labels, weights=counts.predicted
    )


def plain(metric: Plain) -> Metric:
    """Make a metric of a function of predicted and true cells, called for each resample."""

    def value(cells: Populations, counts: Counts) -> np.ndarray:
        found = []
        for a, b in zip(counts.predicted.astype(int), counts.true.astype(int), strict=True):
            predicted, true = (
                np.repeat(cells.predicted, a, axis=0),
                np.repeat(cells.true, b, axis=0),
            )
            found.append(metric(predicted, true))
        return np.array(found, dtype=float)

    return value


MEANS = {"r2_distance": r2_distance, "r2_variances": r2_variances}
POPULATIONS = {"edistance": edistance, "mmd": mmd, "wasserstein": wasserstein, **MEANS}
# where predicted and true cells are not paired: a pair has noise in common, and a region of its own
INDEPENDENT = {
    "squared_error_means": squared_error_means,
    "coverage_80": coverage_80,
    "coverage_90": coverage_90,
}
CHANGES = {
    "pearson_delta": pearson_delta,
    "wmse": wmse,
    "weighted_r2_delta": weighted_r2_delta,
    "discrimination": discrimination,
}
MATCHES = {"foscttm": foscttm, "label_transfer": label_transfer}
HIGHER_IS_BETTER = (
    *("r2_variances", "pearson_delta", "weighted_r2_delta", "discrimination"),
    "label_transfer",
)
# neither more nor less is better: the value that is right
IDEAL = {"coverage_80": 0.8, "coverage_90": 0.9}


def error_of(values: np.ndarray, right: float | None) -> np.ndarray:
    """Return how far values are from the one that is right; the values where there is none."""
    return values if right is None else np.abs(values - right)


def under_own_names(chosen: Mapping[str, Metric]) -> tuple[list[str], dict[str, float]]:
    """Names that were given to metrics of which more is better, and to those with an ideal."""
    known = {**POPULATIONS, **INDEPENDENT, **CHANGES, **MATCHES}
    names = {function: name for name, function in known.items()}
    own = {given: names[metric] for given, metric in chosen.items() if metric in names}
    higher = [given for given in chosen if own.get(given, given) in HIGHER_IS_BETTER]
    return higher, {given: IDEAL[name] for given, name in own.items() if name in IDEAL}
