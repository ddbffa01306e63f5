"""Generated populations compared with measured ones, baselines and the ceiling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scgenot import metrics
from scgenot._check import check_labels, check_one_space
from scgenot._random import Rng, numpy_rng
from scgenot.cells.populations import Populations
from scgenot.fit.evaluation.comparison import BASELINE, CEILING, MODEL
from scgenot.population.distances import Kind, pairwise, subsample

GENERATED, HALVES = "generated", "ceiling, halves"
RESAMPLED, MEAN, MIXTURE = "resampled training populations", "mean population", "mixture"
N_RESAMPLES, LEVEL = 1000, 0.95
FEWEST = 4  # of measured populations: two in each half


@dataclass(frozen=True)
class Clouds:
    """Cells of populations, and their labels if any."""

    cells: list[np.ndarray]
    labels: list[np.ndarray] | None = None

    @classmethod
    def of(
        cls, found: Populations, labels: Sequence | None, n_cells: int | None, rng: Rng
    ) -> "Clouds":
        """Take at most so many cells of each population, with the labels of all cells."""
        rows, own = subsample(found.rows, n_cells, rng), None
        if labels is not None:
            labels = check_labels(labels, len(found.cells), "label_key")
            own = [labels[one] for one in rows]
        return cls([found.cells[one].astype(float) for one in rows], own)

    def __len__(self) -> int:
        """Return the number of populations."""
        return len(self.cells)

    def choose(self, positions: Sequence[int]) -> "Clouds":
        """Return some populations."""
        own = None if self.labels is None else [self.labels[k] for k in positions]
        return Clouds([self.cells[k] for k in positions], own)

    def composition(self, known: Sequence[str]) -> np.ndarray:
        """Mean share of each label over the populations."""
        shares = [[(own == label).mean() for label in known] for own in self.labels]
        return np.mean(shares, axis=0)


def population_table(
    measured: Clouds,
    generated: Clouds,
    train: Clouds | None,
    *,
    kind: Kind = "bures",
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> pd.DataFrame:
    """Compare generated with measured populations, baselines and the ceiling.

    Parameters
    ----------
    measured, generated
        Populations in one space; as many of both are compared, chosen at random.
    train
        Populations used to train the generator, from which baselines are made; None for no
        baselines.
    kind
        Distance between populations, as in :func:`~scgenot.population.distances.pairwise`.
    seed
        Of what is chosen and drawn.
    device, progress
        As in that function.

    Returns
    -------
    One row per method; `attrs["verdict"]` summarizes the comparison.
    """
    rng = numpy_rng(seed)
    sides = {"measured": measured, "generated": generated, "train": train}
    check_one_space({name: side.cells[0] for name, side in sides.items() if side is not None})
    n = min(len(measured), len(generated))
    if n < FEWEST:
        raise ValueError(
            f"`measured` has {len(measured)} and `generated` {len(generated)} populations: at "
            f"least {FEWEST} of each are needed."
        )
    measured, generated = (
        side.choose(np.sort(rng.permutation(len(side))[:n])) for side in (measured, generated)
    )
    methods = {GENERATED: (MODEL, generated, measured)}
    if train is not None:
        trivial = trivial_populations(train, list(map(len, measured.cells)), rng)
        methods |= {name: (BASELINE, found, measured) for name, found in trivial.items()}
    order = rng.permutation(n)
    halves = (measured.choose(half) for half in (order[: n // 2], order[n // 2 : 2 * (n // 2)]))
    methods[HALVES] = (CEILING, *halves)
    options = {"kind": kind, "n_cells": None, "device": device, "progress": progress}
    rows, nearest = {}, {}
    for name, (role, found, against) in methods.items():
        scores, nearest[name] = compare(found, against, train, options)
        rows[name] = {"kind": role, "n_populations": len(found), **scores}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")
    table.attrs["verdict"] = verdict(table, nearest[GENERATED], rng)
    return table


def compare(
    found: Clouds, measured: Clouds, train: Clouds | None, options: dict
) -> tuple[dict[str, float], list[np.ndarray]]:
    """Metrics of populations, and distances of both sides to the nearest training population."""
    n, m = len(found), len(measured)
    seen = [] if train is None else train.cells
    distances = pairwise([*found.cells, *measured.cells, *seen], **options, warn=False)
    own, is_generated = distances[: n + m, : n + m], np.arange(n + m) < n
    scores = {
        "nearest_neighbor_accuracy": metrics.nearest_neighbor_accuracy(own, is_generated),
        "mmd": metrics.population_mmd(own, is_generated),
        "coverage": metrics.population_coverage(own, is_generated),
    }
    if found.labels is not None:
        known = np.unique(np.concatenate([*found.labels, *measured.labels]))
        shares = [side.composition(known) for side in (found, measured)]
        scores["composition_error"] = float(np.abs(shares[0] - shares[1]).sum() / 2)
    if not seen:
        return scores, []
    nearest = np.split(distances[: n + m, n + m :].min(1), [n])
    return {**scores, "nearest_training": float(np.median(nearest[0]))}, nearest


def trivial_populations(
    train: Clouds, sizes: Sequence[int], rng: np.random.Generator
) -> dict[str, Clouds]:
    """Baselines from training populations, of the given sizes.

    Some of them with resampled cells; the mean of all, each with the spread within populations
    about the mean of the means; and the mixture of all.
    """
    n, counts = len(train), np.array(list(map(len, train.cells)))
    starts, every = np.cumsum(counts) - counts, np.concatenate(train.cells)
    labels = None if train.labels is None else np.concatenate(train.labels)
    means = np.array([cells.mean(0) for cells in train.cells])
    order = np.concatenate([rng.permutation(n) for _ in range(-(-len(sizes) // n))])

    def drawn(of: Callable, shifts: np.ndarray | None = None) -> Clouds:
        """Draw each cell from the population that `of` names for it."""
        origins = [of(k, size) for k, size in enumerate(sizes)]
        rows = [starts[p] + rng.integers(counts[p]) for p in origins]
        cells = [every[own] for own in rows]
        if shifts is not None:
            cells = [own + shifts[p] for own, p in zip(cells, origins, strict=True)]
        return Clouds(cells, None if labels is None else [labels[own] for own in rows])

    def anywhere(_, size: int) -> np.ndarray:
        return rng.integers(n, size=size)

    return {
        RESAMPLED: drawn(lambda k, size: np.full(size, order[k])),
        MEAN: drawn(anywhere, means.mean(0) - means),
        MIXTURE: drawn(anywhere),
    }


def refuse_seen(measured: Populations, train: Populations) -> None:
    """Raise a ValueError if measured populations were used for training."""
    seen = {(len(cells), cells.mean(0).tobytes()) for cells in train}
    again = [
        name
        for name, cells in zip(measured.names, measured, strict=True)
        if (len(cells), cells.mean(0).tobytes()) in seen
    ]
    if again:
        raise ValueError(
            f"{len(again)} of {len(measured)} populations of `measured` are also in `train` "
            f"({', '.join(again[:3])}): hold out others, or remove them from `train`."
        )


def verdict(table: pd.DataFrame, nearest: Sequence[np.ndarray], rng: np.random.Generator) -> str:
    """Summarize the accuracy, and state whether generated populations are copies."""
    accuracy = table["nearest_neighbor_accuracy"]
    trivial = accuracy[table["kind"] == BASELINE]
    text = (
        f"1-nearest-neighbor accuracy {accuracy[GENERATED]:.2f} of generated populations (0.5 is "
        f"ideal, halves of the measured ones have {accuracy[HALVES]:.2f}"
    )
    if not nearest:
        return text + ")."
    best = (trivial - 0.5).abs().idxmin()
    text += f"; the best baseline, {best}, has {trivial[best]:.2f}). "
    ours, theirs = nearest
    draws = [
        np.mean(rng.choice(ours, len(ours))) - np.mean(rng.choice(theirs, len(theirs)))
        for _ in range(N_RESAMPLES)
    ]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    text += (
        f"They are {np.mean(ours):.3g} from the nearest training population on average, measured "
        f"ones {np.mean(theirs):.3g} (difference {np.mean(ours) - np.mean(theirs):.2g}, "
        f"{LEVEL:.0%} interval {low:.2g} to {high:.2g}): "
    )
    copies = "they are nearer than new populations, which indicates copies"
    return text + (f"{copies}." if high < 0 else "no indication of copies.")
