"""What every `fit_*` does once it has its pairs: couple, then train."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from scgenot._check import usable_device
from scgenot.model import Genot, TrainSettings, fit_growth, train
from scgenot.ot import Coupling
from scgenot.ot.diagnostics import describe as describe_plan
from scgenot.pair import Pair

logger = logging.getLogger("scgenot")

Solver = Callable[[Pair], Coupling]


@dataclass(frozen=True)
class Fit:
    """What a fit ended with."""

    model: Genot
    couplings: list[Coupling]
    history: pd.DataFrame
    pairs: pd.DataFrame


def fit_pairs(
    pairs: Sequence[Pair],
    solver: Solver,
    settings: TrainSettings,
    *,
    rng: int,
    device: str | None,
    progress: bool,
    displacement: bool = False,
    encoder: Callable[[], nn.Module] | None = None,
    condition_dropout: float = 0.0,
    weights_are_growth: bool = False,
) -> Fit:
    """Couple each pair, and train one model on all of them."""
    if not callable(solver):
        raise TypeError(
            f"`solver={solver!r}` must turn a pair into a coupling, such as `sg.ot.Sinkhorn(epsilon=0.05)`."
        )
    if settings is not None and not isinstance(settings, TrainSettings):
        raise TypeError(f"`settings={settings!r}` must be `sg.model.TrainSettings(...)`.")
    device = usable_device(device)
    couplings = couple(pairs, solver, progress=progress)
    ratios = [
        growth_ratios(coupling, weights_are_growth=weights_are_growth) for coupling in couplings
    ]
    inputs = [network_input(pair) for pair in pairs]
    condition_dim = 0 if pairs[0].condition is None else len(pairs[0].condition)
    with (
        torch.random.fork_rng()
    ):  # initial weights come from the global generator, which stays as the user left it
        torch.manual_seed(rng)
        model = Genot(
            inputs[0].source.shape[1],
            inputs[0].target.shape[1],
            condition_dim,
            displacement=displacement,
            encoder=None if encoder is None else encoder(),
            condition_dropout=condition_dropout,
        ).to(device)
        state = train(model, inputs, couplings, settings, rng=rng, progress=progress)
        if any(entry is not None for entry in ratios):
            known = [
                entry or (torch.ones(len(pair.source)), torch.ones(len(pair.target)))
                for entry, pair in zip(ratios, pairs, strict=True)
            ]
            fit_growth(model, inputs, *zip(*known, strict=True), rng=rng)
    history = pd.DataFrame(state.history).rename(columns={"validation_loss": "validation"})
    return Fit(model, couplings, history, pair_table(pairs, couplings))


def couple(pairs: Sequence[Pair], solver: Solver, *, progress: bool) -> list[Coupling]:
    """Solve each pair; many of them with a progress bar."""
    if hasattr(solver, "progress"):
        solver = replace(solver, progress=progress)
    return [
        solver(pair)
        for pair in tqdm(
            pairs, desc="coupling", unit="pair", disable=not progress or len(pairs) < 2
        )
    ]


def growth_ratios(coupling: Coupling, *, weights_are_growth: bool) -> tuple[Tensor, Tensor] | None:
    """Return eta of the source and xi of the target cells; None when all are 1."""
    if not (hasattr(coupling, "marginals") and hasattr(coupling, "b")):
        return None
    balanced = set(getattr(coupling, "tau", (1.0, 1.0))) == {1.0}
    if balanced and not (weights_are_growth and coupling.a.max() > coupling.a.min()):
        return None
    source, target = coupling.marginals()
    return source * len(source) if weights_are_growth else coupling.growth(), target / coupling.b


def network_input(pair: Pair) -> Pair:
    """Return the pair as the network sees it: the shared features tell it more about a source cell."""
    if pair.source_shared is None:
        return pair
    source = np.hstack([pair.source, pair.source_shared])
    return replace(pair, source=source, source_shared=None, target_shared=None)


def pair_table(pairs: Sequence[Pair], couplings: Sequence[Coupling]) -> pd.DataFrame:
    """Return one row a pair: its sizes and its coupling's diagnostics."""
    rows = [
        {
            "name": pair.name,
            "n_source": len(pair.source),
            "n_target": len(pair.target),
            **describe_plan(coupling),
        }
        for pair, coupling in zip(pairs, couplings, strict=True)
    ]
    table = pd.DataFrame(rows)
    table.index = table.index.astype(str)
    return table


def describe(options) -> dict | str:
    """Return a solver or settings as what can be stored: type and fields, or its name."""
    if not is_dataclass(options):
        return getattr(options, "__name__", type(options).__name__)
    return {
        "type": type(options).__name__,
        **{f.name: getattr(options, f.name) for f in fields(options)},
    }
