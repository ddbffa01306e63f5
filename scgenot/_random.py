"""Random numbers: the same seed gives the same bits on one machine and thread count."""

import numpy as np

Rng = int | np.random.Generator | None

EXPECTED = "must be a seed, a whole number of 0 or more, a generator or None"


def numpy_rng(rng: Rng) -> np.random.Generator:
    """Turn a seed, a generator or None (fresh entropy) into a NumPy generator."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`rng={rng!r}` {EXPECTED}.") from error


def seed_of(rng: Rng) -> int:
    """Turn a seed, a generator or None into one number that can be stored and repeats the run; an int stays itself."""
    if isinstance(rng, (int, np.integer)) and rng >= 0:
        return int(rng)
    return int(numpy_rng(rng).integers(2**62))


def torch_rng(rng: Rng, device="cpu"):
    """Turn a seed, a NumPy generator or None into a :class:`torch.Generator` on `device`."""
    import torch

    return torch.Generator(device=device).manual_seed(seed_of(rng))
