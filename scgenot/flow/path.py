"""The straight path from noise to a target cell."""

import torch
from torch import Tensor


def straight_path(t: Tensor, noise: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Point and velocity of the straight line from noise to target, `z_t = (1 - t) z + t y`.

    The velocity, the regression target of a field, is target minus *noise* (GENOT, arXiv
    2310.09254, eq. 9): the source cell is a condition of the field and not the start of the path.

    Parameters
    ----------
    t
        Times in [0, 1], shape `(batch,)`.
    noise, target
        Ends of the path, shape `(batch, q)`.

    Returns
    -------
    `z_t` and `y - z`, both `(batch, q)`.

    Examples
    --------
    >>> z, velocity = sg.flow.straight_path(torch.rand(5), torch.randn(5, 2), torch.randn(5, 2))
    """
    return noise + t[:, None] * (target - noise), target - noise


def stratified_times(n: int, *, generator: torch.Generator) -> Tensor:
    """Draw times, each uniform on [0, 1] and together evenly spread.

    The times are a regular grid with a random shift, so that the mean over a batch varies less than
    with independent times.

    Parameters
    ----------
    n
        Number of times.
    generator
        Source of random numbers; its device is that of the result.

    Returns
    -------
    Times, shape `(n,)`, ascending.

    Examples
    --------
    >>> t = sg.flow.stratified_times(256, generator=torch.Generator().manual_seed(0))
    """
    shift = torch.rand((), generator=generator, device=generator.device)
    return (torch.arange(n, device=generator.device) + shift) / n
