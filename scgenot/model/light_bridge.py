"""Light bridges: Gaussian mixture laws, fitted to two populations without a plan."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from scgenot._check import check_count, check_number
from scgenot._outcome import Outcome
from scgenot._progress import progress_bar
from scgenot._random import torch_rng
from scgenot._typed import check_fields
from scgenot.model.bridge import MixtureBridge
from scgenot.model.learner import HISTORY
from scgenot.model.learning import FEW_STEPS, Learned, Run
from scgenot.model.mixture import MixtureLaw
from scgenot.ot.cost import mean_cost, squared_euclidean
from scgenot.pair import Link

# of the mean cost, where neither the learner nor a plan has one
EPSILON = 0.05
# target cells for each component, at least
CELLS_PER_COMPONENT = 10
# cells that the common width of the components counts as, in the width of each: without it many
# components of few cells fit their noise (d = 64: half the error, d = 2 to 16: the same)
PRIOR = 20
START = 0.5  # first slope of every component
NARROWEST = 1e-3  # smallest slope: a component on a single cell would have no end
REPORTED = 100  # steps between entries of the history


class Population(NamedTuple):
    """Cells and weights of both sides under one condition, pooled over strata."""

    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    epsilon: float


@dataclass(frozen=True)
class LightBridge:
    """Fit Gaussian mixtures to two populations: a Schrödinger bridge without a network.

    The potential of an entropic plan with cost `|x - y|^2 / 2` is modeled by a Gaussian mixture
    with diagonal covariances. Conditional distributions are then mixtures in closed form, see
    :class:`~scgenot.model.MixtureLaw`. The parameters minimize `mean log c(x) - mean log v(y)`, the
    divergence from the true plan up to a constant, which requires samples of both sides and no
    coupling (Korotin et al. 2024, arXiv 2310.01174, equation 8). One mixture is fitted per
    condition, to the cells of all strata together. Conditions that were not fitted, such as an
    intermediate dose, raise an error.

    Parameters
    ----------
    n_components
        Number of mixture components; reduced if there are fewer than 10 target cells per component.
    epsilon
        Entropic regularization; None for that of the plans of the fit, or .05 of the mean cost.
    relative
        Whether `epsilon` is in units of the mean of `|x - y|^2`, as for
        :class:`~scgenot.ot.Sinkhorn`; False takes it in units of the cost `|x - y|^2 / 2`.
    steps
        Optimization steps.
    batch_size
        Cells per side and step.
    learning_rate
        Maximum learning rate, with cosine decay to zero.

    Raises
    ------
    TypeError
        When an option has a wrong type.
    ValueError
        When a number is out of range.

    Examples
    --------
    >>> learner = sg.model.LightBridge(n_components=50)  # for any of `sg.tl.fit_*` in one space
    """

    n_components: int = 50
    epsilon: float | None = None
    relative: bool = True
    steps: int = 1500
    batch_size: int = 512
    learning_rate: float = 1e-2

    def __post_init__(self):
        for name in ("n_components", "steps", "batch_size"):
            check_count(name, getattr(self, name), 1)
        for name in ("epsilon", "learning_rate"):
            if getattr(self, name) is not None:
                value = getattr(self, name)
                check_number(name, value, "a positive number", lambda v: 0 < v < math.inf)
        check_fields(self)

    def __call__(self, links: Sequence[Link], run: Run) -> Learned:
        """Fit a law for each condition of the links.

        Parameters
        ----------
        links
            Links in one space; their plans tell epsilon, and may be None.
        run
            Seed, device and what else the fit provides.

        Returns
        -------
        The model, the history of its training and how the training ended.

        Raises
        ------
        ValueError
            When source and target cells are in different spaces.
        """
        check_one_space(links)
        kinds: dict[bytes, list[Link]] = {}
        for link in links:
            given = link.pair.condition
            kinds.setdefault(b"" if given is None else np.asarray(given).tobytes(), []).append(link)
        populations = [pooled(same, self) for same in kinds.values()]
        laws, losses = [], []
        shown = run.progress and len(populations) > 1
        for population in progress_bar(populations, desc="bridges", unit="law", shown=shown):
            law, loss = self.fit(population, run)
            laws.append(law)
            losses.append(loss)
        given = [same[0].pair.condition for same in kinds.values()]
        model = MixtureBridge(laws, None if given[0] is None else np.stack(given))
        steps = [*range(REPORTED, self.steps, REPORTED), self.steps]
        history = pd.DataFrame({"step": steps, "loss": np.mean(losses, axis=0)})
        few = (Outcome.FEW_STEPS,) if self.steps < FEW_STEPS else ()
        return Learned(model, history.reindex(columns=HISTORY), (Outcome.COMPLETED, *few))

    def fit(self, population: Population, run: Run) -> tuple[MixtureLaw, list[float]]:
        """Fit the mixture of one condition.

        Parameters
        ----------
        population
            Cells of both sides.
        run
            Seed and device.

        Returns
        -------
        The mixture, and the mean loss every 100 steps.
        """
        x, y, a, b, epsilon = population
        # a scale common to all columns: another one for each would be another cost
        scale = math.sqrt((x.var(0).sum() + y.var(0).sum()) / (2 * x.shape[1])) or 1.0
        center, middle = (w / w.sum() @ cells for cells, w in ((x, a), (y, b)))
        generator = torch_rng(run.seed)
        sides = [
            (torch.tensor((cells - at) / scale).float().to(run.device), torch.tensor(w).double())
            for cells, at, w in ((x, center, a), (y, middle, b))
        ]
        k = max(1, min(self.n_components, len(y) // CELLS_PER_COMPONENT))
        potential = Potential(sides[1][0], k, epsilon / scale**2, generator).to(run.device)
        optimizer = torch.optim.Adam(potential.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        losses = torch.empty(self.steps)
        for step in range(self.steps):
            batch = [
                cells[draw(weights, self.batch_size, generator).to(cells.device)]
                for cells, weights in sides
            ]
            loss = potential(*batch)
            optimizer.zero_grad()
            (loss + PRIOR / len(y) * potential.unevenness()).backward()
            optimizer.step()
            schedule.step()
            losses[step] = loss.detach()
        parts = [float(part.mean()) for part in losses.split(REPORTED)]
        return potential.law(center, middle, scale, epsilon), parts


class Potential(nn.Module):
    """The mixture that is fitted, in centered cells of one scale."""

    def __init__(self, y: Tensor, k: int, epsilon: float, generator: torch.Generator):
        super().__init__()
        chosen = torch.randperm(len(y), generator=generator)[:k].to(y.device)
        self.epsilon = epsilon
        self.intercepts = nn.Parameter(y[chosen].clone())
        self.log_weights = nn.Parameter(y.new_zeros(k))
        self.log_slopes = nn.Parameter(y.new_full((k, y.shape[1]), math.log(START)))

    @property
    def slopes(self) -> Tensor:
        """Diagonals of the slopes, `(k, d)`."""
        return self.log_slopes.exp() + NARROWEST

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean of log c over source cells less that of log v over target cells."""
        slopes, r, two = self.slopes, self.intercepts, 2 * self.epsilon
        log_c = self.log_weights + (x.square() @ slopes.T + 2 * x @ r.T) / two
        square = y.square() @ (1 / slopes).T - 2 * y @ (r / slopes).T + (r.square() / slopes).sum(1)
        log_v = self.log_weights - square / two - slopes.log().sum(1) / 2
        constant = y.shape[1] / 2 * math.log(math.pi * two)
        return log_c.logsumexp(1).mean() - log_v.logsumexp(1).mean() + constant

    def unevenness(self) -> Tensor:
        """Sum of squared differences of the logarithmic slopes from their mean."""
        return (self.log_slopes - self.log_slopes.mean(0)).square().sum()

    def law(
        self, center: np.ndarray, middle: np.ndarray, scale: float, epsilon: float
    ) -> MixtureLaw:
        """Return the law of cells in their own units."""
        parts = self.slopes, self.intercepts, self.log_weights
        slopes, r, log_w = (part.detach().double().cpu().numpy() for part in parts)
        # with x = center + scale x': terms in x that all components share drop out
        log_w = log_w + ((slopes * center - 2 * scale * r) @ center) / (2 * epsilon)
        log_w = np.maximum(log_w - log_w.max(), -600)  # a weight is not 0
        intercepts = middle + scale * r - slopes * center
        return MixtureLaw(np.exp(log_w), intercepts, slopes, epsilon)


def draw(weights: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw cells by their weights, with replacement."""
    if bool((weights == weights[0]).all()):
        return torch.randint(len(weights), (n,), generator=generator)
    cumulative = weights.cumsum(0)
    level = torch.rand(n, generator=generator, dtype=torch.float64) * cumulative[-1]
    return torch.searchsorted(cumulative, level, right=True).clamp_(max=len(weights) - 1)


def check_one_space(links: Sequence[Link]) -> None:
    """Raise a ValueError unless source and target cells are in one space."""
    for link in links:
        x, y = link.pair.source, link.pair.target
        if x.shape[1] != y.shape[1] or not link.within or link.pair.source_shared is not None:
            raise ValueError(
                "`learner=LightBridge` needs source and target cells in one space, for its cost; "
                f"the pair {link.pair.name!r} has source cells of {x.shape[1]} and "
                f"target cells of {y.shape[1]} columns of their own. Use "
                "`learner=sg.model.FlowMatching()` between two spaces."
            )


def pooled(links: Sequence[Link], learner: LightBridge) -> Population:
    """Pool the pairs of one condition, each counting by its number of source cells."""
    sizes = [len(link.pair.source) for link in links]
    sides = [marginals(link) for link in links]
    a, b = (
        np.concatenate([n * w[side] / w[side].sum() for n, w in zip(sizes, sides, strict=True)])
        for side in (0, 1)
    )
    x, y = (
        np.concatenate([getattr(link.pair, side) for link in links]).astype(float)
        for side in ("source", "target")
    )
    epsilon = np.average([epsilon_of(link, learner) for link in links], weights=sizes)
    return Population(x, y, a, b, float(epsilon))


def marginals(link: Link) -> tuple[np.ndarray, np.ndarray]:
    """Weights of both sides: of an unbalanced plan what it couples, which it couples balanced."""
    plan, balanced = link.plan, set(getattr(link.plan, "tau", (1.0, 1.0))) == {1.0}
    if balanced or not hasattr(plan, "marginals"):
        return link.pair.source_weights, link.pair.target_weights
    source, target = (torch.as_tensor(side).double().cpu().numpy() for side in plan.marginals())
    return source, target


def epsilon_of(link: Link, learner: LightBridge) -> float:
    """Return epsilon in units of the cost `|x - y|^2 / 2`."""
    if learner.epsilon is not None and not learner.relative:
        return learner.epsilon
    found = getattr(link.plan, "diagnostics", None)
    if learner.epsilon is None and getattr(link.plan, "cost", None) is squared_euclidean and found:
        return found.epsilon_absolute / 2
    # some solvers have no epsilon
    share = learner.epsilon or (found.epsilon if found and found.epsilon > 0 else EPSILON)
    sides = (torch.tensor(np.asarray(cells)) for cells in (link.pair.source, link.pair.target))
    return share * mean_cost(squared_euclidean, *(cells.double() for cells in sides)) / 2
