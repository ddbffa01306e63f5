"""What all learners share: what a fit provides, what they return, growth, initial weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from scgenot._outcome import Outcome
from scgenot.model.growth import WithGrowth, fit_growth, growth_ratios
from scgenot.ot.plan import Plan
from scgenot.pair import Pair

# with fewer steps than this a network has hardly left its initial weights
FEW_STEPS = 300
Ratios = tuple[Tensor, Tensor] | None


@dataclass(frozen=True)
class Run:
    """Arguments that a fit passes to its learner.

    Parameters
    ----------
    seed
        Seed of the fit.
    device
        Device.
    progress
        Whether to show progress bars.
    encoder
        Function `(condition_dim) -> nn.Module` that creates the encoder of conditions; None for
        unencoded conditions.
    defaults
        Values of the task for options of the learner that were left at None.
    weights_are_growth
        Whether the source weights of the pairs are a growth prior.

    See Also
    --------
    :class:`~scgenot.model.FlowMatching` : a learner, called with links and a run.
    """

    seed: int = 0
    device: str = "cpu"
    progress: bool = True
    encoder: Callable[[int], nn.Module] | None = None
    defaults: Mapping[str, object] = field(default_factory=dict)
    weights_are_growth: bool = False


class Learned(NamedTuple):
    """Result of a learner.

    Parameters
    ----------
    model
        The model.
    history
        Table with the columns `step`, `loss`, `divergence` and `validation`; NaN for values that
        were not computed.
    outcomes
        How the training ended, as members of the enumeration of outcomes.

    See Also
    --------
    :class:`~scgenot.model.FlowMatching` : returns it.
    """

    model: object
    history: pd.DataFrame
    outcomes: tuple[Outcome, ...]


@contextmanager
def seeded(run: Run) -> Iterator[None]:
    """Take initial weights from the seed of a run; the global generators stay as they were."""
    device = torch.device(run.device)
    # generators of other GPUs are not touched
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(run.seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(run.seed)
        yield


def ratios_of(plans: Sequence[Plan], pairs: Sequence[Pair], run: Run) -> list[Ratios]:
    """Return the growth that each plan tells, None where it tells none."""
    return [
        growth_ratios(plan, pair, weights_are_growth=run.weights_are_growth)
        for plan, pair in zip(plans, pairs, strict=True)
    ]


def learn_growth(model: WithGrowth, pairs: Sequence[Pair], ratios: list[Ratios], run: Run) -> None:
    """Give a model growth networks, where plans tell growth."""
    if any(entry is not None for entry in ratios):
        ones = [(torch.ones(len(p.source)), torch.ones(len(p.target))) for p in pairs]
        known = [entry or other for entry, other in zip(ratios, ones, strict=True)]
        fit_growth(model, pairs, *zip(*known, strict=True), rng=run.seed)


def outcomes(step: int, outcome: Outcome) -> tuple[Outcome, ...]:
    """Return how a training ended."""
    few = step < FEW_STEPS and outcome is not Outcome.STOPPED_EARLY
    return (outcome, Outcome.FEW_STEPS) if few else (outcome,)


def network_input(pair: Pair) -> Pair:
    """Return the pair as the network sees it: shared features are further columns of the source."""
    if pair.source_shared is None:
        return pair
    source = np.hstack([pair.source, pair.source_shared])
    return replace(pair, source=source, source_shared=None, target_shared=None)
