"""Moving coordinates between the distribution of the noise and a Gaussian one of the data."""

import torch
from torch import Tensor, nn


class Frame(nn.Module):
    """Coordinates `z` in which the flow from noise to a Gaussian distribution is constant.

    `y = (1 - t) (noise_mean + noise_std z) + t (mean + C^.5 z)`, `C^.5 = rest I + basis (scales -
    rest) basis'`: `z` is standard normal at every time if the data are Gaussian, so that a network
    only models the deviation from this. All in double precision.

    Parameters
    ----------
    size, n_factors
        Coordinates D of `y` and factors k of `C`.
    """

    def __init__(self, size: int, n_factors: int):
        super().__init__()
        shapes = {"noise_mean": (size,), "noise_std": (size,), "basis": (size, n_factors)}
        for name, shape in {**shapes, "scales": (n_factors,), "rest": ()}.items():
            self.register_buffer(name, torch.ones(shape, dtype=torch.double))

    def point(self, t: Tensor, z: Tensor, mean: Tensor) -> Tensor:
        """Points `y` at times `(n, 1)`, given coordinates `(n, D)` and means of the data."""
        return (1 - t) * self.noise_mean + t * mean + self.spread(t, z)

    def spread(self, t: Tensor, z: Tensor) -> Tensor:
        """`M_t z`, how points change with their coordinates."""
        return (1 - t) * self.noise_std * z + t * self.color(z)

    def color(self, z: Tensor) -> Tensor:
        """`C^.5 z`."""
        return self.rest * z + (z @ self.basis * (self.scales - self.rest)) @ self.basis.T

    def rate(self, z: Tensor, mean: Tensor) -> Tensor:
        """Rate at which points with constant coordinates move."""
        return mean - self.noise_mean + self.color(z) - self.noise_std * z

    def coordinates(self, t: Tensor, y: Tensor, mean: Tensor) -> Tensor:
        """Undo :meth:`point`, by the Woodbury identity: only k x k systems are solved."""
        diagonal = (1 - t) * self.noise_std + t * self.rest
        scaled = (y - (1 - t) * self.noise_mean - t * mean) / diagonal
        weight = (t * (self.scales - self.rest))[..., None, :]
        inside = (self.basis.T / diagonal[..., None, :]) @ self.basis
        system = torch.eye(len(self.scales)).to(y) + inside * weight
        found = torch.linalg.solve(system, scaled @ self.basis)
        return scaled - (weight[..., 0, :] * found) @ self.basis.T / diagonal
