"""Linear extrapolation: draws for source cells that are far from all fitted ones.

A network follows the nearest fitted cells, even for cells of a type of which none was fitted. A
regularized linear model of the displacement extrapolates better.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from scgenot.model.generate import conditions
from scgenot.model.student import SAME
from scgenot.model.support import Support
from scgenot.model.units import to_tensor


class LinearExtrapolation(nn.Module):
    """Ridge regression of the displacement on the source cell, one for each fitted condition.

    Parameters
    ----------
    n_conditions, condition_dim, source_dim, target_dim, n_groups, n_reference
        Sizes; `n_reference` fitted source cells, in `n_groups` of conditions, tell which cells are
        far from them.

    See Also
    --------
    :func:`~scgenot.model.fit_extrapolation` : fits one and adds it to a model.
    """

    def __init__(
        self,
        n_conditions: int,
        condition_dim: int,
        source_dim: int,
        target_dim: int,
        n_groups: int,
        n_reference: int,
    ):
        super().__init__()
        shapes = {
            "conditions": (n_conditions, condition_dim),
            "group": (n_conditions,),
            "center": (n_conditions, source_dim),
            "shift": (n_conditions, target_dim),
            "slopes": (n_conditions, source_dim, target_dim),
            "noise": (n_conditions, target_dim, target_dim),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.near = Support(n_groups, n_reference, source_dim)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of which the model itself does not know."""
        n_groups, n_reference = self.near.member.shape
        sizes = {"n_conditions": len(self.conditions), "n_groups": n_groups}
        return {**sizes, "n_reference": n_reference}

    def check(self) -> None:
        """Raise a ValueError unless the values are those of a fitted extrapolation."""
        near, (n_groups, _) = self.near, self.near.member.shape
        right = {
            "group": ((self.group >= 0) & (self.group < n_groups)).all(),
            "noise": (self.noise.diagonal(dim1=1, dim2=2) > 0).all(),
            "near.member": near.member.any(1).all(),
            "near.scale": (near.scale[near.member.bool()] > 0).all(),
            "near.ranked": (near.ranked.diff(dim=1) >= 0).all(),
        }
        wrong = [name for name, is_right in right.items() if not bool(is_right)]
        if wrong:
            raise ValueError(f"The linear extrapolation is damaged: see {', '.join(wrong)}.")

    def support(self, source: Tensor, condition: Tensor | None) -> Tensor:
        """Probability `(n,)` that the flow draws: 1 near fitted cells, 0 for the farthest.

        It is 1 under conditions that were not fitted, too.
        """
        out, place = source.new_ones(len(source)), self._place(condition, len(source))
        group = self.group.long()[place].where(place >= 0, -1)
        for k in group.unique().tolist():
            if k >= 0:
                out[group == k] = self.near.probability(source[group == k], k)
        return out

    def sample(self, source: Tensor, condition: Tensor | None, noise: Tensor) -> Tensor:
        """Turn standard normal noise `(n, n_samples, q)` into target cells."""
        out, place = torch.empty_like(noise), self._place(condition, len(source))
        for k in place.unique().tolist():
            rows = place == k
            out[rows] = self.mean(source[rows], k)[:, None] + noise[rows] @ self.noise[k].T
        return out

    def log_prob(self, source: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        """Log-density `(n,)` of target cells, one for each source cell."""
        out, place = source.new_zeros(len(source)), self._place(condition, len(source))
        for k in place.unique().tolist():
            rows, factor = place == k, self.noise[k]
            left = target[rows] - self.mean(source[rows], k)
            left = torch.linalg.solve_triangular(factor, left.T, upper=False)
            size = factor.diagonal().log().sum() + target.shape[1] * math.log(2 * math.pi) / 2
            out[rows] = -left.square().sum(0) / 2 - size
        return out

    def mean(self, source: Tensor, k: int) -> Tensor:
        """Mean `(n, q)` of the target cells of source cells under a condition."""
        displacement = self.shift[k] + (source - self.center[k]) @ self.slopes[k]
        return source[:, : displacement.shape[1]] + displacement

    def _place(self, condition: Tensor | None, n: int) -> Tensor:
        """Return the place of each condition among the fitted ones, -1 where it is not fitted."""
        place = torch.zeros(n, dtype=torch.long, device=self.center.device)
        if condition is None or n == 0:
            return place
        kinds = condition[:1]
        if not bool((condition == kinds).all()):
            kinds, place = condition.unique(dim=0, return_inverse=True)
        distance, nearest = torch.cdist(kinds, self.conditions, p=torch.inf).min(1)
        return nearest.where(distance <= SAME, -1)[place]


class WithExtrapolation(nn.Module):
    """A model with a linear extrapolation, once it is given one."""

    def __init__(self):
        super().__init__()
        self.extrapolation: LinearExtrapolation | None = None

    def add_extrapolation(self, n_conditions: int, n_groups: int, n_reference: int) -> None:
        """Make a linear extrapolation of these sizes, of zeros until fitted."""
        sizes = self.condition_dim, self.source_dim, self.target_dim, n_groups, n_reference
        made = LinearExtrapolation(n_conditions, *sizes)
        self.extrapolation = made.to(self.units.source.mean)

    @torch.no_grad()
    def support(
        self, source: np.ndarray | Tensor, condition: np.ndarray | Tensor | None = None
    ) -> Tensor:
        """Probability that samples of a source cell come from the flow.

        Samples of cells that are far from all source cells fitted under the condition come from a
        linear model instead, see :func:`~scgenot.model.fit_extrapolation`. For a dose between
        fitted ones, the probability is the smaller one of both. The distance of a cell
        is that to the nearest fitted source cell, divided by the mean of such distances among the
        30 cells around the latter. Let r be the share of the fitted source cells whose own distance
        is at least as large. The probability is r / .2, at most 1. With guidance, all samples come
        from the flow.

        Parameters
        ----------
        source, condition
            As in :meth:`sample`.

        Returns
        -------
        Probabilities, shape `(n,)`; 1 for conditions that were not fitted, and for a model without
        linear extrapolation.

        Raises
        ------
        ValueError
            When a shape is wrong, or cells are not finite.
        """
        cells = to_tensor(source, self.units.source.mean)
        self.units.source(cells)  # checks the shape
        if not cells.isfinite().all():
            raise ValueError("`source` has cells that are not finite: drop or impute them.")
        told = conditions(self, condition, len(cells))
        if self.extrapolation is None:
            return torch.ones(len(cells), dtype=cells.dtype)
        ends = self.dose_ends(told)
        sides = [told] if ends is None else [ends.low, ends.high]
        found = [self.extrapolation.support(cells, side) for side in sides]
        return torch.stack(found).amin(0).cpu()

    def extrapolated(self, draws, cells, told, noise, chance: Tensor) -> Tensor:
        """Replace draws `(n, n_samples, q)` of far cells by linear ones, `chance` uniform."""
        support = self.extrapolation.support(cells, told)
        far = (support < 1).nonzero()[:, 0]
        given = None if told is None else told[far]
        linear = self.extrapolation.sample(cells[far], given, noise[far.cpu()].to(cells)).cpu()
        is_linear = chance[far.cpu()] >= support[far, None].cpu()
        draws[far.cpu()] = linear.where(is_linear[..., None], draws[far.cpu()])
        return draws

    def mixed_density(self, density: Tensor, cells, target, told) -> Tensor:
        """Add the density of the linear model to the log-density of the flow."""
        support = self.extrapolation.support(cells, told)
        far = (support < 1).nonzero()[:, 0]
        given = None if told is None else told[far]
        linear = self.extrapolation.log_prob(cells[far], to_tensor(target, cells)[far], given)
        own = density[far] + support[far].log()
        return density.index_copy(0, far, torch.logaddexp(own, linear + (-support[far]).log1p()))
