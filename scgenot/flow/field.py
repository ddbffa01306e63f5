"""The velocity field: a residual network modulated by time, source cell and condition."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from scgenot._check import check_count, check_memory


class Field(Protocol):
    """Protocol of a velocity field: an `nn.Module` with this `forward`.

    See Also
    --------
    :class:`~scgenot.flow.VelocityField` : the default field.
    """

    def __call__(
        self, t: Tensor, z: Tensor, source: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """Velocities `(batch, q)` at times `(batch,)`, points and given source cells."""
        ...


class TimeFeatures(nn.Module):
    """Time itself, and its sines and cosines at `pi, 2 pi, ..., n pi`."""

    def __init__(self, n_frequencies: int):
        super().__init__()
        self.size = 2 * n_frequencies + 1
        # made by NumPy: arithmetic on the meta device, where a stored model is checked, imports
        # much of torch
        numbers = np.float32(math.pi) * np.arange(1, n_frequencies + 1, dtype=np.float32)
        self.register_buffer("frequencies", torch.tensor(numbers), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """Features `(..., 2 n_frequencies + 1)` of times `(...)`."""
        angles = t[..., None] * self.frequencies
        return torch.cat([t[..., None], angles.sin(), angles.cos()], -1)


class Encoded(NamedTuple):
    """A source cell and its condition, as :meth:`VelocityField.encode` returns them."""

    modulation: Tensor
    skip: Tensor


def perceptron(n_in: int, width: int, n_out: int) -> nn.Sequential:
    """Network with two hidden layers."""
    first, second = nn.Linear(n_in, width), nn.Linear(width, width)
    return nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), nn.Linear(width, n_out))


def set_to_zero(*layers: nn.Linear) -> None:
    """Set weights and biases to 0."""
    for parameter in (parameter for layer in layers for parameter in layer.parameters()):
        nn.init.zeros_(parameter)


class ResidualBlock(nn.Module):
    """`h + W2 act(W1 (scale h + shift))`, zero at the start."""

    def __init__(self, width: int):
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        set_to_zero(self.outer)

    def forward(self, h: Tensor, modulation: Tensor) -> Tensor:
        """Features `(..., width)`, given scale and shift side by side, `(..., 2 width)`."""
        scale, shift = modulation.chunk(2, -1)
        inner = self.inner(torch.addcmul(shift, 1 + scale, h))
        # in place where that spares a pass over memory
        inner = nn.functional.silu(inner, inplace=not torch.is_grad_enabled())
        return self.outer(inner).add_(h)


class VelocityField(nn.Module):
    """Velocity `v(t, z | source, condition)` of the flow from noise to targets.

    `v = sum_k g_k(t) L_k(z, source, condition) + network`: the first part, linear maps with
    time-dependent weights, is sufficient for a Gaussian conditional distribution, whose exact
    velocity is linear in z and source. The network, residual blocks that are scaled and shifted by
    time and source (FiLM, arXiv 1709.07871), is initialized to zero and learns the deviation from
    Gaussian distributions.

    Parameters
    ----------
    source_dim, target_dim, condition_dim
        Sizes p, q and c; a field with `condition_dim=0` takes no condition.
    width
        Features per layer.
    depth
        Residual blocks.
    n_linear
        Number of linear maps with time-dependent weights.
    n_frequencies
        Frequencies of the time features.
    encoder
        Module from conditions to inputs of size `encoder.out_dim`; None for unencoded conditions.

    Raises
    ------
    TypeError
        When a size is not an integer.
    ValueError
        When a size is too small, or too large for the memory.

    Examples
    --------
    >>> field = sg.flow.VelocityField(8, 12, width=64)
    >>> field(torch.rand(5), torch.randn(5, 12), torch.randn(5, 8)).shape  # (5, 12)
    """

    def __init__(
        self,
        source_dim: int,
        target_dim: int,
        condition_dim: int = 0,
        *,
        width: int = 128,
        depth: int = 3,
        n_linear: int = 8,
        n_frequencies: int = 8,
        encoder: nn.Module | None = None,
    ):
        super().__init__()
        sizes = {"source_dim": source_dim, "target_dim": target_dim, "depth": depth}
        for name, value in {**sizes, "condition_dim": condition_dim, "width": width}.items():
            check_count(name, value, {"condition_dim": 0, "width": 2}.get(name, 1))
        check_memory(
            "width", width, width * (source_dim + target_dim + condition_dim + width * depth)
        )
        self.encoder = encoder
        given_dim = source_dim + (condition_dim if encoder is None else encoder.out_dim)
        self.target_dim, self.n_linear = target_dim, n_linear
        self.features = TimeFeatures(n_frequencies)
        self.time = nn.Sequential(nn.Linear(self.features.size, width // 2), nn.SiLU())
        self.gates = nn.Linear(width // 2, n_linear)
        self.time_modulation = nn.Linear(width // 2, 2 * width * depth)
        self.given_modulation = perceptron(given_dim, width, 2 * width * depth)
        self.z_skip = nn.Linear(target_dim, n_linear * target_dim, bias=False)
        self.given_skip = nn.Linear(given_dim, n_linear * target_dim)
        self.z_in = nn.Linear(target_dim, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        self.out = nn.Linear(width, target_dim)
        set_to_zero(self.z_skip, self.given_skip, self.out)

    def encode(self, source: Tensor, condition: Tensor | None = None) -> Encoded:
        """Encode source cells and conditions, once for all steps of an integrator.

        Parameters
        ----------
        source
            Source cells, shape `(..., p)`.
        condition
            Conditions, shape `(..., c)`; None when `condition_dim` is 0.

        Returns
        -------
        Modulation of the blocks `(..., 2 width depth)`, and a part
        of the linear maps `(..., n_linear, q)`.
        """
        if condition is not None and self.encoder is not None:
            condition = self.encoder(condition)
        given = source if condition is None else torch.cat([source, condition], -1)
        skip = self.given_skip(given).unflatten(-1, (self.n_linear, -1))
        return Encoded(self.given_modulation(given), skip)

    def velocity(self, t: Tensor, z: Tensor, encoded: Encoded) -> Tensor:
        """Velocity, given encoded source cells.

        Parameters
        ----------
        t
            Times, any shape that broadcasts with `(...)`; a scalar when all points are at the same
            time.
        z
            Points, shape `(..., q)`.
        encoded
            Result of :meth:`encode`, leading shape broadcasting with that of `z`.

        Returns
        -------
        Velocities, shape `(..., q)`.
        """
        time = self.time(self.features(t))
        gates = self.gates(time)
        if t.ndim == 0:  # the maps are weighted once, not their results at every point
            weight = gates @ self.z_skip.weight.view(self.n_linear, -1)
            velocity = z @ weight.view(-1, z.shape[-1]).T + gates @ encoded.skip
        else:
            linear = self.z_skip(z).unflatten(-1, (self.n_linear, -1)) + encoded.skip
            # for small matrices faster than their products
            velocity = (gates[..., None] * linear).sum(-2)
        modulation = (self.time_modulation(time) + encoded.modulation).chunk(len(self.blocks), -1)
        h = self.z_in(z)
        for block, part in zip(self.blocks, modulation, strict=True):
            h = block(h, part)
        return velocity + self.out(h)

    def forward(
        self, t: Tensor, z: Tensor, source: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """Velocities `(batch, q)` at times `(batch,)` and points, given sources and conditions."""
        return self.velocity(t, z, self.encode(source, condition))


def bind(
    field: Field, source: Tensor, condition: Tensor | None, n_samples: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """Bind source cells and conditions to a field, and return a function of time and point.

    Parameters
    ----------
    field
        Any field. The cells of a :class:`VelocityField` are encoded only once.
    source
        Source cells, shape `(n, p)`.
    condition
        Conditions, shape `(n, c)`, or None.
    n_samples
        Points per source cell.

    Returns
    -------
    Function of a scalar time and points `(n, n_samples, q)`, giving velocities of that shape.

    Examples
    --------
    >>> velocity = sg.flow.bind(sg.flow.VelocityField(8, 12), torch.randn(5, 8), None, 4)
    >>> draws = sg.flow.integrate(velocity, torch.randn(5, 4, 12))
    """
    if isinstance(field, VelocityField):
        encoded = Encoded(*(part.unsqueeze(1) for part in field.encode(source, condition)))
        return lambda t, z: field.velocity(t, z, encoded)
    source = source.repeat_interleave(n_samples, 0)
    condition = None if condition is None else condition.repeat_interleave(n_samples, 0)

    def velocity(t: Tensor, z: Tensor) -> Tensor:
        points = z.flatten(0, 1)
        return field(t.expand(len(points)), points, source, condition).view_as(z)

    return velocity
