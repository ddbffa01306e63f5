"""Training of a map: losses of populations, and a penalty whose strength is found on the way."""

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from scgenot._progress import progress_bar
from scgenot._random import numpy_rng
from scgenot.model.batches import HOLD_OUT, NOISE, Draws, stream
from scgenot.model.descent import Descent
from scgenot.model.generate import blurred, check_finite
from scgenot.model.map import TransportMap
from scgenot.model.populations import Populations
from scgenot.model.sparsity import Sparsity, Strength
from scgenot.model.units import to_tensor
from scgenot.ot.cost import mean_cost, spaced
from scgenot.ot.losses import divergence_loss, gap_loss
from scgenot.pair import Pair

if TYPE_CHECKING:
    from scgenot.model.monge import MongeMap

# of all steps: without penalty at first, and between changes of its strength
DENSE, PERIOD = 0.2, 1 / 60
# batches on which strengths are compared
N_COMPARED = 4
# source cells whose moves are counted at the end, and a threshold, in those that were asked for,
# from which on changes were cut off that are not small
MAX_CELLS, CUT = 8192, 3


class MapTraining:
    """A map while it is trained; the weights that are kept are a moving average."""

    def __init__(self, model: TransportMap, draws: Draws, learner: "MongeMap", seed: int):
        self.model, self.learner, self.seed = model, learner, seed
        self.populations = Populations(draws)
        self.average = copy.deepcopy(model).eval()
        names = ("steps", "learning_rate", "weight_decay", "warmup", "ema_decay", "clip")
        options = {name: getattr(learner, name) for name in names}
        self.descent = Descent(model, self.average, **options)
        self.scales = [self._scales(k) for k in range(len(draws.pairs))]
        # one unit for the losses of all links
        self.total = float(model.units.target.std.square().sum())
        sparsity = learner.sparsity
        self.strength = (
            None if sparsity is None else Strength(sparsity, numpy_rng([seed, HOLD_OUT]))
        )
        self.history, self.sums, self.n_summed = [], {}, 0

    def _scales(self, k: int) -> tuple[float, float]:
        """Mean squared distance between target cells, and mean cost, of a link."""
        pair = self.populations.draws.pairs[k]
        x, y = (
            torch.as_tensor(np.asarray(side), dtype=torch.float32)
            for side in (pair.source, pair.target)
        )
        within = 2 * float(y.double().var(0, correction=0).sum())
        return within or 1.0, mean_cost(self.learner.cost, x, y)

    def losses(self, model: TransportMap, k: int, samples, noise=None) -> dict[str, Tensor]:
        """Return fit and gap of two samples of a link, and how far their cells move."""
        learner, (within, cost) = self.learner, self.scales[k]
        source = torch.cat([batch.source for batch in samples])
        told = [batch.condition for batch in samples]
        amount = 0.0 if noise is None else learner.source_noise
        seen = blurred(model.units.source, source, amount, generator=noise)
        moved = model(seen, None if told[0] is None else torch.cat(told))
        mapped = source + moved * model.unit
        x, y = mapped.split([len(one.source) for one in samples]), [one.target for one in samples]
        fit = divergence_loss(x, y, learner.epsilon * within) / self.total
        gap = fit.new_zeros(())
        if learner.gap:
            # of one sample: the solver takes most of a step
            entropic = gap_loss(learner.cost, samples[0].source, x[0], learner.gap_epsilon * cost)
            # in units of the cost, as the fit is in units of squared distances
            gap = entropic / cost * within / self.total
        return {"fit": fit, "gap": gap, "moved": moved}

    def step(self, step: int) -> None:
        """Make one step of optimization."""
        learner = self.learner
        noise = stream(self.seed, NOISE, step, device=self.model.device)
        found = [
            self.losses(self.model, k, samples, noise)
            for k, *samples in self.populations.batch(step)
        ]
        terms = {name: torch.stack([one[name] for one in found]).mean() for name in ("fit", "gap")}
        loss = terms["fit"] + learner.gap * terms["gap"]
        if self.strength is not None:
            moved = torch.cat([one["moved"] for one in found])
            loss = loss + self.strength.value * learner.sparsity.penalty(moved)
            terms["moved"] = learner.sparsity.count(moved.detach())
        self.descent.step(step, loss)
        self.note({"loss": loss, **terms})

    def note(self, terms: dict) -> None:
        """Add up the losses of steps."""
        self.n_summed += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(torch.as_tensor(value).detach())

    def record(self, step: int) -> dict[str, float]:
        """Add the means since the last record to the history."""
        line = {"step": step} | {name: value / self.n_summed for name, value in self.sums.items()}
        self.sums, self.n_summed = {}, 0
        if not math.isfinite(line["loss"]):
            raise FloatingPointError(
                f"The loss is {line['loss']} at step {step}: lower `learning_rate` "
                f"({self.learner.learning_rate:g}), or look for extreme values in the cells."
            )
        if self.strength is not None:
            line["strength"] = self.strength.value
        self.history.append(line)
        return line

    @torch.no_grad()
    def compare(self) -> None:
        """Choose the next strength of the penalty, by batches that are always the same."""
        found = []
        for step in range(N_COMPARED):
            for k, *samples in self.populations.batch(step):
                found.append(self.losses(self.model, k, samples))
        fit = float(torch.stack([one["fit"] for one in found]).mean())
        moved = torch.cat([one["moved"] for one in found])
        self.strength.update(fit, self.learner.sparsity.count(moved))


def train_map(
    model: TransportMap, draws: Draws, learner: "MongeMap", seed: int, *, progress: bool
) -> list[dict[str, float]]:
    """Fit a map to the populations of links; it is changed in place. Returns the history."""
    training = MapTraining(model, draws, learner, seed)
    period = max(1, round(PERIOD * learner.steps))
    with progress_bar(total=learner.steps, shown=progress, desc="training", unit="step") as bar:
        for step in range(learner.steps):
            training.step(step)
            bar.update()
            done = step + 1
            if training.strength and done >= DENSE * learner.steps and done % period == 0:
                training.compare()
            if done % learner.validation_every == 0 or done == learner.steps:
                line = training.record(done)
                bar.set_postfix({k: f"{v:.3g}" for k, v in line.items() if k != "step"})
    model.load_state_dict(training.average.state_dict())
    check_finite(model, FloatingPointError, f"lower `learning_rate` ({learner.learning_rate:g})")
    model.eval()
    return training.history


@torch.no_grad()
def keep_to_number(model: TransportMap, pairs: Sequence[Pair], sparsity: Sparsity) -> bool:
    """Set the threshold below which nothing moves; whether more than small changes were cut."""
    sizes, each = [], -(-MAX_CELLS // len(pairs))
    for pair in pairs:
        x = model.units.source(pair.source[spaced(len(pair.source), each)])
        c = None if pair.condition is None else to_tensor(pair.condition, x).expand(len(x), -1)
        sizes.append(model(x, c).abs().flatten().cpu())
    sizes = torch.cat(sizes).sort().values
    kept = round(sparsity.n_features / model.source_dim * len(sizes))
    model.threshold = max(sparsity.threshold, float(sizes[-1 - kept]) if kept < len(sizes) else 0.0)
    return model.threshold > CUT * sparsity.threshold
