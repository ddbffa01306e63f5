"""Fit a linear extrapolation to pairs of cells that plans draw."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from scgenot._check import check_number
from scgenot._random import Rng, numpy_rng, torch_rng
from scgenot.model.extrapolation import nearest_distance
from scgenot.ot.plan import Plan
from scgenot.pair import Pair

if TYPE_CHECKING:
    from scgenot.model.genot import Genot

logger = logging.getLogger("scgenot")
# of the regression, relative to the mean variance of the columns of source cells
PENALTY = 0.5
# fewest and most fitted cells that are kept
FEWEST, MOST = 20, 2000
# pairs of cells of the regression, for each source cell and at most for each plan
DRAWS_PER_CELL, MOST_DRAWS = 4, 2**14
# numbers of all maps together: 64 MiB in single precision
MOST_NUMBERS = 2**24
# variance of the noise in any direction, relative to the mean variance of target cells
SMALLEST_NOISE = 1e-3


def fit_extrapolation(
    model: "Genot",
    pairs: Sequence[Pair],
    plans: Sequence[Plan],
    *,
    penalty: float = PENALTY,
    rng: Rng = 0,
) -> None:
    """Add a linear extrapolation to a model, for source cells that are far from those of the pairs.

    For each condition, a ridge regression of the displacement on the source cell is fitted to pairs
    of cells drawn from its plans. Gaussian noise is added, with which samples of the fitted source
    cells have the covariance of their target cells within each pair of populations, as far as this
    covariance is larger than that of the means. A large penalty keeps directions in which fitted
    cells hardly vary from determining the response of cells that are far away along them. With m
    cells on the smaller side, the penalty is `penalty + p / m`, relative to the mean variance of
    the p columns of the source cells.

    No extrapolation is added for fewer than 20 different source cells.

    Parameters
    ----------
    model
        Model of displacements whose standardizer has been fitted.
    pairs, plans
        Populations and their plans, one per pair. Pairs with the same condition, such as strata,
        share one regression.
    penalty
        Penalty of the squared slopes.
    rng
        Seed of the pairs of cells, and of the fitted source cells that are kept, at most 2,000.

    Raises
    ------
    TypeError
        When `penalty` is not a number.
    ValueError
        When the model has no displacements, the numbers of plans and pairs differ, or `penalty` is
        not positive.

    Examples
    --------
    >>> model = sg.Genot(5, 5, displacement=True)
    >>> model.units.fit([pair], pair.target - pair.source)
    >>> sg.model.fit_extrapolation(model, [pair], [coupling])
    >>> model.support(pair.source)
    """
    check_number("penalty", penalty, "above 0", lambda value: value > 0)
    if not model.displacement:
        raise ValueError(
            "`model` generates target cells, and the linear extrapolation is one of displacements: "
            "make it with `displacement=True`."
        )
    if not pairs or len(pairs) != len(plans):
        raise ValueError(f"{len(pairs)} pairs and {len(plans)} plans: pass one plan per pair.")
    generator = numpy_rng(rng)
    populations = {id(pair.source): pair.source for pair in pairs}  # pairs may share one
    cells = np.unique(np.concatenate([*populations.values()]), axis=0)
    groups = by_condition(pairs)
    n_numbers = len(groups) * model.target_dim * (model.source_dim + model.target_dim)
    if len(cells) < FEWEST or n_numbers > MOST_NUMBERS:
        reason = "too few source cells" if len(cells) < FEWEST else "its maps would be too large"
        logger.info("No linear extrapolation to far cells: %s.", reason)
        return
    kept = cells[np.sort(generator.permutation(len(cells))[:MOST])]
    model.add_extrapolation(len(groups), len(kept))
    found = model.extrapolation
    found.reference.copy_(torch.as_tensor(kept))
    own = nearest_distance(found.reference, found.reference, itself=True)
    found.reach.copy_(own.sort().values)
    for k, members in enumerate(groups):
        drawn = [draw_pairs(pairs[i], plans[i], generator) for i in members]
        sizes = [min(len(pairs[i].source), len(pairs[i].target)) for i in members]
        values = regress(drawn, penalty + model.source_dim / sum(sizes))
        if model.condition_dim:
            found.conditions[k] = torch.as_tensor(pairs[members[0]].condition)
        for name, value in zip(("center", "shift", "slopes", "noise"), values, strict=True):
            getattr(found, name)[k] = torch.as_tensor(value)


def by_condition(pairs: Sequence[Pair]) -> list[list[int]]:
    """Group the places of pairs by their condition."""
    groups: dict[bytes, list[int]] = {}
    for k, pair in enumerate(pairs):
        name = b"" if pair.condition is None else np.asarray(pair.condition, np.float32).tobytes()
        groups.setdefault(name, []).append(k)
    return [*groups.values()]


def draw_pairs(
    pair: Pair, plan: Plan, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs of source and target cells from a plan."""
    n = min(DRAWS_PER_CELL * len(pair.source), MOST_DRAWS)
    own = torch_rng(generator, getattr(plan, "device", "cpu"))
    i, j = (torch.as_tensor(side).cpu().numpy() for side in plan.sample_pairs(n, generator=own))
    return np.asarray(pair.source)[i], np.asarray(pair.target)[j]


def regress(
    drawn: Sequence[tuple[np.ndarray, np.ndarray]], penalty: float
) -> tuple[np.ndarray, ...]:
    """Ridge regression of the displacement: mean cell, its displacement, slopes and noise factor.

    `drawn` are paired source and target cells of each stratum. The penalty is relative to the mean
    variance of the columns of the source cells.
    """
    source, target = (np.concatenate(side).astype(float) for side in zip(*drawn, strict=True))
    displacement = target - source[:, : target.shape[1]]
    center, shift = source.mean(0), displacement.mean(0)
    x, d = source - center, displacement - shift
    gram, unit = x.T @ x / len(x), np.eye(x.shape[1])
    slopes = np.linalg.solve(gram + penalty * np.trace(gram) / len(gram) * unit, x.T @ d / len(x))
    mean = target - (d - x @ slopes)
    stratum = np.repeat(np.arange(len(drawn)), [len(cells) for cells, _ in drawn])
    return center, shift, slopes, noise_factor(target, mean, stratum)


def noise_factor(target: np.ndarray, mean: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Cholesky factor of the noise with which means have the covariance of targets within strata.

    The covariance of the residuals would be too large: penalized slopes leave a part of the
    response in them that depends on the source cell.
    """
    covariances = []
    for cells in (target, mean):
        sums = np.stack([np.bincount(stratum, column) for column in cells.T], axis=1)
        left = cells - (sums / np.bincount(stratum)[:, None])[stratum]
        covariances.append(left.T @ left / len(left))
    values, vectors = np.linalg.eigh(covariances[0] - covariances[1])
    least = SMALLEST_NOISE * np.trace(covariances[0]) / len(values) + np.finfo(np.float32).tiny
    return np.linalg.cholesky((vectors * np.maximum(values, least)) @ vectors.T)
