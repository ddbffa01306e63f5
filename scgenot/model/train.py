"""Training: get a batch, loss, backward, clip, step, average, now and then validate."""

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from tqdm.auto import tqdm

from scgenot._check import check_count, check_number
from scgenot._random import Rng, seed_of
from scgenot.model.batches import NOISE, Draws, SamplesPairs, held_out, stream
from scgenot.model.genot import Genot
from scgenot.model.state import TrainState, weights_of
from scgenot.model.validation import Validation
from scgenot.pair import Pair

logger = logging.getLogger("scgenot")


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Parameters
    ----------
    steps
        Most steps of optimisation.
    batch_size
        Pairs of cells a step.
    learning_rate
        Largest learning rate: reached after the warm-up, then lowered along half a cosine to zero.
    warmup
        Steps of linear warm-up.
    weight_decay
        Of AdamW.
    clip
        Largest norm of the gradient.
    ema_decay
        Decay of the exponential moving average of the weights; the average is what is validated and kept.
    validation_every
        Steps between validations.
    validation_fraction
        Part of the source and of the target cells held out, see :func:`~scgenot.model.held_out`; 0 for no validation.
    patience
        Validations without a better one after which training stops.
    precision
        `"bfloat16"` runs the field in mixed precision.
    source_noise
        Standard deviation of noise that the network sees source cells with while training, over the root mean variance
        of their columns. It keeps what is learned from following directions in which source cells hardly vary, which
        cells from elsewhere may lie far out in.

    Raises
    ------
    TypeError
        When an option is no number, or no whole one where a number of things is asked for.
    ValueError
        When a number is out of range, or `precision` is neither.

    Examples
    --------
    >>> settings = sg.model.TrainSettings(steps=1500, source_noise=0.3)  # for any of `sg.tl.fit_*`
    """

    steps: int = 3000
    batch_size: int = 256
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.1
    clip: float = 1.0
    ema_decay: float = 0.999
    validation_every: int = 100
    validation_fraction: float = 0.1
    patience: int = 15
    precision: Literal["float32", "bfloat16"] = "float32"
    source_noise: float = 0.0

    def __post_init__(self):
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(
                f"`precision` is {self.precision!r}, expected 'float32' or 'bfloat16'."
            )
        for name, least in (
            ("steps", 1),
            ("batch_size", 1),
            ("validation_every", 1),
            ("patience", 1),
            ("warmup", 0),
        ):
            check_count(name, getattr(self, name), least)
        for name in ("learning_rate", "clip"):
            check_number(name, getattr(self, name), "above 0", lambda value: value > 0)
        for name in ("weight_decay", "source_noise"):
            check_number(
                name,
                getattr(self, name),
                "0 or more, and finite",
                lambda value: 0 <= value < math.inf,
            )
        for name in ("ema_decay", "validation_fraction"):
            check_number(
                name, getattr(self, name), "at least 0 and below 1", lambda value: 0 <= value < 1
            )

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.learning_rate * warm * (1 + math.cos(math.pi * step / self.steps)) / 2


# what the best weights have least of
CRITERION = "validation_loss"


def train(
    model: Genot,
    pairs: Sequence[Pair],
    couplings: Sequence[SamplesPairs],
    settings: TrainSettings | None = None,
    *,
    rng: Rng = 0,
    progress: bool = True,
    state: TrainState | None = None,
) -> TrainState:
    """Fit a model to couplings; it is changed in place and ends with the best averaged weights.

    Interrupted by the keyboard, training returns what it has reached.

    Parameters
    ----------
    model
        Model to fit, on the device where to train; its standardiser is fitted first.
    pairs, couplings
        Populations and, one each, their couplings.
    settings
        How to train.
    rng
        Seed; when a state is given, the seed is the state's.
    progress
        Whether to show a progress bar.
    state
        Where an earlier run with the same data and settings ended; going on from it gives the bits of a run that was
        not interrupted.

    Returns
    -------
    Where training ended, with its history.

    Raises
    ------
    ValueError
        When there are not as many couplings as pairs, or the conditions do not fit the model.
    FloatingPointError
        When the loss is no longer finite.

    Examples
    --------
    >>> model = sg.Genot(pair.source.shape[1], pair.target.shape[1])
    >>> state = sg.model.train(model, [pair], [coupling], sg.model.TrainSettings(steps=20), progress=False)
    >>> model.sample(pair.source, n_samples=8).shape  # (n, 8, q)
    """
    settings = settings or TrainSettings()
    check_pairs(model, pairs, couplings)
    fresh = state is None
    if fresh:
        state = TrainState(
            seed_of(rng), torch.full((settings.steps,), torch.nan, device=model.device)
        )
    seed, device = state.seed, model.device
    masks = held_out(pairs, settings.validation_fraction, seed)
    draws = Draws(pairs, couplings, masks, batch_size=settings.batch_size, seed=seed, device=device)
    if fresh:
        model.units.fit(pairs, draws.displacements() if model.displacement else None)
    validation = Validation(draws)
    optimizer = torch.optim.AdamW(
        model.field.parameters(), lr=0.0, weight_decay=settings.weight_decay, fused=True
    )
    average = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
    state.restore(model, average, optimizer)
    model.train()
    bar = tqdm(
        total=settings.steps, initial=state.step, disable=not progress, desc="training", unit="step"
    )
    try:
        while state.step < settings.steps and not stale(state, settings):
            optimizer.param_groups[0]["lr"] = settings.learning_rate_at(state.step)
            batch = draws.batch(state.step)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"
            ):
                generator = stream(seed, NOISE, state.step, device=device)
                loss = model.loss(*batch, generator=generator, source_noise=settings.source_noise)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.field.parameters(), settings.clip)
            optimizer.step()
            follow(
                average.field,
                model.field,
                min(settings.ema_decay, (1 + state.step) / (10 + state.step)),
            )
            state.losses[state.step] = loss.detach()
            state.step += 1
            bar.update()
            if state.step % settings.validation_every == 0 or state.step == settings.steps:
                bar.set_postfix(record(state, average, validation, settings))
    except KeyboardInterrupt:
        logger.warning(
            "Training was interrupted at step %d of %d: the model is what it was then.",
            state.step,
            settings.steps,
        )
    finally:
        bar.close()
    state.capture(model, average, optimizer)
    model.load_state_dict(state.best or state.average)
    model.eval()
    return state


def check_pairs(model: Genot, pairs: Sequence[Pair], couplings: Sequence[SamplesPairs]) -> None:
    """Raise a ValueError where pairs, couplings and model do not fit together."""
    if not pairs or len(pairs) != len(couplings):
        raise ValueError(
            f"{len(pairs)} pairs and {len(couplings)} couplings: one coupling a pair is needed."
        )
    for pair in pairs:
        n_conditions = 0 if pair.condition is None else len(pair.condition)
        found = pair.source.shape[1], pair.target.shape[1], n_conditions
        expected = model.source_dim, model.target_dim, model.condition_dim
        if found != expected:
            raise ValueError(
                f"Pair {pair.name!r} has sizes (source, target, condition) {found}, the model was made for {expected}."
            )


def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move averaged weights towards the model's; buffers are copied."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        for old, new in zip(average.buffers(), model.buffers(), strict=True):
            old.copy_(new)


def record(
    state: TrainState, average: Genot, validation: Validation, settings: TrainSettings
) -> dict[str, float]:
    """Add a line to the history, keep the averaged weights if they are the best; return what to show."""
    since = int(state.history[-1]["step"]) if state.history else 0
    scores = {"loss": float(state.losses[since : state.step].mean())}
    if not math.isfinite(scores["loss"]):
        raise FloatingPointError(
            f"The loss is {scores['loss']} at step {state.step}: lower `learning_rate` ({settings.learning_rate:g}) "
            "or look for extreme values in the cells."
        )
    if validation:
        scores |= validation(average)
        if scores[CRITERION] < min((line[CRITERION] for line in state.history), default=math.inf):
            state.best = weights_of(average)
    state.history.append({"step": state.step, **scores})
    return {name: f"{value:.3g}" for name, value in scores.items()}


def stale(state: TrainState, settings: TrainSettings) -> bool:
    """Whether the last validations, as many as the patience, all failed to be the best."""
    scores = [line[CRITERION] for line in state.history if CRITERION in line]
    return bool(scores) and len(scores) - 1 - scores.index(min(scores)) >= settings.patience
