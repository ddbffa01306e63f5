"""Anderson's extrapolation of Sinkhorn steps, of several problems at once."""

import torch
from torch import Tensor

# steps that are extrapolated from; added to their correlations, for steps that differ by rounding
MEMORY, RIDGE = 8, 1e-8
# an error so many times the least one is of a step too far; farthest step, as a log of scalings
TOO_FAR, FARTHEST, TINY = 2.0, 20.0, 1e-30


class Extrapolation:
    """Anderson's extrapolation of Sinkhorn steps (Walker and Ni 2011, SIAM J. Numer. Anal. 49).

    What is slow in Sinkhorn's iterations are a few directions, such as the masses of clusters that
    lie far apart; the last steps show how these decay. `weights` has shape `(b, n)`, a row each
    problem.
    """

    def __init__(self, weights: Tensor):
        self.weights = weights.double()
        self.before, self.beyond = (torch.zeros_like(self.weights) for _ in range(2))
        self.radius = torch.ones_like(self.weights[:, :1])
        self.least, self.has_before = self.radius / 0, self.radius < 0
        shape = len(weights), MEMORY, weights.shape[1]
        self.moves, self.turns = (self.weights.new_zeros(shape) for _ in range(2))
        self.n_steps = 0

    def take(self, problems: Tensor) -> None:
        """Keep some of the problems."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[problems])

    def __call__(self, change: Tensor, error: Tensor) -> Tensor:
        """Return by how much to go beyond steps that changed the potentials by `change`."""
        dtype, change, error = change.dtype, change.double(), error.double()[:, None]
        too_far = ~(error <= TOO_FAR * self.least)
        self._remember(change, too_far)
        # back to where the last step led, before it was extrapolated
        back = -(change + self.beyond)
        self.least = torch.where(too_far, self.least, torch.minimum(self.least, error))
        wider = (2 * self.radius).clamp_(max=FARTHEST)
        self.radius = torch.where(too_far, self.radius / 4, wider)
        self.before, self.has_before = change, ~too_far
        self.beyond = torch.where(too_far, 0.0, self._beyond(change))
        return torch.where(too_far, back, self.beyond).to(dtype)

    def _remember(self, change: Tensor, too_far: Tensor) -> None:
        """Add a step to the last ones; forget those of problems that went too far."""
        turn = torch.where(self.has_before, change - self.before, 0.0)
        length = (turn.square() * self.weights).sum(1, keepdim=True).sqrt_().clamp_(min=TINY)
        slot, self.n_steps = self.n_steps % MEMORY, self.n_steps + 1
        self.moves[:, slot] = (self.before + self.beyond + turn) / length
        self.turns[:, slot] = turn / length
        # a turn of 0 has no share in what is combined
        self.turns.masked_fill_(too_far[:, :, None], 0.0)

    def _beyond(self, change: Tensor) -> Tensor:
        """Combine the last steps so that the change is least, within the radius."""
        both = torch.cat([self.turns, change[:, None]], 1)
        normal = (self.turns * self.weights[:, None]) @ both.mT
        normal.diagonal(dim1=1, dim2=2).add_(RIDGE)
        shares, _ = torch.linalg.solve_ex(normal[..., :-1], normal[..., -1:])
        beyond = -(shares.mT @ self.moves)[:, 0]
        beyond = torch.where(beyond.isfinite(), beyond, 0.0)  # overflows
        largest = beyond.abs().amax(1, keepdim=True)
        return beyond * (self.radius / torch.maximum(largest, self.radius))
