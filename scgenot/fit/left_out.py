"""How well interpolation meets the sampled times of a course, each left out in turn."""

import logging
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from scgenot._random import numpy_rng, torch_rng
from scgenot._warn import warn_user
from scgenot.course.interpolation import growth_of_mass, interpolate_pairs
from scgenot.fit.between import trivial_populations
from scgenot.fit.transport import Transport
from scgenot.metrics import energy_distance
from scgenot.ot import Sinkhorn
from scgenot.pair import Pair

logger = logging.getLogger("scgenot")

OURS, GROWN, STRAIGHT = "interpolated", "interpolated, with growth", "straight lines"
# what cells of a balanced fit are coupled with to see whether growth helps
GROWTH = (0.8, 1.0)
# cells of a time that are coupled and compared
MAX_CELLS = 500
# for a solver that has no number of its own: the default of a time course
EPSILON = 0.01


def left_out_scores(transport: Transport) -> pd.DataFrame:
    """Energy distance to each inner sampled time, predicted from all other times, by method.

    Couplings are solved anew between the neighbouring times, with `epsilon` and `tau` of the fit,
    on up to 500 cells of each; where the fit is balanced, with growth, too.
    """
    rng, fitted = numpy_rng([transport.seed, 8]), transport.steps.times
    samples = {t: transport.cells[transport.times == t].astype(float) for t in fitted}
    samples = {t: _some(cells, rng) for t, cells in samples.items() if len(cells) > 1}
    times, rows = sorted(samples), []
    for earlier, time, later in zip(times, times[1:], times[2:], strict=False):
        others = {t: cells for t, cells in samples.items() if t != time}
        predicted = _predictions(transport, others, (earlier, later), time, rng)
        for method, cells in predicted.items():
            energy = energy_distance(cells, samples[time], unbiased=True)
            rows.append({"time": time, "method": method, "energy": energy})
    return pd.DataFrame(rows, columns=["time", "method", "energy"])


def tell_who_is_closer(table: pd.DataFrame) -> None:
    """Warn when a baseline is closer to two left-out times or more; log when growth is."""
    if table["time"].nunique() < 2:  # without it two times were left: they tell no pace, no bend
        return
    means = table.groupby("method", sort=False)["energy"].mean()
    if means.get(GROWN, np.inf) < means[OURS]:
        logger.info(
            "With growth, interpolation is closer to left-out times (mean energy distance %.3g "
            "against %.3g): fit with `tau=%s` of the solver.",
            *(means[GROWN], means[OURS], GROWTH),
        )
    trivial = means.drop([OURS, GROWN, STRAIGHT], errors="ignore")
    if len(trivial) and trivial.min() < means[OURS]:
        warn_user(
            f"Of the sampled times, each left out in turn, '{trivial.idxmin()}' is closer than "
            f"interpolation (mean energy distance {trivial.min():.3g} against {means[OURS]:.3g}): "
            "do not rely on interpolated cells of this data set without a test. All scores are in "
            "`uns` of the result."
        )


def _predictions(transport, others, step, time, rng) -> dict[str, np.ndarray]:
    """Predict a left-out time, by interpolation and by answers that need no coupling."""
    x, y = others[step[0]], others[step[1]]
    s, n = (time - step[0]) / (step[1] - step[0]), min(len(x) + len(y), MAX_CELLS)
    solver = solver_like(transport.fit)
    pairs, growth = _pairs(solver, x, y, 4 * n, rng)
    options = {"step": step, "n": n, "rng": rng}
    ours = interpolate_pairs(*pairs, time, samples=others, growth=growth, **options).cells
    straight = interpolate_pairs(*pairs, time, **options).cells
    found = {OURS: ours, STRAIGHT: straight, **trivial_populations(x, y, s, n, rng)}
    if solver.tau == (1.0, 1.0) and solver.keep is None:
        pairs, growth = _pairs(replace(solver, tau=GROWTH), x, y, 4 * n, rng)
        grown = interpolate_pairs(*pairs, time, samples=others, growth=growth, **options)
        found[GROWN] = grown.cells
    return found


def _pairs(solver: Sinkhorn, x, y, n: int, rng) -> tuple[tuple, tuple]:
    """Couple cells, and draw pairs with the growth of both sides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the couplings of the fit are judged there
        plan = solver(Pair(x, y))
    i, j = (side.cpu().numpy() for side in plan.sample_pairs(n, generator=torch_rng(rng)))
    masses = (np.asarray(mass.double().cpu()) for mass in plan.marginals())
    growth = tuple(growth_of_mass(m)[k] for m, k in zip(masses, (i, j), strict=True))
    return (x[i], y[j]), growth


def solver_like(fit) -> Sinkhorn:
    """Make the solver of a fit again, as far as it is Sinkhorn's with numbers."""
    stored = fit.provenance.get("solver")
    stored = stored if isinstance(stored, dict) and stored.get("type") == "Sinkhorn" else {}
    epsilon, tau = stored.get("epsilon"), stored.get("tau", (1.0, 1.0))
    if isinstance(epsilon, (bool, str)) or epsilon is None or not stored.get("relative", True):
        # some solvers have no epsilon
        known = fit.table.get("epsilon", pd.Series(dtype=float)).dropna()
        epsilon = known.median() if len(known) else EPSILON
    keep = stored.get("keep")
    if stored.get("price") is not None:
        # at the price of the fit a longer step could match nothing
        keep = min(1.0, float(fit.table["mass"].median()))
    return Sinkhorn(epsilon=float(epsilon), tau=tuple(map(float, tau)), keep=keep)


def _some(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return some cells, all when they are few."""
    return cells if len(cells) <= MAX_CELLS else cells[rng.permutation(len(cells))[:MAX_CELLS]]
