"""Encode a condition: a set of perturbations with their strengths, and further covariates."""

import torch
from torch import Tensor, nn


class SetEncoder(nn.Module):
    """Encoder of combinations: perturbations are encoded separately and added, in any order.

    A condition consists of `n_slots` slots, each with a strength and a token, followed by further
    columns. A slot adds `strength * (linear(token) + network(token, strength))`; strength 0 (no
    dose or no perturbation) adds nothing. A token is one-hot for perturbations known only by name,
    which then have a learned vector, or a given embedding, which also covers unseen perturbations.

    Parameters
    ----------
    n_slots
        Maximum number of perturbations in a combination.
    token_dim
        Size of a token.
    n_further
        Columns after the slots, passed on as they are.
    width
        Size of an encoded perturbation.

    Examples
    --------
    >>> encoder = sg.flow.SetEncoder(n_slots=2, token_dim=10)
    >>> model = sg.Genot(8, 8, encoder.in_dim, encoder=encoder)
    """

    def __init__(self, n_slots: int, token_dim: int, n_further: int = 0, *, width: int = 32):
        super().__init__()
        self.n_slots, self.token_dim = n_slots, token_dim
        self.n_further, self.width = n_further, width
        self.linear = nn.Linear(token_dim, width, bias=False)
        self.network = nn.Sequential(
            nn.Linear(token_dim + 1, 2 * width), nn.SiLU(), nn.Linear(2 * width, width, bias=False)
        )

    @property
    def in_dim(self) -> int:
        """Size of a condition."""
        return self.n_slots * (1 + self.token_dim) + self.n_further

    @property
    def out_dim(self) -> int:
        """Size of an encoded condition."""
        return self.width + self.n_further

    def slots(self, condition: Tensor) -> Tensor:
        """View the strength and the token of each slot of conditions.

        Parameters
        ----------
        condition
            Conditions, shape `(..., n)` with at least the columns of the slots.

        Returns
        -------
        Strength, then token, shape `(..., n_slots, 1 + token_dim)`, in the memory of `condition`.
        """
        size = self.in_dim - self.n_further
        return condition[..., :size].unflatten(-1, (self.n_slots, 1 + self.token_dim))

    def forward(self, condition: Tensor) -> Tensor:
        """Encoded conditions `(..., out_dim)` of conditions `(..., in_dim)`."""
        slots = self.slots(condition)
        strength, token = slots[..., :1], slots[..., 1:]
        encoded = (strength * (self.linear(token) + self.network(slots))).sum(-2)
        return torch.cat([encoded, condition[..., self.in_dim - self.n_further :]], -1)
