"""Draws of a model, a block of source cells at a time."""

import logging
from collections.abc import Iterator
from inspect import Parameter, signature
from typing import NamedTuple

import numpy as np

from scgenot._progress import progress_bar
from scgenot._random import Rng, numpy_rng
from scgenot.fit.coupled import PAGE
from scgenot.flow.integrator import Integrator

logger = logging.getLogger("scgenot")
# source cells in a block; part of what a seed means, for each block has its own random numbers
BLOCK = 1024
# draws of two pairs, the fewest whose variance is known
FEWEST_PAIRED = 4


class Drawn(NamedTuple):
    """Some of the source cells, and what was drawn for them, `(n, n_samples, q)`."""

    rows: slice
    source: np.ndarray
    draws: np.ndarray
    antithetic: bool = False


def draw_blocks(
    model,
    cells: np.ndarray,
    condition: np.ndarray | None,
    *,
    n_samples: int,
    guidance: float = 1.0,
    integrator: Integrator | None = None,
    seed: int,
    progress: bool = False,
    start: int = 0,
    antithetic: bool = False,
) -> Iterator[Drawn]:
    """Draw target cells block by block, so that memory does not grow with the number of cells.

    Antithetic draws are for means, and for models that have them.

    The noise of a block follows from the seed and its place: those from the one with the cell
    `start` on are what they are after all others.
    """
    first = start - start % BLOCK
    options = {} if guidance == 1 else {"guidance": guidance}
    options |= {} if integrator is None else {"integrator": integrator}
    check_taken(model, options)
    if not options and getattr(model, "distilled", None) is not None:
        logger.info(
            "Cells under fitted conditions are sampled by the distilled model, in %d step(s); pass "
            "`integrator=sg.flow.ODE()` for its teacher.",
            model.distilled.steps,
        )
    antithetic &= takes_antithetic(model, n_samples)
    options |= {"antithetic": True} if antithetic else {}
    shown = progress and len(cells) > BLOCK
    with progress_bar(
        total=len(cells), initial=first, desc="predicting", unit="cell", shown=shown
    ) as bar:
        for begin in range(first, len(cells), BLOCK):
            rows = slice(begin, min(begin + BLOCK, len(cells)))
            # the first block has the noise that `model.sample` gives this seed
            rng: Rng = numpy_rng([seed, begin]) if begin else seed
            told = None if condition is None else condition[rows]
            drawn = model.sample(cells[rows], told, n_samples=n_samples, rng=rng, **options)
            draws = checked(drawn, rows, n_samples, model)
            yield Drawn(rows, cells[rows], draws, antithetic)
            bar.update(rows.stop - rows.start)


def takes_antithetic(model, n_samples: int) -> bool:
    """Whether a model draws pairs with opposite noise, and so many draws are pairs."""
    paired = n_samples >= FEWEST_PAIRED and n_samples % 2 == 0
    return paired and "antithetic" in signature(model.sample).parameters


def check_taken(model, options: dict) -> None:
    """Raise a ValueError for options that the model's `sample` does not take."""
    known = signature(model.sample).parameters
    if any(each.kind is Parameter.VAR_KEYWORD for each in known.values()):
        return
    for name, value in options.items():
        if name not in known:
            raise ValueError(
                f"`{name}={value!r}`: a model of type {type(model).__name__} takes no {name}. Fit "
                f"with `learner=sg.model.FlowMatching()`, or leave `{name}` out."
            )


def checked(drawn, rows: slice, n_samples: int, model) -> np.ndarray:
    """Return draws as an array, or raise where a model of the user's gave something else."""
    draws = np.asarray(drawn)
    expected = rows.stop - rows.start, n_samples
    if draws.ndim != 3 or draws.shape[:2] != expected:
        raise ValueError(
            f"`sample` of the model {type(model).__name__} must return draws of shape "
            f"({expected[0]}, {n_samples}, q); found {draws.shape}. {PAGE}"
        )
    if not np.isfinite(draws).all():
        raise FloatingPointError(
            f"The model {type(model).__name__} drew values that are not finite: fit again with a "
            "lower `learning_rate`, or look for extreme values in the cells."
        )
    return draws


def require_method(model, name: str, verb: str):
    """Return a method of a model, or raise a ValueError that says which models have it."""
    found = getattr(model, name, None)
    if found is None:
        raise ValueError(
            f"`sg.tl.{verb}` needs a model with `{name}`, and one of type {type(model).__name__} "
            "has none: fit with `learner=sg.model.FlowMatching()`."
        )
    return found
