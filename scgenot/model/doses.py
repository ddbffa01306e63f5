"""Doses between fitted ones: samples, maps and growth are those at the fitted doses, interpolated.

Training does not constrain a network between doses. Linear interpolation of its samples at the two
nearest fitted doses, drawn with the same noise, moves the mean of each cell along a line.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from scgenot.flow.condition import SetEncoder
from scgenot.model.student import SAME
from scgenot.pair import Pair


class Ends(NamedTuple):
    """Conditions `(n, c)` at the doses around asked ones, and the position `(n,)` between them."""

    low: Tensor
    high: Tensor
    fraction: Tensor

    def mixed(self, values: Callable[[Tensor], Tensor]) -> Tensor:
        """Interpolate values `(n, ...)` of the conditions at both ends."""
        low, high = values(self.low), values(self.high)
        fraction = self.fraction.to(low).reshape(-1, *[1] * (low.ndim - 1))
        return torch.lerp(low, high, fraction)


class WithDoses(nn.Module):
    """A model that interpolates between the strengths at which it was fitted, once it knows them.

    A strength at which any perturbation was fitted is a fitted one: the network knows it, and
    learns the shape of a response from other perturbations and covariates.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("strengths", None)  # increasing; 0 if control was paired with itself

    @property
    def set_encoder(self) -> SetEncoder | None:
        """Encoder of conditions, where it is one of perturbations with strengths."""
        found = getattr(self, "encoder", None)
        if found is None:
            found = getattr(getattr(self, "field", None), "encoder", None)
        return found if isinstance(found, SetEncoder) else None

    def add_strengths(self, n: int) -> None:
        """Make room for so many fitted strengths."""
        self.strengths = torch.zeros(n).to(self.units.source.mean)

    def fit_strengths(self, pairs: Sequence[Pair]) -> None:
        """Keep the strengths of the conditions of pairs, where there are several."""
        self.strengths = None
        if self.set_encoder is None:
            return
        told = torch.as_tensor(np.stack([pair.condition for pair in pairs]))
        found = self.set_encoder.slots(told)[..., 0].amax(1).unique()
        found = found[found.diff(prepend=found.new_tensor([-1.0])) > SAME]  # rounding makes several
        if len(found) > 1:
            self.strengths = found.to(self.units.source.mean)

    def dose_ends(self, condition: Tensor | None) -> Ends | None:
        """Find the fitted strengths around those of conditions; None where none lies between."""
        if condition is None or self.strengths is None:
            return None
        strengths = self.set_encoder.slots(condition)[..., 0]
        own = strengths.amax(1)
        above = torch.searchsorted(self.strengths, own).clamp(1, len(self.strengths) - 1)
        low, high = self.strengths[above - 1], self.strengths[above]
        # parts of a combination may have doses of their own, which are not on a line
        is_one = ((strengths == 0) | (own[:, None] - strengths <= SAME)).all(1)
        between = is_one & (own - low > SAME) & (high - own > SAME)
        if not bool(between.any()):
            return None
        ends = [condition.clone(), condition.clone()]
        for end, strength in zip(ends, (low, high), strict=True):
            end[between] = self._at(condition[between], strength[between])
        return Ends(*ends, ((own - low) / (high - low)).where(between, 0.0))

    def _at(self, condition: Tensor, strength: Tensor) -> Tensor:
        """Replace the strengths of conditions, in place; at strength 0, slots are of control."""
        slots, strength = self.set_encoder.slots(condition), strength[:, None]
        slots[..., 0] = torch.where(slots[..., 0] > 0, strength, 0.0)
        slots *= strength[..., None] > 0
        return condition
