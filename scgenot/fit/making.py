"""What is passed to `fit_*`: solvers and learners, and where the options of neighbors went."""

from collections.abc import Callable, Sequence
from functools import wraps

from scgenot.pair import Link, Pair

Solver = Callable[[Pair], object]
Learner = Callable[[Sequence[Link], object], object]

SOLVER = {
    "epsilon": "epsilon",
    "tau": "tau",
    "cost": "cost",
    "alpha": "alpha",
    "n_starts": "n_starts",
    "max_iterations": "max_iterations",
    "tau_a": "tau=(tau_a, tau_b)",
    "tau_b": "tau=(tau_a, tau_b)",
    "n_iters": "max_iterations",
    "max_iter": "max_iterations",
    "reg": "epsilon",
    "threshold": "tolerance",
    "scale_cost": "relative=True",
    "batch_size_ot": "batch_size",
}
LEARNER = {
    "settings": "steps=...",
    "displacement": "displacement",
    "condition_dropout": "condition_dropout",
    "steps": "steps",
    "n_steps": "steps",
    "iterations": "steps",
    "epochs": "steps",
    "n_epochs": "steps",
    "max_epochs": "steps",
    "num_iterations": "steps",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "lr": "learning_rate",
    "width": "width",
    "hidden_dim": "width",
    "depth": "depth",
    "source_noise": "source_noise",
    "field": "field",
    "patience": "patience",
    "precision": "precision",
}
OTHER = {
    "seed": "rng=0",
    "random_state": "rng=0",
    "key": "key_added",
    "obsm_key": "use_rep",
    "rep": "use_rep",
    "joint_attr": "use_rep or shared_rep",
    "batch_key": "covariates=[...]",
    "time_key": "the second argument",
    "verbose": "progress",
    "inplace": "copy",
}


def moved_options(verb: Callable) -> Callable:
    """Have a verb say where an option went that belongs to a solver or learner."""
    own = verb.__code__.co_varnames[: verb.__code__.co_argcount + verb.__code__.co_kwonlyargcount]

    @wraps(verb)
    def checked(*args, **options):
        for name, value in options.items():
            if name not in own:
                raise TypeError(where_to(verb.__name__, name, value))
        return verb(*args, **options)

    return checked


def where_to(verb: str, name: str, value) -> str:
    """Say where an option goes."""
    start = f"`{verb}` takes no `{name}`"
    if name in SOLVER:
        to = SOLVER[name]
        solver = "FusedGromovWasserstein" if name == "alpha" else "Sinkhorn"
        if name in ("n_starts",):
            solver = "GromovWasserstein"
        passed = to if "=" in to else f"{to}={value!r}"
        return f"{start}: it is an option of the solver, `solver=sg.ot.{solver}({passed})`."
    if name in LEARNER:
        to = LEARNER[name]
        passed = to if "=" in to else f"{to}={value!r}"
        return (
            f"{start}: it is an option of the learner, `learner=sg.model.FlowMatching({passed})`."
        )
    if name in OTHER:
        return f"{start}: pass `{OTHER[name]}`."
    return f"{start}. See `help(sg.tl.{verb})`."
