"""How far predicted cells are from true ones: arrays and weights in, a number out."""

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
from scgenot.metrics.transport import monge_gap, sinkhorn_divergence, wasserstein

__all__ = [
    "change_correlation",
    "energy_distance",
    "foscttm",
    "grouped",
    "label_transfer",
    "mmd",
    "monge_gap",
    "perturbation_discrimination",
    "r2_means",
    "r2_variances",
    "sinkhorn_divergence",
    "squared_error_means",
    "wasserstein",
]
