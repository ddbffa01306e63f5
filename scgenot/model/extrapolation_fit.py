"""Fit a linear extrapolation to pairs of cells that plans draw."""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from scgenot._check import check_number
from scgenot._random import Rng, numpy_rng, torch_rng
from scgenot._typed import typed
from scgenot.model.extrapolation import LinearExtrapolation, WithExtrapolation
from scgenot.ot.plan import Plan
from scgenot.pair import Pair

if TYPE_CHECKING:
    from scgenot.model.genot import Genot

logger = logging.getLogger("scgenot")
# of the regression, relative to the mean variance of the columns of source cells
PENALTY = 0.5
# fewest and most fitted cells that are kept; those closer to each other than this, relative to the
# root mean variance of their columns, are one
FEWEST, MOST, SAME_CELL = 20, 2000, 1e-3
# pairs of cells of the regression, for each source cell and at most for each plan
DRAWS_PER_CELL, MOST_DRAWS = 4, 2**14
# numbers of all maps together: 64 MiB in single precision
MOST_NUMBERS = 2**24
# variance of the noise in any direction, relative to the mean variance of target cells
SMALLEST_NOISE = 1e-3
# standard deviation of source cells that is rounding, relative to their root mean square
ROUNDING = 1e-6


@typed
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
    cells on the smaller side, added over the pairs of a condition, the penalty is
    `penalty + p / m`, relative to the mean variance of the p columns of the source cells.

    Call it after :func:`train`, which removes the extrapolation of other plans. No extrapolation is
    added if no condition has 20 different source cells, or for more than 16 million numbers
    `n_conditions * q * (p + q)`.

    Parameters
    ----------
    model
        Model of displacements.
    pairs, plans
        Populations and their plans, one per pair. Pairs with the same condition, such as strata,
        share one regression.
    penalty
        Penalty of the squared slopes.
    rng
        Seed of the pairs of cells, and of the fitted source cells that are kept to find cells far
        from them: at most 2,000, of each population equally many where it has so many.

    Raises
    ------
    TypeError
        When `penalty` is not a number, or an option has a wrong type.
    ValueError
        When the model has no displacements, pairs do not match the model, the numbers of plans and
        pairs differ, or `penalty` is not positive and finite.

    Examples
    --------
    >>> model = sg.Genot(5, 5, displacement=True)
    >>> learner = sg.model.FlowMatching(steps=20)
    >>> state = sg.model.train(model, [pair], [coupling], learner, progress=False)
    >>> sg.model.fit_extrapolation(model, [pair], [coupling])
    >>> model.support(pair.source)
    """
    from scgenot.model.train import check_pairs

    check_number("penalty", penalty, "above 0 and finite", lambda value: 0 < value < math.inf)
    if not isinstance(model, WithExtrapolation):
        raise TypeError(f"`model` must be a Genot, found {type(model).__name__}.")
    if not model.displacement:
        raise ValueError(
            "`model` generates target cells, and the linear extrapolation is one of displacements: "
            "make it with `displacement=True`."
        )
    check_pairs(model, pairs, plans)
    model.extrapolation, generator = None, numpy_rng(rng)
    groups = by_condition(pairs)
    reference, members = kept_cells(pairs, groups, generator)
    groups = [group for group, own in zip(groups, members, strict=True) if own.sum() >= FEWEST]
    n_numbers = len(groups) * model.target_dim * (model.source_dim + model.target_dim)
    if not groups or n_numbers > MOST_NUMBERS:
        reason = f"its maps would have {n_numbers} numbers" if groups else "too few source cells"
        logger.info("No linear extrapolation to far source cells: %s.", reason)
        return
    members = np.stack([own for own in members if own.sum() >= FEWEST])
    kinds, group = np.unique(members, axis=0, return_inverse=True)
    sizes = model.source_dim, model.target_dim, len(kinds), len(reference)
    found = LinearExtrapolation(len(groups), model.condition_dim, *sizes)
    found = found.to(model.units.source.mean)
    found.near.fit(reference, kinds)
    found.group.copy_(torch.as_tensor(group.ravel()))
    for k, own in enumerate(groups):
        drawn = [draw_pairs(pairs[i], plans[i], generator) for i in own]
        n = sum(min(len(pairs[i].source), len(pairs[i].target)) for i in own)
        values = regress(drawn, penalty + model.source_dim / n)
        if model.condition_dim:
            found.conditions[k] = torch.as_tensor(pairs[own[0]].condition)
        for name, value in zip(("center", "shift", "slopes", "noise"), values, strict=True):
            getattr(found, name)[k] = torch.as_tensor(value)
    model.extrapolation = found


def by_condition(pairs: Sequence[Pair]) -> list[list[int]]:
    """Group the places of pairs by their condition."""
    groups: dict[bytes, list[int]] = {}
    for k, pair in enumerate(pairs):
        # 0 is -0
        name = b"" if pair.condition is None else (np.float32(pair.condition) + 0).tobytes()
        groups.setdefault(name, []).append(k)
    return [*groups.values()]


def kept_cells(
    pairs: Sequence[Pair], groups: list[list[int]], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Choose source cells, and say which of them each group has, `(n_groups, n)`.

    Small populations are kept whole, so that cells of a rare type have neighbours.
    """
    populations = {id(pair.source): np.asarray(pair.source) for pair in pairs}  # some share one
    sizes = np.array([len(cells) for cells in populations.values()])
    most = largest_share(sizes, MOST)
    rows = {key: generator.permutation(len(x))[:most] for key, x in populations.items()}
    cells = np.concatenate([populations[key][np.sort(own)] for key, own in rows.items()])
    of = np.repeat(np.arange(len(rows)), [len(own) for own in rows.values()])
    spread = np.sqrt(cells.var(0).mean()) or 1.0
    _, first, same = np.unique(
        np.round(cells / (SAME_CELL * spread)), axis=0, return_index=True, return_inverse=True
    )
    place, members = {key: k for k, key in enumerate(rows)}, np.zeros((len(groups), len(first)))
    for group, own in enumerate(groups):
        known = np.isin(of, [place[id(pairs[k].source)] for k in own])
        members[group, same.ravel()[known]] = 1
    return cells[first], members


def largest_share(sizes: np.ndarray, most: int) -> int:
    """Largest number that can be taken of each population, where it has so many, within `most`."""
    share = most // len(sizes) or 1
    while np.minimum(sizes, share + 1).sum() <= most and share < sizes.max():
        share += 1
    return share


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
    variance = np.trace(gram) / len(gram)
    slopes = np.zeros((x.shape[1], d.shape[1]))
    if variance > ROUNDING**2 * np.square(source).mean():  # else all source cells are one
        slopes = np.linalg.solve(gram + penalty * variance * unit, x.T @ d / len(x))
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
