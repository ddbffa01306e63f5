"""Learner of populations as clouds of cells, by flow matching between clouds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from scgenot._check import check_count, check_rate
from scgenot._progress import progress_bar
from scgenot._random import numpy_rng, torch_rng
from scgenot._typed import check_fields
from scgenot.flow.path import stratified_times
from scgenot.model.cloud_flow import N_HEADS, CloudFlow, some_rows
from scgenot.model.learning import Learned, Run, seeded
from scgenot.model.population_descent import optimize
from scgenot.model.population_matching import PopulationData, check_rates
from scgenot.model.population_training import split

ROUNDS, ENOUGH = 8, 1600  # times that all clouds are coupled to new noise; pairs in all
MOST_HELD_OUT = 64


@dataclass(frozen=True)
class CloudPopulations:
    """Learn populations as clouds of cells by flow matching.

    Each population is coupled to a cloud of noise, or to its paired population, by an optimal
    assignment of cells; a set transformer learns the velocity of all cells at once (Wasserstein
    Flow Matching, arXiv 2411.00698). The weights with the lowest loss on held-out populations are
    kept.

    Parameters
    ----------
    steps
        Maximum number of optimization steps.
    width, depth
        Size of the :class:`~scgenot.flow.SetField`.
    max_cells
        Maximum number of cells of a cloud, drawn again in each round.
    batch_size
        Populations per step.
    learning_rate
        Largest learning rate: reached after the warm-up, then lowered along half a cosine to zero.
    weight_decay
        Weight decay of AdamW.
    condition_dropout
        Fraction of populations whose condition is hidden in training, for guidance.
    validation_fraction
        Fraction of the populations to hold out.

    Raises
    ------
    TypeError
        When an option has a wrong type.
    ValueError
        When a number is out of range.

    Examples
    --------
    >>> learner = sg.model.CloudPopulations(steps=500, max_cells=100)
    """

    steps: int = 3000
    width: int = 64
    depth: int = 4
    max_cells: int = 100
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    condition_dropout: float = 0.1
    validation_fraction: float = 0.1

    def __post_init__(self):
        counts = {"steps": 1, "width": N_HEADS, "depth": 1, "max_cells": 2, "batch_size": 1}
        for name, least in counts.items():
            check_count(name, getattr(self, name), least)
        check_rates(self)
        for name in ("condition_dropout", "validation_fraction"):
            check_rate(name, getattr(self, name))
        check_fields(self)

    def __call__(self, data: PopulationData, run: Run) -> Learned:
        """Train a model on populations.

        Parameters
        ----------
        data
            Populations.
        run
            Seed, device and whether to show progress.

        Returns
        -------
        The model, the history of its training and how the training ended.
        """
        device = torch.device(run.device)
        with seeded(run):
            sizes = data.clouds[0].shape[1], data.condition.shape[1], self.width, self.depth
            model = CloudFlow(*sizes)
        model.fit_units([*data.clouds, *(data.sources or ())])
        model.to(device)
        generator = torch_rng(run.seed)
        fraction = min(self.validation_fraction, MOST_HELD_OUT / len(data.groups))
        kept, out = split(data.groups, fraction, generator)
        paths, held_out = (self.couple(model, data, rows, run) for rows in (kept, out))
        return self.train(model, paths, held_out, generator, run)

    def couple(
        self, model: CloudFlow, data: PopulationData, rows: np.ndarray, run: Run
    ) -> "CloudPaths":
        """Couple some populations to noise, or to their partners, several times.

        Parameters
        ----------
        model
            Model whose units are fitted.
        data
            Populations.
        rows
            Which of them.
        run
            Seed and device.

        Returns
        -------
        Starts and ends of all cells.
        """
        rng = numpy_rng([run.seed, *map(int, rows[:1])]) if len(rows) else None
        repeats = max(1, min(ROUNDS, ENOUGH // max(len(rows), 1)))
        every = np.repeat(rows, repeats)
        center, scale = (part.cpu().numpy() for part in (model.center, model.scale))
        ends, starts = [], []
        for k in every:
            cloud = data.clouds[k]
            n = min(len(cloud), self.max_cells)
            ends.append((cloud[some_rows(len(cloud), n, rng)] - center) / scale)
            if data.sources is None:
                starts.append(rng.normal(size=(n, model.dim)))
            else:
                source = data.sources[k]
                starts.append((source[some_rows(len(source), n, rng)] - center) / scale)
        pairs = list(zip(starts, ends, strict=True))
        bar = progress_bar(pairs, shown=run.progress, desc="coupling", unit="population")
        ends = [end[matched(start, end)] for start, end in bar]
        condition = torch.from_numpy(data.condition[every]).float()
        return CloudPaths(starts, ends, condition, torch.device(run.device))

    def train(
        self,
        model: CloudFlow,
        paths: "CloudPaths",
        held_out: "CloudPaths",
        generator: torch.Generator,
        run: Run,
    ) -> Learned:
        """Train a model on coupled clouds.

        Parameters
        ----------
        model
            Model, changed in place.
        paths, held_out
            Coupled clouds to learn from and to validate on.
        generator
            Source of random numbers.
        run
            Device and whether to show progress.

        Returns
        -------
        The model, the history of its training and how the training ended.
        """

        def loss() -> Tensor:
            rows = torch.randint(len(paths), (self.batch_size,), generator=generator)
            hidden = torch.rand(self.batch_size, generator=generator) < self.condition_dropout
            t = stratified_times(self.batch_size, generator=generator)
            return loss_of(model, paths, rows, t, hidden)

        validate = (lambda average: validated(average, held_out)) if len(held_out) else None
        return optimize(model, loss, validate, self, run)


class CloudPaths:
    """Straight paths of all cells of clouds, padded to one size when a batch is taken."""

    def __init__(
        self,
        starts: Sequence[np.ndarray],
        ends: Sequence[np.ndarray],
        condition: Tensor,
        device: torch.device,
    ):
        n = max(map(len, starts), default=0)
        dim = starts[0].shape[1] if n else 0
        self.starts, self.ends = torch.zeros(2, len(starts), n, dim)
        self.sizes, self.condition = torch.tensor(list(map(len, starts))), condition
        for k, (start, end) in enumerate(zip(starts, ends, strict=True)):
            self.starts[k, : len(start)] = torch.from_numpy(start)
            self.ends[k, : len(end)] = torch.from_numpy(end)
        self.device = device

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self.sizes)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return starts, ends, conditions and padding of some clouds."""
        n = int(self.sizes[rows].max())
        padding = torch.arange(n) >= self.sizes[rows][:, None]
        parts = self.starts[rows, :n], self.ends[rows, :n], self.condition[rows], padding
        return tuple(part.to(self.device) for part in parts)


def loss_of(model: CloudFlow, paths: CloudPaths, rows: Tensor, t: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error of the velocity over cells, each population counting as much."""
    starts, ends, condition, padding = paths.take(rows)
    t, hidden = t.to(starts), hidden.to(starts)
    cells = starts + t[:, None, None] * (ends - starts)
    found = model.velocity(t, cells, condition, hidden, padding)
    off = (found - (ends - starts)).square().sum(2).masked_fill(padding, 0.0)
    return (off.sum(1) / (~padding).sum(1)).mean()


def validated(model: CloudFlow, paths: CloudPaths) -> float:
    """Loss of held-out clouds, at times that are always the same."""
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))
    t = ((torch.arange(len(paths)) + 0.5) / len(paths))[order]
    parts = [
        loss_of(model, paths, rows, t[rows], torch.zeros(len(rows))) * len(rows)
        for rows in torch.arange(len(paths)).split(32)
    ]
    return float(torch.stack(parts).sum() / len(paths))


def matched(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return which end each start is coupled with, each once: the squared distance is least.

    What an entropic plan is for a small epsilon, without the hundreds of iterations that takes, and
    without its blur.
    """
    cost = cdist(start - start.mean(0), end - end.mean(0), "sqeuclidean")
    return linear_sum_assignment(cost)[1]
