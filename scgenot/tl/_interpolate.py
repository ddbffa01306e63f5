"""Predict the population at a time that was not sampled."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scgenot._check import check_count
from scgenot._random import Rng, numpy_rng, torch_rng
from scgenot.cells.course import scale_of
from scgenot.cells.keys import PAIRS, PARAMS
from scgenot.cells.labels import made_obs
from scgenot.cells.tasks.time_course import time_condition
from scgenot.course.interpolation import Interpolation, interpolate_pairs
from scgenot.fit.decoder import Decoder, feature_decoder, never_negative
from scgenot.fit.linked import Part
from scgenot.fit.transport import Method, Transport, open_transport, read_parts
from scgenot.tl._simulate import assemble, decoded

# the smallest growth of a cell that pairs are weighted by
HARDLY = 1e-6


def interpolate(
    adata: AnnData,
    time: float,
    *,
    n_cells: int | None = None,
    method: Method = "coupling",
    straight: bool = False,
    bridge_noise: bool = False,
    decoder: Decoder | None = None,
    clip: bool = True,
    key: str = "genot",
    rng: Rng = 0,
    device: str | None = None,
) -> AnnData:
    """Predict the population at a time between two sampled ones.

    Pairs of a cell before and a cell after are moved along their way. Straight lines between pairs are no better than
    trivial baselines on most courses, whoever couples the cells: cells of one sample are not equally far, the course
    bends, and some cells multiply. So each pair is at its own fraction of the way, told by a clock that is learned from
    all times; the course of the population's mean is a spline; and pairs count by growth, for an unbalanced fit. See
    :mod:`scgenot.course.interpolation`.

    Fit with an unbalanced coupling for this, `solver=sg.ot.Sinkhorn(tau=(0.8, 0.8))`, unless a time point has few
    cells.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    time
        Time to predict, in the unit of the fitted times, within a fitted step; of several such steps the shortest
        counts.
    n_cells
        Cells to predict; None for as many as the mean of the two sampled populations.
    method
        "coupling": pairs drawn from the couplings of the step; "model": source cells with generated targets.
    straight
        Move all pairs the same fraction along straight lines, whatever their growth, as a baseline.
    bridge_noise
        Whether to add the noise of a Brownian bridge: with straight lines of the coupling this is the Schrödinger
        bridge between the two populations. Not for couplings with another cost than the squared distance.
    decoder, clip
        From states to features, as for :func:`simulate`.
    key
        The `key_added` of the fit.
    rng
        Seed. The same seed gives the same cells.
    device
        Where to compute.

    Returns
    -------
    New cells, with

    `X`
        Features.
    `obsm`
        States, under the name of the representation.
    `obs`
        That of the cell each started from, with the time that was asked for under the name of the column of times.
    `obs["source_cell"]`
        Name of the cell it started from.
    `obs["fraction"]`
        How far it has come, from 0 to 1.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, `time` not a number, or an option has a wrong type.
    KeyError
        When there is no such fit.
    ValueError
        When the time is outside all fitted steps, no cells are left at either end, nothing turns states into features
        (pass `decoder`), or noise is asked for where the coupling has another cost.

    Examples
    --------
    >>> day3 = sg.tl.interpolate(adata, 3)
    >>> sg.pl.interpolation({"day 3": day3}, basis="X_pca")
    """
    transport = open_transport(adata, key, method, n_samples=1, rng=rng, device=device)
    params = transport.course.params
    to_features = feature_decoder(adata, params, params.get("use_rep"), decoder)
    step = step_around(transport, time)
    numpy_random = numpy_rng(transport.seed)
    if n_cells is None:
        n_cells = (len(transport.at(step[0])) + len(transport.at(step[1]))) // 2
    check_count("n_cells", n_cells, 2)
    pairs = (coupled_pairs if method == "coupling" else generated_pairs)(
        transport, step, max(4 * n_cells, 2000)
    )
    course = {
        float(t): transport.cells[transport.course.times == t] for t in transport.course.sampled
    }
    result = interpolate_pairs(
        pairs.source,
        pairs.target,
        float(time),
        step=step,
        course=None if straight else {t: cells for t, cells in course.items() if len(cells)},
        growth=None if straight else pairs.growth,
        epsilon=noise_of(transport, step) if bridge_noise else 0.0,
        n=n_cells,
        rng=numpy_random,
    )
    obs = described(adata, pairs.rows[result.pairs], params, time, result, key)
    states = result.cells.astype(np.float32)
    clip = clip and decoder is None and never_negative(adata, params, params.get("use_rep"))
    features, names = decoded(states, to_features, clip=clip)
    return assemble(adata, params, params.get("use_rep"), features, names, states, obs, key)


@dataclass(frozen=True)
class Pairs:
    """Pairs of a cell before and a cell after."""

    rows: np.ndarray
    source: np.ndarray
    target: np.ndarray
    growth: tuple[np.ndarray, np.ndarray]


def step_around(transport: Transport, time: float) -> tuple[float, float]:
    """Return the shortest fitted step that a time lies in."""
    if not isinstance(time, Real):
        raise TypeError(
            f"`time={time!r}` must be one number, on the scale on which the fit has read its times: "
            f"{[float(known) for known in transport.course.sampled]}."
        )
    steps = [step for step in transport.course.steps if step[0] <= time <= step[1]]
    if not steps:
        raise ValueError(
            f"`time={time}` is in no fitted step; fitted are {transport.course.steps}. Nothing is predicted beyond the "
            "course."
        )
    return min(steps, key=lambda step: step[1] - step[0])


def coupled_pairs(transport: Transport, step: tuple[float, float], n: int) -> Pairs:
    """Draw pairs from the couplings of a step; a stratum as often as it has source cells."""
    parts = read_parts(transport, *step)
    total = sum(len(part.source) for part in parts)
    drawn = [
        draw_part(part, transport, -(-n * len(part.source) // total), k)
        for k, part in enumerate(parts)
    ]
    rows, target, eta, xi = (np.concatenate(values) for values in zip(*drawn, strict=True))
    return Pairs(rows, transport.cells[rows], target, (eta, xi))


def draw_part(part: Part, transport: Transport, n: int, k: int) -> tuple[np.ndarray, ...]:
    """Draw pairs of one coupling: positions of source cells, target cells, and the growth of both."""
    if sparse.issparse(part.plan):
        kept = np.flatnonzero(part.target >= 0)
        plan = sparse.coo_matrix(part.plan[:, kept])
        chosen = numpy_rng([transport.seed, k]).choice(plan.nnz, n, p=plan.data / plan.data.sum())
        i, j, cells = plan.row[chosen], plan.col[chosen], transport.cells[part.target[kept]]
        sent, received = (np.asarray(plan.sum(axis)).ravel() for axis in (1, 0))
    else:
        generator = torch_rng(numpy_rng([transport.seed, k]), device=part.plan.device)
        i, j = (side.cpu().numpy() for side in part.plan.sample_pairs(n, generator=generator))
        cells = part.plan.y.cpu().numpy()
        sent, received = (side.double().cpu().numpy() for side in part.plan.marginals())
    # growth against cells as they were sampled: a prior of growth is in the mass sent
    eta, xi = (np.maximum(side * len(side) / side.sum(), HARDLY) for side in (sent, received))
    return part.source[i], cells[j], eta[i], xi[j]


def generated_pairs(transport: Transport, step: tuple[float, float], n: int) -> Pairs:
    """Generate targets of the source cells, each of which comes equally often."""
    source = transport.at(step[0])
    rows = np.tile(source, -(-n // len(source)))[:n] if n > len(source) else source
    condition = time_condition(transport.course.sampled, *step)
    cells = transport.cells[rows]
    target = transport.model.sample(cells, condition, rng=numpy_rng([transport.seed, 0])).numpy()[
        :, 0
    ]
    eta = transport.model.growth(cells, condition).double().numpy()
    xi = transport.model.target_growth(target, condition).double().numpy()
    # pairs of a coupling come in proportion to the mass sent, these come one each
    return Pairs(rows, cells, target, (np.ones(len(rows)), np.maximum(xi / eta, HARDLY)))


def noise_of(transport: Transport, step: tuple[float, float]) -> float:
    """Return epsilon of a step in units of the squared distance."""
    pairs = transport.course.entry[PAIRS].iloc[transport.course.rows(*step)]
    solver = transport.course.entry[PARAMS]["solver"]
    if not isinstance(solver, dict) or solver.get("cost") != "squared_euclidean":
        raise ValueError(
            "`bridge_noise` is of couplings with the squared distance as cost; this fit has another."
        )
    return float(pairs["epsilon_absolute"].mean())


def described(
    adata: AnnData, rows: np.ndarray, params: dict, time: float, result: Interpolation, key: str
) -> pd.DataFrame:
    """Return the obs of predicted cells: that of the cells they started from, but for the time."""
    names = [f"{name}_{time:g}_{k}" for k, name in enumerate(adata.obs_names[rows])]
    answer = {params["time_key"]: scale_of(params).label(time), "fraction": result.fractions}
    return made_obs(adata, rows, answer, names, key=key, origin="interpolated")
