"""Descendants and ancestors of observed cells, by the coupling or by the model."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from anndata import AnnData
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from scgenot import get
from scgenot._check import check_count, usable_device
from scgenot._random import Rng, numpy_rng, seed_of
from scgenot.cells.course import Course, read_course
from scgenot.cells.read import check_anndata, representation
from scgenot.cells.tasks.time_course import time_condition
from scgenot.fit.linked import Part, read_part
from scgenot.model import Genot

logger = logging.getLogger("scgenot")

Method = Literal["coupling", "model"]
# positions of source and of target cells, and their rows and columns of K
Block = tuple[np.ndarray, np.ndarray, np.ndarray | sparse.csr_matrix]

# part of a draw for a target cell that no draw meets: nothing as a descendant, enough to have an ancestor
HARDLY = 1e-12


@dataclass(frozen=True)
class Step:
    """Transport between two times, `K_ij`."""

    n_cells: int
    source: np.ndarray
    target: np.ndarray
    blocks: Callable[[], Iterator[Block]]

    def expect(self, values: np.ndarray) -> np.ndarray:
        """Sum values of target cells over the descendants of each source cell, `K v`."""
        out = np.zeros(values.shape)
        for rows, columns, part in self.blocks():
            out[rows] += part @ values[columns]
        return out

    def push(self, mass: np.ndarray) -> np.ndarray:
        """Move mass of source cells to their descendants, `K' w`."""
        out = np.zeros(mass.shape)
        for rows, columns, part in self.blocks():
            out[columns] += part.T @ mass[rows]
        return out

    def pull(self, mass: np.ndarray) -> np.ndarray:
        """Move mass of target cells to their ancestors, `sum_j K_ij / K_.j w_j`."""
        return self.expect((mass.T * self.per_received).T)

    def inherit(self, values: np.ndarray) -> np.ndarray:
        """Average values of source cells over the ancestors of each target cell, `sum_i v_i K_ij / K_.j`."""
        return (self.push(values).T * self.per_received).T

    @cached_property
    def per_received(self) -> np.ndarray:
        """1 over the column sums of K, shape `(n_cells,)`; 0 for cells that receive nothing."""
        received = self.push(np.ones(self.n_cells))
        return np.divide(1.0, received, out=np.zeros(self.n_cells), where=received > 0)


@dataclass(frozen=True)
class Transport:
    """What makes the steps of a fit."""

    adata: AnnData
    course: Course
    method: Method
    n_samples: int
    seed: int
    device: str | None

    @cached_property
    def cells(self) -> np.ndarray:
        """Cells in the representation of the fit, shape `(n_cells, p)`."""
        params = self.course.params
        return representation(self.adata, params.get("use_rep"), layer=params.get("layer"))

    @cached_property
    def model(self) -> Genot:
        """The model of the fit."""
        return get.stored_model(self.course.entry).to(usable_device(self.device))

    def at(self, time: float) -> np.ndarray:
        """Positions of the cells at a time."""
        cells = np.flatnonzero(self.course.times == time)
        if not len(cells):
            raise ValueError(
                f"no cell of `adata` is at {time:g}, a time of the fit: keep some to ask the model."
            )
        return cells

    def step(self, earlier: float, later: float) -> Step:
        """Make the transport of one fitted step."""
        return (coupled if self.method == "coupling" else generated)(self, earlier, later)

    def draws(
        self, source: np.ndarray, earlier: float, later: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw descendants of some cells, shape `(n, n_samples, p)`, and tell how many they have, mean 1."""
        sampled, cells = self.course.sampled, self.cells[source]
        condition = time_condition(sampled, earlier, later)
        # noise of its own for each step, the same whatever was asked for before
        rng = numpy_rng([self.seed, *np.searchsorted(sampled, [earlier, later])])
        draws = self.model.sample(cells, condition, n_samples=self.n_samples, rng=rng).numpy()
        growth = self.model.growth(cells, condition).double().numpy()
        return draws, growth / growth.mean()


def open_transport(
    adata: AnnData,
    key: str,
    method: Method,
    *,
    n_samples: int = 32,
    rng: Rng = 0,
    device: str | None = None,
) -> Transport:
    """Look up the fit of a time course, and check what every question about it takes."""
    check_anndata(adata)
    if method not in ("coupling", "model"):
        raise ValueError(f"`method={method!r}` must be 'coupling' or 'model'.")
    check_count("n_samples", n_samples, 1)
    device = None if device is None else usable_device(device)  # None is the CPU for couplings
    course = read_course(adata, get.fit_entry(adata, key), key)
    return Transport(adata, course, method, n_samples, seed_of(rng), device)


def read_parts(transport: Transport, earlier: float, later: float) -> list[Part]:
    """Rebuild the couplings of a step, one a stratum, as far as their cells are there."""
    entry, rows = transport.course.entry, transport.course.rows(earlier, later)
    parts = [
        read_part(entry, row, transport.course.names, transport.cells, transport.device)
        for row in rows
    ]
    n_gone = sum(part.n_gone for part in parts)
    parts = [part for part in parts if len(part.source) and (part.target >= 0).any()]
    if not parts:
        raise ValueError(
            f"no cells of the fit are left on both sides of the step {earlier:g} to {later:g}: keep them in `adata`, "
            "or ask with `method='model'`."
        )
    if n_gone:
        logger.info(
            "%g to %g: %d cells of the fit are not in `adata` and left out.", earlier, later, n_gone
        )
    return parts


def coupled(transport: Transport, earlier: float, later: float) -> Step:
    """Transport by the couplings of a step; strata are blocks of K."""
    parts = read_parts(transport, earlier, later)
    target = np.concatenate([part.target for part in parts])
    return Step(
        n_cells=transport.adata.n_obs,
        source=np.concatenate([part.source for part in parts]),
        target=target[target >= 0],
        blocks=lambda: (block for part in parts for block in expected_descendants(part)),
    )


def expected_descendants(part: Part) -> Iterator[Block]:
    """Yield blocks of `K = n P / mass`."""
    kept, scale = np.flatnonzero(part.target >= 0), part.n_source / part.mass
    if sparse.issparse(part.plan):
        yield part.source, part.target[kept], scale * part.plan[:, kept]
        return
    for rows, mass in part.plan.mass_blocks():
        yield part.source[rows], part.target[kept], scale * mass.cpu().double().numpy()[:, kept]


def generated(transport: Transport, earlier: float, later: float) -> Step:
    """Transport by the model: each draw counts as the observed target cell nearest to it."""
    source = transport.at(earlier)
    draws, growth = transport.draws(source, earlier, later)
    return observed(transport, source, later, draws, growth)


def observed(
    transport: Transport, source: np.ndarray, later: float, draws: np.ndarray, growth: np.ndarray
) -> Step:
    """Transport by draws of some source cells, `growth` descendants each."""
    target = transport.at(later)
    part = (sparse.diags_array(growth) @ assign(draws, transport.cells[target])).tocsr()
    return Step(transport.adata.n_obs, source, target, lambda: iter([(source, target, part)]))


def assign(draws: np.ndarray, cells: np.ndarray) -> sparse.csr_matrix:
    """Give each draw to the observed cell nearest to it."""
    n, n_samples, p = draws.shape
    draws, sources = draws.reshape(-1, p), np.repeat(np.arange(n), n_samples)
    targets, weights = _nearest(draws, cells), np.full(n * n_samples, 1 / n_samples)
    missed = np.setdiff1d(np.arange(len(cells)), targets)
    if len(missed):
        sources = np.append(sources, sources[_nearest(cells[missed], draws)])
        targets, weights = (
            np.append(targets, missed),
            np.append(weights, np.full(len(missed), HARDLY / n_samples)),
        )
    return sparse.coo_matrix((weights, (sources, targets)), shape=(n, len(cells))).tocsr()


def _nearest(places: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Position of the cell nearest to each place, shape `(k,)`."""
    return (
        NearestNeighbors(n_neighbors=1).fit(cells).kneighbors(places, return_distance=False)[:, 0]
    )
