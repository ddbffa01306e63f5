"""Plans of minibatches: for populations too large, or too long in coming, to couple as a whole."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scgenot._check import check_count
from scgenot._random import torch_rng
from scgenot._typed import check_fields
from scgenot._warn import warn_user
from scgenot.ot.diagnostics import Diagnostics, describe
from scgenot.ot.draw import systematic
from scgenot.ot.many import each_solved
from scgenot.ot.plan import OPTIONAL, Plan, UnsupportedPlan
from scgenot.pair import Pair

# batches of one call that differ in mass: so many at least, or their masses could not be weighed
FEWEST_BATCHES = 8
# masses that differ less from 1 are of balanced plans
BALANCED = 1e-3
# draws per source cell that stand for the plan in a file
N_DRAWS = 32


@dataclass(frozen=True)
class Minibatch:
    """Couple random batches of cells instead of whole populations.

    Prefer whole populations, or a large subset extended to all cells (`max_cells` of the solvers):
    a batch does not contain the best matches of a cell, and the mixture of batch plans, which a
    network learns, is more diffuse. On Gaussians in 10 dimensions with epsilon .05 of the mean
    cost, batches of 128 have 86 % of the covariance of source and target, and 1.4 times the
    variance of targets given a source; batches of 1,024 have 95 % and 1.14 times. Quadratic
    couplings are worse: each batch selects its own flip or rotation.

    Parameters
    ----------
    solver
        Solver of a batch, `(pair) -> plan`. The solvers of `sg.ot` keep the epsilon of the first
        batch.
    batch_size
        Number of cells per side of a batch; smaller populations are used completely.
    rng
        Seed of the first batch, whose diagnostics are reported.

    Raises
    ------
    TypeError
        When `batch_size` is not an integer.
    ValueError
        When `batch_size` is below 2.

    Examples
    --------
    >>> coupling = sg.ot.Minibatch(sg.ot.Sinkhorn(epsilon=0.05), batch_size=64)(pair)
    >>> i, j = coupling.sample_pairs(512, generator=torch.Generator().manual_seed(0))
    """

    solver: Callable[[Pair], Plan]
    batch_size: int = 1024
    rng: int = 0

    def __post_init__(self):
        check_fields(self)
        check_count("batch_size", self.batch_size, 2)
        if not getattr(self.solver, "has_orientation", True):
            warn_user(
                "`Minibatch` of a quadratic coupling: each batch selects its own flip or rotation, "
                "so that matches of a cell may contradict each other. Solve once on a subset "
                "(`max_cells`), or use shared features (`FusedGromovWasserstein`)."
            )

    def __call__(self, pair: Pair) -> "MinibatchCoupling":
        """Couple one batch, and make what couples further ones."""
        batch = Subset.draw(pair, self.batch_size, torch.Generator().manual_seed(self.rng))
        first, solver = self.solver(batch.pair), self.solver
        found = getattr(first, "diagnostics", None)
        if found is not None and hasattr(solver, "with_epsilon_of"):
            solver = solver.with_epsilon_of(found)
        return MinibatchCoupling(solver, pair, self.batch_size, first)


@dataclass(frozen=True)
class Subset:
    """Some of the cells of a pair."""

    pair: Pair
    source: Tensor
    target: Tensor

    @classmethod
    def draw(cls, pair: Pair, size: int, generator: torch.Generator) -> "Subset":
        """Draw cells by their weights, or take all with their weights when no more than `size`."""
        chosen, changes = [], {}
        for side in ("source", "target"):
            weights = getattr(pair, f"{side}_weights")
            whole = len(weights) <= size
            cells = torch.arange(len(weights))
            if not whole:
                cells = draw_cells(torch.as_tensor(weights), size, generator).cpu()
            changes[f"{side}_weights"] = weights if whole else None
            for name in (side, f"{side}_shared"):
                values = getattr(pair, name)
                changes[name] = None if values is None else values[cells.numpy()]
            chosen.append(cells)
        return cls(replace(pair, **changes), *chosen)


def draw_cells(weights: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draw cells so that each comes up its expected number of times, give or take one."""
    order = torch.randperm(len(weights), generator=generator, device=generator.device)
    return order[systematic(weights.to(order.device)[order], size, generator)]


@dataclass(frozen=True, eq=False)
class MinibatchCoupling:
    """Plan from which pairs are drawn by coupling random batches.

    Other results of a :class:`Coupling`, such as rows, barycenters or growth, require a plan of
    whole populations and raise an error that names an alternative.

    Parameters
    ----------
    solver
        Solver of a batch.
    pair
        The populations.
    batch_size
        Number of cells per side of a batch.
    first
        Plan of the first batch.

    See Also
    --------
    :class:`~scgenot.ot.Minibatch` : the solver that returns it.
    """

    solver: Callable[[Pair], Plan]
    pair: Pair
    batch_size: int
    first: Plan

    def sample_pairs(self, n_pairs: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs from new batches, `batch_size` pairs from each.

        The number of pairs from a batch is proportional to the mass of its plan. If mass is lost,
        at least 8 batches are used.

        Parameters
        ----------
        n_pairs
            Number of pairs.
        generator
            Source of random numbers.

        Returns
        -------
        Indices of source and of target cells, two arrays of shape `(n_pairs,)`, in random order.
        """
        if max(self.shape) <= self.batch_size:
            return self.first.sample_pairs(n_pairs, generator=generator)
        n_batches = math.ceil(n_pairs / self.batch_size)
        if _mass(self.first) != 1:
            n_batches = max(n_batches, FEWEST_BATCHES)
        batches = [Subset.draw(self.pair, self.batch_size, generator) for _ in range(n_batches)]
        with warnings.catch_warnings():  # the first batch has warned
            warnings.simplefilter("ignore", UserWarning)
            solved = dict(each_solved(self.solver, [batch.pair for batch in batches]))
        plans = [solved[k] for k in range(n_batches)]
        mass = np.cumsum([_mass(plan) for plan in plans])
        shares = np.diff(np.floor(n_pairs * mass / mass[-1] + 1e-6), prepend=0).astype(int)
        drawn = []
        for batch, plan, share in zip(batches, plans, shares, strict=True):
            i, j = plan.sample_pairs(int(share), generator=generator)
            drawn.append(torch.stack([batch.source.to(i.device)[i], batch.target.to(j.device)[j]]))
        drawn = torch.cat(drawn, 1)
        order = torch.randperm(n_pairs, generator=generator, device=generator.device)
        return tuple(drawn[:, order.to(drawn.device)])

    @property
    def diagnostics(self) -> Diagnostics | None:
        """Diagnostics of the first batch; None if its solver has none."""
        found = getattr(self.first, "diagnostics", None)
        size = " x ".join(str(min(self.batch_size, n)) for n in self.shape)
        batch = f"{size} cells a batch, figures of the first"
        return found and replace(found, method=f"minibatch {found.method}, {batch}")

    @property
    def device(self) -> torch.device:
        """Device of the solver."""
        return getattr(self.first, "device", torch.device("cpu"))

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of source and of target cells."""
        return len(self.pair.source), len(self.pair.target)

    def to_arrays(self) -> dict:
        """Return what is stored of the plan: 32 draws for each source cell."""
        n_pairs = N_DRAWS * self.shape[0]
        i, j = self.sample_pairs(n_pairs, generator=torch_rng(0, device=self.device))
        entries = np.full(n_pairs, 1 / n_pairs), (i.cpu().numpy(), j.cpu().numpy())
        return {"kind": "sparse", "mass": sp.coo_matrix(entries, shape=self.shape).tocsr()}

    def __getattr__(self, name: str):
        if name in OPTIONAL:
            raise UnsupportedPlan(
                f"A minibatch coupling offers no `{name}`: each batch has a plan of its own. Draw "
                "from them with `sample_pairs`; or couple without `Minibatch`, with `max_cells` of "
                "the solver: that solves on a random subset and extends the plan to all cells."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _mass(plan: Plan) -> float:
    """Mass of a plan, 1 where it is balanced or does not say."""
    mass = describe(plan)["mass"]
    # a balanced plan has mass 1 up to its tolerance
    return mass if mass > 0 and abs(mass - 1) > BALANCED else 1.0
