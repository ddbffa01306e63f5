"""The Monge map: settings as an object that turns links into a deterministic map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch

from scgenot._check import check_count, check_number, check_rate
from scgenot._outcome import Outcome
from scgenot._typed import check_fields
from scgenot.model.batches import Draws
from scgenot.model.learning import (
    Learned,
    Run,
    learn_growth,
    network_input,
    outcomes,
    ratios_of,
    seeded,
)
from scgenot.model.map import TransportMap
from scgenot.model.map_training import keep_to_number, train_map
from scgenot.model.sparsity import Sparsity
from scgenot.model.validation import held_out
from scgenot.ot.cost import Cost, squared_euclidean
from scgenot.pair import Link

# chosen by `tests/benchmarks/maps.py development`, and on `sg.datasets.sparse_drug`
USUAL = {"steps": 600, "epsilon": 0.1, "weight_decay": 5.0}
USUAL_SPARSE = {"steps": 1000, "epsilon": 0.05, "weight_decay": 0.01}
HISTORY = ["step", "loss", "divergence", "validation", "fit", "gap", "moved", "strength"]


@dataclass(frozen=True)
class MongeMap:
    """Learn a map `T(x | condition) = x + network`, with one answer per cell.

    The Sinkhorn divergence fits the mapped source cells to the target cells of their link, and the
    Monge gap `mean c(x, T(x)) - W_c(x, T(x))` selects the optimal one among such maps (Uscidda and
    Cuturi 2023, arXiv 2302.04953; with conditions arXiv 2504.08328). One network covers all links
    and their conditions. The model is a :class:`~scgenot.model.TransportMap`.

    Parameters
    ----------
    steps
        Number of optimization steps; None for 600, or for 1,000 with `sparsity`, whose strength has
        to be found.
    cost
        Cost `(x, y) -> (n, m)` for which the map is optimal, differentiable in both arguments.
    gap
        Weight of the Monge gap; 0 for none.
    epsilon, gap_epsilon
        Entropic regularization of the divergence, relative to the mean squared distance between
        target cells of the link, and of the gap, relative to the mean cost. `epsilon=None` for 0.1,
        or for 0.05 with `sparsity`.
    sparsity
        Mean number of features that may change per cell, see :class:`~scgenot.model.Sparsity`; None
        for any number. For fits on features (`use_rep="X"`).
    width, depth
        Features per layer of the network, and residual blocks.
    source_noise
        As in :class:`~scgenot.model.FlowMatching`.
    batch_size
        Pairs of cells per step, from up to four links.
    weight_decay
        Decay of the weights relative to the learning rate. None for 5, without which the map
        overfits, or for 0.01 with `sparsity`, which limits the map already.
    learning_rate, warmup, clip, ema_decay
        As in :class:`~scgenot.model.FlowMatching`.
    validation_every
        Steps between rows of the history.

    Raises
    ------
    TypeError
        When an option has a wrong type.
    ValueError
        When a number is out of range.

    Examples
    --------
    >>> learner = sg.model.MongeMap(steps=1000)  # for any of `sg.tl.fit_*` in one space
    >>> learner = sg.model.MongeMap(sparsity=sg.model.Sparsity(n_features=50))
    """

    steps: int | None = None
    cost: Cost = squared_euclidean
    gap: float = 1.0
    epsilon: float | None = None
    gap_epsilon: float = 0.02
    sparsity: Sparsity | None = None
    width: int = 128
    depth: int = 3
    source_noise: float = 0.0
    batch_size: int = 256
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float | None = None
    clip: float = 1.0
    ema_decay: float = 0.99
    validation_every: int = 50

    def __post_init__(self):
        check_fields(self)
        full = self._filled_in()
        counts = dict.fromkeys(("steps", "batch_size", "validation_every", "depth"), 1)
        for name, least in {**counts, "warmup": 0, "width": 2}.items():
            check_count(name, getattr(full, name), least)
        for name in ("epsilon", "gap_epsilon", "learning_rate", "clip"):
            check_number(name, getattr(full, name), "positive", lambda v: 0 < v < math.inf)
        for name in ("gap", "source_noise", "weight_decay"):
            check_number(name, getattr(full, name), "0 or more", lambda v: 0 <= v < math.inf)
        check_rate("ema_decay", self.ema_decay)

    def _filled_in(self) -> "MongeMap":
        """Return the learner with numbers in place of None."""
        usual = USUAL if self.sparsity is None else USUAL_SPARSE
        missing = {name: value for name, value in usual.items() if getattr(self, name) is None}
        return replace(self, **missing) if missing else self

    def __call__(self, links: Sequence[Link], run: Run) -> Learned:
        """Train a map on the populations of links, weighted as by their plans.

        Parameters
        ----------
        links
            Links, each with its plan.
        run
            Seed, device and what else the fit provides.

        Returns
        -------
        The map, the history of its training and how the training ended.

        Raises
        ------
        ValueError
            When source and target cells are in two spaces, or more features may move than there
            are.
        """
        pairs, plans = [network_input(link.pair) for link in links], [link.plan for link in links]
        self._check(links)
        full = self._filled_in()
        ratios, first, device = ratios_of(plans, pairs, run), pairs[0], torch.device(run.device)
        draws = Draws(
            *(pairs, plans, held_out(links, 0.0, run.seed)),
            batch_size=self.batch_size,
            seed=run.seed,
            device=device,
        )
        condition_dim = 0 if first.condition is None else len(first.condition)
        with seeded(run):
            model = TransportMap(
                first.source.shape[1],
                condition_dim,
                width=self.width,
                depth=self.depth,
                encoder=None if run.encoder is None else run.encoder(condition_dim),
            ).to(device)
            model.fit_units(pairs)
            history = train_map(model, draws, full, run.seed, progress=run.progress)
            ended = outcomes(full.steps, Outcome.COMPLETED)
            if self.sparsity is not None and keep_to_number(model, pairs, self.sparsity):
                ended = (*ended, Outcome.TOO_DENSE)
            model.fit_strengths(pairs)
            learn_growth(model, pairs, ratios, run)
        history = pd.DataFrame(history, dtype=float).reindex(columns=HISTORY)
        return Learned(model, history.astype({"step": int}), ended)

    def _check(self, links: Sequence[Link]) -> None:
        """Refuse links of two spaces, and a number of features that is no limit."""
        pair = links[0].pair
        n_source, n_target = pair.source.shape[1], pair.target.shape[1]
        if not links[0].within or n_source != n_target or pair.source_shared is not None:
            raise ValueError(
                "`learner=MongeMap` moves cells within one space, and these source and target "
                f"cells are in two ({n_source} and {n_target} columns): use "
                "`sg.model.FlowMatching`."
            )
        if self.sparsity is not None and self.sparsity.n_features >= n_source:
            raise ValueError(
                f"`n_features={self.sparsity.n_features}` of `sparsity` must be below the number "
                f"of features, {n_source}."
            )
