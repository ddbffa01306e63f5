"""Search over starts of a quadratic coupling, and how far its answer can be trusted."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scgenot.ot.confidence import SAME_OPTIMUM, Confidence
from scgenot.ot.cost import Cost
from scgenot.ot.descent import Descent


@dataclass(frozen=True)
class Optimum:
    """An end point of a descent, and where it sends the cells.

    Parameters
    ----------
    objective
        What was minimised.
    cost
        Linearised cost there, on features.
    barycentre
        Centred mean target features of each source cell, scaled to norm 1 as a whole, shape `(n, r)`.
    """

    objective: float
    cost: Cost
    barycentre: Tensor

    @classmethod
    def of(cls, descent: Descent, features: Tensor) -> "Optimum":
        """Summarise a descent; `features` are the target cells', shape `(m, r)`."""
        plan = descent.solution.plan
        mean = plan.apply(features) / plan.a[:, None]
        mean = mean - plan.a @ mean
        return cls(descent.objective, plan.cost, mean / mean.norm().clamp(min=torch.finfo(mean.dtype).tiny))

    def correlation(self, other: "Optimum") -> float:
        """Correlation of the barycentres of two optima over the same cells."""
        return float((self.barycentre * other.barycentre).sum())


def distinct(optima: list[Optimum]) -> list[list[Optimum]]:
    """Group optima that give the same answer; groups and members by rising objective."""
    groups: list[list[Optimum]] = []
    for optimum in sorted(optima, key=lambda o: o.objective):
        home = next((group for group in groups if group[0].correlation(optimum) >= SAME_OPTIMUM), None)
        if home is None:
            groups.append([optimum])
        else:
            home.append(optimum)
    return groups


def search(first: list[Optimum], second: Callable[[list[Cost]], list[Optimum]]) -> tuple[list[Cost], Confidence]:
    """Pick the lowest objective, and ask a second subset of the cells whether it agrees.

    Parameters
    ----------
    first
        Optima that the starts reached on the first subset.
    second
        Descends on the second subset: from each of the given costs, in order, and from some fresh starts.

    Returns
    -------
    The costs to refine on all cells (two, when the second subset prefers another answer), and the confidence.
    """
    groups = distinct(first)
    best = groups[0][0]
    gap = groups[1][0].objective / best.objective - 1 if len(groups) > 1 else float("inf")
    on_second = second([group[0].cost for group in groups[:3]])
    preferred = min(on_second, key=lambda o: o.objective)
    agreement = preferred.correlation(on_second[0])
    costs = [best.cost] if agreement >= SAME_OPTIMUM else [best.cost, preferred.cost]
    return costs, Confidence(len(first), len(groups[0]), gap, agreement)
