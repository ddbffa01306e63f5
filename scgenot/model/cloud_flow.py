"""Populations as clouds of cells: a flow of all cells of a population."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scgenot._check import check_count
from scgenot._random import Rng, numpy_rng, torch_rng
from scgenot._typed import typed
from scgenot.flow.ode import integrate
from scgenot.flow.set_field import SetField
from scgenot.model.population_storage import StoredModel

STEPS = 24  # of the integration
BLOCK = 2**14  # cells at a time
N_HEADS = 4


class CloudFlow(StoredModel):
    """Generative model of clouds of cells, given conditions or a paired population.

    A velocity field of all cells of a population (:class:`~scgenot.flow.SetField`) maps noise, or
    the cells of the paired population, to the cells of a population of any shape and number of
    cells (Wasserstein Flow Matching, arXiv 2411.00698).

    Parameters
    ----------
    dim
        Number of dimensions d of the cells.
    condition_dim
        Length of an encoded condition.
    width, depth
        Size of the field.

    See Also
    --------
    :func:`~scgenot.tl.fit_populations` : fits it, with `kind="cloud"`.
    """

    kind = "cloud flow"
    SIZES = ("dim", "condition_dim", "width", "depth")

    def __init__(self, dim: int, condition_dim: int = 0, width: int = 64, depth: int = 4):
        super().__init__()
        self.dim, self.condition_dim, self.width, self.depth = dim, condition_dim, width, depth
        self.register_buffer("center", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        # a further column says that the condition is hidden
        shown = condition_dim + (condition_dim > 0)
        self.field = SetField(dim, shown, width=width, depth=depth, n_heads=N_HEADS)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.center.device

    def fit_units(self, clouds: Sequence[np.ndarray]) -> None:
        """Fit means and standard deviations, with equal weights of populations.

        Parameters
        ----------
        clouds
            Cells of each population, shapes `(n_k, d)`.
        """
        means = np.array([cloud.mean(0) for cloud in clouds])
        squares = np.array([np.square(cloud - means.mean(0)).mean(0) for cloud in clouds])
        std = np.sqrt(squares.mean(0))
        std[std == 0] = 1.0
        self.center.copy_(torch.from_numpy(means.mean(0)))
        self.scale.copy_(torch.from_numpy(std))

    def velocity(
        self, t: Tensor, cells: Tensor, condition: Tensor, hidden: Tensor, padding: Tensor
    ) -> Tensor:
        """Velocity of the cells of populations in standard units.

        Parameters
        ----------
        t
            Times, shape `(b,)`.
        cells, padding
            Cells, shape `(b, n, d)`, and a mask of missing cells, shape `(b, n)`.
        condition, hidden
            Conditions, shape `(b, c)`, and which of them are hidden, shape `(b,)`.

        Returns
        -------
        Velocities, shape of `cells`.
        """
        if self.condition_dim:
            hidden = hidden[:, None].to(condition)
            condition = torch.cat([condition * (1 - hidden), hidden], 1)
        return self.field(t, cells, condition, padding)

    @typed
    @torch.no_grad()
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
        condition
            Conditions, shape `(n, c)`; `c` may be 0.
        sources
            Cells of the paired populations, one for each row.
        n_cells
            Number of cells of each population. The same number of cells of a paired population is
            moved, drawn with replacement if it has fewer.
        expected
            Not used: the prediction for a paired population is deterministic.
        guidance
            Weight of the condition: 1 is the learned distribution, larger values exaggerate it.
        rng
            Seed; the same seed gives the same bits.

        Returns
        -------
        Cells, shapes `(n_cells, d)`.

        Raises
        ------
        ValueError
            When there are no conditions.
        """
        check_count("len(condition)", len(condition), 1)
        rng = numpy_rng(rng)
        shape = len(condition), n_cells, self.dim
        if sources is None:
            start = torch.randn(shape, generator=torch_rng(rng))
        else:
            chosen = [cloud[some_rows(len(cloud), n_cells, rng)] for cloud in sources]
            start = torch.from_numpy(np.stack(chosen)).float()
            start = (start - self.center.cpu()) / self.scale.cpu()
        condition = torch.as_tensor(condition, dtype=torch.float32)
        found, size = [], max(1, BLOCK // n_cells)
        for k in range(0, len(start), size):
            rows = slice(k, k + size)
            given, z = condition[rows].to(self.device), start[rows].to(self.device)
            z = integrate(self._guided(given, z, guidance), z, n_steps=STEPS)
            found += list((z * self.scale + self.center).cpu().double().numpy())
        return found

    def _guided(self, condition: Tensor, z: Tensor, guidance: float):
        """Return the velocity as a function of time and cells, its condition weighted."""
        hidden = torch.zeros(len(z), device=z.device)
        padding = torch.zeros(z.shape[:2], dtype=torch.bool, device=z.device)

        def velocity(t: Tensor, z: Tensor) -> Tensor:
            times = t.expand(len(z))
            told = self.velocity(times, z, condition, hidden, padding)
            if guidance == 1 or not self.condition_dim:
                return told
            untold = self.velocity(times, z, condition, hidden + 1, padding)
            return untold + guidance * (told - untold)

        return velocity


def some_rows(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rows, each as often as others give or take one."""
    rounds = [rng.permutation(n) for _ in range(-(-size // n))]
    return np.concatenate(rounds)[:size]
