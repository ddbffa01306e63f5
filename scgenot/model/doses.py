"""Doses between fitted ones: samples, maps and growth are those at the fitted doses, interpolated.

Training does not constrain a network between doses. Linear interpolation of its samples at the two
nearest fitted doses, drawn with the same noise, moves the mean of each cell along a line.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from scgenot.flow.condition import SetEncoder
from scgenot.model.student import SAME
from scgenot.pair import Pair

logger = logging.getLogger("scgenot")
# numbers of all fitted conditions together: 64 MiB in single precision
MOST_NUMBERS = 2**24


class Ends(NamedTuple):
    """Fitted conditions `(n, c)` around asked ones, and the position `(n,)` between them."""

    low: Tensor
    high: Tensor
    fraction: Tensor

    def mixed(self, values: Callable[[Tensor], Tensor]) -> Tensor:
        """Interpolate values `(n, ...)` of the conditions at both ends."""
        low, high = values(self.low), values(self.high)
        fraction = self.fraction.to(low).reshape(-1, *[1] * (low.ndim - 1))
        return torch.lerp(low, high, fraction)


class FittedDoses(nn.Module):
    """Fitted conditions of a set encoder, among which those around a dose are found.

    Parameters
    ----------
    n_conditions, condition_dim
        Sizes.
    encoder
        Encoder, whose slots have a strength and a token each.
    """

    def __init__(self, n_conditions: int, condition_dim: int, encoder: SetEncoder):
        super().__init__()
        self.n_slots, self.slot_dim = encoder.n_slots, 1 + encoder.token_dim
        self.register_buffer("conditions", torch.zeros(n_conditions, condition_dim))

    def ends(self, condition: Tensor) -> Ends | None:
        """Find the fitted conditions around each asked one; None where nothing is between any.

        A dose that was fitted under any covariates or is outside the fitted range of its
        perturbation, and a perturbation that was not fitted, are their own ends.
        """
        kinds, place = condition[:1], condition.new_zeros(len(condition), dtype=torch.long)
        if len(condition) and not bool((condition == kinds).all()):
            kinds, place = condition.unique(dim=0, return_inverse=True)
        low, high, fraction = self._between(kinds)
        if not bool((fraction > 0).any()):
            return None
        return Ends(low[place], high[place], fraction[place])

    def _between(self, kinds: Tensor) -> Ends:
        """Find the ends of different conditions."""
        strengths, named, untreated = self._split(kinds)
        known, known_named, _ = self._split(self.conditions)
        own, size = strengths.amax(1), known.amax(1)
        same = are_equal(named, known_named) & (size > 0)
        same |= are_equal(untreated, known_named) & (size == 0)  # the control is dose 0 of any name
        inf = torch.full_like(same, torch.inf, dtype=size.dtype)
        gap = own[:, None] - size
        below, low = gap.where(same & (gap >= -SAME), inf).min(1)
        above, high = (-gap).where(same & (gap <= SAME), inf).min(1)
        fraction = below / (below + above)
        line = torch.lerp(known[low], known[high], fraction.nan_to_num()[:, None])
        # parts of a combination may have doses of their own, which are not on the line
        between = (below > SAME) & (above > SAME) & (below + above).isfinite()
        between &= (line - strengths).abs().amax(1) <= SAME
        ends, size = [kinds.clone(), kinds.clone()], self.n_slots * self.slot_dim
        for end, side in zip(ends, (low, high), strict=True):  # covariates are those asked for
            end[between, :size] = self.conditions[side][between, :size]
        return Ends(*ends, fraction.where(between, 0.0))

    def _split(self, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Strengths `(n, n_slots)`; slots with 1 for any strength; slots without treatment."""
        # covariates are left out: a dose that was fitted under any of them is a fitted one
        slots = condition[:, : self.n_slots * self.slot_dim]
        strengths, named = slots[:, :: self.slot_dim], slots.clone()
        named[:, :: self.slot_dim] = (strengths > 0).to(named)
        return strengths, named, torch.zeros_like(slots)


class WithDoses(nn.Module):
    """A model that interpolates between fitted doses, once it knows them."""

    def __init__(self):
        super().__init__()
        self.doses: FittedDoses | None = None

    @property
    def set_encoder(self) -> SetEncoder | None:
        """Encoder of conditions, where it is one of perturbations with strengths."""
        own = getattr(self, "encoder", None) or getattr(
            getattr(self, "field", None), "encoder", None
        )
        return own if isinstance(own, SetEncoder) else None

    def add_doses(self, n_conditions: int) -> None:
        """Make room for so many fitted conditions."""
        made = FittedDoses(n_conditions, self.condition_dim, self.set_encoder)
        self.doses = made.to(self.units.source.mean)

    def fit_doses(self, pairs: Sequence[Pair]) -> None:
        """Keep the conditions of pairs, where perturbations have several doses."""
        self.doses = None
        if self.set_encoder is None or not self.condition_dim:
            return
        encoder, told = self.set_encoder, np.stack([pair.condition for pair in pairs])
        told = told.astype(np.float32)
        told[:, encoder.n_slots * (1 + encoder.token_dim) :] = 0  # ends have the covariates asked
        strengths = told[:, : encoder.n_slots * (1 + encoder.token_dim) : 1 + encoder.token_dim]
        if np.ptp(strengths.max(1)) <= SAME:  # a screen without doses
            return
        told = np.unique(told, axis=0)
        if told.size > MOST_NUMBERS:
            logger.info(
                "Doses between fitted ones are not interpolated: the %d fitted conditions have %d "
                "numbers, more than %d.",
                *(len(told), told.size, MOST_NUMBERS),
            )
            return
        self.add_doses(len(told))
        self.doses.conditions.copy_(torch.as_tensor(told))

    def dose_ends(self, condition: Tensor | None) -> Ends | None:
        """Return the fitted conditions between which others lie; None where none does."""
        return None if condition is None or self.doses is None else self.doses.ends(condition)


def are_equal(rows: Tensor, known: Tensor) -> Tensor:
    """Whether rows `(n, c)` equal known ones `(k, c)`, up to rounding: `(n, k)`."""
    return torch.cdist(rows, known, p=torch.inf) <= SAME
