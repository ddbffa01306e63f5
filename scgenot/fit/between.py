"""What trivial methods predict for a population between two sampled times."""

import numpy as np

from scgenot import baselines

BEFORE = "time before"


def trivial_populations(
    x: np.ndarray, y: np.ndarray, s: float, n: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Predict the population a fraction of the way from one time to the next, by method."""
    x, y = rng.permutation(x), rng.permutation(y)
    shifts = {"mean shift": baselines.mean_shift, "Gaussian map": baselines.gaussian_map}
    # every cell at most once: repeated cells would count against the mixture
    largest = min(n, int(min(len(x) / (1 - s), len(y) / s)))
    product = baselines.random_pairs(len(x), len(y), n, rng=rng)
    return {
        BEFORE: x[:n],
        "time after": y[:n],
        "mixture": baselines.mixture(x, y, s, largest, rng=rng),
        "random pairs": baselines.straight(x, y, s, pairs=product),
        **{name: x[:n] + s * (move(x, y, x[:n]) - x[:n]) for name, move in shifts.items()},
    }
