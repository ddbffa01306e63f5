"""Integrators as values: how a model moves noise to cells, by an ODE or with noise on the way."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from scgenot._check import check_count, check_number
from scgenot._typed import check_fields
from scgenot.flow.ode import Scheme, Velocity, integrate, log_density


@dataclass(frozen=True)
class ODE:
    """Integrate the velocity field: each noise vector is mapped to one cell, with known density.

    Parameters
    ----------
    method
        `"euler"`, `"midpoint"` or `"rk4"` with 1, 2 or 4 evaluations per step; `"dopri5"` with
        adaptive steps.
    steps
        Number of equal steps; not used by `"dopri5"`.
    rtol, atol
        Error tolerance per step of `"dopri5"`, see :func:`~scgenot.flow.integrate`.
    max_steps
        Maximum number of steps of `"dopri5"`.

    Raises
    ------
    TypeError
        When an option has a wrong type.
    ValueError
        When the method is unknown or a number is out of range.

    Examples
    --------
    >>> draws = model.sample(source, integrator=sg.flow.ODE("midpoint", steps=12))
    """

    method: Scheme = "midpoint"
    steps: int = 6
    rtol: float = 1e-4
    atol: float = 1e-4
    max_steps: int = 1000

    def __post_init__(self):
        check_fields(self)
        for name in ("steps", "max_steps"):
            check_count(name, getattr(self, name), 1)
        for name in ("rtol", "atol"):
            check_number(name, getattr(self, name), "above 0", lambda value: 0 < value < math.inf)

    def __call__(
        self,
        velocity: Velocity,
        z: Tensor,
        *,
        t0: float = 0.0,
        t1: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Integrate from `t0` to `t1`; the generator is not used.

        Parameters
        ----------
        velocity
            Function of a scalar time and points `(..., q)`.
        z
            Points at `t0`, shape `(..., q)`.
        t0, t1
            First and last time; `t1 < t0` goes backward.
        generator
            Source of random numbers, of which there are none.

        Returns
        -------
        Points at `t1`, shape of `z`.
        """
        errors = {"rtol": self.rtol, "atol": self.atol, "max_steps": self.max_steps}
        options = {"method": self.method, "n_steps": self.steps, **errors}
        return integrate(velocity, z, t0=t0, t1=t1, **options)

    def log_density(self, velocity: Velocity, y: Tensor, probe: Tensor | None = None) -> Tensor:
        """Log-density at time 1 of standard normal noise, see :func:`~scgenot.flow.log_density`.

        Parameters
        ----------
        velocity, y, probe
            As in :func:`~scgenot.flow.log_density`.

        Returns
        -------
        Log-densities, shape `(...)`.
        """
        options = {"method": self.method, "n_steps": self.steps, "probe": probe}
        return log_density(velocity, y, rtol=self.rtol, atol=self.atol, **options)


@dataclass(frozen=True)
class SDE:
    """Integrate the velocity field with added noise, with the same distribution at every time.

    On the straight path the score follows from the velocity, `s = (t v - z) / (1 - t)`, and

        `dZ = (v + e s) dt + sqrt(2 e) dW`, `e(t) = noise (1 - t)`,

    has the marginals of the ODE (Albergo, Boffi, Vanden-Eijnden 2023, arXiv 2303.08797, corollary
    2.18). Noise reduces the effect of earlier errors of the field but requires more steps.
    Densities are not available, and the distribution changes under guidance. The method is that of
    Heun, with two evaluations per step and weak order two.

    Parameters
    ----------
    noise
        Strength of the noise; 0 is the ODE.
    steps
        Number of equal steps; large noise requires more steps.

    Raises
    ------
    TypeError
        When an option has a wrong type.
    ValueError
        When `noise` is negative or `steps` is below 1.

    Examples
    --------
    >>> draws = model.sample(source, integrator=sg.flow.SDE(noise=1.0, steps=50))
    """

    noise: float = 1.0
    steps: int = 50

    def __post_init__(self):
        check_fields(self)
        check_count("steps", self.steps, 1)
        expected = "0 or more, and finite"
        check_number("noise", self.noise, expected, lambda value: 0 <= value < math.inf)

    def __call__(self, velocity: Velocity, z: Tensor, *, generator: torch.Generator) -> Tensor:
        """Integrate from time 0 to 1.

        Parameters
        ----------
        velocity
            Function of a scalar time and points `(..., q)`, whose path is straight and whose points
            at time 0 are standard normal.
        z
            Points at time 0, shape `(..., q)`.
        generator
            Source of random numbers.

        Returns
        -------
        Points at time 1, shape of `z`.
        """

        def drift(t: Tensor, z: Tensor) -> Tensor:
            v = velocity(t, z)
            return v + self.noise * (t * v - z)  # e s, without the division by 1 - t

        place = generator.device  # draws do not depend on where the points are
        times = torch.linspace(0, 1, self.steps + 1, dtype=z.dtype, device=z.device)
        for start, stop in pairwise(times):
            drawn = torch.randn(z.shape, generator=generator, device=place, dtype=z.dtype)
            # the variance of the noise of a step is known: the integral of 2 noise (1 - t)
            kick = drawn.to(z.device) * (self.noise * ((1 - start) ** 2 - (1 - stop) ** 2)).sqrt()
            h, first = stop - start, drift(start, z)
            z = z + h / 2 * (first + drift(stop, z + h * first + kick)) + kick
        return z


Integrator = ODE | SDE | Callable[..., Tensor]
"""Function `(velocity, z, *, generator)` from points at time 0 to points at time 1."""


def only_ode(integrator: Integrator, what: str) -> ODE:
    """Return an integrator that is an ODE, or raise a TypeError.

    Parameters
    ----------
    integrator
        What was passed.
    what
        What needs it, such as "densities", for the message.

    Returns
    -------
    The integrator.

    Raises
    ------
    TypeError
        When it is another one.

    Examples
    --------
    >>> sg.flow.only_ode(sg.flow.ODE(), "densities")
    """
    if not isinstance(integrator, ODE):
        raise TypeError(
            f"`integrator={integrator!r}`: {what} need an ODE, in which a cell comes from one "
            "point of noise; pass `integrator=sg.flow.ODE(...)`."
        )
    return integrator
