"""Training of a model of populations, with validation; the best averaged weights are kept."""

import copy
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from scgenot._outcome import Outcome
from scgenot._progress import progress_bar
from scgenot.model.descent import Descent
from scgenot.model.learner import HISTORY
from scgenot.model.learning import Learned, Run, outcomes

WARMUP, VALIDATION_EVERY, PATIENCE, EMA_DECAY = 100, 100, 10, 0.995


def optimize(
    model: nn.Module,
    loss: Callable[[], Tensor],
    validate: Callable[[nn.Module], float] | None,
    learner,
    run: Run,
) -> Learned:
    """Train the field of a model on a loss that is drawn anew at each step.

    Parameters
    ----------
    model
        Model, changed in place.
    loss
        Returns the loss of a batch.
    validate
        Loss of held-out populations under a model; None where none are held out.
    learner
        Options: `steps`, `learning_rate` and `weight_decay`.
    run
        Whether to show progress.

    Returns
    -------
    The model, the history of its training and how the training ended.
    """
    average, steps = copy.deepcopy(model).eval(), learner.steps
    names = ("steps", "learning_rate", "weight_decay")
    options = {name: getattr(learner, name) for name in names}
    options |= {"warmup": WARMUP, "ema_decay": EMA_DECAY}
    descent = Descent(model.field, average.field, **options)
    losses, history, best = [], [], None
    for k in progress_bar(range(steps + 1), shown=run.progress, desc="training", unit="step"):
        if k % VALIDATION_EVERY == 0 or k == steps:
            history.append({"step": k, "loss": mean_of(losses[-VALIDATION_EVERY:])})
            if validate is not None:
                history[-1]["validation"] = validated(validate, average)
                found = [line["validation"] for line in history]
                since = len(found) - 1 - int(np.argmin(found))
                best = copy.deepcopy(average.state_dict()) if since == 0 else best
                if since >= PATIENCE:
                    break
        if k < steps:
            now = loss()
            descent.step(k, now)
            losses.append(float(now.detach()))
    model.zero_grad()
    model.load_state_dict(best or average.state_dict())
    ended = Outcome.COMPLETED if k == steps else Outcome.STOPPED_EARLY
    table = pd.DataFrame(history, dtype=float).reindex(columns=HISTORY).astype({"step": int})
    return Learned(model.eval(), table, outcomes(k, ended))


def mean_of(losses: list[float]) -> float:
    """Mean of the losses since the last validation; NaN before the first step."""
    return float(np.mean(losses)) if losses else np.nan


@torch.no_grad()
def validated(validate: Callable[[nn.Module], float], average: nn.Module) -> float:
    """Loss of held-out populations under the averaged weights."""
    return validate(average)
