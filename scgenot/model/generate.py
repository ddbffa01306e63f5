"""Integrate the field of a model: draws of target cells, and densities of given ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from scgenot._random import Rng, torch_rng
from scgenot.flow.field import bind
from scgenot.flow.ode import Method, integrate, log_density
from scgenot.model.inputs import blocks, conditions, evaluating, shown, unconditional
from scgenot.model.units import to_tensor

Velocity = Callable[[Tensor, Tensor], Tensor]


def draw(
    model,
    source,
    condition,
    n_samples: int,
    guidance: float,
    rng: Rng,
    method: Method,
    n_steps: int,
    batch_size: int,
) -> Tensor:
    """Draw target cells; arguments and result as of :meth:`scgenot.Genot.sample`."""
    cells = to_tensor(source, model.units.source.mean)
    x, c = model.units.source(cells), shown(model, conditions(model, condition, len(cells)))
    # all noise at once, on the CPU: the draws then depend neither on the batch size nor on the device
    out = torch.randn(len(x), n_samples, model.target_dim, generator=torch_rng(rng), dtype=x.dtype)
    with evaluating(model):
        for rows in blocks(len(x), max(1, batch_size // n_samples)):
            velocity = guided(model, x[rows], None if c is None else c[rows], n_samples, guidance)
            z = integrate(velocity, out[rows].to(model.device), method=method, n_steps=n_steps)
            out[rows] = model.units.leave(cells[rows], z).to(out.device)
    return out


def guided(model, x: Tensor, c: Tensor | None, n_samples: int, guidance: float) -> Velocity:
    """Velocity of standardised cells; `guidance` weighs the condition's part (Ho and Salimans 2022, eq. 6)."""
    velocity = bind(model.field, x, c, n_samples)
    if guidance == 1:
        return velocity
    if model.condition_dropout == 0:
        raise ValueError(
            f"`guidance` is {guidance}, but the model was fitted without condition dropout: it knows no law to guide "
            "away from. Fit it with `condition_dropout=0.1`, or leave `guidance` at 1."
        )
    free = bind(model.field, x, unconditional(c), n_samples)
    return lambda t, z: torch.lerp(free(t, z), velocity(t, z), guidance)


def density(
    model,
    source,
    target,
    condition,
    rng: Rng,
    method: Method,
    n_steps: int,
    batch_size: int,
    *,
    exact: bool,
) -> Tensor:
    """Log-densities of target cells; arguments and result as of :meth:`scgenot.Genot.log_prob`."""
    cells = to_tensor(source, model.units.source.mean)
    x, c = model.units.source(cells), shown(model, conditions(model, condition, len(cells)))
    y = model.units.enter(cells, target)
    signs = torch.randint(2, y.shape, generator=torch_rng(rng), dtype=torch.int8).to(y) * 2 - 1
    out = []
    with evaluating(model):
        for rows in blocks(len(x), batch_size):
            velocity = bind(model.field, x[rows], None if c is None else c[rows], 1)
            probe = None if exact else signs[rows, None]
            out.append(
                log_density(velocity, y[rows, None], method=method, n_steps=n_steps, probe=probe)[
                    :, 0
                ]
            )
    # the density of y in its own units: dy = std dy_standardised
    return (torch.cat(out) - model.units.flow.std.log().sum()).detach().cpu()
