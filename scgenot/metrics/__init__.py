"""Metrics that compare predicted with true cells, given as arrays."""

from scgenot.metrics.discrimination import perturbation_discrimination
from scgenot.metrics.distances import energy_distance, mmd
from scgenot.metrics.groups import grouped
from scgenot.metrics.matching import foscttm, label_transfer
from scgenot.metrics.moments import (
    change_correlation,
    r2_means,
    r2_variances,
    squared_error_means,
)
from scgenot.metrics.populations import (
    composition_error,
    nearest_neighbor_accuracy,
    population_coverage,
    population_mmd,
)
from scgenot.metrics.transport import monge_gap, sinkhorn_divergence, wasserstein

__all__ = [
    "change_correlation",
    "composition_error",
    "energy_distance",
    "foscttm",
    "grouped",
    "label_transfer",
    "mmd",
    "monge_gap",
    "nearest_neighbor_accuracy",
    "perturbation_discrimination",
    "population_coverage",
    "population_mmd",
    "r2_means",
    "r2_variances",
    "sinkhorn_divergence",
    "squared_error_means",
    "wasserstein",
]
