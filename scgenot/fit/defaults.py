"""What a task is coupled and learned with when the user names no solver and no learner."""

from collections.abc import Sequence

import pandas as pd
from anndata import AnnData

from scgenot._warn import warn_user
from scgenot.cells.embedding import embedding_of
from scgenot.fit.coupled import PAGE, name_of
from scgenot.flow import SetEncoder
from scgenot.model import (
    CloudPopulations,
    FlowMatching,
    GaussianPopulations,
    Learned,
    LightBridge,
    MongeMap,
    Run,
)
from scgenot.ot import FusedGromovWasserstein, GromovWasserstein, Sinkhorn
from scgenot.pair import Link

CELL_LEARNERS = (FlowMatching, LightBridge, MongeMap)
POPULATION_LEARNERS = (CloudPopulations, GaussianPopulations)
# representations that other packages make
COMPONENTS = ("X_pca", "X_lsi", "X_scVI", "X_umap")


def solver_of(task, links: Sequence[Link], solver, *, device: str, seed: int):
    """Return the solver, or the usual one of the task: linear in one space, else quadratic."""
    refuse_class("solver", solver)
    if solver is not None and not callable(solver):
        raise TypeError(
            f"`solver={solver!r}` must turn a pair into a coupling, such as "
            "`sg.ot.Sinkhorn(epsilon=0.05)`."
        )
    if solver is not None:
        return solver
    where = {"device": device, "rng": seed % 2**31}
    pair = links[0].pair
    if getattr(task, "one_space", pair.source.shape[1] == pair.target.shape[1]):
        return Sinkhorn(epsilon=getattr(task, "epsilon", 0.05), **where)
    return (GromovWasserstein if pair.source_shared is None else FusedGromovWasserstein)(**where)


def warn_of_components(learner, adata: AnnData, task) -> None:
    """Warn where a map is to move few components: each is made of all features."""
    rep = getattr(task, "use_rep", None)
    if getattr(learner, "sparsity", None) is None or rep == "X":
        return
    if embedding_of(adata, rep) is not None or rep in COMPONENTS:
        warn_user(
            f"`sparsity` has cells move in few columns of {rep!r}, which are components: each "
            "combines all features, so that no feature remains unchanged. Fit on features, "
            "`use_rep='X'`."
        )


def refuse_class(argument: str, value) -> None:
    """Refuse a class in place of an instance; a class of plans is a solver itself."""
    if isinstance(value, type) and any("__call__" in vars(base) for base in value.__mro__):
        raise TypeError(f"`{argument}={value.__name__}` is a class: pass `{value.__name__}()`.")


def check_learner(learner, others: tuple[type, ...], example: str) -> None:
    """Refuse values that are not learners, and learners of other tasks."""
    refuse_class("learner", learner)
    if not callable(learner) or isinstance(learner, others):
        raise TypeError(f"`learner={learner!r}` does not learn this task: pass `{example}`.")


def learn(
    learner, links: Sequence[Link], task, *, seed: int, device: str, progress: bool
) -> Learned:
    """Call the learner, the usual one where none is given, and check what it returned."""
    learner = FlowMatching() if learner is None else learner
    check_learner(learner, POPULATION_LEARNERS, "sg.model.FlowMatching(steps=1000)")
    slots, encoder = getattr(task, "slots", None), None
    if slots is not None:

        def encoder(condition_dim: int) -> SetEncoder:
            n_slots, token_dim = slots
            return SetEncoder(n_slots, token_dim, condition_dim - n_slots * (1 + token_dim))

    run = Run(
        seed=seed,
        device=device,
        progress=progress,
        encoder=encoder,
        defaults=dict(getattr(task, "learning", {})),
        weights_are_growth=getattr(task, "weights_are_growth", False),
    )
    learned = learner(links, run)
    if not isinstance(learned, Learned):
        learned = Learned(learned, pd.DataFrame({"step": [], "loss": [], "validation": []}), ())
    lacking = [name for name in ("sample", "to_arrays") if not hasattr(learned.model, name)]
    if lacking:
        raise TypeError(
            f"`learner={type(learner).__name__}` of the task {name_of(task)!r} must return a model "
            f"with `sample` and `to_arrays`; {type(learned.model).__name__} lacks {lacking}. {PAGE}"
        )
    return learned
