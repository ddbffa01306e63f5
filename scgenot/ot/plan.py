"""Plans: what every solver returns, whatever it is made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scgenot.ot.blocks import row_blocks
from scgenot.ot.diagnostics import Diagnostics
from scgenot.ot.draw import shuffled, systematic, uniform

# what a plan may offer besides `sample_pairs`
OPTIONAL = (
    *("shape", "device", "rows", "marginals", "barycenter", "mass_blocks", "growth", "to_sparse"),
    *("sample", "potential", "effective_targets", "displacement", "diagnostics", "to_arrays"),
    *("transposed", "kept"),
)


class Plan(Protocol):
    """Protocol of a plan, the joint mass of source and target cells.

    Only `sample_pairs` is required. Functions look up other methods, such as `rows`, `marginals`,
    `barycenter`, `mass_blocks`, `growth`, `to_sparse` or `diagnostics`, by name; see the methods of
    :class:`Coupling` for their arguments and results.

    See Also
    --------
    :class:`~scgenot.ot.Coupling`, :class:`~scgenot.ot.SparsePlan` : plans with all methods.
    """

    def sample_pairs(self, n_pairs: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs; indices of source and of target cells, two arrays of shape `(n_pairs,)`."""


class UnsupportedPlan(ValueError, AttributeError):
    """A plan lacks a method that a function needs.

    It is also an AttributeError, so that `getattr` with a default treats the attribute as missing.

    See Also
    --------
    :class:`~scgenot.ot.Plan` : required and optional methods of a plan.
    """


def require(plan: Plan, name: str, purpose: str) -> Any:
    """Return an optional attribute of a plan.

    Parameters
    ----------
    plan
        The plan.
    name
        Name of the method or attribute.
    purpose
        Who needs it, such as "sg.tl.coupling"; for the message.

    Raises
    ------
    UnsupportedPlan
        When the plan does not offer it.

    Examples
    --------
    >>> blocks = require(plan, "mass_blocks", "sg.tl.coupling")()
    """
    found = getattr(plan, name, None)
    if found is None:
        kind = getattr(plan, "name", type(plan).__name__)
        offers = [other for other in OPTIONAL if getattr(plan, other, None) is not None]
        listed = ", ".join(f"`{other}`" for other in ("sample_pairs", *offers))
        raise UnsupportedPlan(
            f"`{purpose}` needs a plan with `{name}`; a plan of type {kind} offers {listed} only: "
            "use a solver that returns a coupling, such as `sg.ot.Sinkhorn`."
        )
    return found


def chosen_cells(cells, fitted: Tensor) -> Tensor:
    """Return the fitted source cells with the given indices, or new ones as they are."""
    found = torch.as_tensor(cells, device=fitted.device)
    if found.ndim == 1:
        return fitted[found]
    if found.ndim != 2 or found.shape[1] != fitted.shape[1]:
        raise ValueError(
            f"`cells` has shape {tuple(found.shape)}: give indices of source cells, shape (k,), or "
            f"new cells in the space of the coupling, shape (k, {fitted.shape[1]})."
        )
    return found.to(fitted.dtype)


@dataclass(frozen=True, eq=False)
class SparsePlan:
    """Plan as a sparse matrix.

    Parameters
    ----------
    mass
        Joint mass, shape `(n, m)`, non-negative.
    weights
        Weights of the source cells, relative to which growth is computed, shape `(n,)`; None for
        uniform.
    diagnostics
        Diagnostics of the solver, if known.
    shares
        Shares of the mass of source and target cells that a partial plan matches, shapes `(n,)`
        and `(m,)`.

    Raises
    ------
    ValueError
        When an entry is negative or not finite, or there is no mass.

    Examples
    --------
    >>> plan = sg.ot.SparsePlan(coupling.to_sparse(top_k=50))
    """

    mass: sp.csr_matrix
    weights: np.ndarray | None = None
    diagnostics: Diagnostics | None = None
    shares: tuple[np.ndarray, np.ndarray] | None = None

    def __post_init__(self):
        mass = sp.csr_matrix(self.mass, dtype=float)
        if not (np.isfinite(mass.data).all() and (mass.data >= 0).all()):
            raise ValueError("`mass` must be finite and non-negative.")
        if not mass.has_canonical_format or not mass.data.all():
            mass = mass.copy()
            mass.sum_duplicates()
            mass.eliminate_zeros()
        object.__setattr__(self, "mass", mass)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of source and of target cells."""
        return self.mass.shape

    @property
    def is_balanced(self) -> bool:
        """Whether the marginals are taken to be the weights."""
        return self.shares is None

    def kept(self) -> tuple[Tensor, Tensor] | None:
        """Shares of mass that cells keep, shapes `(n,)` and `(m,)`; None where all is matched."""
        return None if self.shares is None else tuple(map(torch.as_tensor, self.shares))

    @property
    def device(self) -> torch.device:
        """Device of the plan; generators passed to it may be of any device."""
        return torch.device("cpu")

    def _conditional(self, cells) -> sp.csr_matrix:
        """Rows scaled to sum 1; those without mass stay empty."""
        chosen = self.mass if cells is None else self.mass[np.asarray(cells)]
        total = np.asarray(chosen.sum(1)).ravel()
        inverse = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
        return sp.diags_array(inverse) @ chosen

    def rows(self, cells: Tensor | None = None) -> Tensor:
        """Conditional distribution of the targets given source cells, shape `(k, m)`."""
        return torch.as_tensor(self._conditional(cells).toarray())

    def marginals(self) -> tuple[Tensor, Tensor]:
        """Row and column sums of the plan, shapes `(n,)` and `(m,)`."""
        return tuple(torch.as_tensor(np.asarray(self.mass.sum(axis)).ravel()) for axis in (1, 0))

    def mass_blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of source cells and the plan's mass in their rows, shape `(k, m)`."""
        for rows in row_blocks(*self.shape):
            yield rows, torch.as_tensor(self.mass[rows].toarray())

    def growth(self, cells: Tensor | None = None) -> Tensor:
        """Mass that leaves source cells divided by their weight, shape `(k,)`."""
        n = self.shape[0]
        weights = np.full(n, 1 / n) if self.weights is None else np.asarray(self.weights, float)
        sent = np.asarray(self.mass.sum(1)).ravel()
        growth = torch.as_tensor(np.divide(sent, weights, out=np.zeros(n), where=weights > 0))
        return growth if cells is None else growth[torch.as_tensor(cells)]

    def barycenter(self, cells: Tensor | None = None, values: Tensor | None = None) -> Tensor:
        """Mean of `values`, shape `(m, d)`, over the targets of source cells, shape `(k, d)`."""
        if values is None:
            raise ValueError("`values` is missing: a sparse plan does not know its target cells.")
        return torch.as_tensor(self._conditional(cells) @ np.asarray(values, dtype=float))

    def sample(
        self, cells: Tensor | None = None, *, n_samples: int = 1, generator: torch.Generator
    ) -> Tensor:
        """Draw targets of source cells, indices of shape `(k, n_samples)`."""
        source = torch.arange(self.shape[0]) if cells is None else torch.as_tensor(cells)
        return self._targets(source.repeat_interleave(n_samples), generator).view(-1, n_samples)

    def sample_pairs(self, n_pairs: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs from the plan, as :meth:`Coupling.sample_pairs`."""
        source = systematic(self.marginals()[0], n_pairs, generator)
        source = source[shuffled(n_pairs, generator, source.device)]
        return source, self._targets(source, generator)

    def _targets(self, source: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a target for each of some source cells."""
        start, stop = (torch.as_tensor(self.mass.indptr[k:].astype(int)) for k in (0, 1))
        if (start[source] == stop[source]).any():
            raise ValueError("a source cell has no mass in the plan: no target can be drawn.")
        before = torch.cat([torch.zeros(1), torch.as_tensor(self.mass.data)]).cumsum(0)
        share = uniform((len(source),), generator, source.device)
        level = before[start[source]].lerp(before[stop[source]], share)
        entry = torch.searchsorted(before, level, right=True) - 1
        entry = entry.clamp(start[source], stop[source] - 1)
        return torch.as_tensor(self.mass.indices.astype(int))[entry]

    def to_sparse(self, top_k: int | None = None) -> sp.csr_matrix:
        """Keep the largest entries of each row; all when None."""
        if top_k is None:
            return self.mass
        plan = self.mass.tocoo()
        order = np.lexsort((-plan.data, plan.row))
        rank = np.arange(plan.nnz) - self.mass.indptr[plan.row[order]]
        kept = order[rank < top_k]
        entries = plan.data[kept], (plan.row[kept], plan.col[kept])
        return sp.csr_matrix(entries, shape=plan.shape)

    def to_arrays(self) -> dict:
        """Return what is stored of the plan."""
        return {"kind": "sparse", "mass": self.mass}


@dataclass(frozen=True)
class UnstoredPlan:
    """What a file holds of a plan that could only be drawn from: its name."""

    name: str

    def sample_pairs(self, n_pairs: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Raise an error: the plan itself was not stored."""
        raise UnsupportedPlan(
            f"A plan of type {self.name} is not stored with a fit: solve the pair again to draw "
            "from it."
        )

    def __getattr__(self, name: str):
        if name in OPTIONAL:
            raise UnsupportedPlan(
                f"A plan of type {self.name} offers `sample_pairs` only and is not stored with a "
                f"fit: `{name}` needs a solver that returns a coupling, such as `sg.ot.Sinkhorn`."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def is_balanced(plan) -> bool:
    """Whether the marginals of a plan are the weights, by what it says of itself."""
    tau = getattr(plan, "tau", (1.0, 1.0))
    return getattr(plan, "is_balanced", all(side == 1 for side in tau))
