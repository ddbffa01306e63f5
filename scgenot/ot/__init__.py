"""Solvers and plans: couplings of two populations."""

from scgenot.ot.confidence import Confidence
from scgenot.ot.cost import cosine, coulomb, euclidean, mean_cost, squared_euclidean
from scgenot.ot.coupling import Coupling
from scgenot.ot.diagnostics import Diagnostics, NotSolved
from scgenot.ot.divergence import sinkhorn_divergence
from scgenot.ot.elastic_cost import Elastic, elastic
from scgenot.ot.geodesic import Geodesic
from scgenot.ot.minibatch import Minibatch, MinibatchCoupling
from scgenot.ot.neighbors import Neighbors
from scgenot.ot.plan import Plan, SparsePlan, UnsupportedPlan
from scgenot.ot.quadratic.clearest import ClearestMatch
from scgenot.ot.quadratic.solver import FusedGromovWasserstein, GromovWasserstein
from scgenot.ot.sinkhorn import Sinkhorn
from scgenot.ot.sparse import SparseOT

__all__ = [
    "ClearestMatch",
    "Confidence",
    "Coupling",
    "Diagnostics",
    "Elastic",
    "FusedGromovWasserstein",
    "Geodesic",
    "GromovWasserstein",
    "Minibatch",
    "MinibatchCoupling",
    "Neighbors",
    "NotSolved",
    "Plan",
    "Sinkhorn",
    "SparseOT",
    "SparsePlan",
    "UnsupportedPlan",
    "cosine",
    "coulomb",
    "elastic",
    "euclidean",
    "mean_cost",
    "sinkhorn_divergence",
    "squared_euclidean",
]
