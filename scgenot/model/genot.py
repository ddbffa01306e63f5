"""Genot: a velocity field with the units of its cells; loss, samples, densities, and its form on disk."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from scgenot._rng import Rng, torch_rng
from scgenot.flow.field import VelocityField, bind
from scgenot.flow.ode import Method, integrate, log_density
from scgenot.flow.path import straight_path, stratified_times
from scgenot.model.growth import GrowthNetwork
from scgenot.model.inputs import blocks, conditions, evaluating
from scgenot.model.standardiser import Standardiser
from scgenot.model.storage import put_together, read_file, take_apart, write_file
from scgenot.pair import Pair

# makes a field from the sizes (source, target, condition)
FieldFactory = Callable[[int, int, int], nn.Module]
Cells = np.ndarray | Tensor


class Genot(nn.Module):
    """Generator of the conditional law `pi(y | x)` of a coupling (GENOT, arXiv 2310.09254).

    Cells go in and come out in their own units; the field sees them standardised, column by column.

    Parameters
    ----------
    source_dim, target_dim, condition_dim
        Sizes of source cells, target cells and conditions; 0 when there is one condition only.
    width, depth
        Size of the :class:`~scgenot.flow.VelocityField`.
    field
        Function `(source_dim, target_dim, condition_dim) -> nn.Module` that makes another field, with
        `forward(t, z, source, condition)`; then `width` and `depth` are not used.
    """

    def __init__(
        self,
        source_dim: int,
        target_dim: int,
        condition_dim: int = 0,
        *,
        width: int = 128,
        depth: int = 3,
        field: FieldFactory | None = None,
    ):
        super().__init__()
        self.source_dim, self.target_dim, self.condition_dim = source_dim, target_dim, condition_dim
        self.width, self.depth, self.custom_field = width, depth, field is not None
        if field is None:
            self.field = VelocityField(source_dim, target_dim, condition_dim, width=width, depth=depth)
        else:
            self.field = field(source_dim, target_dim, condition_dim)
        self.eta: GrowthNetwork | None = None
        self.xi: GrowthNetwork | None = None
        self.source_units = Standardiser(source_dim, "source")
        self.target_units = Standardiser(target_dim, "target")

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.source_units.mean.device

    def fit_standardiser(self, pairs: Sequence[Pair]) -> None:
        """Take mean and standard deviation of every column over the cells of all pairs.

        Parameters
        ----------
        pairs
            Pairs to be trained on. A column that does not vary is centred and not scaled.
        """
        self.source_units.fit([pair.source for pair in pairs])
        self.target_units.fit([pair.target for pair in pairs])

    def loss(
        self, source: Tensor, target: Tensor, condition: Tensor | None = None, *, generator: torch.Generator
    ) -> Tensor:
        """Flow-matching loss `E |v(t, z_t | x) - (y - z)|^2` per dimension, in standardised units.

        Parameters
        ----------
        source, target
            Cells paired by the coupling, shapes `(batch, p)` and `(batch, q)`.
        condition
            Conditions, shape `(batch, c)`, or None.
        generator
            Source of times and noise, on the device of the cells.

        Returns
        -------
        Mean squared error, a scalar.
        """
        x, y = self.source_units(source), self.target_units(target)
        noise = torch.randn(y.shape, generator=generator, device=y.device, dtype=y.dtype)
        t = stratified_times(len(y), generator=generator).to(y.dtype)
        z, velocity = straight_path(t, noise, y)
        return (self.field(t, z, x, condition) - velocity).square().mean()

    @torch.no_grad()
    def sample(
        self,
        source: Cells,
        condition: Cells | None = None,
        *,
        n_samples: int = 1,
        rng: Rng = 0,
        method: Method = "midpoint",
        n_steps: int = 6,
        batch_size: int = 4096,
    ) -> Tensor:
        """Draw possible target cells for each source cell.

        Parameters
        ----------
        source
            Source cells, shape `(n, p)`.
        condition
            Conditions, shape `(n, c)`, or one `(c,)` for all.
        n_samples
            Draws per cell.
        rng
            Seed; the same seed gives the same bits, whatever the device draws it.
        method, n_steps
            Integrator, see :func:`scgenot.flow.integrate`.
        batch_size
            Points integrated at a time.

        Returns
        -------
        Draws in the units of the target cells, shape `(n, n_samples, q)`, on the CPU.
        """
        x = self.source_units(source)
        c = conditions(self, condition, len(x))
        # all noise at once, on the CPU: the draws then depend neither on the batch size nor on the device
        out = torch.randn(len(x), n_samples, self.target_dim, generator=torch_rng(rng), dtype=x.dtype)
        with evaluating(self):
            for rows in blocks(len(x), max(1, batch_size // n_samples)):
                velocity = bind(self.field, x[rows], None if c is None else c[rows], n_samples)
                z = integrate(velocity, out[rows].to(self.device), method=method, n_steps=n_steps)
                out[rows] = self.target_units.undo(z).to(out.device)
        return out

    def log_prob(
        self,
        source: Cells,
        target: Cells,
        condition: Cells | None = None,
        *,
        exact: bool = True,
        rng: Rng = 0,
        method: Method = "midpoint",
        n_steps: int = 16,
        batch_size: int = 4096,
    ) -> Tensor:
        """Log-density `log pi(y | x)` of target cells given source cells, one each.

        Parameters
        ----------
        source, target
            Cells, shapes `(n, p)` and `(n, q)`.
        condition
            Conditions, shape `(n, c)`, or one `(c,)` for all.
        exact
            Whether to take the exact divergence, q backward passes an evaluation; False for an unbiased estimate by
            one random direction per cell.
        rng
            Seed of the random directions.
        method, n_steps, batch_size
            As in :meth:`sample`.

        Returns
        -------
        Log-densities with respect to the units of the target cells, shape `(n,)`.
        """
        x = self.source_units(source)
        c = conditions(self, condition, len(x))
        y = self.target_units(target)
        signs = torch.randint(2, y.shape, generator=torch_rng(rng), dtype=torch.int8).to(y) * 2 - 1
        out = []
        with evaluating(self):
            for rows in blocks(len(x), batch_size):
                velocity = bind(self.field, x[rows], None if c is None else c[rows], 1)
                probe = None if exact else signs[rows, None]
                out.append(log_density(velocity, y[rows, None], method=method, n_steps=n_steps, probe=probe)[:, 0])
        # the density of y in its own units: dy = std dy_standardised
        return (torch.cat(out) - self.target_units.std.log().sum()).detach().cpu()

    def add_growth(self) -> None:
        """Make the networks of growth `eta(x)` and `xi(y)`, one everywhere until fitted."""
        self.eta = GrowthNetwork(self.source_dim, self.condition_dim).to(self.device)
        self.xi = GrowthNetwork(self.target_dim, self.condition_dim).to(self.device)

    @torch.no_grad()
    def growth(self, source: Cells, condition: Cells | None = None) -> Tensor:
        """Growth `eta` of source cells: mass sent over mass had; 1 for a balanced fit.

        Parameters
        ----------
        source, condition
            As in :meth:`sample`.

        Returns
        -------
        Ratios, shape `(n,)`.
        """
        x = self.source_units(source)
        c = conditions(self, condition, len(x))
        return torch.ones(len(x)) if self.eta is None else self.eta(x, c).cpu()

    @torch.no_grad()
    def target_growth(self, target: Cells, condition: Cells | None = None) -> Tensor:
        """How much of target cells is explained, `xi`: mass received over mass had; 1 for a balanced fit.

        Parameters
        ----------
        target
            Target cells, shape `(m, q)`.
        condition
            As in :meth:`sample`.

        Returns
        -------
        Ratios, shape `(m,)`.
        """
        y = self.target_units(target)
        return torch.ones(len(y)) if self.xi is None else self.xi(y, conditions(self, condition, len(y))).cpu()

    def to_arrays(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Take the model apart into what an AnnData or a file can hold.

        Returns
        -------
        Configuration (JSON-able values) and weights (NumPy arrays, names without `/`).
        """
        return take_apart(self)

    @classmethod
    def from_arrays(
        cls,
        config: Mapping,
        arrays: Mapping[str, np.ndarray],
        *,
        field: FieldFactory | None = None,
        device: str | torch.device | None = None,
    ) -> "Genot":
        """Put a model together again.

        Parameters
        ----------
        config, arrays
            Result of :meth:`to_arrays`.
        field
            The function that made the field, when it was not the usual one.
        device
            Where to compute; the CPU when None.

        Returns
        -------
        The model, with the same bits.

        Raises
        ------
        ValueError
            When the model has a field of its own and `field` is not given, or the other way round.
        """
        return put_together(cls, config, arrays, field=field, device=device)

    def save(self, path: str | Path) -> None:
        """Write weights and configuration to one safetensors file.

        Parameters
        ----------
        path
            File to write.
        """
        write_file(path, *self.to_arrays())

    @classmethod
    def load(
        cls, path: str | Path, *, field: FieldFactory | None = None, device: str | torch.device | None = None
    ) -> "Genot":
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        path
            File to read.
        field, device
            As in :meth:`from_arrays`.

        Returns
        -------
        The model, with the same bits.
        """
        config, arrays = read_file(path)
        return cls.from_arrays(config, arrays, field=field, device=device)
