"""Learners: settings as an object that turns links, each with its plan, into a model."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
import torch
from torch import nn

from scgenot._check import check_count, check_number, check_rate
from scgenot._typed import check_fields
from scgenot._warn import warn_user
from scgenot.model.checkpoint import Checkpoint
from scgenot.model.extrapolation_fit import fit_extrapolation
from scgenot.model.genot import FieldFactory, Genot
from scgenot.model.learning import (
    Learned,
    Run,
    learn_growth,
    network_input,
    outcomes,
    ratios_of,
    seeded,
)
from scgenot.model.train import train
from scgenot.model.validation import held_out
from scgenot.pair import Link

# what a field left at None is when the task has no default either
DEFAULTS = {
    "steps": 3000,
    "displacement": False,
    "extrapolation": "flow",
    "source_noise": 0.0,
    "condition_dropout": 0.0,
    "validation_fraction": 0.1,
}
HISTORY = ["step", "loss", "divergence", "validation"]


@dataclass(frozen=True)
class FlowMatching:
    """Learn the conditional distribution of plans by flow matching (GENOT, arXiv 2310.09254).

    Options left at None take the default of the task. Without a task, the defaults are 3000 steps,
    no displacement, no linear extrapolation, no source noise, no condition dropout, 10 % of the
    cells for validation, and the :class:`~scgenot.flow.VelocityField`.

    Parameters
    ----------
    steps
        Maximum number of optimization steps.
    width, depth
        Size of the :class:`~scgenot.flow.VelocityField`.
    displacement
        Whether the model generates the displacement from the source cell instead of the target
        cell, see :class:`~scgenot.Genot`.
    source_noise
        Standard deviation of noise added to source cells during training, relative to the root mean
        variance of their columns. It prevents the network from relying on directions in which
        source cells hardly vary and in which new cells may be far away.
    condition_dropout
        Fraction of training cells whose condition is masked, for guidance.
    field
        Class or function `(source_dim, target_dim, condition_dim) -> nn.Module` that returns
        another velocity field; `width`, `depth` and `encoder` are then not used.
    encoder
        Class or function `(condition_dim) -> nn.Module` that returns another encoder of conditions,
        with an attribute `out_dim`; None for that of the task.
    batch_size
        Pairs of cells per step.
    learning_rate
        Maximum learning rate, reached after the warm-up and followed by cosine decay to zero.
    warmup
        Steps of linear warm-up.
    weight_decay
        Weight decay of AdamW.
    clip
        Maximum norm of the gradient.
    ema_decay
        Decay of the exponential moving average of the weights; the average is used for validation
        and kept.
    validation_every
        Steps between validations.
    validation_fraction
        Fraction of the cells, or strata, to hold out, see :func:`~scgenot.model.held_out`; 0 for no
        validation.
    patience
        Number of validations without improvement after which training stops.
    precision
        `"bfloat16"` runs the field in mixed precision.
    validation_split
        Unit of the validation split: `"cell"` for single cells, `"stratum"` for whole strata, or
        the name of a covariate, such as `"donor"`, for all cells of some of its values.
    on_interrupt
        `"raise"`: Ctrl-C raises KeyboardInterrupt. `"keep"`: Ctrl-C ends training, keeps the
        current model and warns.
    checkpoint
        A :class:`~scgenot.model.Checkpoint`, a file from which an interrupted training continues.
    extrapolation
        Samples of source cells that are far from all fitted ones: from the flow (`"flow"`), or from
        a linear model of the displacement (`"linear"`), see
        :func:`~scgenot.model.fit_extrapolation`. For perturbations, the default is `"linear"`
        unless `displacement=False`.

    Raises
    ------
    TypeError
        When an option has a wrong type.
    ValueError
        When a number is out of range, or a choice is unknown.

    Examples
    --------
    >>> learner = sg.model.FlowMatching(steps=1500, source_noise=0.3)  # for any of `sg.tl.fit_*`
    """

    steps: int | None = None
    width: int = 128
    depth: int = 3
    displacement: bool | None = None
    source_noise: float | None = None
    condition_dropout: float | None = None
    field: FieldFactory | None = None
    encoder: Callable[[int], nn.Module] | None = None
    batch_size: int = 256
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.1
    clip: float = 1.0
    ema_decay: float = 0.999
    validation_every: int = 100
    validation_fraction: float | None = None
    patience: int = 15
    precision: Literal["float32", "bfloat16"] = "float32"
    validation_split: str = "cell"
    on_interrupt: Literal["raise", "keep"] = "raise"
    checkpoint: Checkpoint | None = None
    extrapolation: Literal["flow", "linear"] | None = None

    def __post_init__(self):
        given = {name: value for name, value in vars(self).items() if value is not None}
        counts = dict.fromkeys(("steps", "batch_size", "validation_every", "patience", "depth"), 1)
        for name, least in {**counts, "warmup": 0, "width": 2}.items():
            if name in given or name not in DEFAULTS:
                check_count(name, getattr(self, name), least)
        positive = "above 0", lambda value: value > 0
        not_negative = "0 or more, and finite", lambda value: 0 <= value < math.inf
        numbers = {
            **dict.fromkeys(("learning_rate", "clip"), positive),
            **dict.fromkeys(("weight_decay", "source_noise"), not_negative),
        }
        for name, (expected, allowed) in numbers.items():
            if name in given or name not in DEFAULTS:
                check_number(name, getattr(self, name), expected, allowed)
        for name in ("ema_decay", "validation_fraction", "condition_dropout"):
            if name in given or name not in DEFAULTS:
                check_rate(name, getattr(self, name))
        check_fields(self)

    def resolved(self, defaults: Mapping[str, object] | None = None) -> "FlowMatching":
        """Replace options left at None by the defaults of the task, or by the general defaults.

        Parameters
        ----------
        defaults
            Defaults of the task, by name of the option.

        Returns
        -------
        A learner with a value for each option except `field`, which may be None.
        """
        values = DEFAULTS | dict(defaults or {})
        if self.validation_split != "cell":  # who says what is to be held out wants it held out
            values["validation_fraction"] = DEFAULTS["validation_fraction"]
        found = replace(self, **{k: v for k, v in values.items() if getattr(self, k) is None})
        if self.extrapolation is None and not found.displacement:  # there is nothing linear to fit
            found = replace(found, extrapolation="flow")
        return found

    def __call__(self, links: Sequence[Link], run: Run) -> Learned:
        """Train a model on the plans of links.

        Parameters
        ----------
        links
            Links, each with its plan.
        run
            Seed, device and what else the fit provides.

        Returns
        -------
        The model, the history of its training and how the training ended.
        """
        learner = self.resolved(run.defaults)
        if learner.extrapolation == "linear" and not learner.displacement:
            raise ValueError(
                "`extrapolation='linear'` is one of displacements: pass `displacement=True`, too."
            )
        pairs, plans = [network_input(link.pair) for link in links], [link.plan for link in links]
        fraction, split = learner.validation_fraction, learner.validation_split
        masks = held_out(links, fraction, run.seed, split=split)
        ratios = ratios_of(plans, pairs, run)
        first, device = pairs[0], torch.device(run.device)
        condition_dim = 0 if first.condition is None else len(first.condition)
        # a further column says whether the condition is hidden
        seen_dim = condition_dim + (condition_dim > 0 and learner.condition_dropout > 0)
        with seeded(run):
            model = Genot(
                first.source.shape[1],
                first.target.shape[1],
                condition_dim,
                width=learner.width,
                depth=learner.depth,
                field=learner.field,
                displacement=learner.displacement,
                encoder=self._encoder(run, seen_dim),
                condition_dropout=learner.condition_dropout,
            ).to(device)
            state = train(
                *(model, pairs, plans, learner), rng=run.seed, progress=run.progress, masks=masks
            )
            learn_growth(model, pairs, ratios, run)
            if learner.extrapolation == "linear":
                fit_extrapolation(model, pairs, plans, rng=run.seed)
                if self.extrapolation and model.extrapolation is None:
                    warn_user(
                        "`extrapolation='linear'` was not possible, for fewer than 20 different "
                        "source cells or too many conditions and columns: the flow extrapolates."
                    )
        history = pd.DataFrame(state.history, dtype=float).reindex(columns=HISTORY)
        return Learned(model, history.astype({"step": int}), outcomes(state.step, state.outcome))

    def _encoder(self, run: Run, condition_dim: int) -> nn.Module | None:
        """Make the encoder of conditions: the user's, or else the task's."""
        if self.encoder is not None and condition_dim:
            return self.encoder(condition_dim)
        return None if run.encoder is None else run.encoder(condition_dim)
