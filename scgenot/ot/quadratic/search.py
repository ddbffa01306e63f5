"""Search over starts of a quadratic coupling, and how far its answer can be trusted."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scgenot.ot.confidence import SAME_OPTIMUM, Confidence
from scgenot.ot.cost import Cost
from scgenot.ot.quadratic.descent import Descent

# answers within this fraction of the lowest objective, and at most so many, are descended again on
# more cells; wide, because clusters that two subsets hold in different proportions can double the
# objective of an equally good answer
WORTH_A_LOOK = 1.0
MOST_LEADERS = 6


@dataclass(frozen=True)
class Optimum:
    """An end point of a descent, and where it sends the cells."""

    objective: float
    cost: Cost
    barycenter: Tensor

    @classmethod
    def of(cls, descent: Descent, features: Tensor) -> "Optimum":
        """Summarise a descent; `features` are the target cells', shape `(m, r)`."""
        plan = descent.solution.plan
        a = plan.a[:, None]
        mean = plan.apply(features) / a.clamp(min=torch.finfo(a.dtype).tiny)
        mean = (mean - plan.a @ mean) * a.sqrt()
        length = mean.norm().clamp(min=torch.finfo(mean.dtype).tiny)
        return cls(descent.objective, plan.cost, mean / length)

    @property
    def is_finite(self) -> bool:
        """Whether the descent came to an end without an overflow."""
        return math.isfinite(self.objective) and bool(self.barycenter.isfinite().all())

    def correlation(self, other: "Optimum") -> float:
        """Correlation of the barycenters of two optima over the same cells."""
        return float((self.barycenter * other.barycenter).sum())


def distinct(optima: list[Optimum]) -> list[list[Optimum]]:
    """Group optima that give the same answer; groups and members by rising objective."""
    groups: list[list[Optimum]] = []
    for optimum in sorted(optima, key=lambda o: o.objective):
        same = (group for group in groups if group[0].correlation(optimum) >= SAME_OPTIMUM)
        if (home := next(same, None)) is None:
            groups.append([optimum])
        else:
            home.append(optimum)
    return groups


def leaders(optima: list[Optimum]) -> list[Optimum]:
    """Best member of each group of optima that is worth a second look, lowest objective first."""
    best = [group[0] for group in distinct(optima)]
    return [o for o in best if o.objective <= (1 + WORTH_A_LOOK) * best[0].objective][:MOST_LEADERS]


def judge(
    n_starts: int, first: list[Optimum], of_first: list[Optimum], of_second: list[Optimum]
) -> tuple[Cost, Confidence]:
    """Pick the lowest objective of the leaders of two subsets, descended again on more cells."""
    groups = distinct(of_first + of_second)
    best, others = groups[0][0], [group[0] for group in groups[1:]]
    gaps = [other.objective / best.objective - 1 for other in others]
    distances = [1 - other.correlation(best) for other in others]
    margin = min((g / d for g, d in zip(gaps, distances, strict=True)), default=math.inf)
    # which group of the first subset led here; none did when only the second subset found it
    near = (k for k, o in enumerate(of_first) if o.correlation(best) >= SAME_OPTIMUM)
    origin = next(near, None)
    n_best = 0 if origin is None else len(distinct(first)[origin])
    agreement = 0.0  # a subset on which every start failed agrees with nothing
    if of_first and of_second:
        # what few cells prefer is chance among near answers: both are chosen on the same cells
        one, two = (min(of, key=lambda optimum: optimum.objective) for of in (of_first, of_second))
        agreement = one.correlation(two)
    return best.cost, Confidence(n_starts, n_best, min(gaps, default=math.inf), agreement, margin)
