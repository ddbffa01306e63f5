"""What is passed to `fit_*`: solvers and learners, and where the options of neighbors went."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from inspect import signature

from scgenot.model import FlowMatching, MongeMap
from scgenot.ot import FusedGromovWasserstein, GromovWasserstein, Sinkhorn, SparseOT
from scgenot.pair import Link, Pair

Solver = Callable[[Pair], object]
Learner = Callable[[Sequence[Link], object], object]
# one, several to choose from, or "auto" for a short list of the task's
Solvers = Solver | Sequence[Solver | None] | str | None
Learners = Learner | Sequence[Learner | None] | str | None

# what an option of a solver or learner is called elsewhere; `{}` is for its value
RENAMED = {
    "reg": "epsilon={}",
    "tau_a": "tau=({}, 1)",
    "tau_b": "tau=(1, {})",
    "threshold": "tolerance={}",
    "scale_cost": "relative=True",
    "settings": "steps=...",
    "lr": "learning_rate={}",
    "hidden_dim": "width={}",
    **dict.fromkeys(("n_iters", "max_iter"), "max_iterations={}"),
    **dict.fromkeys(("n_steps", "num_iterations", "iterations"), "steps={}"),
    **dict.fromkeys(("epochs", "n_epochs", "max_epochs"), "steps={}"),
}
OWN = {
    **dict.fromkeys(("seed", "random_state"), "rng=0"),
    "key": "key_added",
    **dict.fromkeys(("obsm_key", "rep"), "use_rep"),
    "joint_attr": "use_rep or shared_rep",
    "batch_key": "covariates=[...]",
    "time_key": "the second argument",
    "verbose": "progress",
    "inplace": "copy",
}


def moved_options(verb: Callable) -> Callable:
    """Have a verb say where an option went that belongs to a solver or learner."""
    own = signature(verb).parameters

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
    if name in OWN:
        return f"{start}: pass `{OWN[name]}`."
    if (verb, name) == ("fit_translation", "cost"):
        name = "intra_cost"
    shown = repr(value) if isinstance(value, (int, float, str)) else "..."
    passed = RENAMED.get(name, name + "={}").format(shown)
    option = passed.partition("=")[0]
    quadratic = GromovWasserstein, FusedGromovWasserstein
    kinds = [
        ("learner", (FlowMatching,)),
        ("solver", quadratic if verb == "fit_translation" else (Sinkhorn, SparseOT, *quadratic)),
        ("learner", (MongeMap,)),  # last: it has an `epsilon` and a `cost` of its own
    ]
    for argument, classes in kinds:
        for kind in classes:
            if option in {field.name for field in fields(kind)}:
                module = "model" if argument == "learner" else "ot"
                made = f"`{argument}=sg.{module}.{kind.__name__}({passed})`"
                return f"{start}: it is an option of the {argument}, {made}."
    return f"{start}. See `help(sg.tl.{verb})`."
