"""Populations between two sampled times, from pairs of the coupling or of the model."""

from typing import NamedTuple

import numpy as np

from scgenot._check import check_count
from scgenot._random import numpy_rng, torch_rng
from scgenot.course.interpolation import (
    HARDLY,
    Interpolation,
    growth_of_mass,
    interpolate_pairs,
)
from scgenot.fit.left_out import left_out_scores, tell_who_is_closer
from scgenot.fit.stored_link import LinkHere
from scgenot.fit.transport import Transport
from scgenot.ot.plan import require


class Pairs(NamedTuple):
    """Pairs of a cell before and a cell after, where the former are, and the growth of both."""

    rows: np.ndarray
    source: np.ndarray
    target: np.ndarray
    growth: tuple[np.ndarray, np.ndarray]


def population_at(
    transport: Transport,
    time: float,
    n_cells: int | None = None,
    *,
    straight: bool = False,
    bridge_noise: bool = False,
) -> tuple[np.ndarray, Interpolation]:
    """Predict the population at a time, and the positions of the cells that it started from."""
    step = transport.steps.around(time)
    if n_cells is None:
        n_cells = (len(transport.at(step[0])) + len(transport.at(step[1]))) // 2
    check_count("n_cells", n_cells, 2)
    draw = coupled_pairs if transport.method == "coupling" else generated_pairs
    pairs = draw(transport, step, max(4 * n_cells, 2000))
    samples = {
        float(t): transport.cells[transport.times == t] for t in transport.fit.task.scale.times
    }
    found = interpolate_pairs(
        pairs.source,
        pairs.target,
        float(time),
        step=step,
        samples=None if straight else {t: cells for t, cells in samples.items() if len(cells)},
        growth=None if straight else pairs.growth,
        epsilon=transport.epsilon(*step) if bridge_noise else 0.0,
        n=n_cells,
        rng=transport.seed,
    )
    return pairs.rows[found.pairs], found


def record(transport: Transport, time: float, found: Interpolation, *, check: bool) -> dict:
    """Return what is kept of an interpolation; warn where trivial answers are better."""
    kept = {"time": time, "step": list(transport.steps.around(time)), "fraction": found.progress}
    if check and len(table := left_out_scores(transport)):
        tell_who_is_closer(table)
        kept["left_out"] = table
    return kept


def coupled_pairs(transport: Transport, step: tuple[float, float], n: int) -> Pairs:
    """Draw pairs from the couplings of a step; a stratum as often as it has source cells."""
    parts = transport.parts(*step)
    total = sum(len(part.source) for part in parts)
    drawn = [
        _draw_part(part, transport, -(-n * len(part.source) // total), k)
        for k, part in enumerate(parts)
    ]
    rows, target, eta, xi = (np.concatenate(values) for values in zip(*drawn, strict=True))
    return Pairs(rows, transport.cells[rows], target, (eta, xi))


def _draw_part(part: LinkHere, transport: Transport, n: int, k: int) -> tuple[np.ndarray, ...]:
    """Draw pairs of one coupling: positions of source cells, target cells, and growth of both."""
    plan = part.plan
    sample_pairs = require(plan, "sample_pairs", "sg.tl.interpolate")
    generator = torch_rng(numpy_rng([transport.seed, k]), device=getattr(plan, "device", "cpu"))
    i, j = (np.asarray(side.cpu()) for side in sample_pairs(n, generator=generator))
    # growth against cells as they were sampled: a prior of growth is in the mass sent
    masses = require(plan, "marginals", "sg.tl.interpolate")()
    eta, xi = (growth_of_mass(np.asarray(mass.double().cpu())) for mass in masses)
    there = part.target[j] >= 0  # targets that are gone from AnnData are known to the plan alone
    cells = np.asarray(plan.y.cpu()) if hasattr(plan, "y") else None
    target = transport.cells[part.target[j[there]]] if cells is None else cells[j]
    kept = there if cells is None else slice(None)
    return part.source[i][kept], target, eta[i][kept], xi[j][kept]


def generated_pairs(transport: Transport, step: tuple[float, float], n: int) -> Pairs:
    """Generate targets of the source cells, each of which comes equally often."""
    source, model = transport.at(step[0]), transport.fit.model
    rows = np.resize(source, max(n, len(source)))
    cells, condition = transport.cells[rows], transport.fit.task.condition(*step)
    target = np.asarray(model.sample(cells, condition, rng=numpy_rng([transport.seed, 0])))[:, 0]
    eta = transport.growth("growth", cells, condition)
    xi = transport.growth("target_growth", target, condition)
    # pairs of a coupling come in proportion to the mass sent, these come one each
    return Pairs(rows, cells, target, (np.ones(len(rows)), np.maximum(xi / eta, HARDLY)))
