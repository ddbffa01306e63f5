"""Learner of Gaussian populations: a linear-Gaussian model and a flow for the rest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scgenot._check import check_count, check_number, check_rate
from scgenot._outcome import Outcome
from scgenot._typed import check_fields
from scgenot.model.learner import HISTORY
from scgenot.model.learning import Learned, Run, seeded
from scgenot.model.population_flow import WISHART, PopulationFlow, radial
from scgenot.model.population_training import train_flow
from scgenot.population.bures import Gaussians
from scgenot.population.chart import Chart
from scgenot.population.gaussian import estimate
from scgenot.population.law import count_factors, factors, fit_law

FEWEST = 40  # populations, below which only the Gaussian model is fitted
MOST_ANCHORS = 50
BANDWIDTHS = (0.5, 1.0, 2.0)  # of radial functions, in units of the median distance of conditions


@dataclass(frozen=True)
class PopulationData:
    """Populations for training.

    Parameters
    ----------
    clouds
        Cells of each population, shapes `(n_k, d)`.
    condition
        Conditions, shape `(n, c)`; `c` may be 0.
    groups
        Populations that are held out together, shape `(n,)`.
    sources
        Cells of the paired populations; None without.
    names
        Names of the populations, for messages.

    See Also
    --------
    :class:`~scgenot.model.GaussianPopulations` : is trained on them.
    """

    clouds: Sequence[np.ndarray]
    condition: np.ndarray
    groups: np.ndarray
    sources: Sequence[np.ndarray] | None = None
    names: Sequence[str] | None = None


@dataclass(frozen=True)
class GaussianPopulations:
    """Learn Gaussian populations by flow matching in the Bures-Wasserstein geometry.

    First, a Gaussian model of means and square roots of covariances is fitted: ridge regression on
    the conditions and on factors of the paired population, and factors of the residuals. Its size
    is chosen on left-out populations. With at least 40 populations, a network then models the
    remaining variation (Wasserstein Flow Matching, arXiv 2411.00698): noise is coupled to
    populations by the Bures distance, and the network is trained on the velocity of the geodesics,
    with the Riemannian norm as loss. The weights with the lowest loss on held-out populations are
    kept, or the Gaussian model if no weights are better. For paired populations, only the Gaussian
    model is used: the prediction is the mean of the targets, plus the part of the deviation of the
    source from its mean that targets preserve.

    Parameters
    ----------
    steps
        Maximum number of optimization steps; 0 for the Gaussian model only.
    width, depth
        Size of the network.
    batch_size
        Populations per step.
    learning_rate
        Largest learning rate: reached after the warm-up, then lowered along half a cosine to zero.
    weight_decay
        Weight decay of AdamW.
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
    >>> learner = sg.model.GaussianPopulations(steps=1000)
    """

    steps: int = 3000
    width: int = 64
    depth: int = 2
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    validation_fraction: float = 0.2

    def __post_init__(self):
        for name, least in {"steps": 0, "width": 2, "depth": 1, "batch_size": 1}.items():
            check_count(name, getattr(self, name), least)
        check_rates(self)
        check_rate("validation_fraction", self.validation_fraction)
        check_fields(self)

    def __call__(self, data: PopulationData, run: Run) -> Learned:
        """Fit the Gaussian model, and train the network.

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
        targets = estimate(data.clouds, names=data.names)
        sources = None if data.sources is None else estimate(data.sources, names=data.names)
        model = law_of(targets, sources, data, self, run)
        if model.field is None:
            history = pd.DataFrame(columns=HISTORY, dtype=float).astype({"step": int})
            return Learned(model.eval(), history, (Outcome.COMPLETED,))
        whitened = model.chart.whiten(targets)
        return train_flow(model.to(run.device), whitened, data, self, run)


def check_rates(learner) -> None:
    """Check the rates of the optimizer."""
    for name in ("learning_rate", "weight_decay"):
        number, expected = getattr(learner, name), "0 or more, and finite"
        check_number(name, number, expected, lambda value: 0 <= value < math.inf)


def law_of(
    targets: Gaussians,
    sources: Gaussians | None,
    data: PopulationData,
    learner: GaussianPopulations,
    run: Run,
) -> PopulationFlow:
    """Make a model with the fitted Gaussian distribution and an untrained network."""
    chart = Chart(targets.mean.shape[1])
    chart.fit(targets)
    values = chart.coordinates(chart.whiten(targets))
    condition = torch.as_tensor(data.condition, dtype=torch.double)
    center, basis = values.new_zeros(chart.size), values.new_zeros(chart.size, 0)
    share = center.clone()
    parts = []
    if sources is not None:
        origin = chart.coordinates(chart.whiten(sources))
        center = origin.mean(0)
        share = carried(chart.dim, origin - center, values - values.mean(0))
        values = values - share * (origin - center)
        spread = (origin - center).numpy()
        basis = torch.from_numpy(factors(spread, count_factors(spread, run.seed))[0])
        parts = [(origin - center) @ basis]
    anchors = anchors_of(condition)
    apart = torch.pdist(anchors)
    unit = float(apart.median()) if len(apart) else 1.0
    tried = [(anchors[:0], 1.0), *((anchors, unit * b) for b in BANDWIDTHS if len(apart))]
    candidates = [
        torch.cat([condition, radial(condition, at, torch.tensor(width).double()), *parts], 1)
        for at, width in tried
    ]
    candidates = [candidate.numpy() for candidate in candidates]
    law, chosen = fit_law(values.numpy(), candidates, data.groups, seed=run.seed)
    n_factors = len(law.scales)
    trains = sources is None and len(values) >= FEWEST and n_factors and learner.steps
    sizes = chart.dim, condition.shape[1], len(tried[chosen][0]), basis.shape[1], n_factors
    with seeded(run):
        model = PopulationFlow(*sizes, learner.width if trains else 0, learner.depth)
    model.chart.load_state_dict(chart.state_dict())
    found = {
        "anchors": tried[chosen][0],
        "bandwidth": tried[chosen][1],
        "source_center": center,
        "source_basis": basis,
        "carried": share,
        "intercept": law.intercept,
        "weights": law.weights,
        "frame.basis": law.basis,
        "frame.scales": law.scales,
        "frame.rest": law.rest,
        **noise_of(chart, values, values - torch.from_numpy(candidates[chosen] @ law.weights)),
    }
    buffers = dict(model.named_buffers())
    for name, value in found.items():
        buffers[name].copy_(torch.as_tensor(value))
    return model


def carried(dim: int, source: Tensor, target: Tensor) -> Tensor:
    """How much of the deviation of a source from their mean its target keeps, 0 to 1.

    One slope for means and one for covariances, by least squares over all coordinates. 1 would be
    the mean shift; less where sources are noisy, as those of few cells are.
    """
    share = torch.empty_like(source[0])
    for block in (slice(dim), slice(dim, None)):
        products = (source[:, block] * target[:, block]).sum()
        share[block] = (products / source[:, block].square().sum()).clamp(0, 1)
    return share


def noise_of(chart: Chart, values: Tensor, residuals: Tensor) -> dict[str, Tensor]:
    """Mean and standard deviation of the noise in coordinates; means vary as those of the data."""
    dim, freedom = chart.dim, WISHART * chart.dim
    std = torch.full_like(values[0], freedom**-0.5)
    std[:dim] = residuals[:, :dim].var(0).mean().sqrt()
    # mean square root of a Wishart matrix over its degrees of freedom, to second order
    root = -(dim + 1) / (8 * freedom) * torch.eye(dim).to(values)
    return {
        "frame.noise_mean": chart.pack(values[:, :dim].mean(0), root),
        "frame.noise_std": std,
    }


def anchors_of(condition: Tensor) -> Tensor:
    """Return the different conditions, some of them where there are many."""
    if condition.shape[1] == 0:
        return condition[:0]
    found = condition.unique(dim=0)
    return found[torch.linspace(0, len(found) - 1, min(len(found), MOST_ANCHORS)).round().long()]
