"""Training: get a batch, loss, backward, clip, step, average, now and then validate."""

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scgenot._outcome import Outcome
from scgenot._progress import progress_bar
from scgenot._random import Rng, seed_of
from scgenot._warn import warn_user
from scgenot.model.batches import NOISE, Draws, HeldOut, stream_seed
from scgenot.model.checkpoint import Keeper, begun
from scgenot.model.descent import Descent
from scgenot.model.generate import check_finite
from scgenot.model.genot import Genot
from scgenot.model.gradients import Gradients, can_record
from scgenot.model.ranks import averaged, check_share, rank, share
from scgenot.model.state import TrainState, weights_of
from scgenot.model.validation import Validation, held_out
from scgenot.ot.plan import Plan
from scgenot.pair import Link, Pair

if TYPE_CHECKING:
    from scgenot.model.learner import FlowMatching

# what the best weights have least of
CRITERION = "validation"
SCHEDULE = ("steps", "learning_rate", "weight_decay", "warmup", "ema_decay", "clip")


def train(
    model: Genot,
    pairs: Sequence[Pair],
    plans: Sequence[Plan],
    learner: "FlowMatching | None" = None,
    *,
    rng: Rng = 0,
    progress: bool = True,
    state: TrainState | None = None,
    masks: Sequence[HeldOut] | None = None,
) -> TrainState:
    """Train a model on plans, in place; it ends with the best averaged weights.

    Parameters
    ----------
    model
        Model to train, on its device; its standardizer is fitted first.
    pairs, plans
        Populations and their plans, one per pair.
    learner
        Training options; options of the model (`width`, `field`, ...) are not used.
    rng
        Seed; ignored if a state is given.
    progress
        Whether to show a progress bar.
    state
        State of an earlier run with the same data and learner, which is continued, with the same
        result as without interruption. `steps` may be larger.
    masks
        Cells to hold out of each pair, as returned by :func:`~scgenot.model.held_out`; None to
        choose them from the pairs.

    Returns
    -------
    Final state of the run, with its history and outcome.

    Raises
    ------
    ValueError
        When the numbers of plans and pairs differ, the conditions do not match the model, the state
        belongs to another model, or a plan returns invalid indices of cells.
    FloatingPointError
        When the loss or the weights are no longer finite.

    Warns
    -----
    UserWarning
        When training is interrupted and the learner has `on_interrupt="keep"`.

    Examples
    --------
    >>> model = sg.Genot(pair.source.shape[1], pair.target.shape[1])
    >>> learner = sg.model.FlowMatching(steps=20)
    >>> state = sg.model.train(model, [pair], [coupling], learner, progress=False)
    >>> model.sample(pair.source, n_samples=8).shape  # (n, 8, q)
    """
    from scgenot.model.learner import FlowMatching

    learner = (FlowMatching() if learner is None else learner).resolved()
    check_pairs(model, pairs, plans)
    check_share(learner.batch_size)
    model.drop_student()  # of weights that change
    model.extrapolation = model.strengths = None  # of other plans
    device, new = model.device, None
    if state is None:
        new = TrainState(seed_of(rng), torch.empty(0, device=model.device))
        state = begun(new, model, pairs, plans, learner)
    fresh = state is new
    missing = max(0, learner.steps - len(state.losses))
    state.losses = torch.cat([state.losses, state.losses.new_full((missing,), torch.nan)])
    if masks is None:
        links = [Link(pair) for pair in pairs]
        fraction, split = learner.validation_fraction, learner.validation_split
        masks = held_out(links, fraction, state.seed, split=split)
    draws = Draws(
        pairs, plans, masks, batch_size=learner.batch_size, seed=state.seed, device=device
    )
    if fresh:
        model.units.fit(pairs, draws.displacements() if model.displacement else None)
    validation = Validation(draws)
    average = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
    options = {name: getattr(learner, name) for name in SCHEDULE}
    descent = Descent(model.field, average.field, **options)
    optimizer, gradients = descent.optimizer, _gradients(model, descent, learner)
    state.restore(model, average, optimizer)
    keep = Keeper(learner.checkpoint)
    model.train()
    shown, words = progress and not rank(), {"desc": "training", "unit": "step"}
    with progress_bar(total=learner.steps, initial=state.step, shown=shown, **words) as bar:
        try:
            while state.step < learner.steps and not _stale(state, learner):
                _step(gradients, draws, state)
                bar.update()
                if state.step % learner.validation_every == 0 or state.step == learner.steps:
                    bar.set_postfix(_record(state, average, validation, learner), refresh=False)
                keep(state, model, average, optimizer)
            keep(state, model, average, optimizer, last=True)
            stopped = state.step < learner.steps
            state.outcome = Outcome.STOPPED_EARLY if stopped else Outcome.COMPLETED
        except KeyboardInterrupt:
            if learner.on_interrupt == "raise":
                raise
            state.outcome = Outcome.INTERRUPTED
            warn_user(
                f"Training was interrupted at step {state.step} of {learner.steps}: the model of "
                "that step is kept."
            )
    state.capture(model, average, optimizer)
    model.zero_grad()
    model.load_state_dict(state.best or state.average)
    model.fit_strengths(pairs)
    check_finite(model, FloatingPointError, f"lower `learning_rate` ({learner.learning_rate:g})")
    model.eval()
    return state


def check_pairs(model: Genot, pairs: Sequence[Pair], plans: Sequence[Plan]) -> None:
    """Raise a ValueError where pairs, plans and model do not fit together."""
    if not pairs or len(pairs) != len(plans):
        raise ValueError(f"{len(pairs)} pairs and {len(plans)} plans: pass one plan per pair.")
    for pair in pairs:
        n_conditions = 0 if pair.condition is None else len(pair.condition)
        found = pair.source.shape[1], pair.target.shape[1], n_conditions
        expected = model.source_dim, model.target_dim, model.condition_dim
        if found != expected:
            raise ValueError(
                f"Pair {pair.name!r} has sizes (source, target, condition) {found}, the model was "
                f"made for {expected}."
            )


def _gradients(model: Genot, descent: Descent, learner: "FlowMatching") -> Gradients:
    """Make what computes the gradients of a training."""
    device, mixed = model.device.type, learner.precision == "bfloat16"

    def loss(batch, generator: torch.Generator) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            return model.loss(*batch, generator=generator, source_noise=learner.source_noise)

    return Gradients(loss, descent, recorded=device == "cuda" and can_record(model.field))


def _step(gradients: Gradients, draws: Draws, state: TrainState) -> None:
    """Make one step of optimization."""
    step, descent = state.step, gradients.descent
    key = (NOISE, step, rank()) if rank() else (NOISE, step)
    loss = gradients(share(draws.batch(step)), stream_seed(state.seed, *key))
    state.losses[step] = averaged([descent.weights], loss)
    descent.move(step)
    state.step += 1


def _record(
    state: TrainState, average: Genot, validation: Validation, learner: "FlowMatching"
) -> dict[str, str]:
    """Add a line to the history, keep the averaged weights if they are the best; return it."""
    since = int(state.history[-1]["step"]) if state.history else 0
    line = {"step": state.step, "loss": float(state.losses[since : state.step].mean())}
    if not math.isfinite(line["loss"]):
        raise FloatingPointError(
            f"The loss is {line['loss']} at step {state.step}: lower `learning_rate` "
            f"({learner.learning_rate:g}), or look for extreme values in the cells."
        )
    best = min((entry.get(CRITERION, math.inf) for entry in state.history), default=math.inf)
    state.history.append(line)
    if validation:
        line[CRITERION] = validation.loss(average)
        if line[CRITERION] < best:
            state.best = weights_of(average)
        # it selects nothing, and takes ten times as long as the loss: the last validation has it
        if state.step == learner.steps or _stale(state, learner):
            line["divergence"] = validation.divergence(average)
    return {name: f"{value:.3g}" for name, value in line.items() if name != "step"}


def _stale(state: TrainState, learner: "FlowMatching") -> bool:
    """Whether the last validations, as many as the patience, all failed to be the best."""
    scores = [line[CRITERION] for line in state.history if CRITERION in line]
    return bool(scores) and len(scores) - 1 - scores.index(min(scores)) >= learner.patience
