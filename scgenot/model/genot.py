"""Genot: a velocity field with the units of its cells; loss, samples, densities, storage."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from scgenot._check import check_rate
from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.flow.field import VelocityField
from scgenot.flow.integrator import ODE, Integrator
from scgenot.flow.path import straight_path, stratified_times
from scgenot.model.codes import WithCodes
from scgenot.model.doses import WithDoses
from scgenot.model.extrapolation import WithExtrapolation
from scgenot.model.generate import blurred, density, draw, dropped
from scgenot.model.growth import WithGrowth
from scgenot.model.storage import put_together, take_apart
from scgenot.model.stored import WithFile
from scgenot.model.student import WithStudent
from scgenot.model.units import Units

FieldFactory = Callable[[int, int, int], nn.Module]  # of the sizes source, target, condition
Cells = np.ndarray | Tensor
DENSITY = ODE("midpoint", steps=16)


class Genot(WithGrowth, WithDoses, WithExtrapolation, WithStudent, WithCodes, WithFile):
    """Generator of the conditional distribution `pi(y | x)` of a plan (GENOT, arXiv 2310.09254).

    Parameters
    ----------
    source_dim, target_dim, condition_dim
        Sizes of source cells, target cells and conditions; 0 if there is a single condition.
    width, depth
        Size of the :class:`~scgenot.flow.VelocityField`.
    field
        Function of these three sizes that returns another field, with `forward(t, z, source,
        condition)`; `width`, `depth` and `encoder` are then not used.
    displacement
        Whether the flow generates the displacement from the source cell, which generalizes better
        to unseen cells. The first columns of source cells must be those of target cells.
    encoder
        Module from conditions `(..., condition_dim)` to the input of the field `(..., out_dim)`,
        such as a :class:`~scgenot.flow.SetEncoder`; None for unencoded conditions.
    condition_dropout
        Fraction of training cells whose condition is masked, in an extra column, for guidance.

    Raises
    ------
    TypeError, ValueError
        When a size is not an integer, or `condition_dropout` is not at least 0 and below 1.

    Examples
    --------
    >>> model = sg.Genot(pair.source.shape[1], pair.target.shape[1])  # train with sg.model.train
    """

    kind = "model"

    @typed
    def __init__(
        self,
        source_dim: int,
        target_dim: int,
        condition_dim: int = 0,
        *,
        width: int = 128,
        depth: int = 3,
        field: FieldFactory | None = None,
        displacement: bool = False,
        encoder: nn.Module | None = None,
        condition_dropout: float = 0.0,
    ):
        super().__init__()
        check_rate("condition_dropout", condition_dropout)
        self.source_dim, self.target_dim, self.condition_dim = source_dim, target_dim, condition_dim
        self.width, self.depth, self.custom_field = width, depth, field is not None
        self.displacement = displacement
        self.condition_dropout = condition_dropout if condition_dim else 0.0
        make = field or partial(VelocityField, width=width, depth=depth, encoder=encoder)
        self.field = make(source_dim, target_dim, condition_dim + (self.condition_dropout > 0))
        self.units = Units(source_dim, target_dim, displacement=displacement)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.units.source.mean.device

    def loss(
        self,
        source: Tensor,
        target: Tensor,
        condition: Tensor | None = None,
        *,
        generator: torch.Generator,
        source_noise: float = 0.0,
    ) -> Tensor:
        """Flow-matching loss `E |v(t, z_t | x) - (y - z)|^2` per dimension, in standard units.

        Parameters
        ----------
        source, target, condition
            Paired cells, shapes `(batch, p)` and `(batch, q)`; conditions `(batch, c)` or None.
        generator
            Source of times and noise, on the device of the cells.
        source_noise
            Noise added to source cells, see :class:`~scgenot.model.FlowMatching`.

        Returns
        -------
        Mean squared error, a scalar.
        """
        x = blurred(self.units.source, source, source_noise, generator=generator)
        y = self.units.enter(source, target)
        condition = dropped(self, condition, generator=generator)
        noise = torch.randn(y.shape, generator=generator, device=y.device, dtype=y.dtype)
        t = stratified_times(len(y), generator=generator).to(y.dtype)
        z, velocity = straight_path(t, noise, y)
        return (self.field(t, z, x, condition) - velocity).square().mean()

    @typed
    @torch.no_grad()
    def sample(
        self,
        source: Cells,
        condition: Cells | None = None,
        *,
        n_samples: int = 1,
        guidance: float = 1.0,
        rng: Rng = 0,
        integrator: Integrator | None = None,
        batch_size: int | None = None,
        antithetic: bool = False,
    ) -> Tensor:
        """Draw possible target cells for each source cell.

        For a dose between those fitted, of any perturbation, samples at the two nearest fitted
        doses are interpolated linearly in the strength of the dose, a cell's with the same noise.

        Parameters
        ----------
        source
            Source cells, shape `(n, p)`.
        condition
            Conditions, shape `(n, c)`, or one `(c,)` for all.
        n_samples
            Samples per cell.
        guidance
            Strength of the condition: 1 for the learned distribution, more to exaggerate the effect
            (classifier-free guidance, Ho and Salimans 2022, arXiv 2207.12598). Requires
            `condition_dropout`.
        rng
            Seed; the random numbers do not depend on the device.
        integrator
            Integrator, a :class:`~scgenot.flow.ODE` or :class:`~scgenot.flow.SDE`. None for six
            midpoint steps, or for the sampler of :func:`~scgenot.model.distill`, which is used
            without guidance and for the conditions that it was trained on.
        batch_size
            Number of points integrated at a time; None for 4,096, or 65,536 on a GPU. With an SDE
            the samples depend on it.
        antithetic
            Whether samples of a cell come in pairs with opposite noise: sample `k` and sample
            `ceil(n_samples / 2) + k`. Each is a sample of the distribution, and their mean is more
            accurate, but they are not independent.

        Returns
        -------
        Samples in the units of the target cells, shape `(n, n_samples, q)`, on the CPU.

        Raises
        ------
        ValueError
            When a shape is wrong, or the weights of the model are not finite.
        FloatingPointError
            When draws are not finite.
        """
        options = guidance, rng, integrator, batch_size
        return draw(self, source, condition, n_samples, *options, antithetic=antithetic)

    @typed
    @torch.no_grad()
    def mean(
        self,
        source: Cells,
        condition: Cells | None = None,
        *,
        n_samples: int = 32,
        guidance: float = 1.0,
        rng: Rng = 0,
        integrator: Integrator | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Estimate the conditional mean `E[y | x]` of each source cell by the mean of samples.

        Samples are antithetic, so that 32 are about as accurate as 1,000 independent ones where the
        flow is nearly linear in the noise.

        Parameters
        ----------
        source, condition, n_samples, guidance, rng, integrator, batch_size
            As in :meth:`sample`.

        Returns
        -------
        Means in the units of the target cells, shape `(n, q)`, on the CPU.
        """
        options = guidance, rng, integrator, batch_size
        return draw(self, source, condition, n_samples, *options, antithetic=True).mean(1)

    @typed
    def log_prob(
        self,
        source: Cells,
        target: Cells,
        condition: Cells | None = None,
        *,
        exact: bool = True,
        rng: Rng = 0,
        integrator: Integrator = DENSITY,
        batch_size: int | None = None,
    ) -> Tensor:
        """Log-density `log pi(y | x)` of target cells given source cells, one each.

        For a dose between fitted ones, it is that of the flow at this dose, not that of the
        interpolated samples.

        Parameters
        ----------
        source, target
            Cells, shapes `(n, p)` and `(n, q)`.
        exact
            Whether to compute the exact divergence, with q backward passes per evaluation; False
            for an unbiased estimate from one random direction per cell.
        condition, rng, integrator, batch_size
            As in :meth:`sample`. The seed is that of the random directions. An SDE has no density.

        Returns
        -------
        Log-densities with respect to the units of the target cells, shape `(n,)`.
        """
        options = rng, integrator, batch_size
        return density(self, source, target, condition, *options, exact=exact)

    def _take_apart(self) -> tuple[dict, dict[str, np.ndarray]]:
        return take_apart(self)

    @classmethod
    def _put_together(
        cls,
        config: Mapping,
        arrays: Mapping[str, np.ndarray],
        *,
        field: FieldFactory | None = None,
        encoder: nn.Module | None = None,
        device: str | torch.device | None = None,
    ) -> "Genot":
        return put_together(cls, config, arrays, field=field, encoder=encoder, device=device)
