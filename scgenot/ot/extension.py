"""Couplings of large populations: solved on a subset of the cells and extended to all."""

import logging
from dataclasses import replace

import torch
from torch import Tensor

from scgenot.ot.blocks import row_blocks
from scgenot.ot.cost import against, squared_euclidean
from scgenot.ot.coupling import Coupling
from scgenot.ot.diagnostics import warn_of_problems, with_diagnostics
from scgenot.ot.dual import refined
from scgenot.ot.iterate import Problem

logger = logging.getLogger("scgenot")

# cells of a subset for each region whose mass is corrected, and the largest number of regions
CELLS_A_CENTER, MOST_CENTERS = 4, 1000


def solve_on_subset(
    solve, problem: Problem, max_cells: int, rng: int, transport=None, *, refine: int = 0
) -> Coupling:
    """Solve on the cells with weight, or on a random subset of them, and extend to all cells."""
    generator, chosen = torch.Generator().manual_seed(rng), []
    for weights in (problem.a, problem.b):
        cells = weights.nonzero()[:, 0]
        if len(cells) > max_cells:
            some = torch.randperm(len(cells), generator=generator)[:max_cells]
            cells = cells[some.to(cells.device)]
        chosen.append(cells)
    if (len(chosen[0]), len(chosen[1])) == (len(problem.x), len(problem.y)):
        coupling = solve(problem)
    else:
        few = problem.subset(*chosen)
        a = subset_weights(problem.x, problem.a, chosen[0])
        b = subset_weights(problem.y, problem.b, chosen[1])
        found = solve(replace(few, a=a.to(few.a), b=b.to(few.b)))
        coupling = extend(found, problem, *chosen, transport, refine=refine)
    warn_of_problems(coupling)
    return coupling


def subset_weights(x: Tensor, weights: Tensor, cells: Tensor) -> Tensor:
    """Weights of a random subset whose regions have the masses that they have among all cells.

    Poststratification: a region are the cells nearest to one of some centers in the subset. Between
    clusters that lie far apart, potentials are those of the masses of the clusters.
    """
    n_centers = min(-(-len(cells) // CELLS_A_CENTER), MOST_CENTERS)
    distance = against(squared_euclidean, x[cells[:n_centers]])
    blocks = row_blocks(len(x), n_centers, x.device)
    region = torch.cat([distance(x[rows]).argmin(1) for rows in blocks])
    # summed on a processor, in one order
    region, mass, cells = region.cpu(), weights.double().cpu(), cells.cpu()
    own, some = region[cells], mass[cells]
    scale = region.bincount(mass, n_centers) / own.bincount(some, n_centers)
    return (some * scale[own]) / (some @ scale[own])


def extend(
    coupling: Coupling, problem: Problem, rows: Tensor, columns: Tensor, transport, refine: int = 0
) -> Coupling:
    """Extend a coupling of some cells to all cells, with iterations on all cells."""
    g = coupling.transposed().potential(problem.y)
    g[columns] = coupling.g
    n, m = int((problem.a > 0).sum()), int((problem.b > 0).sum())
    found, is_whole = coupling.diagnostics, (len(rows), len(columns)) == (n, m)
    if refine and not is_whole and coupling.price is None:
        limit = 2 * found.marginal_error
        last = refined(coupling.cost, problem, coupling.epsilon, g, refine, limit)
        g[problem.b > 0] = last.plan.potentials()[1]
        found = replace(found, iterations=found.iterations + last.iterations)
    full = replace(coupling, x=problem.x, y=problem.y, a=problem.a, b=problem.b, f=problem.a, g=g)
    if is_whole:  # the other cells have no weight: it is the same plan
        return replace(full, f=full.potential())
    solved = f"solved on {len(rows)} x {len(columns)}"
    logger.info(f"Coupling {solved} of {n} x {m} cells, extended to all.")
    return with_diagnostics(
        full,
        found,
        method=f"{found.method}, {solved} cells, extended to all",
        epsilon=found.epsilon,
        tolerance=found.marginal_error,
        transport=transport,
        is_extended=True,
    )
