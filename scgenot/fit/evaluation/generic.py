"""What is compared for a task that evaluation knows only by its links."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from scgenot import baselines
from scgenot._random import numpy_rng
from scgenot.fit.evaluation.comparison import (
    ALL,
    BASELINE,
    COUPLING,
    GENOT,
    MODEL,
    Comparison,
    Features,
    Grouped,
    Prediction,
)
from scgenot.model import LightBridge, Run
from scgenot.pair import Link, Pair

# training cells a side between which a baseline solves a plan; other baselines use them all
MAX_PLANNED = 2000
PLAIN_COUPLING, BRIDGE = "plain coupling", "light bridge"
# of a light bridge that is fitted for an evaluation, a second or two
BRIDGE_STEPS = 500
RANDOM = "random target cells"


def generic_comparisons(
    fitted: Sequence[Link],
    held_out: Sequence[Link],
    draw: Callable[[np.ndarray, np.ndarray | None], np.ndarray],
    coupled: Callable[[np.ndarray, Link], np.ndarray | None],
    *,
    one_space: bool,
    to_features: Features,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
    others: bool = True,
) -> Iterator[Grouped]:
    """Predict the target cells of each held-out link from its source cells.

    Parameters
    ----------
    fitted, held_out
        Links of the fit, of which baselines are made, and links to predict.
    draw
        Takes source cells `(n, p)` and the condition of their pair, gives cells `(n, q)` drawn from
        the model.
    coupled
        Takes source cells and their held-out link, gives cells `(n, q)` drawn from the coupling
        that was fitted; None where there is none.
    one_space
        Whether source and target cells are in one space, so that cells can be moved.
    to_features
        Takes target cells, gives the features whose means are compared.
    groups
        Group of each row of the source's and of the target's AnnData; None for one group.
    seed
        Seed of the draws of baselines.
    others
        Whether to predict by anything but the model.

    Yields
    ------
    A comparison, and the group of each of its source and of its true cells.
    """
    for link in held_out:
        query, true = (np.asarray(side, float) for side in (link.pair.source, link.pair.target))
        predictions = {GENOT: Prediction.of_all(MODEL, draw(query, link.pair.condition))}
        if others and (plain := coupled(query, link)) is not None:
            predictions[PLAIN_COUPLING] = Prediction.of_all(COUPLING, plain)
        training = same_question(fitted, link)
        before = np.concatenate([found.pair.source for found in training])
        after = np.concatenate([found.pair.target for found in training])
        if others and one_space:
            predictions |= moved_cells(before, after, query, seed)
            predictions[BRIDGE] = bridged_cells(before, after, query, seed)
        elif others:
            predictions[RANDOM] = random_cells(after, len(query), seed)
        comparison = Comparison(
            condition=link.pair.name,
            group="",
            predictions=predictions,
            true=true,
            n_source=len(query),
            negative="identity" if one_space else RANDOM,
            to_features=to_features,
            control=query if one_space else None,
        )
        if groups is None:
            sides = np.full(len(query), ALL, object), np.full(len(true), ALL, object)
        else:
            sides = groups[0][link.source_rows], groups[1][link.target_rows]
        yield comparison, *sides


def same_question(fitted: Sequence[Link], link: Link) -> Sequence[Link]:
    """Fitted links with the labels of a held-out one, of its stratum where there are; else all."""
    same = [found for found in fitted if found.labels == link.labels]
    return [found for found in same if found.stratum == link.stratum] or same or fitted


def moved_cells(
    before: np.ndarray,
    after: np.ndarray,
    query: np.ndarray,
    seed: int,
    groups: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    n_planned: int = MAX_PLANNED,
) -> dict[str, Prediction]:
    """Predict by every baseline of one space; `groups` are those of the three populations."""
    cells = {
        "identity": baselines.identity(query),
        "mean shift": baselines.mean_shift(before, after, query),
    }
    if groups is not None:
        shifted = baselines.mean_shift(before, after, query, groups=groups)
        cells["mean shift per group"] = shifted
    cells["Gaussian map"] = baselines.gaussian_map(before, after, query)
    found = {name: Prediction.of_all(BASELINE, moved) for name, moved in cells.items()}
    found[RANDOM] = random_cells(after, len(query), seed)
    rng = numpy_rng([seed, 2])
    x, y = (side[rng.permutation(len(side))[:n_planned]] for side in (before, after))
    for name, displacement in (("discrete plan", False), ("discrete plan, displacement", True)):
        options = {"displacement": displacement, "rng": numpy_rng([seed, 3])}
        planned = baselines.plan_nearest(x, y, query, **options)
        found[name] = Prediction.of_all(BASELINE, planned)
    return found


def bridged_cells(
    before: np.ndarray, after: np.ndarray, query: np.ndarray, seed: int
) -> Prediction:
    """Predict by a Gaussian mixture bridge: what takes a network should be better."""
    rng = numpy_rng([seed, 7])
    x, y = (side[rng.permutation(len(side))[:MAX_PLANNED]] for side in (before, after))
    learner, run = LightBridge(steps=BRIDGE_STEPS), Run(seed=seed, progress=False)
    model = learner([Link(Pair(x, y))], run).model
    return Prediction.of_all(BASELINE, model.sample(query, rng=numpy_rng([seed, 8]))[:, 0])


def random_cells(target: np.ndarray, n: int, seed: int) -> Prediction:
    """Random target cells for some of `n` source cells, each at most once.

    Repeated cells would count against the baseline.
    """
    rng = numpy_rng([seed, 4])
    rows = rng.permutation(n)[: len(target)]
    return Prediction(BASELINE, baselines.random_targets(target, len(rows), rng=rng), rows)
