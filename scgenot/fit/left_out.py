"""How well interpolation meets the sampled times of a course, each left out in turn."""

import warnings

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

OURS, STRAIGHT = "interpolated", "straight lines"
# cells of a time that are coupled and compared
MAX_CELLS = 500
# for a solver that has no number of its own: the default of a time course
EPSILON = 0.01


def left_out_scores(transport: Transport) -> pd.DataFrame:
    """Energy distance to each inner sampled time, predicted from all other times, by method.

    Couplings are solved anew between the neighbouring times, with `epsilon` and `tau` of the fit,
    on up to 500 cells of each.
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


def warn_if_trivial_wins(table: pd.DataFrame) -> None:
    """Warn when some answer that needs no coupling meets two left-out times or more better."""
    if table["time"].nunique() < 2:  # without it two times were left: they tell no pace, no bend
        return
    means = table.groupby("method", sort=False)["energy"].mean()
    trivial = means.drop([OURS, STRAIGHT], errors="ignore")
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the couplings of the fit are judged there
        plan = solver_like(transport.fit)(Pair(x, y))
    i, j = (side.cpu().numpy() for side in plan.sample_pairs(4 * n, generator=torch_rng(rng)))
    masses = (np.asarray(mass.double().cpu()) for mass in plan.marginals())
    growth = tuple(growth_of_mass(m)[k] for m, k in zip(masses, (i, j), strict=True))
    pairs = x[i], y[j], time
    return {
        OURS: interpolate_pairs(
            *pairs, step=step, samples=others, growth=growth, n=n, rng=rng
        ).cells,
        STRAIGHT: interpolate_pairs(*pairs, step=step, n=n, rng=rng).cells,
        **trivial_populations(x, y, s, n, rng),
    }


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
