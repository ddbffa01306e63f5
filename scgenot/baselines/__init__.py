"""Predictions of simple methods, for cells given as arrays.

A model is useful only if it is better than these; :func:`halves` gives the ceiling.
"""

from scgenot.baselines.draws import halves, identity, mixture, random_pairs, random_targets
from scgenot.baselines.maps import gaussian_map, interpolated_shift, mean_shift
from scgenot.baselines.plans import plan_nearest, plan_pairs, straight

__all__ = [
    "gaussian_map",
    "halves",
    "identity",
    "interpolated_shift",
    "mean_shift",
    "mixture",
    "plan_nearest",
    "plan_pairs",
    "random_pairs",
    "random_targets",
    "straight",
]
