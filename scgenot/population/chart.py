"""Coordinates of Gaussian populations in which the Bures geometry is nearly flat.

Populations are first whitened, so that the mean covariance within them is the identity. A Gaussian
then has the coordinates `(m, R - I)`, `R` the symmetric square root of its covariance: the optimal
map from the identity, at the Bures distance `|R - I|`. Entries of `R - I` are scaled such that the
moments of n cells of the mean population have a sampling variance of about 1 / n in each
coordinate: by the square root of 2 on the diagonal and by 2 off it.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from scgenot.population.bures import Gaussians, Velocity, root

LEAST = 1e-6  # of the largest variance: columns without spread are not blown up


class Chart(nn.Module):
    """Whitening and coordinates of Gaussian populations of one space, in double precision.

    Parameters
    ----------
    dim
        Number of dimensions d; there are `d + d (d + 1) / 2` coordinates.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.register_buffer("center", torch.zeros(dim, dtype=torch.double))
        self.register_buffer("spread", torch.eye(dim, dtype=torch.double))
        # made by NumPy: a stored model is checked on the meta device
        rows, columns = np.triu_indices(dim)
        scale = np.where(rows == columns, math.sqrt(2), 2.0)
        for name, value in {"rows": rows, "columns": columns, "scale": scale}.items():
            self.register_buffer(name, torch.tensor(value), persistent=False)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.dim + len(self.rows)

    def fit(self, populations: Gaussians) -> None:
        """Set the center and the unit to the mean and the mean covariance of populations."""
        within = populations.covariance.mean(0)
        values, vectors = torch.linalg.eigh(within)
        values = values.clamp(min=LEAST * float(values[-1]))
        self.center.copy_(populations.mean.mean(0))
        self.spread.copy_(vectors * values.sqrt() @ vectors.mT)

    def whiten(self, populations: Gaussians) -> Gaussians:
        """Return populations in units of the mean population."""
        inverse = torch.linalg.inv(self.spread)
        mean = (populations.mean - self.center) @ inverse
        return Gaussians(mean, inverse @ populations.covariance @ inverse)

    def color(self, populations: Gaussians) -> Gaussians:
        """Undo :meth:`whiten`."""
        covariance = self.spread @ populations.covariance @ self.spread
        covariance = (covariance + covariance.mT) / 2
        return Gaussians(populations.mean @ self.spread + self.center, covariance)

    def pack(self, mean: Tensor, symmetric: Tensor) -> Tensor:
        """Lay out means and symmetric matrices side by side, in units of sampling error."""
        return torch.cat([mean, symmetric[..., self.rows, self.columns] * self.scale], -1)

    def unpack(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Undo :meth:`pack`."""
        flat = values[..., self.dim :] / self.scale
        symmetric = flat.new_zeros(*flat.shape[:-1], self.dim, self.dim)
        symmetric[..., self.rows, self.columns] = flat
        symmetric[..., self.columns, self.rows] = flat
        return values[..., : self.dim], symmetric

    def coordinates(self, whitened: Gaussians) -> Tensor:
        """Coordinates `(..., size)` of whitened populations."""
        eye = torch.eye(self.dim).to(whitened.mean)
        return self.pack(whitened.mean, root(whitened.covariance) - eye)

    def populations(self, coordinates: Tensor) -> Gaussians:
        """Whitened populations of coordinates; `R R'` is a covariance for any of these."""
        mean, change = self.unpack(coordinates)
        matrix = change + torch.eye(self.dim).to(change)
        return Gaussians(mean, matrix @ matrix.mT)

    def push(self, at: Gaussians, change: Tensor) -> Velocity:
        """Velocity of Gaussians, given the rate at which their coordinates change.

        From `dS = dR R + R dR = L S + S L`, solved for `L` in the axes of `S`.
        """
        mean, matrix = self.unpack(change)
        values, vectors = axes(at.covariance)
        inside = vectors.mT @ matrix @ vectors
        left, right = values[..., :, None], values[..., None, :]
        inside = inside * (left + right) / (left.square() + right.square())
        return Velocity(mean, vectors @ inside @ vectors.mT)

    def pull(self, at: Gaussians, moved: Velocity) -> Tensor:
        """Undo :meth:`push`: the rate at which coordinates change."""
        values, vectors = axes(at.covariance)
        left, right = values[..., :, None], values[..., None, :]
        inside = vectors.mT @ moved.linear @ vectors
        inside = inside * (left.square() + right.square()) / (left + right)
        return self.pack(moved.mean, vectors @ inside @ vectors.mT)


def axes(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations along principal axes, not 0, and the axes."""
    values, vectors = torch.linalg.eigh(covariance)
    least = values[..., -1:] * values.shape[-1] * torch.finfo(values.dtype).eps
    return values.clamp(min=least).sqrt(), vectors
