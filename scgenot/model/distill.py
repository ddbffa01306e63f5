"""Distillation of a flow into a sampler of one or a few steps."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from scgenot._check import check_count
from scgenot._progress import progress_bar
from scgenot._random import Rng, torch_rng
from scgenot._typed import typed
from scgenot.flow.field import bind
from scgenot.flow.integrator import ODE
from scgenot.model.descent import Descent
from scgenot.model.generate import blocks, blurred, conditions, evaluating, shown
from scgenot.model.genot import Genot
from scgenot.model.student import SAMPLER, Distilled
from scgenot.model.units import to_tensor

# allowed difference from the teacher, in points: of cBW-UVP, and of the relative energy distance
LIMIT = 0.3
# source cells that are compared, at most and as a fraction, and draws for each
N_HELD_OUT, HELD_OUT, N_DRAWS = 256, 0.2, 128
BATCH_SIZE, LEARNING_RATE, WARMUP, DECAY = 1024, 2e-3, 50, 0.99
# noise of training sources, in root mean variances: students answer for new cells
SOURCE_NOISE = 0.5


@typed
def distill(
    model: Genot,
    source: np.ndarray | Tensor,
    condition: np.ndarray | Tensor | None = None,
    *,
    steps: int = 1,
    n_pairs: int = 2**16,
    training_steps: int = 1000,
    rng: Rng = 0,
    progress: bool = True,
) -> Genot:
    """Distill a model into a sampler of one or a few steps.

    A flow maps noise to cells in many small steps, twelve evaluations of its field by default. A
    copy of the field, the student, is trained on pairs of noise and samples of the teacher (Luhman
    and Luhman 2021, arXiv 2101.02388; the straight paths between them are those of rectified flow,
    arXiv 2209.03003). The distributions of student and teacher are compared for held-out source
    cells, and the student is rejected if they differ.

    Parameters
    ----------
    model
        Trained model, the teacher; it is not changed.
    source
        Source cells, shape `(n, p)`; a fifth of them, at most 256, is held out.
    condition
        Conditions, shape `(n, c)`, or one `(c,)` for all. The student samples for these; for other
        conditions, the teacher is used.
    steps
        Evaluations of the student per sample.
    n_pairs
        Number of pairs of noise and sample to train on.
    training_steps
        Number of optimization steps.
    rng
        Seed; the same seed gives the same bits.
    progress
        Whether to show a progress bar.

    Returns
    -------
    A copy of the model that samples from the student for the given conditions, unless an integrator
    or guidance is passed; use `integrator=sg.flow.ODE("midpoint", steps=6)` for the teacher.
    Densities and latent codes are those of the teacher. The attribute `distilled` has the scores of
    the comparison.

    Raises
    ------
    TypeError
        When an argument has a wrong type.
    ValueError
        When a shape is wrong, there are fewer than 5 distinct source cells, the field has no
        weights, or the student is less accurate than its teacher: it differs by more than .3 points
        of cBW-UVP, or in energy distance by more than .3 % of twice the mean distance between
        samples.

    Examples
    --------
    >>> fast = sg.model.distill(model, source)  # doctest: +SKIP
    >>> fast.sample(source, n_samples=32), fast.distilled  # doctest: +SKIP
    """
    sizes = {"steps": steps, "n_pairs": n_pairs, "training_steps": training_steps}
    for name, value in sizes.items():
        check_count(name, value, 1)
    out = copy.deepcopy(model)
    out.drop_student()
    generator = torch_rng(rng, model.device)
    cells = to_tensor(source, model.units.source.mean)
    raw = conditions(out, condition, len(cells))
    known = cells.new_zeros(1, 0) if raw is None else raw.unique(dim=0)
    out.add_student(Distilled(steps, 0.0, 0.0), known)
    held = _held_out(cells, generator)
    told = shown(out, raw)
    with evaluating(out):
        teach(out, cells, told, ~held, n_pairs, training_steps, generator, progress=progress)
        rows = held.nonzero()[:, 0]
        rows = rows[_shuffled(len(rows), generator)[:N_HELD_OUT]]
        asked = None if told is None else told[rows]
        uvp, energy = compare(out, cells[rows], asked, generator)
    if not max(uvp, energy) <= LIMIT:
        raise ValueError(
            f"`steps={steps}`: the student is less accurate than its teacher. For {len(rows)} "
            f"held-out source cells, its distributions differ by {uvp:.2g} points of cBW-UVP and "
            f"{energy:.2g} % in energy distance; at most {LIMIT} is allowed. Pass "
            f"`steps={2 * steps}` or more `training_steps`, or use the model without a student."
        )
    out.distilled = Distilled(steps, uvp, energy)
    return out


def _held_out(cells: Tensor, generator: torch.Generator) -> Tensor:
    """Choose source cells that the student does not see, under any condition."""
    kinds, place = cells.unique(dim=0, return_inverse=True)
    size = min(N_HELD_OUT, int(HELD_OUT * len(kinds)))
    if size < 1:
        raise ValueError(
            f"`source` has {len(kinds)} distinct cells: at least 5 are needed, to hold one out."
        )
    chosen = torch.zeros(len(kinds), dtype=torch.bool, device=cells.device)
    chosen[_shuffled(len(kinds), generator)[:size]] = True
    return chosen[place]


def _shuffled(n: int, generator: torch.Generator) -> Tensor:
    """Numbers below n in random order, on the device of the generator."""
    return torch.randperm(n, generator=generator, device=generator.device)


def carried(field: nn.Module, integrator: ODE, x: Tensor, c: Tensor | None, z: Tensor) -> Tensor:
    """Carry noise `(n, n_samples, q)` of standardized source cells to where it ends."""
    return integrator(bind(field, x, c, z.shape[1]), z)


def teach(
    model: Genot,
    cells: Tensor,
    told: Tensor | None,
    seen: Tensor,
    n_pairs: int,
    n_steps: int,
    generator: torch.Generator,
    *,
    progress: bool,
) -> None:
    """Train the student of a model on draws of its teacher for the seen source cells."""
    field, steps = model.student, ODE("euler", steps=model.distilled.steps)
    if not [*field.parameters()]:
        raise ValueError("The field of `model` has no weights: there is nothing to train.")
    x, c, noise, ends = _pairs(model, cells, told, seen, n_pairs, generator)
    field.train().requires_grad_(requires_grad=True)
    average = copy.deepcopy(field)
    schedule = {"steps": n_steps, "learning_rate": LEARNING_RATE, "warmup": WARMUP}
    descent = Descent(field, average, **schedule, weight_decay=0.0, ema_decay=DECAY)
    shown_bar = {"shown": progress, "desc": "distilling", "unit": "step"}
    with progress_bar(range(n_steps), **shown_bar) as bar:
        for step in bar:
            rows = torch.randint(n_pairs, (BATCH_SIZE,), generator=generator, device=x.device)
            given = None if c is None else c[rows]
            found = carried(field, steps, x[rows], given, noise[rows])
            descent.step(step, (found - ends[rows]).square().mean())
    field.load_state_dict(average.state_dict())
    field.eval()


@torch.no_grad()
def _pairs(
    model: Genot,
    cells: Tensor,
    told: Tensor | None,
    seen: Tensor,
    n_pairs: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Draw source cells, noise, and where the teacher carries it."""
    rows = seen.nonzero()[:, 0]
    rows = rows[torch.randint(len(rows), (n_pairs,), generator=generator, device=rows.device)]
    x = blurred(model.units.source, cells[rows], SOURCE_NOISE, generator=generator)
    shape = n_pairs, 1, model.target_dim
    noise = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
    c = None if told is None else told[rows]
    ends = [
        carried(model.field, SAMPLER, x[part], None if c is None else c[part], noise[part])
        for part in blocks(n_pairs, 4096)
    ]
    return x, c, noise, torch.cat(ends)


@torch.no_grad()
def compare(
    model: Genot, cells: Tensor, told: Tensor | None, generator: torch.Generator
) -> tuple[float, float]:
    """Return cBW-UVP, and energy distance in percent, between student and teacher.

    Both use the same noise, which removes most of the sampling error from the difference.
    """
    x, found = model.units.source(cells), []
    total = float(model.units.target.std.double().square().sum())
    few = ODE("euler", steps=model.distilled.steps)
    for rows in blocks(len(x), 32):
        c = None if told is None else told[rows]
        shape = len(x[rows]), N_DRAWS, model.target_dim
        noise = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
        sides = [
            carried(field, integrator, x[rows], c, noise) * model.units.flow.std
            for field, integrator in ((model.student, few), (model.field, SAMPLER))
        ]
        sides = [side.double() for side in sides]
        found.append(torch.stack([200 / total * bures(*sides), 100 * energy(*sides)]))
    return tuple(torch.cat(found, 1).mean(1).tolist())


def bures(a: Tensor, b: Tensor) -> Tensor:
    """Squared Bures-Wasserstein distances `(k,)` of the moments of samples `(k, n, q)`."""
    means = (a.mean(1) - b.mean(1)).square().sum(-1)
    a, b = (side - side.mean(1, keepdim=True) for side in (a, b))
    # fidelity of the covariances a'a and b'b: the sum of the singular values of a b'
    fidelity = torch.linalg.svdvals(a @ b.mT).sum(-1)
    traces = (a.square() + b.square()).sum((1, 2))
    return means + (traces - 2 * fidelity).clamp(min=0) / (a.shape[1] - 1)


def energy(a: Tensor, b: Tensor) -> Tensor:
    """Energy distances `(k,)` of samples `(k, n, q)` over twice the mean distance between them.

    Draws of the same noise are not compared with each other: the mean is then unbiased.
    """
    between, own = torch.cdist(a, b), torch.cdist(a, a) + torch.cdist(b, b)
    between = between - torch.diag_embed(between.diagonal(dim1=1, dim2=2))
    return 1 - own.sum((1, 2)) / (2 * between.sum((1, 2)))
