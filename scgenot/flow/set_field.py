"""Velocity field of a set of cells, equivariant to permutations of the cells."""

import torch
from torch import Tensor, nn

from scgenot.flow.field import TimeFeatures, perceptron, set_to_zero

N_FREQUENCIES = 8


class SetBlock(nn.Module):
    """Attention between the cells of a population, then a network for each of them."""

    def __init__(self, width: int, n_heads: int, given_dim: int):
        super().__init__()
        self.given = nn.Linear(given_dim, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, n_heads, batch_first=True)
        self.network = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, h: Tensor, given: Tensor, padding: Tensor) -> Tensor:
        """Features `(b, n, width)` of cells, given those of the time and condition `(b, 1, g)`."""
        h = h + self.given(given)
        seen = self.first(h)
        h = h + self.attention(seen, seen, seen, key_padding_mask=padding, need_weights=False)[0]
        return h + self.network(self.second(h))


class SetField(nn.Module):
    """Velocity field `v(t, cells | condition)` of all cells of a population.

    A set transformer (arXiv 1810.00825): the velocity of each cell depends on all cells, which are
    tokens without positions. Permuting the cells permutes their velocities, and the number of cells
    is arbitrary.

    Parameters
    ----------
    dim, condition_dim
        Numbers of dimensions of a cell and of a condition.
    width, depth, n_heads
        Number of features per cell, of blocks, and of attention heads.

    Raises
    ------
    ValueError
        When `width` is not a multiple of `n_heads`.

    Examples
    --------
    >>> field = sg.flow.SetField(2, width=32)
    >>> everywhere = torch.zeros(5, 40, dtype=torch.bool)
    >>> field(torch.rand(5), torch.randn(5, 40, 2), torch.zeros(5, 0), everywhere).shape
    """

    def __init__(
        self, dim: int, condition_dim: int = 0, *, width: int = 64, depth: int = 4, n_heads: int = 4
    ):
        super().__init__()
        if width % n_heads:
            raise ValueError(f"`width={width}` must be a multiple of `n_heads={n_heads}`.")
        self.features = TimeFeatures(N_FREQUENCIES)
        self.given = perceptron(self.features.size + condition_dim, width, width)
        self.enter = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(SetBlock(width, n_heads, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, dim)
        set_to_zero(self.leave)

    def forward(self, t: Tensor, cells: Tensor, condition: Tensor, padding: Tensor) -> Tensor:
        """Velocities, shape of `cells`.

        Parameters
        ----------
        t
            Times, shape `(b,)`.
        cells
            Cells of each population, shape `(b, n, dim)`.
        condition
            Conditions, shape `(b, condition_dim)`.
        padding
            Where there is no cell, boolean of shape `(b, n)`.

        Returns
        -------
        Velocities; what stands where there is no cell means nothing.
        """
        given = self.given(torch.cat([self.features(t), condition], -1))[:, None]
        h = self.enter(cells)
        for block in self.blocks:
            h = block(h, given, padding)
        return self.leave(self.norm(h))
