"""Search over starts of a quadratic coupling, and how far its answer can be trusted."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scgenot.ot.confidence import SAME_OPTIMUM, Confidence
from scgenot.ot.cost import Cost
from scgenot.ot.quadratic.descent import Descent

# answers within this fraction of the lowest objective, and at most so many, are descended again on more cells; wide,
# because clusters that two subsets hold in different proportions can double the objective of an equally good answer
WORTH_A_LOOK = 1.0
MOST_LEADERS = 3


@dataclass(frozen=True)
class Optimum:
    """An end point of a descent, and where it sends the cells."""

    objective: float
    cost: Cost
    barycentre: Tensor

    @classmethod
    def of(cls, descent: Descent, features: Tensor) -> "Optimum":
        """Summarise a descent; `features` are the target cells', shape `(m, r)`."""
        plan = descent.solution.plan
        a = plan.a[:, None]
        mean = plan.apply(features) / a.clamp(min=torch.finfo(a.dtype).tiny)
        mean = (mean - plan.a @ mean) * a.sqrt()
        return cls(
            descent.objective, plan.cost, mean / mean.norm().clamp(min=torch.finfo(mean.dtype).tiny)
        )

    def correlation(self, other: "Optimum") -> float:
        """Correlation of the barycentres of two optima over the same cells."""
        return float((self.barycentre * other.barycentre).sum())


def distinct(optima: list[Optimum]) -> list[list[Optimum]]:
    """Group optima that give the same answer; groups and members by rising objective."""
    groups: list[list[Optimum]] = []
    for optimum in sorted(optima, key=lambda o: o.objective):
        home = next(
            (group for group in groups if group[0].correlation(optimum) >= SAME_OPTIMUM), None
        )
        if home is None:
            groups.append([optimum])
        else:
            home.append(optimum)
    return groups


def leaders(optima: list[Optimum]) -> list[Optimum]:
    """Best member of each group of optima that is worth a second look, lowest objective first."""
    best = [group[0] for group in distinct(optima)]
    return [
        optimum for optimum in best if optimum.objective <= (1 + WORTH_A_LOOK) * best[0].objective
    ][:MOST_LEADERS]


def judge(first: list[Optimum], n_first: int, judged: list[Optimum]) -> tuple[Cost, Confidence]:
    """Pick the lowest objective of the candidates that were descended again on more cells."""
    groups = distinct(judged)
    best = groups[0][0]
    gap = groups[1][0].objective / best.objective - 1 if len(groups) > 1 else float("inf")
    # which group of the first subset led here; none did when only the second subset found it
    origin = next((k for k in range(n_first) if judged[k].correlation(best) >= SAME_OPTIMUM), None)
    by_group = distinct(first)
    n_best = 0 if origin is None else len(by_group[origin])
    return best.cost, Confidence(
        len(first), n_best, gap, agreement=judged[0].correlation(judged[n_first])
    )
