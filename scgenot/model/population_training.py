"""Training of the flow of Gaussian populations on geodesics, with validation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from scgenot._random import torch_rng
from scgenot.flow.path import stratified_times
from scgenot.model.learning import Learned, Run
from scgenot.model.population_descent import optimize
from scgenot.model.population_flow import PopulationFlow
from scgenot.population.bures import Gaussians, Velocity, distances, squared_speed, transport

if TYPE_CHECKING:
    from scgenot.model.population_matching import GaussianPopulations, PopulationData

ROUNDS, ENOUGH = 16, 3200  # times that all populations are coupled to new noise; pairs in all
MOST_HELD_OUT = 500
MOST_COUPLED = 64  # populations in one coupling


PARTS = ("mean", "covariance")


@dataclass(frozen=True)
class Paths:
    """Geodesics from noise to populations: their starts and their maps."""

    noise: Gaussians
    shift: Tensor  # of the means
    change: Tensor  # optimal map less the identity
    condition: Tensor
    mean: Tensor  # of the Gaussian distribution

    def __len__(self) -> int:
        return len(self.shift)

    def __getitem__(self, rows: Tensor) -> "Paths":
        return Paths(*(part[rows] for part in vars(self).values()))

    def at(self, t: Tensor) -> tuple[Gaussians, Velocity]:
        """Populations at times `(n, 1)`, and their velocity `(dm, (A - I) M_t^-1)`."""
        eye = torch.eye(self.shift.shape[1]).to(self.shift)
        matrix = eye + t[..., None] * self.change
        covariance = matrix @ self.noise.covariance @ matrix
        there = Gaussians(self.noise.mean + t * self.shift, (covariance + covariance.mT) / 2)
        linear = torch.linalg.solve(matrix, self.change)
        return there, Velocity(self.shift, (linear + linear.mT) / 2)


def couple(
    model: PopulationFlow, targets: Gaussians, condition: Tensor, generator: torch.Generator
) -> Paths:
    """Couple populations to noise by the Bures distance, in batches and several rounds.

    For the coupling, the effect of the condition on the mean is subtracted from the populations:
    noise must remain independent of the condition.
    """
    mean = model.mean(condition)
    away = model.chart.coordinates(targets) - mean + mean.mean(0)
    compared = model.chart.populations(away)
    starts, rows = [], []
    for _ in range(max(1, min(ROUNDS, ENOUGH // len(away)))):
        for part in torch.randperm(len(away), generator=generator).split(MOST_COUPLED):
            part = part.to(away.device)
            noise = model.noise(len(part), generator)
            cost = distances(noise, compared[part]).square().cpu().numpy()
            rows.append(part[torch.from_numpy(linear_sum_assignment(cost)[1]).to(part.device)])
            starts.append(noise)
    rows = torch.cat(rows)
    noise = Gaussians(*(torch.cat([getattr(one, name) for one in starts]) for name in PARTS))
    change = transport(noise, targets[rows]) - torch.eye(model.dim).to(away)
    return Paths(noise, targets.mean[rows] - noise.mean, change, condition[rows], mean[rows])


def loss_of(model: PopulationFlow, paths: Paths, t: Tensor) -> Tensor:
    """Squared Riemannian distance of the model's velocity from that of the paths, `(n,)`."""
    at, velocity = paths.at(t)
    found = model.chart.push(at, model.rate(t, at, paths.condition, paths.mean))
    off = Velocity(found.mean - velocity.mean, found.linear - velocity.linear)
    return squared_speed(at, off)


def split(
    groups: np.ndarray, fraction: float, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split populations by whole groups, with about a fraction held out."""
    names, sizes = np.unique(groups, return_counts=True)
    chosen = torch.randperm(len(names), generator=generator).numpy()
    order, share = names[chosen], np.cumsum(sizes[chosen]) / len(groups)
    out = np.isin(groups, order[share <= fraction + 1e-9][: len(order) - 1])
    return np.flatnonzero(~out), np.flatnonzero(out)


def train_flow(
    model: PopulationFlow,
    targets: Gaussians,
    data: "PopulationData",
    learner: "GaussianPopulations",
    run: Run,
) -> Learned:
    """Train the network of a model on whitened populations; the best averaged weights are kept."""
    generator, device = torch_rng(run.seed), model.device
    condition = torch.as_tensor(data.condition, dtype=torch.double).to(device)
    targets = Gaussians(targets.mean.to(device), targets.covariance.to(device))
    fraction = min(learner.validation_fraction, MOST_HELD_OUT / len(data.groups))
    kept, out = split(data.groups, fraction, generator)
    paths, held_out = (
        couple(model, targets[rows], condition[rows], generator) if len(rows) else None
        for rows in (kept, out)
    )
    validate = None if held_out is None else held_out_loss(held_out, generator)

    def loss() -> Tensor:
        rows = torch.randint(len(paths), (learner.batch_size,), generator=generator)
        t = times(learner.batch_size, generator, device)
        return loss_of(model, paths[rows.to(device)], t).mean()

    return optimize(model, loss, validate, learner, run)


def held_out_loss(paths: Paths, generator: torch.Generator) -> Callable[[PopulationFlow], float]:
    """Return the loss of held-out populations, at times that are always the same."""
    order = torch.randperm(len(paths), generator=generator)
    t = times(len(paths), generator, torch.device("cpu"))[order].to(paths.shift)
    return lambda model: float(loss_of(model, paths, t).mean())


def times(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw times, shape `(n, 1)`."""
    return stratified_times(n, generator=generator).double()[:, None].to(device)
