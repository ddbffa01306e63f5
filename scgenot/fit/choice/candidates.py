"""Candidates: every solver with every learner, their names, and their short trainings."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import product
from numbers import Real

from scgenot.fit.defaults import solver_of
from scgenot.fit.making import Learners, Solvers
from scgenot.model import FlowMatching
from scgenot.pair import Link

AUTO = "auto"
# an automatic list has the default and the task's other epsilon, or this many times that of a task
# which names no other
CLOSER = 0.25
# source noise of the other learner of an automatic list, where the default has none
SOURCE_NOISE = 0.3
# all short trainings together have this share of the steps of one fit, which may stop early: with
# the fit of the winner and the scores, a choice takes less than three times as long as one fit
SHARE = 1.2
# and each at least so many, or all of its own
MIN_STEPS = 100
# what says nothing of how a candidate couples or learns
UNNAMED = ("device", "rng")
LONGEST = 30  # letters of a value in a name


@dataclass(frozen=True)
class Candidate:
    """A solver and a learner; `place` is that of the solver, to share its couplings."""

    name: str
    place: int
    solver: object
    learner: object


def as_list(argument: str, value: Solvers | Learners) -> list:
    """Return candidates as a list; "auto" stays, for the task to say."""
    if isinstance(value, str) and value != AUTO:
        raise TypeError(
            f"`{argument}={value!r}` must be a {argument}, a list of them, or 'auto' for a short "
            "list of the task's."
        )
    if value is None or isinstance(value, str) or callable(value):
        return [value]
    found = list(value)
    if not found:
        raise ValueError(f"`{argument}=[]` is empty: name one {argument} or more.")
    return found


def candidates_of(
    solvers: list, learners: list, task, links: Sequence[Link], *, device: str, seed: int
) -> list[Candidate]:
    """Return every solver with every learner, in the order in which they were given."""
    where = {"device": device, "seed": seed}
    if solvers == [AUTO]:
        solvers = auto_solvers(solver_of(task, links, None, **where), task)
    solvers = [solver_of(task, links, solver, **where) for solver in solvers]
    learners = auto_learners(task) if learners == [AUTO] else learners
    resolved = [resolved_learner(learner, task) for learner in learners]
    found = []
    for (i, solver), (j, learner) in product(enumerate(solvers), enumerate(learners)):
        names = [names_of(all_of)[k] for all_of, k in ((solvers, i), (resolved, j)) if all_of[1:]]
        found.append(Candidate(", ".join(names) or names_of(solvers)[0], i, solver, learner))
    return found


def auto_solvers(usual, task) -> list:
    """Return the usual solver of a task, and the same with another epsilon."""
    epsilon = getattr(usual, "epsilon", None)
    if not isinstance(epsilon, Real):
        return [usual]
    other = getattr(task, "other_epsilon", CLOSER * epsilon)
    return [usual, replace(usual, epsilon=other)]


def auto_learners(task) -> list:
    """Return the usual learner of a task, and the same without source noise, or with it."""
    usual = FlowMatching().resolved(learning_of(task)).source_noise
    return [FlowMatching(), FlowMatching(source_noise=0.0 if usual else SOURCE_NOISE)]


def learning_of(task) -> dict:
    """Return what a task gives for options of the learner that were left at None."""
    return dict(getattr(task, "learning", {}))


def resolved_learner(learner, task):
    """Return a learner with the task's values for options left at None."""
    learner = FlowMatching() if learner is None else learner
    return learner.resolved(learning_of(task)) if isinstance(learner, FlowMatching) else learner


def names_of(things: Sequence) -> list[str]:
    """Name solvers or learners by their type and the options in which they differ."""
    kinds, options = [getattr(one, "__name__", type(one).__name__) for one in things], []
    for one in things:
        own = fields(one) if is_dataclass(one) else ()
        named = [entry.name for entry in own if entry.name not in UNNAMED]
        options.append({name: text_of_value(getattr(one, name)) for name in named})
    names = []
    for kind, own in zip(kinds, options, strict=True):
        same = [found for other, found in zip(kinds, options, strict=True) if other == kind]
        told = [f"{k}={v}" for k, v in own.items() if len({found.get(k) for found in same}) > 1]
        name = f"{kind}({', '.join(told)})" if told else kind
        again = sum(other == name or other.startswith(f"{name} #") for other in names)
        names.append(f"{name} #{again + 1}" if again else name)
    return names


def text_of_value(value) -> str:
    """Return the value of an option as short text."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return f"{value:g}"
    text = str(getattr(value, "__name__", value))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def steps_of(learner, task) -> int:
    """Return the steps that a learner makes, 0 where it does not say."""
    steps = getattr(resolved_learner(learner, task), "steps", 0)
    return steps if isinstance(steps, int) and is_dataclass(learner or FlowMatching()) else 0


def share_of_steps(candidates: Sequence[Candidate], n_folds: int, task) -> float:
    """Return the share of its own steps that each short training has."""
    steps = [steps_of(candidate.learner, task) for candidate in candidates]
    # a first candidate of few steps, or that does not say, is no measure for the others
    return min(1.0, SHARE * max(steps) / max(n_folds * sum(steps), 1))


def shortened(learner, share: float, task):
    """Return a learner with a share of its steps; one that says nothing of steps as it is."""
    steps = steps_of(learner, task)
    if not steps:
        return learner
    learner = FlowMatching() if learner is None else learner
    few = max(min(steps, MIN_STEPS), round(share * steps))
    changes = {"steps": few, "validation_fraction": 0.0, "checkpoint": None}
    if isinstance(getattr(learner, "warmup", None), int):
        changes["warmup"] = min(learner.warmup, few // 4)
    known = {entry.name for entry in fields(learner)}
    return replace(learner, **{name: value for name, value in changes.items() if name in known})
