"""Random numbers: the same seed gives the same bits on one machine and thread count."""

import numpy as np

Rng = int | np.random.Generator | None

EXPECTED = "must be a seed (an integer >= 0), a generator or None"


def numpy_rng(rng: Rng) -> np.random.Generator:
    """Turn a seed, a generator or None (fresh entropy) into a NumPy generator."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`rng={rng!r}` {EXPECTED}.") from error


def seed_of(rng: Rng) -> int:
    """Turn a seed, a generator or None into one number that repeats the run; an int as it is."""
    if isinstance(rng, (int, np.integer)) and rng >= 0:
        return int(rng)
    return int(numpy_rng(rng).integers(2**62))


def systematic(weights: np.ndarray, n: int, rng: Rng = 0) -> np.ndarray:
    """Draw `n` sorted rows in proportion to weights, each its expected count give or take one."""
    cumulative = np.cumsum(weights, dtype=float)
    levels = (np.arange(n) + numpy_rng(rng).random()) / n * cumulative[-1]
    rows = np.searchsorted(cumulative, levels, side="right")
    return np.minimum(rows, np.searchsorted(cumulative, cumulative[-1]))  # a level may round up


def torch_rng(rng: Rng, device="cpu"):
    """Turn a seed, a NumPy generator or None into a :class:`torch.Generator` on `device`."""
    import torch

    return torch.Generator(device=device).manual_seed(seed_of(rng))
