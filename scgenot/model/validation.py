"""Validation: cells that are held out of training, and how well a model predicts them."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from scgenot.model.batches import HOLD_OUT, VALIDATE, Batch, Draws, HeldOut, stream
from scgenot.model.genot import Genot
from scgenot.ot import sinkhorn_divergence
from scgenot.ot.draw import systematic
from scgenot.ot.plan import is_balanced
from scgenot.pair import Link

MAX_HELD_OUT, MIN_HELD_OUT, MAX_VALIDATED_PAIRS = 1000, 32, 64
# points in all and at least per pair; the divergence, quadratic in the number, takes fewer
N_POINTS, MIN_POINTS, N_DIVERGENCE = 4096, 64, 512
# draws from a plan without rows, of which few have both cells held out
N_DRAWS = 2**15
# entries of rows of a plan that are made at a time
MAX_ENTRIES = 2**24


def held_out(
    links: Sequence[Link], fraction: float, seed: int, *, split: str = "cell"
) -> list[HeldOut]:
    """Choose cells for validation, and hold them out of all pairs that contain them.

    Both source and target cells are held out, because a network that has memorized the target cells
    predicts them well for new source cells, too. Cells are identified by their row in the AnnData
    or, without rows, in the array object.

    With a split by cell, at least 32 cells per side of a pair are held out, but at most a quarter
    of them and at most about 1000. With many pairs, cells of 64 evenly spaced pairs are chosen.

    Parameters
    ----------
    links
        Pairs and the rows of their cells.
    fraction
        Fraction of the cells, or of the strata, to hold out; 0 for none.
    seed
        Seed of the run.
    split
        `"cell"` for single cells, `"stratum"` for all cells of some strata, or a key of
        `Link.stratum`, such as `"donor"`, for all cells of some of its values.

    Returns
    -------
    Masks per pair.

    Raises
    ------
    ValueError
        When a link does not have the key `split`, or all links have the same value.

    See Also
    --------
    :func:`~scgenot.model.train` : validates on these cells.
    """
    sides, n_cells = _numbered_cells(links)
    out = np.zeros(n_cells, dtype=bool)
    if fraction and split == "cell":
        _mark_cells(out, sides, fraction, stream(seed, HOLD_OUT))
    elif fraction:
        levels = [_level(link, split) for link in links]
        chosen = _chosen_levels(levels, split, fraction, stream(seed, HOLD_OUT))
        for level, cells in zip(levels, sides, strict=True):
            if level in chosen:
                out[np.concatenate(cells)] = True
    return [HeldOut(*(torch.as_tensor(out[side]) for side in cells)) for cells in sides]


def _numbered_cells(links: Sequence[Link]) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """Number the cells of each side of each link, equal cells alike; also how many there are."""
    sides, sizes = [], {}
    for link in links:
        for name in ("source", "target"):
            rows, cells = getattr(link, f"{name}_rows"), getattr(link.pair, name)
            if rows is None:
                key, rows = id(cells), np.arange(len(cells))
            else:
                key, rows = "one AnnData" if link.within else name, np.asarray(rows)
            sizes[key] = max(sizes.get(key, 0), int(rows.max()) + 1)
            sides.append((key, rows))
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
    numbers = [starts[key] + rows for key, rows in sides]
    return list(zip(numbers[::2], numbers[1::2], strict=True)), sum(sizes.values())


def _mark_cells(
    out: np.ndarray,
    sides: list[tuple[np.ndarray, np.ndarray]],
    fraction: float,
    generator: torch.Generator,
) -> None:
    """Mark the first cells of each side in one random order of all cells."""
    order = torch.randperm(len(out), generator=generator).numpy()
    spaced = np.linspace(0, len(sides) - 1, min(len(sides), MAX_VALIDATED_PAIRS)).astype(int)
    for side in (side for k in spaced for side in sides[k]):
        size = min(max(round(fraction * len(side)), MIN_HELD_OUT), len(side) // 4, MAX_HELD_OUT)
        out[side[np.argsort(order[side])[:size]]] = True
    # cells that other pairs have held out may be too many here: the last of them are trained on
    for side in (side for pair in sides for side in pair):
        held = side[out[side]]
        out[held[np.argsort(order[held])[len(side) // 4 :]]] = False


def _level(link: Link, split: str) -> object:
    """Return what a whole of is held out: the stratum of a link, or its value of a covariate."""
    if split == "stratum":
        return tuple(sorted(link.stratum.items(), key=lambda item: item[0]))
    if split not in link.stratum:
        raise ValueError(
            f"`validation_split={split!r}` is not a covariate of the pair {link.pair.name!r}, "
            f"which has {list(link.stratum)}: pass 'cell', 'stratum', or a covariate that all have."
        )
    return link.stratum[split]


def _chosen_levels(
    levels: list, split: str, fraction: float, generator: torch.Generator
) -> list[object]:
    """Choose a fraction of the levels, at least one and not all."""
    values = list(dict.fromkeys(levels))
    if len(values) < 2:
        raise ValueError(
            f"`validation_split={split!r}` needs at least two values, so that one can be held out; "
            f"found {values}: pass `validation_split='cell'`."
        )
    size = min(max(round(fraction * len(values)), 1), len(values) - 1)
    return [values[k] for k in torch.randperm(len(values), generator=generator)[:size]]


class Validation:
    """Held-out pairs of cells, and the loss of a model on them.

    The target cells are drawn from the plans given the held-out source cells, so that the score of
    a perfect model does not depend on the number of cells, also in an unbalanced fit.

    Parameters
    ----------
    draws
        Draws of the run, with the `held_out` cells to validate on.

    See Also
    --------
    :func:`~scgenot.model.train` : uses it.
    """

    def __init__(self, draws: Draws):
        self.seed = draws.seed
        self.batches = list(_held_out_batches(draws))

    def __bool__(self) -> bool:
        return bool(self.batches)

    @torch.no_grad()
    def loss(self, model: Genot) -> float:
        """Flow-matching loss of a model, with the same random numbers in each call.

        Parameters
        ----------
        model
            Model to score.

        Returns
        -------
        Mean over the pairs.
        """
        losses = [
            model.loss(*batch, generator=stream(self.seed, VALIDATE, k, device=model.device))
            for k, batch in enumerate(self.batches)
        ]
        return float(torch.stack(losses).mean())

    @torch.no_grad()
    def divergence(self, model: Genot) -> float:
        """Sinkhorn divergence between samples of a model and held-out target cells, per dimension.

        Parameters
        ----------
        model
            Model to score.

        Returns
        -------
        Mean over the pairs; cells of all pairs have unit variance in each dimension.
        """
        scores = []
        for k, batch in enumerate(self.batches):
            few = (None if part is None else part[:N_DIVERGENCE] for part in batch)
            source, target, condition = few
            pushed = model.sample(source, condition, rng=k)[:, 0]
            # one ruler for all models: standardized cells of all pairs are 2 per dimension apart,
            # in the mean of squares
            found = sinkhorn_divergence(
                model.units.target(pushed),
                model.units.target(target),
                epsilon=0.1,
                scale=2 * model.target_dim,
                max_iterations=1000,
                tolerance=1e-3,
            )
            scores.append(found / model.target_dim)
        return float(torch.stack(scores).mean())


def _held_out_batches(draws: Draws) -> Iterator[Batch]:
    """Yield validation points of each pair that has held-out cells on both sides."""
    both = [k for k, masks in enumerate(draws.held_out) if all(mask.any() for mask in masks)]
    spaced = np.linspace(0, len(both) - 1, min(len(both), MAX_VALIDATED_PAIRS)).astype(int)
    n_points = max(N_POINTS // max(1, len(spaced)), MIN_POINTS)
    for k in (both[place] for place in spaced):
        find = _from_rows if hasattr(draws.plans[k], "rows") else _from_draws
        i, j = find(draws, k, n_points)
        if len(i) > 1:
            yield draws.cells(torch.full_like(i, k), i, j)


def _from_rows(draws: Draws, k: int, n_points: int) -> tuple[Tensor, Tensor]:
    """Draw pairs from the plan's block of held-out source and target cells."""
    plan, generator = draws.plans[k], stream(draws.seed, VALIDATE, 0, k)
    i, j = (_some(mask.cpu().nonzero()[:, 0], generator) for mask in draws.held_out[k])
    size = max(1, MAX_ENTRIES // len(draws.held_out[k].target))
    laws = torch.cat([torch.as_tensor(plan.rows(cells))[:, j].cpu() for cells in i.split(size)])
    mass = torch.as_tensor(draws.pairs[k].source_weights)[i]
    if not is_balanced(plan):
        mass = mass * torch.as_tensor(plan.growth(i)).cpu()
    mass = (mass.double()[:, None] * laws.double()).flatten()
    if not mass.sum() > 0:
        return i[:0].to(draws.device), j[:0].to(draws.device)
    drawn = systematic(mass, n_points, generator)
    drawn = drawn[torch.randperm(n_points, generator=generator)]
    return i[drawn // len(j)].to(draws.device), j[drawn % len(j)].to(draws.device)


def _some(cells: Tensor, generator: torch.Generator) -> Tensor:
    """At most as many cells, drawn at random, as are held out of one side."""
    return cells[torch.randperm(len(cells), generator=generator)[:MAX_HELD_OUT]]


def _from_draws(draws: Draws, k: int, n_points: int) -> tuple[Tensor, Tensor]:
    """Keep the draws whose cells are both held out; repeated, for the loss has other noise then."""
    i, j = draws.draw(k, N_DRAWS, VALIDATE, 0)
    found = (draws.held_out[k].source[i] & draws.held_out[k].target[j]).nonzero()[:, 0]
    if len(found) > 1:
        found = found[torch.arange(n_points, device=found.device) % len(found)]
    return i[found], j[found]
