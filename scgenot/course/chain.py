"""Transport of cells over one step of a time course, and over chains of steps: linear algebra.

A step is a matrix `K`: `K_ij` is the expected number of descendants of the source cell `i` that are
the target cell `j`. Values and masses are arrays with one row per cell of the whole data set; the
rows of cells that are not part of a step are not read. Functions of chains take a function
`step_of(earlier, later)` that makes a :class:`Step`, and a path as
:class:`scgenot.course.steps.Steps` returns it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from scgenot.course.steps import Path

# positions of source and of target cells, and their rows and columns of K
Block = tuple[np.ndarray, np.ndarray, np.ndarray | sparse.sparray | sparse.spmatrix]

# share of a draw for a target cell that is nearest to no draw: no descendant, but with an ancestor
HARDLY = 1e-12


@dataclass(frozen=True)
class Step:
    """Transport between two times, `K_ij`.

    Parameters
    ----------
    n_cells
        Number of cells in the data set.
    source, target
        Positions of the source and target cells, shapes `(n,)` and `(m,)`.
    blocks
        Yields `(rows, columns, part)`: positions of source and target cells and their part of `K`,
        dense or sparse. Made anew each time, so that a large `K` is never held as a whole.
    left
        Of a partial coupling, shapes `(n_cells,)`: descendants that source cells lack, and shares
        of target cells that have no ancestors; else None.
    """

    n_cells: int
    source: np.ndarray
    target: np.ndarray
    blocks: Callable[[], Iterable[Block]]
    left: tuple[np.ndarray, np.ndarray] | None = None

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
        """Average values of source cells over the ancestors of each target cell."""
        return (self.push(values).T * self.per_received).T

    def unassigned(self, mass: np.ndarray, *, backward: bool) -> np.ndarray:
        """Share of the mass of sets of cells, shape `(n_cells, k)`, that has no relatives."""
        if self.left is None:
            return np.zeros(mass.shape[1])
        lost = self.left[backward] @ mass
        whole = mass[self.target].sum(axis=0) if backward else lost + self.push(mass).sum(axis=0)
        return np.nan_to_num(ratio(lost, whole))

    @cached_property
    def per_received(self) -> np.ndarray:
        """1 over the column sums of K, shape `(n_cells,)`; 0 for cells that receive nothing."""
        received = self.push(np.ones(self.n_cells))
        return np.divide(1.0, received, out=np.zeros(self.n_cells), where=received > 0)


StepOf = Callable[[float, float], Step]


def step_of_draws(
    cells: np.ndarray, source: np.ndarray, target: np.ndarray, draws: np.ndarray, growth: np.ndarray
) -> Step:
    """Make a step from drawn descendants: each draw counts as the target cell nearest to it.

    Parameters
    ----------
    cells
        All cells, shape `(n_cells, p)`.
    source, target
        Positions of the source and target cells, shapes `(n,)` and `(m,)`.
    draws
        Drawn descendants of each source cell, shape `(n, n_samples, p)`.
    growth
        Number of descendants of each source cell, shape `(n,)`.
    """
    part = (sparse.diags_array(growth) @ assign(draws, cells[target])).tocsr()
    return Step(len(cells), source, target, lambda: [(source, target, part)])


def assign(draws: np.ndarray, cells: np.ndarray) -> sparse.csr_matrix:
    """Return the shares of draws, shape `(n, n_samples, p)`, whose nearest cell is each cell.

    A cell that is nearest to no draw has its nearest draw as a negligible ancestor.
    """
    n, n_samples, p = draws.shape
    draws, sources = draws.reshape(-1, p), np.repeat(np.arange(n), n_samples)
    targets, weights = _nearest(draws, cells), np.full(n * n_samples, 1 / n_samples)
    missed = np.setdiff1d(np.arange(len(cells)), targets)
    if len(missed):
        sources = np.append(sources, sources[_nearest(cells[missed], draws)])
        targets = np.append(targets, missed)
        weights = np.append(weights, np.full(len(missed), HARDLY / n_samples))
    return sparse.coo_matrix((weights, (sources, targets)), shape=(n, len(cells))).tocsr()


def follow(step_of: StepOf, path: Path, sets: np.ndarray, *, backward: bool) -> np.ndarray:
    """Follow sets of cells from one end of a path to the other.

    Parameters
    ----------
    step_of, path
        The steps.
    sets
        Which cells are in which set, shape `(n_cells, k)`; those at the end where the way begins
        count.
    backward
        Whether to follow ancestors, from the end of the path, in place of descendants.

    Returns
    -------
    Distribution of each set over the cells of each time, shape `(n_cells, k)`: at each time it sums
    to 1, or is 0 when the set has no cells there. NaN for cells that are not part of the steps.

    Raises
    ------
    ValueError
        When no set has cells where the way begins, or relatives at another time.
    """
    out = np.full(sets.shape, np.nan)
    for position, times in enumerate(reversed(path) if backward else path):
        step = step_of(*times)
        here, there = (step.target, step.source) if backward else (step.source, step.target)
        if position == 0:
            argument, time = ("end", times[1]) if backward else ("start", times[0])
            nobody = (
                f"no cell of the set is at `{argument}={time:g}` and in the fit: "
                "choose another time or another set."
            )
            out[here] = _distributions(sets[here].astype(float), nobody)
        mass = np.zeros(sets.shape)
        mass[here] = out[here]
        mass = step.pull(mass) if backward else step.push(mass)
        what, time = ("ancestors", times[0]) if backward else ("descendants", times[1])
        out[there] = _distributions(mass[there], f"the set has no {what} at {time:g}.")
    return out


def transitions(
    step_of: StepOf,
    path: Path,
    sources: np.ndarray,
    targets: np.ndarray,
    *,
    backward: bool,
    unassigned: bool = False,
) -> np.ndarray:
    """Return the share of each target group among the descendants of each source group.

    Parameters
    ----------
    step_of, path
        The steps.
    sources, targets
        Which cells are in which group at the start and at the end, shapes `(n_cells, k)` and
        `(n_cells, l)`.
    backward
        Whether to return the share of each source group among the ancestors of each target group.
    unassigned
        Whether to add a column, a row with `backward`: what partial couplings leave behind.

    Returns
    -------
    Shares, shape `(k, l)`; rows sum to 1, columns with `backward`; 0 where there is no mass.

    Raises
    ------
    ValueError
        As :func:`follow`.
    """
    sets = targets if backward else sources
    mass = np.nan_to_num(follow(step_of, path, sets, backward=backward))
    table = mass.T @ (sources if backward else targets)
    if unassigned:
        kept = np.ones((len(table), 1))
        for times in path:
            step, here = step_of(*times), np.zeros(mass.shape)
            cells = step.target if backward else step.source
            here[cells] = mass[cells]
            kept[:, 0] *= 1 - step.unassigned(here, backward=backward)
        table = np.hstack([table * kept, 1 - kept])
    table = np.nan_to_num(ratio(table, table.sum(axis=1, keepdims=True)))
    return table.T if backward else table


def fates(
    step_of: StepOf, onward: dict[float, float], values: np.ndarray, *, lineage: bool
) -> np.ndarray:
    """Return the share of each group among the descendants of each cell at the last time.

    Parameters
    ----------
    step_of
        The steps.
    onward
        The next time after each time, as :meth:`scgenot.course.steps.Steps.onward` returns.
    values
        Which cells at the last time are in which group, shape `(n_cells, k)`; NaN for other cells.
    lineage
        Whether to follow one living descendant at each step in place of counting all.

    Returns
    -------
    Shares, shape `(n_cells, k)`, rows sum to 1; NaN for cells without descendants at the last time.
    """
    counts = values.copy()
    for earlier in sorted(onward, reverse=True):
        step = step_of(earlier, onward[earlier])
        found = step.expect(np.nan_to_num(counts))[step.source]
        counts[step.source] = shares(found) if lineage else found
    return shares(counts)


def carry(step_of: StepOf, path: Path, values: np.ndarray, *, backward: bool) -> np.ndarray:
    """Carry values over a path, from ancestors to descendants or the other way.

    Parameters
    ----------
    step_of, path
        The steps.
    values
        Values at the end where the way begins, shape `(n_cells, k)`; 0 for all other cells.
    backward
        Whether each cell sums over its descendants in place of averaging over its ancestors.

    Returns
    -------
    The values, and those that arrived at the other times of the path, shape `(n_cells, k)`.
    """
    out = values.astype(float)
    for times in reversed(path) if backward else path:
        step = step_of(*times)
        out += step.expect(out) if backward else step.inherit(out)
    return out


def mean_over_descendants(step: Step, places: np.ndarray) -> np.ndarray:
    """Average over the descendants of each source cell, shape `(n, d)`; NaN without any."""
    total = step.expect(np.column_stack([places, np.ones(len(places))]))[step.source]
    return ratio(total[:, :-1], total[:, -1:])


def relative_entropy(shares: np.ndarray) -> np.ndarray:
    """Return the entropy of each row over that of equal shares; 0 when there is one column only."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).sum(axis=1) / np.log(max(shares.shape[1], 2)) + 0.0


def shares(counts: np.ndarray) -> np.ndarray:
    """Divide each row by its sum; NaN where that is 0."""
    return ratio(counts, counts.sum(axis=1, keepdims=True))


def ratio(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Divide a total by its weight; NaN where there is none."""
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)


def _distributions(mass: np.ndarray, otherwise: str) -> np.ndarray:
    """Divide each column by its sum, or raise a ValueError when all of them are empty."""
    total = mass.sum(axis=0)
    if not (total > 0).any():
        raise ValueError(otherwise)
    return np.divide(mass, total, out=np.zeros(mass.shape), where=total > 0)


def _nearest(places: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the position of the cell nearest to each place, shape `(k,)`."""
    neighbors = NearestNeighbors(n_neighbors=1).fit(cells)
    return neighbors.kneighbors(places, return_distance=False)[:, 0]
