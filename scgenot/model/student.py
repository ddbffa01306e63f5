"""A distilled sampler beside the field that taught it: what it is, and when it draws."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scgenot._check import check_count, check_number
from scgenot._typed import check_fields
from scgenot.flow.integrator import ODE, Integrator

SAMPLER = ODE("midpoint", steps=6)
# conditions that differ by less are one: single precision
SAME = 1e-5


@dataclass(frozen=True)
class Distilled:
    """A distilled sampler: its steps, and how far its laws are from those of its teacher.

    Parameters
    ----------
    steps
        Evaluations of the network a draw.
    uvp
        Mean cBW-UVP of its laws against the teacher's on held-out source cells, in points.
    energy
        Mean energy distance of its laws from the teacher's on the same cells, in percent of twice
        the mean distance between draws of the two.

    Raises
    ------
    TypeError, ValueError
        When a value is not a number of its kind.

    See Also
    --------
    scgenot.model.distill : makes it.
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
    """A model with a second field that draws in a few Euler steps, once it is given one."""

    def __init__(self):
        super().__init__()
        self.student: nn.Module | None = None
        self.student_conditions: Tensor | None = None
        self.distilled: Distilled | None = None

    def add_student(self, distilled: Distilled, conditions: Tensor) -> None:
        """Make the student, equal to its teacher; `conditions` `(k, c)` are those it is for."""
        del self.student_conditions
        self.student = copy.deepcopy(self.field)
        self.register_buffer("student_conditions", conditions)
        self.distilled = distilled

    def drop_student(self) -> None:
        """Forget the student, as when its teacher is to learn more."""
        del self.student_conditions
        self.student = self.student_conditions = self.distilled = None

    def who_draws(
        self, conditions: Tensor | None, guidance: float, integrator: Integrator | None
    ) -> tuple[nn.Module, Integrator]:
        """Return the field and integrator of draws: the student's where it knows what is asked."""
        if integrator is not None or guidance != 1 or self.student is None:
            return self.field, integrator or SAMPLER
        if conditions is not None and not are_among(conditions, self.student_conditions):
            return self.field, SAMPLER
        return self.student, ODE("euler", steps=self.distilled.steps)


def are_among(asked: Tensor, known: Tensor) -> bool:
    """Whether each row is one of some known rows, up to rounding."""
    kinds = asked[:1] if bool((asked == asked[:1]).all()) else asked.unique(dim=0)
    return bool((torch.cdist(kinds, known, p=torch.inf).amin(1) <= SAME).all())
