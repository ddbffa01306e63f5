"""Linear extrapolation: draws for source cells that are far from all fitted ones.

A network follows the nearest fitted cells, even for cells of a type of which none was fitted. A
regularized linear model of the displacement extrapolates better. Which of the two draws depends on
the cell: on how its distance to the fitted cells ranks among their own distances.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from scgenot.model.generate import blocks, conditions
from scgenot.model.student import SAME
from scgenot.model.units import to_tensor

# cells whose distance ranks among this share of the largest are extrapolated, with a probability
# that rises to 1
FAR = 0.2
# cells whose distances are computed at a time
BLOCK = 1000


class LinearExtrapolation(nn.Module):
    """Ridge regression of the displacement on the source cell, one for each fitted condition.

    Parameters
    ----------
    n_conditions, condition_dim, source_dim, target_dim, n_reference
        Sizes; `n_reference` fitted source cells tell which cells are far from them.

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
        n_reference: int,
    ):
        super().__init__()
        shapes = {
            "conditions": (n_conditions, condition_dim),
            "center": (n_conditions, source_dim),
            "shift": (n_conditions, target_dim),
            "slopes": (n_conditions, source_dim, target_dim),
            "noise": (n_conditions, target_dim, target_dim),
            "reference": (n_reference, source_dim),
            "reach": (n_reference,),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of which the model itself does not know."""
        return {"n_conditions": len(self.conditions), "n_reference": len(self.reference)}

    def support(self, source: Tensor, condition: Tensor | None) -> Tensor:
        """Probability `(n,)` that the network draws: 1 for the nearest cells, 0 for the farthest.

        It is 1 under conditions that were not fitted, too.
        """
        parts = blocks(len(source), BLOCK)
        reach = [nearest_distance(source[rows], self.reference) for rows in parts]
        above = torch.searchsorted(self.reach, torch.cat(reach))
        rank = 1 - above / len(self.reach)
        return (rank / FAR).clamp(max=1).where(self._place(condition, len(source)) >= 0, 1)

    def sample(self, source: Tensor, condition: Tensor | None, noise: Tensor) -> Tensor:
        """Turn standard normal noise `(n, n_samples, q)` into target cells."""
        out, place = torch.empty_like(noise), self._place(condition, len(source))
        for k in place.unique().tolist():
            rows = place == k
            out[rows] = self._mean(source[rows], k)[:, None] + noise[rows] @ self.noise[k].T
        return out

    def log_prob(self, source: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        """Log-density `(n,)` of target cells, one for each source cell."""
        out, place = source.new_zeros(len(source)), self._place(condition, len(source))
        for k in place.unique().tolist():
            rows, factor = place == k, self.noise[k]
            left = target[rows] - self._mean(source[rows], k)
            left = torch.linalg.solve_triangular(factor, left.T, upper=False)
            size = factor.diagonal().log().sum() + target.shape[1] * math.log(2 * math.pi) / 2
            out[rows] = -left.square().sum(0) / 2 - size
        return out

    def _mean(self, source: Tensor, k: int) -> Tensor:
        """Mean of the target cells of source cells under a condition."""
        displacement = self.shift[k] + (source - self.center[k]) @ self.slopes[k]
        return source[:, : displacement.shape[1]] + displacement

    def _place(self, condition: Tensor | None, n: int) -> Tensor:
        """Return the place of each condition among the fitted ones, -1 where it is not fitted."""
        place = torch.zeros(n, dtype=torch.long, device=self.reach.device)
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

    def add_extrapolation(self, n_conditions: int, n_reference: int) -> None:
        """Make a linear extrapolation of these sizes, of zeros until fitted."""
        sizes = n_conditions, self.condition_dim, self.source_dim, self.target_dim, n_reference
        self.extrapolation = LinearExtrapolation(*sizes).to(self.units.source.mean)

    @torch.no_grad()
    def support(
        self, source: np.ndarray | Tensor, condition: np.ndarray | Tensor | None = None
    ) -> Tensor:
        """Probability that samples of a source cell come from the flow.

        Samples of cells that are far from all fitted source cells come from a linear model instead,
        see :func:`~scgenot.model.fit_extrapolation`. The distance of a cell is that to the nearest
        fitted source cell. Let r be the share of the fitted source cells whose distance to the
        nearest other one is at least as large. The probability is r / .2, at most 1.

        Parameters
        ----------
        source, condition
            As in :meth:`sample`.

        Returns
        -------
        Probabilities, shape `(n,)`; 1 for a model without linear extrapolation.
        """
        cells = to_tensor(source, self.units.source.mean)
        self.units.source(cells)  # checks the shape
        told = conditions(self, condition, len(cells))
        if self.extrapolation is None:
            return torch.ones(len(cells))
        return self.extrapolation.support(cells, told).cpu()

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


def nearest_distance(cells: Tensor, reference: Tensor, *, itself: bool = False) -> Tensor:
    """Distance of cells to the nearest of others, without themselves where `itself`."""
    between = torch.cdist(cells, reference, compute_mode="donot_use_mm_for_euclid_dist")
    return between.kthvalue(1 + itself, dim=1).values
