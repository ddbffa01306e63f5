"""Training: get a batch, loss, backward, clip, step, average, now and then validate."""

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from scgenot._outcome import Outcome
from scgenot._progress import progress_bar
from scgenot._random import Rng, seed_of
from scgenot._warn import warn_user
from scgenot.model.batches import NOISE, Draws, HeldOut, stream
from scgenot.model.generate import check_finite
from scgenot.model.genot import Genot
from scgenot.model.state import TrainState, weights_of
from scgenot.model.validation import Validation, held_out
from scgenot.ot.plan import Plan
from scgenot.pair import Link, Pair

if TYPE_CHECKING:
    from scgenot.model.learner import FlowMatching

# what the best weights have least of
CRITERION = "validation"


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
    """Fit a model to plans; it is changed in place and ends with the best averaged weights.

    Parameters
    ----------
    model
        Model to fit, on the device where to train; its standardizer is fitted first.
    pairs, plans
        Populations and, one each, their plans.
    learner
        How to train; what it says of the model (`width`, `field`, ...) is not used.
    rng
        Seed; when a state is given, the seed is the state's.
    progress
        Whether to show a progress bar.
    state
        Where an earlier run with the same data and learner ended; continuing it gives the bits of a
        run that was not interrupted. With more `steps`, training continues up to those.
    masks
        Cells to hold out of each pair, as :func:`~scgenot.model.held_out` returns; None to choose
        them from the pairs.

    Returns
    -------
    Where training ended, with its history and outcome.

    Raises
    ------
    ValueError
        When there are not as many plans as pairs, the conditions do not fit the model, the state is
        of another model, or a plan returns what are not indices of cells.
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
    _check_pairs(model, pairs, plans)
    model.drop_student()  # of weights that change
    fresh, device = state is None, model.device
    state = TrainState(seed_of(rng), torch.empty(0, device=device)) if fresh else state
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
    optimizer = torch.optim.AdamW(
        model.field.parameters(), lr=0.0, weight_decay=learner.weight_decay, fused=True
    )
    average = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
    state.restore(model, average, optimizer)
    model.train()
    with progress_bar(
        total=learner.steps, initial=state.step, shown=progress, desc="training", unit="step"
    ) as bar:
        try:
            while state.step < learner.steps and not _stale(state, learner):
                _step(model, average, optimizer, draws, state, learner)
                bar.update()
                if state.step % learner.validation_every == 0 or state.step == learner.steps:
                    bar.set_postfix(_record(state, average, validation, learner), refresh=False)
            stopped = state.step < learner.steps
            state.outcome = Outcome.STOPPED_EARLY if stopped else Outcome.COMPLETED
        except KeyboardInterrupt:
            if learner.on_interrupt == "raise":
                raise
            state.outcome = Outcome.INTERRUPTED
            warn_user(
                f"Training was interrupted at step {state.step} of {learner.steps}: the model is "
                "what it was then."
            )
    state.capture(model, average, optimizer)
    model.load_state_dict(state.best or state.average)
    check_finite(model, FloatingPointError, f"lower `learning_rate` ({learner.learning_rate:g})")
    model.eval()
    return state


def _check_pairs(model: Genot, pairs: Sequence[Pair], plans: Sequence[Plan]) -> None:
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


def _step(model, average, optimizer, draws: Draws, state: TrainState, learner) -> None:
    """Make one step of optimization."""
    step, device = state.step, model.device
    # warm-up, then half a cosine
    rate = min(1.0, (step + 1) / learner.warmup) if learner.warmup else 1.0
    rate *= learner.learning_rate * (1 + math.cos(math.pi * step / learner.steps)) / 2
    optimizer.param_groups[0]["lr"] = rate
    batch, generator = draws.batch(step), stream(state.seed, NOISE, step, device=device)
    mixed = learner.precision == "bfloat16"
    with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
        loss = model.loss(*batch, generator=generator, source_noise=learner.source_noise)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.field.parameters(), learner.clip)
    optimizer.step()
    follow(average.field, model.field, min(learner.ema_decay, (1 + step) / (10 + step)))
    state.losses[step] = loss.detach()
    state.step += 1


def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move averaged weights towards the model's; buffers are copied."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        for old, new in zip(average.buffers(), model.buffers(), strict=True):
            old.copy_(new)


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
