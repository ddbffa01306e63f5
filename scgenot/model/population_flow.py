"""Gaussian populations: their distribution given conditions, and a flow that generates them."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scgenot._check import check_count
from scgenot._random import Rng, numpy_rng, torch_rng
from scgenot._typed import typed
from scgenot.flow.field import VelocityField
from scgenot.model.population_storage import StoredModel
from scgenot.population.bures import Gaussians, step
from scgenot.population.cells import draw_cells
from scgenot.population.chart import Chart
from scgenot.population.frame import Frame
from scgenot.population.gaussian import estimate, unshrunk

WISHART = 5  # degrees of freedom of the noise, for each dimension
STEPS = 32  # of the integration


class PopulationFlow(StoredModel):
    """Generative model of Gaussian populations, given conditions or a paired population.

    In the coordinates of :class:`~scgenot.population.chart.Chart`, populations have a Gaussian
    distribution whose mean depends on the condition and on the paired population, if any. A flow in
    the Bures-Wasserstein geometry (Wasserstein Flow Matching, arXiv 2411.00698) maps noise, with
    normal means and Wishart covariances, to this distribution. A network models the deviation from
    it in the leading factors. Without a network, populations are sampled from the Gaussian
    distribution.

    Parameters
    ----------
    dim
        Number of dimensions d of the cells.
    condition_dim
        Length of an encoded condition.
    n_anchors
        Number of centers of radial basis functions of the condition.
    n_sources
        Number of factors of the paired population that the mean depends on; 0 without one.
    n_factors
        Number of factors of the Gaussian distribution.
    width, depth
        Size of the network; `width=0` for no network.

    See Also
    --------
    :func:`~scgenot.tl.fit_populations` : fits it.
    """

    kind = "population flow"
    SIZES = ("dim", "condition_dim", "n_anchors", "n_sources", "n_factors", "width", "depth")

    def __init__(
        self,
        dim: int,
        condition_dim: int = 0,
        n_anchors: int = 0,
        n_sources: int = 0,
        n_factors: int = 0,
        width: int = 0,
        depth: int = 2,
    ):
        super().__init__()
        self.dim, self.condition_dim, self.n_anchors = dim, condition_dim, n_anchors
        self.n_sources, self.n_factors, self.width, self.depth = n_sources, n_factors, width, depth
        self.chart = Chart(dim)
        size = self.chart.size
        self.frame = Frame(size, n_factors)
        shapes = {
            "anchors": (n_anchors, condition_dim),
            "bandwidth": (),
            "intercept": (size,),
            "weights": (condition_dim + n_anchors + n_sources, size),
            "source_center": (size,),
            "carried": (size,),
            "source_basis": (size, n_sources),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.ones(shape, dtype=torch.double))
        self.field = None
        if width:
            self.field = VelocityField(max(condition_dim, 1), n_factors, width=width, depth=depth)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.intercept.device

    def features(self, condition: Tensor, source: Tensor | None = None) -> Tensor:
        """Return the features of the linear model of the mean.

        They are conditions, radial basis functions of these, and factors of the paired population.

        Parameters
        ----------
        condition
            Conditions, shape `(n, c)`.
        source
            Coordinates of the paired populations, shape `(n, D)`; None without.

        Returns
        -------
        Features, shape `(n, f)`.
        """
        parts = [condition, radial(condition, self.anchors, self.bandwidth)]
        if self.n_sources:
            parts.append((source - self.source_center) @ self.source_basis)
        return torch.cat(parts, -1)

    def mean(self, condition: Tensor, source: Tensor | None = None) -> Tensor:
        """Mean of the Gaussian distribution in the coordinates of the chart.

        Parameters
        ----------
        condition, source
            As in :meth:`features`.

        Returns
        -------
        Means, shape `(n, D)`.
        """
        found = self.intercept + self.features(condition, source) @ self.weights
        return found if source is None else found + self.carried * (source - self.source_center)

    def noise(self, n: int, generator: torch.Generator) -> Gaussians:
        """Sample whitened populations of noise, with normal means and Wishart covariances.

        Parameters
        ----------
        n
            Number of populations.
        generator
            Source of random numbers, on the CPU.

        Returns
        -------
        Noise.
        """
        options = {"generator": generator, "dtype": torch.double}
        freedom = WISHART * self.dim
        normal = torch.randn(n, self.dim, **options)
        root = torch.randn(n, freedom, self.dim, **options).to(self.device)
        mean, std = (part[: self.dim] for part in (self.frame.noise_mean, self.frame.noise_std))
        return Gaussians(mean + std * normal.to(self.device), root.mT @ root / freedom)

    def rate(self, t: Tensor, at: Gaussians, condition: Tensor, mean: Tensor) -> Tensor:
        """Rate at which the coordinates of whitened populations change.

        Parameters
        ----------
        t
            Times, shape `(n, 1)`.
        at
            Populations at these times.
        condition, mean
            Conditions, shape `(n, c)`, and the mean of the Gaussian distribution given these, shape
            `(n, D)`.

        Returns
        -------
        Rates, shape `(n, D)`.
        """
        z = self.frame.coordinates(t, self.chart.coordinates(at), mean)
        rate = self.frame.rate(z, mean)
        if self.field is None:
            return rate
        given = condition if self.condition_dim else torch.zeros_like(t)
        inputs = (t[:, 0], z @ self.frame.basis, given)
        moved = self.field(*(part.float() for part in inputs)).double()
        return rate + self.frame.spread(t, moved @ self.frame.basis.T)

    @typed
    @torch.no_grad()
    def sample(
        self,
        condition: np.ndarray,
        source: Gaussians | None = None,
        *,
        expected: bool = False,
        rng: Rng = 0,
    ) -> Gaussians:
        """Generate one population for each row of conditions.

        Parameters
        ----------
        condition
            Conditions, shape `(n, c)`; `c` may be 0.
        source
            Paired populations, one for each row.
        expected
            Whether to return the mean of the distribution, in its coordinates, instead of a sample.
        rng
            Seed; the same seed gives the same bits.

        Returns
        -------
        Means `(n, d)` and covariances `(n, d, d)`, all positive definite.

        Raises
        ------
        ValueError
            When there are no conditions.
        """
        check_count("len(condition)", len(condition), 1)
        condition = torch.as_tensor(condition, dtype=torch.double).to(self.device)
        generator, origin = torch_rng(rng), None
        if source is not None:
            there = Gaussians(source.mean.to(self.device), source.covariance.to(self.device))
            origin = self.chart.coordinates(self.chart.whiten(there))
        mean = self.mean(condition, origin)
        if self.field is None:
            z = torch.randn(mean.shape, generator=generator, dtype=torch.double).to(self.device)
            found = self.chart.populations(mean if expected else mean + self.frame.color(z))
        elif expected:
            found = self.chart.populations(mean)
        else:
            found = self._flow(self.noise(len(condition), generator), condition, mean)
        found = self.chart.color(found)
        return Gaussians(found.mean.cpu(), found.covariance.cpu())

    @typed
    def clouds(
        self,
        condition: np.ndarray,
        sources: Sequence[np.ndarray] | None = None,
        *,
        n_cells: int,
        expected: bool = False,
        guidance: float = 1.0,
        rng: Rng = 0,
    ) -> list[np.ndarray]:
        """Generate the cells of one population for each row of conditions.

        Parameters
        ----------
        condition, expected
            As in :meth:`sample`.
        sources
            Cells of the paired populations, one for each row.
        n_cells
            Number of cells of each population. With more cells than dimensions, these have exactly
            the generated mean and shrunk covariance.
        guidance
            Must be 1: guidance is only available for clouds.
        rng
            Seed; the same seed gives the same bits.

        Returns
        -------
        Cells, shapes `(n_cells, d)`.

        Raises
        ------
        ValueError
            When there are no conditions, or `guidance` is not 1.
        """
        if guidance != 1:
            raise ValueError(
                f"`guidance={guidance}` needs a fit with `kind='cloud'`: leave it out."
            )
        rng = numpy_rng(rng)
        paired = None if sources is None else estimate(sources)
        found = self.sample(condition, paired, expected=expected, rng=rng).to("cpu")
        if n_cells > self.dim:  # measured covariances are shrunk, and those of new cells will be
            chart = copy.deepcopy(self.chart).cpu()
            white = chart.whiten(found)
            found = chart.color(Gaussians(white.mean, unshrunk(white.covariance, n_cells)))
        return draw_cells(found, n_cells, rng)

    def _flow(self, at: Gaussians, condition: Tensor, mean: Tensor) -> Gaussians:
        """Integrate with steps of the midpoint rule, each a map of the population."""
        eye = torch.eye(self.dim).to(mean)
        dt, t = 1 / STEPS, mean.new_zeros(len(mean), 1)
        for _ in range(STEPS):
            first = self.chart.push(at, self.rate(t, at, condition, mean))
            middle = step(at, first, dt / 2)
            second = self.chart.push(middle, self.rate(t + dt / 2, middle, condition, mean))
            matrix = eye + dt * second.linear @ (eye + dt / 2 * first.linear)
            covariance = matrix @ at.covariance @ matrix.mT
            at = Gaussians(at.mean + dt * second.mean, (covariance + covariance.mT) / 2)
            t = t + dt
        return at


def radial(condition: Tensor, anchors: Tensor, bandwidth: Tensor) -> Tensor:
    """Gaussian functions of the distances from anchors, shape `(n, a)`."""
    if len(anchors) == 0:
        return condition.new_zeros(len(condition), 0)
    return torch.exp(-torch.cdist(condition, anchors).square() / (2 * bandwidth**2))
