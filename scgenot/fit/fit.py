"""What every `fit_*` does once it has its pairs: couple, then train."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace

import pandas as pd
from tqdm.auto import tqdm

from scgenot._check import usable_device
from scgenot.model import FlowMatching, Genot, Run
from scgenot.ot import Coupling
from scgenot.pair import Link, Pair

logger = logging.getLogger("scgenot")

Solver = Callable[[Pair], Coupling]


@dataclass(frozen=True)
class Fit:
    """What a fit ended with."""

    model: Genot
    couplings: list[Coupling]
    history: pd.DataFrame
    pairs: pd.DataFrame


def fit_pairs(links: Sequence[Link], solver: Solver, learner: FlowMatching, run: Run) -> Fit:
    """Couple each pair, and train one model on all of them."""
    if not callable(solver):
        raise TypeError(
            f"`solver={solver!r}` must turn a pair into a coupling, such as "
            "`sg.ot.Sinkhorn(epsilon=0.05)`."
        )
    if not callable(learner):
        raise TypeError(
            f"`learner={learner!r}` must be callable, such as `sg.model.FlowMatching(...)`."
        )
    run = replace(run, device=str(usable_device(run.device)))
    pairs = [link.pair for link in links]
    plans = couple(pairs, solver, progress=run.progress)
    links = [replace(link, plan=plan) for link, plan in zip(links, plans, strict=True)]
    learned = learner(links, run)
    return Fit(learned.model, plans, learned.history, pair_table(pairs, plans))


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


def pair_table(pairs: Sequence[Pair], couplings: Sequence[Coupling]) -> pd.DataFrame:
    """Return one row a pair: its sizes and its coupling's diagnostics."""
    rows = [
        {
            "name": pair.name,
            "n_source": len(pair.source),
            "n_target": len(pair.target),
            **coupling.diagnostics.to_dict(),
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
    values = {f.name: getattr(options, f.name) for f in fields(options)}
    if isinstance(options, FlowMatching):
        values["field"] = getattr(options.field, "__name__", None)
    return {"type": type(options).__name__, **values}
