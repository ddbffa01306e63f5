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
        self.before = self.beyond = torch.zeros_like(self.weights)
        shape = len(weights), MEMORY, weights.shape[1]
        self.moves, self.turns = (self.weights.new_zeros(shape) for _ in range(2))
        n, self.n_steps = len(weights), 0
        self.least, self.radius, self.has_before = [float("inf")] * n, [1.0] * n, [False] * n

    def take(self, problems: Tensor) -> None:
        """Keep some of the problems."""
        kept = problems.tolist()
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[problems])
            elif isinstance(value, list):
                setattr(self, name, [value[k] for k in kept])

    def __call__(self, change: Tensor, errors: list[float]) -> Tensor:
        """Return by how much to go beyond steps that changed the potentials by `change`."""
        dtype, change = change.dtype, change.double()
        too_far = self._judged(errors)
        self._remember(change)
        self.has_before = [not is_far for is_far in too_far]
        if not any(too_far):
            self.before, self.beyond = change, self._beyond(change)
            return self.beyond.to(dtype)
        is_far = self._column(too_far)
        # a turn of 0 has no share in what is combined
        self.turns.masked_fill_(is_far[:, :, None], 0.0)
        # back to where the last step led, before it was extrapolated
        back = -(change + self.beyond)
        self.before, self.beyond = change, self._beyond(change).masked_fill_(is_far, 0.0)
        return torch.where(is_far, back, self.beyond).to(dtype)

    def _judged(self, errors: list[float]) -> list[bool]:
        """Say of which problems the last step went too far, and how far the next may go."""
        too_far = [not e <= TOO_FAR * least for e, least in zip(errors, self.least, strict=True)]
        for k, is_far in enumerate(too_far):
            if is_far:
                self.radius[k] /= 4
            else:
                self.least[k] = min(self.least[k], errors[k])
                self.radius[k] = min(2 * self.radius[k], FARTHEST)
        return too_far

    def _remember(self, change: Tensor) -> None:
        """Add a step to the last ones."""
        turn = change - self.before
        if not all(self.has_before):
            turn *= self._column(self.has_before)
        length = (turn.square() * self.weights).sum(1, keepdim=True).sqrt_().clamp_(min=TINY)
        slot, self.n_steps = self.n_steps % MEMORY, self.n_steps + 1
        self.moves[:, slot] = (self.before + self.beyond + turn) / length
        self.turns[:, slot] = turn / length

    def _beyond(self, change: Tensor) -> Tensor:
        """Combine the last steps so that the change is least, within the radius."""
        both = torch.cat([self.turns, change[:, None]], 1)
        normal = (self.turns * self.weights[:, None]) @ both.mT
        normal.diagonal(dim1=1, dim2=2).add_(RIDGE)
        shares, _ = torch.linalg.solve_ex(normal[..., :-1], normal[..., -1:])
        beyond = (shares.mT @ self.moves)[:, 0]
        beyond.nan_to_num_(0.0, 0.0, 0.0)  # overflows
        largest, radius = beyond.abs().amax(1, keepdim=True), self._column(self.radius)
        return beyond.mul_(-radius / torch.maximum(largest, radius))

    def _column(self, values: list) -> Tensor:
        """Return values of the problems as a column."""
        return torch.tensor(values, device=self.weights.device)[:, None]
