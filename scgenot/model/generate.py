"""Use a model: bring its inputs into shape, integrate its field to draws and densities."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from scgenot._check import check_count, check_guidance, check_memory
from scgenot._random import Rng, seed_of, torch_rng
from scgenot.flow.field import bind
from scgenot.flow.integrator import ODE, Integrator, only_ode
from scgenot.model.units import to_tensor

Velocity = Callable[[Tensor, Tensor], Tensor]

# points integrated at a time: the cache of a core, and what keeps a GPU busy
POINTS, POINTS_ON_GPU = 2**12, 2**16


def draw(
    model,
    source,
    condition,
    n_samples: int,
    guidance: float,
    rng: Rng,
    integrator: Integrator | None,
    batch_size: int | None,
    *,
    antithetic: bool,
) -> Tensor:
    """Draw target cells; arguments and result as in :meth:`scgenot.Genot.sample`."""
    cells = to_tensor(source, model.units.source.mean)
    told = conditions(model, condition, len(cells))
    if (ends := model.dose_ends(told)) is not None:
        options = n_samples, guidance, seed_of(rng), integrator, batch_size  # the same noise
        return ends.mixed(lambda side: draw(model, cells, side, *options, antithetic=antithetic))
    x, c = model.units.source(cells), shown(model, told)
    check_count("n_samples", n_samples, 1)
    check_guidance(guidance)
    field, integrator = model.who_draws(told, guidance, integrator)
    if guidance != 1:
        only_ode(integrator, "guided draws")
    size = points_at_a_time(batch_size, model.device)
    check_memory("n_samples", n_samples, len(x) * n_samples * model.target_dim)
    # all noise at once, on the CPU: draws then depend neither on the batch size nor on the device
    shape, generator = (len(x), n_samples, model.target_dim), torch_rng(rng)
    out, chance = start(shape, generator, x.dtype, antithetic=antithetic)
    extrapolates = model.extrapolation is not None and guidance == 1
    noise = out.clone() if extrapolates else None
    with evaluating(model):
        for rows in blocks(len(x), max(1, size // n_samples)):
            given = None if c is None else c[rows]
            velocity = guided(model, field, x[rows], given, n_samples, guidance)
            z = integrator(velocity, out[rows].to(model.device), generator=generator)
            out[rows] = model.units.leave(cells[rows], z).to(out.device)
        if extrapolates:
            out = model.extrapolated(out, cells, told, noise, chance)
    return finite(out, "sample")


def start(
    shape: tuple[int, int, int],
    generator: torch.Generator,
    dtype: torch.dtype,
    *,
    antithetic: bool,
) -> tuple[Tensor, Tensor]:
    """Noise of draws, and a uniform number for each; opposite noise for pairs of antithetic ones.

    The first half of the draws of a cell have noise of their own, the others its opposite.
    """
    n, n_samples, dim = shape
    n_own = -(-n_samples // 2) if antithetic else n_samples
    noise = torch.randn((n, n_own, dim), generator=generator, dtype=dtype)
    chance = torch.rand((n, n_own), generator=generator, dtype=dtype)
    n_opposite = n_samples - n_own
    noise = torch.cat([noise, -noise[:, :n_opposite]], 1) if n_opposite else noise
    return noise, torch.cat([chance, chance[:, :n_opposite]], 1) if n_opposite else chance


def guided(
    model, field: nn.Module, x: Tensor, c: Tensor | None, n_samples: int, guidance: float
) -> Velocity:
    """Velocity of standardized cells, guided by the condition (Ho and Salimans 2022, eq. 6)."""
    velocity = bind(field, x, c, n_samples)
    if guidance == 1:
        return velocity
    if model.condition_dropout == 0:
        raise ValueError(
            f"`guidance` is {guidance}, but the model was fitted without condition dropout: "
            "guidance is not available. Fit it with "
            "`learner=sg.model.FlowMatching(condition_dropout=0.1)`, or leave `guidance` at 1."
        )
    free = bind(field, x, unconditional(c), n_samples)
    return lambda t, z: torch.lerp(free(t, z), velocity(t, z), guidance)


def density(
    model,
    source,
    target,
    condition,
    rng: Rng,
    integrator: ODE,
    batch_size: int | None,
    *,
    exact: bool,
) -> Tensor:
    """Log-densities of target cells; arguments and result as in :meth:`scgenot.Genot.log_prob`."""
    only_ode(integrator, "densities")
    cells = to_tensor(source, model.units.source.mean)
    told = conditions(model, condition, len(cells))
    x, c = model.units.source(cells), shown(model, told)
    if len(target) != len(cells):
        raise ValueError(f"`target` has {len(target)} cells, `source` {len(cells)}: give one each.")
    y = model.units.enter(cells, target)
    size = points_at_a_time(batch_size, model.device)
    signs = torch.randint(2, y.shape, generator=torch_rng(rng), dtype=torch.int8).to(y) * 2 - 1
    out = []
    with evaluating(model):
        for rows in blocks(len(x), size):
            velocity = bind(model.field, x[rows], None if c is None else c[rows], 1)
            probe = None if exact else signs[rows, None]
            out.append(integrator.log_density(velocity, y[rows, None], probe)[:, 0])
    # the density of y in its own units: dy = std dy_standardized
    out = torch.cat(out) - model.units.flow.std.log().sum()
    if model.extrapolation is not None:
        out = model.mixed_density(out, cells, target, told)
    return finite(out, "log-density").detach().cpu()


def points_at_a_time(batch_size: int | None, device: torch.device) -> int:
    """How many points to integrate at a time: what was asked for, or what suits the device."""
    if batch_size is None:
        return POINTS if device.type == "cpu" else POINTS_ON_GPU
    check_count("batch_size", batch_size, 1)
    return batch_size


def conditions(model, condition: np.ndarray | Tensor | None, n: int) -> Tensor | None:
    """Bring the conditions of `n` cells to shape `(n, c)`; None when the model takes none."""
    if condition is None and model.condition_dim == 0:
        return None
    if condition is not None:
        condition = to_tensor(condition, model.units.source.mean, "condition")
    shape = None if condition is None else tuple(condition.shape)
    if shape not in ((model.condition_dim,), (n, model.condition_dim)):
        raise ValueError(
            f"`condition` has shape {shape}, the model was made for ({n}, {model.condition_dim}) "
            f"or ({model.condition_dim},)."
        )
    return condition.expand(n, -1)


def shown(model, condition: Tensor | None) -> Tensor | None:
    """Add the column that says whether a condition is hidden (none is), if the model has it."""
    if condition is None or model.condition_dropout == 0:
        return condition
    return torch.cat([condition, torch.zeros_like(condition[:, :1])], 1)


def dropped(model, condition: Tensor | None, *, generator: torch.Generator) -> Tensor | None:
    """Hide the conditions of some cells during training, if the model has hidden ones."""
    given = shown(model, condition)
    if given is condition or not model.training:
        return given
    chance = torch.rand(len(given), 1, generator=generator, device=given.device)
    return torch.where(chance < model.condition_dropout, unconditional(given), given)


def blurred(units: nn.Module, cells: Tensor, noise: float, *, generator: torch.Generator) -> Tensor:
    """Standardize cells after adding noise of `noise` times their root mean variance."""
    if noise:
        spread = units.std.square().mean().sqrt()
        drawn = torch.randn(cells.shape, generator=generator, device=cells.device)
        cells = cells + noise * spread * drawn
    return units(cells)


def unconditional(condition: Tensor) -> Tensor:
    """Return conditions that are all hidden."""
    hidden = torch.zeros_like(condition)
    hidden[..., -1] = 1
    return hidden


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off inside a `with` block, for a model that can be used."""
    check_finite(model, ValueError, "fit the model again")
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def blocks(n: int, size: int) -> Iterator[slice]:
    """Yield slices of `n` rows, `size` at a time."""
    for start in range(0, n, size):
        yield slice(start, start + size)


def check_finite(model: nn.Module, error: type[Exception], remedy: str) -> None:
    """Raise an error when a weight of a model is not finite."""
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise error(f"The weights of the model are not finite ({name!r}): {remedy}.")


def finite(values: Tensor, what: str) -> Tensor:
    """Return results of a model, or raise when they are not finite."""
    if not values.isfinite().all():
        bad = int((~values.isfinite()).reshape(len(values), -1).any(1).sum())
        raise FloatingPointError(
            f"The {what} of {bad} of {len(values)} cells is not finite: check that the cells are "
            "finite, and in the units and the embedding that the model was fitted in."
        )
    return values
