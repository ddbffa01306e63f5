"""Cells that commit to one of two fates, divide and die, sampled at a few times."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.special import expit, ndtr

from scgenot._random import Rng, numpy_rng

# per unit of time: progress along axis 1, commitment along axis 2, and the diffusion of both
PROGRESS = 1.0
COMMITMENT = 2.0
DIFFUSION = 1.0
START = 0.6  # standard deviation of the first population
DIM = 10  # dimensions of the observation
DECIDED = 0.95  # fate from which on a cell counts as of its branch


def branching(
    n_cells: int = 500,
    *,
    times: Sequence[float] = (0, 1, 2),
    growth: tuple[float, float] = (1.4, -0.4),
    noise: float = 0.05,
    rng: Rng = 0,
) -> AnnData:
    """Simulate progenitors that commit to fate A or B, divide and die, sampled at several times.

    A cell is a point in two latent dimensions. Between two times, `dt` apart, it has `exp(rate dt)`
    living descendants on average, with a cell-specific rate. The descendants then move
    independently:

    - along axis 1 by `dt`;
    - along axis 2 by `+2 dt` with probability `p = logistic(4 x2)`, towards A, and by `-2 dt`
      otherwise, towards B;
    - in both by Gaussian noise of variance `dt`.

    Here `p` is a martingale: the probability of fate A is determined by the position of a cell at
    any time. The rate is the average of the rates of A and B with weights `p` and `1 - p`. The
    first population is Gaussian, centered where both fates are equally likely.

    The motion is Brownian motion reweighted at its end, and thus a Schrödinger bridge (Léonard
    2014, arXiv 1308.0215): between two times the entropic coupling of latent positions with cost
    `|x - y|^2`, `epsilon = 2 dt` and the growth of the cells as source weights *is* the truth, up
    to sampling. A coupling with equal weights overestimates fates of growing branches.

    Parameters
    ----------
    n_cells
        Number of cells at each time, drawn independently from the living cells, because measuring
        destroys cells.
    times
        Sampled times, two or more, increasing.
    growth
        Growth rates per unit of time, birth minus death, of cells committed to A and to B. With the
        default, a cell of A has four descendants after a unit of time, and a third of the cells of
        B die.
    noise
        Standard deviation of the noise of each of the ten observed dimensions.
    rng
        Seed.

    Returns
    -------
    AnnData of `n_cells` per time. The ten observed dimensions, a rotation of the latent ones plus
    noise, are in `X` and `obsm["X_pca"]`, and

    `obs["time"]`
        Time of the cell, a number.
    `obs["fate_A"]`, `obs["fate_B"]`
        Probability that a lineage from this cell, with one living descendant followed at each step,
        is in branch A (B) at the last of `times`: `x2 > 0` (`< 0`).
    `obs["growth_rate"]`
        Birth minus death, per unit of time.
    `obs["growth"]`
        Mean number of living descendants at the next time, `exp(rate dt)`; at the last time, after
        one more step of the same length. Divide by the mean over the cells of a time to compare
        with mass.
    `obs["branch"]`
        `"A"` or `"B"` if the probability of that fate is at least .95, otherwise `"progenitor"`.
    `obsm["X_latent"]`
        The latent position.
    `uns["truth"]`
        `drift` (of axis 1, and of axis 2 in either direction), `diffusion` (standard deviation per
        square root of time), `growth`, and `epsilon` per step, in units of squared latent distance.

    Raises
    ------
    ValueError
        When there are fewer than two times, or they do not increase.

    Examples
    --------
    >>> adata = sg.datasets.branching()
    >>> sg.tl.fit_trajectory(adata, "time", growth_key="growth_rate")
    """
    times = np.asarray(times, dtype=float)
    if times.ndim != 1 or len(times) < 2 or not (np.diff(times) > 0).all():
        raise ValueError(f"`times={times.tolist()}` must be two or more times in increasing order.")
    rng = numpy_rng(rng)
    steps = np.diff(times)
    latent = np.concatenate([_living(n_cells, steps[:i], growth, rng) for i in range(len(times))])
    turn = np.linalg.qr(rng.normal(size=(DIM, 2)))[0].T
    values = (latent @ turn + noise * rng.normal(size=(len(latent), DIM))).astype(np.float32)

    fate = _fate(latent[:, 1], np.repeat(times[-1] - times, n_cells))
    rate = _rate(latent, growth)
    obs = pd.DataFrame(
        {
            "time": np.repeat(times, n_cells),
            "fate_A": fate,
            "fate_B": 1 - fate,
            "growth_rate": rate,
            "growth": np.exp(rate * np.repeat(np.append(steps, steps[-1]), n_cells)),
            "branch": pd.Categorical(
                np.select([fate >= DECIDED, fate <= 1 - DECIDED], ["A", "B"], "progenitor"),
                ["progenitor", "A", "B"],
            ),
        },
        index=[f"cell-{i}" for i in range(len(latent))],
    )
    truth = {
        "drift": np.array([PROGRESS, COMMITMENT]),
        "diffusion": DIFFUSION,
        "growth": np.array(growth, dtype=float),
        "epsilon": 2 * DIFFUSION**2 * steps,
    }
    return AnnData(
        values, obs=obs, obsm={"X_pca": values.copy(), "X_latent": latent}, uns={"truth": truth}
    )


def _bound_for_a(x2: np.ndarray) -> np.ndarray:
    """Probability that a cell drifts towards A: the posterior of two opposite drifts."""
    return expit(2 * COMMITMENT / DIFFUSION**2 * x2)


def _rate(x: np.ndarray, growth: tuple[float, float]) -> np.ndarray:
    p = _bound_for_a(x[:, 1])
    return p * growth[0] + (1 - p) * growth[1]


def _fate(x2: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Probability of `x2 > 0` after the time that is left, under either drift."""
    p, spread = _bound_for_a(x2), DIFFUSION * np.sqrt(left)
    with np.errstate(divide="ignore"):  # no time left: plus or minus infinity, a fate of 1 or 0
        up, down = (ndtr((x2 + sign * COMMITMENT * left) / spread) for sign in (1, -1))
    return p * up + (1 - p) * down


def _living(
    n_cells: int, steps: np.ndarray, growth: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Draw cells that live after the given steps."""
    found, missing = [], n_cells
    while missing > 0:
        x = START * rng.normal(size=(4 * missing, 2))
        for dt in steps:
            x = x[rng.random(len(x)) < np.exp((_rate(x, growth) - max(growth)) * dt)]
            towards = np.where(rng.random(len(x)) < _bound_for_a(x[:, 1]), COMMITMENT, -COMMITMENT)
            drift = np.column_stack([np.full(len(x), PROGRESS), towards])
            x = x + drift * dt + DIFFUSION * np.sqrt(dt) * rng.normal(size=x.shape)
        found.append(x)
        missing -= len(x)
    return np.concatenate(found)[:n_cells]
