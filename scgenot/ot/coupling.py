"""A coupling: a cost and two potentials, from which every row, sample and marginal follows."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import scipy.sparse as sp
import torch
from torch import Tensor

from scgenot.ot import draw
from scgenot.ot.blocks import exp_, laws, log_sums, row_blocks, row_sums
from scgenot.ot.confidence import Confidence
from scgenot.ot.cost import Cost, against
from scgenot.ot.diagnostics import Diagnostics
from scgenot.ot.elastic_cost import displaced
from scgenot.ot.partial import log_growth
from scgenot.ot.plan import chosen_cells
from scgenot.ot.precision import in_own_precision


@dataclass(frozen=True)
class Coupling:
    """Entropic coupling `P_ij = a_i b_j exp((f_i + g_j - c(x_i, y_j)) / eps)` of two populations.

    No n x m array is stored: rows are computed from cost and potentials, also for new cells. `f` is
    the update `-tau eps log sum_j b_j exp((g_j - c(x_i, y_j)) / eps)`; results derive from `g`.

    Parameters
    ----------
    cost
        Cost function `(x, y) -> (n, m)`.
    x, y
        Source and target cells, shapes `(n, p)` and `(m, q)`.
    a, b
        Their weights, shapes `(n,)` and `(m,)`, each summing to 1.
    f, g, epsilon
        Potentials, shapes `(n,)` and `(m,)`, and entropic regularization, in the units of the cost.
    tau
        Relaxation of the source and of the target side; 1 when balanced.
    diagnostics, confidence
        Diagnostics of the solver, and reliability of the orientation of a quadratic coupling; None
        without a search.
    price
        Price of a unit of unmatched mass, on either side, in the units of the cost: an upper bound
        of the potentials. None if all mass is matched.

    Examples
    --------
    >>> coupling.rows(torch.arange(3)).sum(1)  # laws of the targets of three cells
    """

    cost: Cost
    x: Tensor
    y: Tensor
    a: Tensor
    b: Tensor
    f: Tensor
    g: Tensor
    epsilon: float
    tau: tuple[float, float] = (1.0, 1.0)
    diagnostics: Diagnostics | None = field(default=None, repr=False)
    confidence: Confidence | None = None
    price: float | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of source and of target cells."""
        return len(self.x), len(self.y)

    @property
    def device(self) -> torch.device:
        """Device of the coupling; generators passed to it may be of any device."""
        return self.x.device

    def _log_rows(self, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield blocks of `log b_j + (g_j - c_ij) / eps`: logarithms of rows, up to a constant."""
        shift = self.g / self.epsilon + self.b.log()
        cost = against(self.cost, self.y)
        for rows in row_blocks(len(x), len(self.y), x.device):
            yield rows, (cost(x[rows]) / -self.epsilon).add_(shift)

    def _log_sums(self, cells: Tensor | None) -> Tensor:
        """Return `log sum_j b_j exp((g_j - c_ij) / eps)`."""
        shift = self.g / self.epsilon + self.b.log()
        return row_sums(self.cost, self._cells(cells), self.y, shift, self.epsilon)

    def _cells(self, cells: Tensor | None) -> Tensor:
        """Return all source cells, those with the given indices, or new ones."""
        return self.x if cells is None else chosen_cells(cells, self.x)

    def rows(self, cells: Tensor | None = None) -> Tensor:
        """Conditional distribution of the targets given source cells.

        Parameters
        ----------
        cells
            Indices of source cells, shape `(k,)`, or new cells, shape `(k, p)`; None for all.

        Returns
        -------
        Probabilities, shape `(k, m)`; each row sums to 1.
        """
        x = self._cells(cells)
        out = torch.empty(len(x), len(self.y), dtype=x.dtype, device=x.device)
        for rows, log_p in self._log_rows(x):
            out[rows] = laws(log_p)
        return out

    def potential(self, cells: Tensor | None = None) -> Tensor:
        """Source potential: `-tau eps log sum_j b_j exp((g_j - c(x, y_j)) / eps)`, up to the price.

        Parameters
        ----------
        cells
            As in :meth:`rows`.

        Returns
        -------
        Potentials, shape `(k,)`, in the units of the cost.
        """
        found = -self.tau[0] * self.epsilon * self._log_sums(cells)
        return found if self.price is None else found.clamp(max=self.price)

    def growth(self, cells: Tensor | None = None) -> Tensor:
        """Mass that leaves source cells divided by their weight, `(P 1)_i / a_i`; 1 if balanced.

        Parameters
        ----------
        cells
            As in :meth:`rows`.

        Returns
        -------
        Ratios, shape `(k,)`.
        """
        if self._sends_all:
            return torch.ones_like(self._cells(cells)[:, 0])
        return self._log_growth(self._log_sums(cells)).exp()

    def kept(self) -> tuple[Tensor, Tensor] | None:
        """Matched shares of a partial plan, shapes `(n,)` and `(m,)`; None for other plans."""
        if self.price is None:
            return None
        return self.growth(), (self.marginals()[1] / self.b).clamp(max=1)

    @property
    def is_balanced(self) -> bool:
        """Whether the marginals of the plan are the weights."""
        return set(self.tau) == {1.0} and self.price is None

    @property
    def _sends_all(self) -> bool:
        """Whether each source cell sends its weight."""
        return self.tau[0] == 1 and self.price is None

    def _log_growth(self, log_sum: Tensor) -> Tensor:
        """Logarithm of growth from the logarithms of the row sums."""
        return log_growth(log_sum, self.epsilon, self.tau[0], self.price)

    def marginals(self) -> tuple[Tensor, Tensor]:
        """Row and column sums of the plan, shapes `(n,)` and `(m,)`."""
        source, target = torch.empty_like(self.a), torch.zeros_like(self.b)
        for rows, block in self.mass_blocks():
            source[rows] = block.sum(1)
            target += block.sum(0)
        return source, target

    def mass_blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of source cells and the mass in their rows, shape `(k, m)`."""
        for rows, log_p in self._log_rows(self.x):
            # f is the update that g gives; a row less its own sum is exact however large f is
            log_sum = log_sums(log_p.clone())
            log_p -= log_sum[:, None]
            log_p += (self._log_growth(log_sum) + self.a[rows].log())[:, None]
            yield rows, exp_(log_p)

    @in_own_precision
    def barycenter(self, cells: Tensor | None = None, values: Tensor | None = None) -> Tensor:
        """Mean of the conditional distribution, with less variance than cells have.

        Parameters
        ----------
        cells
            As in :meth:`rows`.
        values
            Values to average over the targets, shape `(m, d)`; None for the target cells.

        Returns
        -------
        Means, shape `(k, d)`.
        """
        x = self._cells(cells)
        values = self.y if values is None else torch.as_tensor(values).to(x)
        return torch.cat([laws(log_p) @ values for _, log_p in self._log_rows(x)])

    def displacement(self, cells: Tensor | None = None) -> Tensor:
        """Move cells by the map of the coupling, `T(x) - x`: sparse with an elastic cost.

        With :func:`~scgenot.ot.elastic` it is `-prox(grad f(x))`, with the squared Euclidean cost
        the barycenter minus the cell.

        Parameters
        ----------
        cells
            As in :meth:`rows`.

        Returns
        -------
        Displacements, shape `(k, p)`; `UnsupportedPlan` is raised for other costs.
        """
        x = self._cells(cells)
        return displaced(self.cost, x, self.y, (laws(log_p) for _, log_p in self._log_rows(x)))

    def sample(
        self, cells: Tensor | None = None, *, n_samples: int = 1, generator: torch.Generator
    ) -> Tensor:
        """Draw targets for each source cell, independently.

        Parameters
        ----------
        cells
            As in :meth:`rows`.
        n_samples
            Samples per cell.
        generator
            Source of random numbers, on any device.

        Returns
        -------
        Indices of target cells, shape `(k, n_samples)`.
        """
        x = self._cells(cells)
        draws = torch.empty(len(x), n_samples, dtype=torch.long, device=x.device)
        quantiles = draw.uniform(draws.shape, generator, x.device)
        for rows, log_p in self._log_rows(x):
            draws[rows] = draw.invert(laws(log_p).cumsum(1), quantiles[rows])
        return draws

    def sample_pairs(self, n_pairs: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs; each source cell occurs its expected number of times, rounded up or down.

        Parameters
        ----------
        n_pairs
            Number of pairs.
        generator
            Source of random numbers, on any device.

        Returns
        -------
        Indices of source and of target cells, two arrays of shape `(n_pairs,)`, in random order.
        """
        # in logarithms: of distant populations the growth underflows
        log_mass = self.a.double().log()
        if not self._sends_all:
            log_mass += self._log_growth(self._log_sums(None).double())
        mass = log_mass.softmax(0)
        source = draw.systematic(mass, n_pairs, generator)
        level = draw.uniform((n_pairs,), generator, mass.device)
        target = torch.empty_like(source)
        first = torch.searchsorted(source, torch.arange(len(mass) + 1).to(source)).tolist()
        for rows, log_p in self._log_rows(self.x):
            pairs = slice(first[rows.start], first[rows.stop])
            target[pairs] = draw.invert_rows(laws(log_p), source[pairs] - rows.start, level[pairs])
        order = draw.shuffled(n_pairs, generator, mass.device)
        return source[order], target[order]

    def effective_targets(self, cells: Tensor | None = None) -> Tensor:
        """Effective number of targets of each source cell, `1 / sum_j p_j^2`, shape `(k,)`."""
        x = self._cells(cells)
        return torch.cat([1 / laws(log_p).square().sum(1) for _, log_p in self._log_rows(x)])

    def to_sparse(self, top_k: int = 50) -> sp.csr_matrix:
        """Keep the largest entries of each row.

        Parameters
        ----------
        top_k
            Number of entries to keep per source cell.

        Returns
        -------
        Joint mass, a sparse `(n, m)` matrix with source cells in rows. The mass of the other
        entries is dropped and not redistributed.
        """
        return draw.largest_entries(self.mass_blocks(), min(top_k, len(self.y)), self.shape)

    def transposed(self) -> "Coupling":
        """Return the same plan from target to source cells; its cost cannot be stored."""
        cost, sides = self.cost, (self.y, self.x, self.b, self.a, self.g, self.f)
        options = {"tau": self.tau[::-1], "price": self.price}
        return Coupling(lambda y, x: cost(x, y).T.contiguous(), *sides, self.epsilon, **options)

    def to_arrays(self) -> dict:
        """Return what is stored of the plan, see :func:`scgenot.ot.store.plan_to_arrays`."""
        from scgenot.ot.store import coupling_to_arrays  # which makes couplings itself

        return coupling_to_arrays(self)
