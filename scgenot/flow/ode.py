"""Integrate a velocity field: samples forward in time, log-densities backward."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Function of a scalar time and points `(..., q)`, giving velocities `(..., q)`."""

Scheme = Literal["euler", "midpoint", "rk4", "dopri5"]


def euler_step(velocity: Velocity, t: Tensor, z: Tensor, h: Tensor) -> Tensor:
    """Move by one Euler step, first order."""
    return z + h * velocity(t, z)


def midpoint_step(velocity: Velocity, t: Tensor, z: Tensor, h: Tensor) -> Tensor:
    """Move by one step of the explicit midpoint rule, second order."""
    return z + h * velocity(t + h / 2, z + h / 2 * velocity(t, z))


def rk4_step(velocity: Velocity, t: Tensor, z: Tensor, h: Tensor) -> Tensor:
    """Move by one step of the classical Runge-Kutta method, fourth order."""
    k1 = velocity(t, z)
    k2 = velocity(t + h / 2, z + h / 2 * k1)
    k3 = velocity(t + h / 2, z + h / 2 * k2)
    k4 = velocity(t + h, z + h * k3)
    return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


STEPS = {"euler": euler_step, "midpoint": midpoint_step, "rk4": rk4_step}

# Dormand and Prince 1980, table 2: nodes, rows and difference of fifth- and fourth-order weights
_NODES = (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1)
_ROWS = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def integrate(
    velocity: Velocity,
    z: Tensor,
    *,
    t0: float = 0.0,
    t1: float = 1.0,
    method: Scheme = "midpoint",
    n_steps: int = 16,
    rtol: float = 1e-4,
    atol: float = 1e-4,
    max_steps: int = 1000,
) -> Tensor:
    """Integrate `dz/dt = v(t, z)` from `t0` to `t1`, backward if `t1 < t0`.

    Parameters
    ----------
    velocity
        Function of a scalar time and points `(..., q)`.
    z
        Points at `t0`, shape `(..., q)`.
    t0, t1
        First and last time.
    method
        `"euler"`, `"midpoint"` or `"rk4"` with 1, 2 or 4 evaluations per step; `"dopri5"` with
        adaptive steps.
    n_steps
        Number of equal steps; not used by `"dopri5"`.
    rtol, atol
        Relative and absolute error tolerance per step of `"dopri5"`, root mean square over all
        points.
    max_steps
        Maximum number of steps of `"dopri5"`, including rejected ones.

    Returns
    -------
    Points at `t1`, shape of `z`.

    Raises
    ------
    ValueError
        When the method is unknown or `n_steps` is below 1.
    RuntimeError
        When `"dopri5"` needs too many steps.

    Examples
    --------
    >>> decayed = sg.flow.integrate(lambda t, z: -z, torch.ones(3, 2))  # about exp(-1)
    """
    if n_steps < 1:
        raise ValueError(f"`n_steps` is {n_steps}: at least one step is needed.")
    if method == "dopri5":
        return _dopri5(velocity, z, t0, t1, rtol, atol, max_steps)
    if method not in STEPS:
        raise ValueError(f"`method` is {method!r}, expected one of {[*STEPS, 'dopri5']}.")
    times = torch.linspace(t0, t1, n_steps + 1, dtype=z.dtype, device=z.device)
    for start, stop in pairwise(times):
        z = STEPS[method](velocity, start, z, stop - start)
    return z


def _dopri5(
    velocity: Velocity, z: Tensor, t0: float, t1: float, rtol: float, atol: float, max_steps: int
) -> Tensor:
    t, h = t0, (t1 - t0) / 16
    first = velocity(z.new_tensor(t), z)
    for _ in range(max_steps):
        if abs(t1 - t) <= 1e-12 * max(1.0, abs(t1)):
            return z
        h = math.copysign(min(abs(h), abs(t1 - t)), h)
        new, last, error = _dopri5_step(velocity, t, z, h, first)
        scale = atol + rtol * torch.maximum(z.abs(), new.abs())
        ratio = float((error / scale).square().mean().sqrt())
        if ratio <= 1:
            # the last slope of a step is the first of the next
            t, z, first = t + h, new, last
        h *= min(5.0, max(0.2, 0.9 * max(ratio, 1e-10) ** -0.2)) if math.isfinite(ratio) else 0.2
    raise RuntimeError(
        f"'dopri5' stopped at t = {t:.4g} after {max_steps} steps, step size {abs(h):.2g}. "
        "Allow more error (rtol, atol) or more steps (max_steps), or take 'midpoint'."
    )


def _dopri5_step(
    velocity: Velocity, t: float, z: Tensor, h: float, first: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    slopes = [first]
    for node, row in zip(_NODES[1:], _ROWS[1:], strict=True):
        point = z + h * sum(weight * slope for weight, slope in zip(row, slopes, strict=True))
        slopes.append(velocity(z.new_tensor(t + node * h), point))
    # the last row holds the weights of the solution: its point is the result
    error = h * sum(weight * slope for weight, slope in zip(_ERROR, slopes, strict=True))
    return point, slopes[-1], error


def divergence(
    velocity: Velocity, t: Tensor, z: Tensor, probe: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Velocity and its divergence `sum_k dv_k / dz_k`.

    Parameters
    ----------
    velocity
        Function whose value at a point depends only on that point.
    t
        Time, scalar.
    z
        Points, shape `(..., q)`.
    probe
        Random signs of the shape of `z`: the unbiased estimate `e' J e` (Hutchinson 1989), one
        backward pass. None: the exact trace, q backward passes.

    Returns
    -------
    Velocities `(..., q)` and divergences `(...)`, both without gradient.

    Examples
    --------
    >>> t, z = torch.tensor(0.0), torch.ones(3, 2)
    >>> value, trace = sg.flow.divergence(lambda t, z: -z, t, z)  # trace is -2
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        v = velocity(t, z)
        if probe is not None:
            trace = (torch.autograd.grad(v, z, probe)[0] * probe).sum(-1)
        else:
            sums = [v[..., k].sum() for k in range(z.shape[-1])]
            grads = (torch.autograd.grad(total, z, retain_graph=True)[0] for total in sums)
            trace = sum(grad[..., k] for k, grad in enumerate(grads))
    return v.detach(), trace.detach()


def log_density(
    velocity: Velocity,
    y: Tensor,
    *,
    method: Scheme = "midpoint",
    n_steps: int = 16,
    rtol: float = 1e-4,
    atol: float = 1e-4,
    probe: Tensor | None = None,
) -> Tensor:
    """Log-density at time 1 of the flow of standard normal noise.

    `log p(y) = log N(z_0; 0, I) - int_0^1 div v(t, z_t) dt`, with `z_1 = y` integrated back to time
    0 (Chen et al. 2018, arXiv 1806.07366).

    Parameters
    ----------
    velocity
        Function of a scalar time and points `(..., q)`.
    y
        Points at time 1, shape `(..., q)`.
    method, n_steps, rtol, atol
        As in :func:`integrate`.
    probe
        As in :func:`divergence`.

    Returns
    -------
    Log-densities, shape `(...)`.

    Raises
    ------
    ValueError
        When the method is unknown or `n_steps` is below 1.

    Examples
    --------
    >>> sg.flow.log_density(lambda t, z: 0 * z, torch.zeros(1, 2))  # the noise: -log(2 pi)
    """
    q = y.shape[-1]

    def augmented(t: Tensor, state: Tensor) -> Tensor:
        v, trace = divergence(velocity, t, state[..., :q], probe)
        return torch.cat([v, trace[..., None]], -1)

    start = torch.cat([y, torch.zeros_like(y[..., :1])], -1)
    end = integrate(
        augmented, start, t0=1.0, t1=0.0, method=method, n_steps=n_steps, rtol=rtol, atol=atol
    )
    # going backward the integral comes out with its sign changed
    return -0.5 * (end[..., :q].square().sum(-1) + q * math.log(2 * math.pi)) + end[..., q]
