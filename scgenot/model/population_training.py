"""Training of the flow of Gaussian populations on geodesics, with validation."""

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from scgenot._outcome import Outcome
from scgenot._progress import progress_bar
from scgenot._random import torch_rng
from scgenot.flow.path import stratified_times
from scgenot.model.learner import HISTORY
from scgenot.model.learning import Learned, Run, outcomes
from scgenot.model.population_flow import PopulationFlow
from scgenot.model.train import follow
from scgenot.population.bures import Gaussians, Velocity, distances, squared_speed, transport

if TYPE_CHECKING:
    from scgenot.model.population_matching import GaussianPopulations, PopulationData

ROUNDS, ENOUGH = 16, 3200  # times that all populations are coupled to new noise; pairs in all
MOST_HELD_OUT = 500
MOST_COUPLED = 64  # populations in one coupling
WARMUP, VALIDATION_EVERY, PATIENCE, EMA_DECAY = 100, 100, 8, 0.995


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
    validate = Validation(held_out, generator)
    average = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
    parameters = list(model.field.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=learner.weight_decay)
    losses, steps = [], learner.steps
    bar = progress_bar(range(steps), shown=run.progress, desc="training", unit="step")
    for k in bar:
        if k % VALIDATION_EVERY == 0 and validate(average, k, losses):
            break
        rate = min(1.0, (k + 1) / WARMUP) * (1 + math.cos(math.pi * k / steps)) / 2
        optimizer.param_groups[0]["lr"] = rate * learner.learning_rate
        rows = torch.randint(len(paths), (learner.batch_size,), generator=generator)
        loss = loss_of(model, paths[rows.to(device)], times(learner.batch_size, generator, device))
        optimizer.zero_grad()
        loss.mean().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        follow(average.field, model.field, min(EMA_DECAY, (1 + k) / (10 + k)))
        losses.append(float(loss.detach().mean()))
    else:
        k = steps
        validate(average, k, losses)
    model.load_state_dict(validate.weights or average.state_dict())
    ended = Outcome.COMPLETED if k == steps else Outcome.STOPPED_EARLY
    history = pd.DataFrame(validate.history, dtype=float).reindex(columns=HISTORY)
    return Learned(model.eval(), history.astype({"step": int}), outcomes(k, ended))


def times(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw times, shape `(n, 1)`."""
    return stratified_times(n, generator=generator).double()[:, None].to(device)


class Validation:
    """Loss of held-out populations at fixed noise and times; keeps the best weights."""

    def __init__(self, paths: Paths | None, generator: torch.Generator):
        self.paths, self.weights, self.history = paths, None, []
        if paths is not None:
            order = torch.randperm(len(paths), generator=generator)
            self.times = times(len(paths), generator, torch.device("cpu"))[order].to(paths.shift)

    @torch.no_grad()
    def __call__(self, model: PopulationFlow, step: int, losses: list[float]) -> bool:
        """Add a line to the history; whether training has stopped to get better."""
        line = {"step": step, "loss": np.mean(losses[-VALIDATION_EVERY:]) if losses else np.nan}
        self.history.append(line)
        if self.paths is None:
            return False
        line["validation"] = float(loss_of(model, self.paths, self.times).mean())
        found = [entry["validation"] for entry in self.history]
        best = int(np.argmin(found))
        if best == len(found) - 1:
            self.weights = copy.deepcopy(model.state_dict())
        return len(found) - 1 - best >= PATIENCE
