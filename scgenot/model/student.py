"""Distilled samplers next to the original velocity field, and when they are used."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scgenot._check import check_count, check_number
from scgenot._typed import check_fields
from scgenot.flow.integrator import ODE, Integrator

SAMPLER = ODE("midpoint", steps=6)
# conditions that differ by less are the same: single precision
SAME = 1e-5


@dataclass(frozen=True)
class Distilled:
    """Number of steps of a distilled sampler, and its difference from the teacher.

    Parameters
    ----------
    steps
        Network evaluations per sample.
    uvp
        Mean cBW-UVP between the distributions of student and teacher for held-out source cells, in
        percentage points.
    energy
        Mean energy distance between the same distributions, in percent of twice the mean distance
        between samples of student and teacher.

    Raises
    ------
    TypeError
        When a value has a wrong type.
    ValueError
        When a value is out of range.

    See Also
    --------
    scgenot.model.distill : trains it.
    """

    steps: int
    uvp: float
    energy: float

    def __post_init__(self):
        check_fields(self)
        check_count("steps", self.steps, 1)
        for name in ("uvp", "energy"):
            check_number(name, getattr(self, name), "finite", lambda value: abs(value) < 1e9)


class WithStudent(nn.Module):
    """A model with an optional second field that samples in a few Euler steps."""

    def __init__(self):
        super().__init__()
        self.student: nn.Module | None = None
        self.student_conditions: Tensor | None = None
        self.distilled: Distilled | None = None

    def add_student(self, distilled: Distilled, conditions: Tensor) -> None:
        """Add a student equal to its teacher, for `conditions` of shape `(k, c)`."""
        del self.student_conditions
        self.student = copy.deepcopy(self.field)
        self.register_buffer("student_conditions", conditions)
        self.distilled = distilled

    def drop_student(self) -> None:
        """Remove the student, for example before its teacher is trained further."""
        del self.student_conditions
        self.student = self.student_conditions = self.distilled = None

    def who_draws(
        self, conditions: Tensor | None, guidance: float, integrator: Integrator | None
    ) -> tuple[nn.Module, Integrator]:
        """Return field and integrator of samples: the student's if it knows all conditions."""
        if integrator is not None or guidance != 1 or self.student is None:
            return self.field, integrator or SAMPLER
        if conditions is not None and not are_among(conditions, self.student_conditions):
            return self.field, SAMPLER
        return self.student, ODE("euler", steps=self.distilled.steps)


def are_among(asked: Tensor, known: Tensor) -> bool:
    """Whether each row is one of some known rows, up to rounding."""
    kinds = asked[:1] if bool((asked == asked[:1]).all()) else asked.unique(dim=0)
    return bool((torch.cdist(kinds, known, p=torch.inf).amin(1) <= SAME).all())
