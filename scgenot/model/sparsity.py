"""Sparse displacements: the penalty, and the schedule that finds its strength."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from scgenot._check import check_number
from scgenot._typed import check_fields
from scgenot.ot.elastic_cost import stvs

# the penalty's strength at first, and what it is multiplied with until few enough features move
FIRST, GROWTH = 5e-4, 1.5
# then it moves by about this factor, and by chance to where it is worse at first
STEP, TEMPERATURE, COOLING = 1.15, 0.05, 0.95
# width of the smoothed count, in thresholds: wider ones shrink small changes, narrower ones let
# too many small ones be
WIDTH = 1.5


@dataclass(frozen=True)
class Sparsity:
    """Limit on the mean number of features that a map changes per cell.

    The strength of the penalty is chosen during training. It is increased by half, starting from
    5e-4 of the fit term, until the number of changed features is small enough. It is then annealed:
    a new strength is kept if it improves the fit and the number of features together, or otherwise
    with a probability that decreases over time (Displacement-Sparse Neural Optimal Transport, arXiv
    2502.01889, section 4). Finally, the smallest changes are set to 0 to satisfy the limit on
    average over source cells. The history of the fit has the strength and the number of features by
    step.

    Parameters
    ----------
    n_features
        Mean number of features that may change per cell.
    kind
        Penalty on displacements in standard deviations, summed over features: `"l0"`, a smoothed
        count `1 - exp(-z^2 / 2 s^2)`, which does not shrink large changes; `"stvs"`, which shrinks
        them slightly; `"l1"`, which shrinks all changes equally.
    threshold
        Minimum change of a feature in a cell, in standard deviations of the feature within
        populations; smaller changes are set to 0.

    Raises
    ------
    TypeError
        When an option has a wrong type.
    ValueError
        When a number is out of range, or `kind` is unknown.

    See Also
    --------
    :class:`~scgenot.model.MongeMap` : takes it.

    Examples
    --------
    >>> learner = sg.model.MongeMap(sparsity=sg.model.Sparsity(n_features=50))
    """

    n_features: float = 50
    kind: Literal["l0", "stvs", "l1"] = "l0"
    threshold: float = 0.1

    def __post_init__(self):
        check_number("n_features", self.n_features, "positive and finite", lambda n: 0 < n < 1e9)
        check_number("threshold", self.threshold, "above 0 and below 10", lambda t: 0 < t < 10)
        check_fields(self)

    def penalty(self, moved: Tensor) -> Tensor:
        """Penalty of displacements `(n, d)` in standard deviations; about 1 at `n_features`."""
        if self.kind == "l0":
            each = 1 - torch.exp(-moved.square() / (2 * (WIDTH * self.threshold) ** 2))
        elif self.kind == "l1":
            each = moved.abs()
        else:
            each = stvs(moved, self.threshold) / self.threshold
        return each.sum(1).mean() / self.n_features

    def count(self, moved: Tensor) -> float:
        """Mean number of changed features, for displacements in standard deviations."""
        return float((moved.abs() > self.threshold).sum(1, dtype=torch.float32).mean())


@dataclass
class Strength:
    """Strength of the penalty while a map is trained."""

    sparsity: Sparsity
    rng: np.random.Generator
    value: float = 0.0
    kept: float = 0.0
    energy: float | None = None
    temperature: float = TEMPERATURE

    def update(self, fit: float, count: float) -> None:
        """Take in fit and number of features under the present strength and choose the next."""
        over = count / self.sparsity.n_features - 1
        if self.energy is None and over > 0:
            self.value = max(FIRST, GROWTH * self.value)
            return
        energy = fit + max(over, 0.0)
        better = self.energy is None or energy <= self.energy or over > 0
        if better or self.rng.random() < math.exp((self.energy - energy) / self.temperature):
            self.kept, self.energy = self.value, energy
        self.temperature *= COOLING
        # what is too sparse is tried with less, what is not sparse enough with more
        direction = 1 if over > 0 else -1
        self.value = self.kept * STEP ** (direction * self.rng.uniform(0, 2))
