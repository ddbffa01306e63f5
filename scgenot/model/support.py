"""Support: which source cells are near those that a model was fitted to."""

import numpy as np
import torch
from torch import Tensor, nn

from scgenot.ot.graph import nearest

# cells whose distance ranks among this share of the largest are far, with a probability that rises
# to 1
FAR = 0.2
# neighbours whose own distances say how dense the fitted cells are
NEIGHBORS = 30


class Support(nn.Module):
    """Fitted source cells, and the distances between near ones, of each group of conditions.

    The distance of a cell is that to the nearest fitted cell, divided by the mean of such distances
    around the latter, so that cells of a rare type, or of a sparse one, are not far.

    Parameters
    ----------
    n_groups, n_reference, source_dim
        Sizes; conditions with the same source cells are a group.

    See Also
    --------
    :meth:`scgenot.Genot.support` : the probability that a cell is near.
    """

    def __init__(self, n_groups: int, n_reference: int, source_dim: int):
        super().__init__()
        self.register_buffer("reference", torch.zeros(n_reference, source_dim))
        # 1 for the cells of a group; for these, the scale of distances around them
        self.register_buffer("member", torch.zeros(n_groups, n_reference))
        self.register_buffer("scale", torch.zeros(n_groups, n_reference))
        # distances of the cells of a group themselves, rising, after 0 for each other cell
        self.register_buffer("ranked", torch.zeros(n_groups, n_reference))

    def fit(self, reference: np.ndarray, members: np.ndarray) -> None:
        """Take the fitted cells `(n, p)`, and which of them each group has `(n_groups, n)`."""
        self.reference.copy_(torch.as_tensor(reference))
        self.member.copy_(torch.as_tensor(members))
        for group, member in enumerate(self.member.bool()):
            cells = self.reference[member]
            # a cell is the first of its own neighbours: cells differ
            distance, around = nearest(cells, cells, min(NEIGHBORS + 1, len(cells)))
            own = distance[:, 1]
            scale = own[around].mean(1).clamp(min=torch.finfo(own.dtype).tiny)
            self.scale[group, member] = scale
            self.ranked[group, -len(cells) :] = (own / scale[around[:, 1]]).sort().values

    def rank(self, cells: Tensor, group: int) -> Tensor:
        """Share `(n,)` of the fitted cells of a group that are at least as far from the others."""
        member = self.member[group].bool()
        reference, scale = self.reference[member], self.scale[group][member]
        distance, near = (found[:, 0] for found in nearest(cells, reference, 1))
        nearer = torch.searchsorted(self.ranked[group], distance / scale[near])
        return (len(member) - nearer).clamp(max=len(reference)).to(cells) / len(reference)

    def probability(self, cells: Tensor, group: int) -> Tensor:
        """Probability `(n,)` that cells are near: their rank, relative to the share that is far."""
        return (self.rank(cells, group) / FAR).clamp(max=1)
