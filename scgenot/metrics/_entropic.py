"""Values of balanced entropic transport between uniform populations, by the dual, in double precision."""

import warnings

import numpy as np

TOLERANCE = 1e-7  # mean relative error of a marginal at which to stop; the dual value is off by its square
MAX_ITERATIONS = 10_000
SWEEP = 100  # products with one kernel before it is made anew
LARGEST_LOG = 200  # of a scaling: the square of its inverse is still a normal number


def soft_minimum(cost: np.ndarray, potential: np.ndarray, epsilon: float) -> np.ndarray:
    """Sinkhorn's update, `-eps log mean_j exp((g_j - c_ij) / eps)`, shape `(n,)`."""
    exponent = (potential - cost) / epsilon
    largest = exponent.max(axis=1, keepdims=True)
    np.exp(np.subtract(exponent, largest, out=exponent), out=exponent)
    return -epsilon * (largest[:, 0] + np.log(exponent.mean(axis=1)))


def self_transport(cost: np.ndarray, epsilon: float) -> float:
    """`min <c, P> + eps KL(P | a a^T)` of a population with itself.

    Its two potentials are one. Alternating updates swing about it for hundreds of iterations; the mean of the old and
    the new one is there after ten or so (Feydy et al. 2019, arXiv 1810.08278).
    """
    f = np.zeros(len(cost))
    for _ in range(MAX_ITERATIONS):
        update = soft_minimum(cost, f, epsilon)
        error = np.abs(np.expm1((f - update) / epsilon)).mean()
        f = (f + update) / 2
        if error < TOLERANCE:
            break
    else:
        _warn(error)
    return 2 * f.mean() - epsilon * (np.exp((f[:, None] + f - cost) / epsilon).mean() - 1)


def transport(cost: np.ndarray, epsilon: float) -> float:
    """`min <c, P> + eps KL(P | a b^T)`.

    Products with a kernel, 30 times faster than logarithms, that is made anew from the potentials now and then.
    """
    g = np.zeros(cost.shape[1])
    for _ in range(MAX_ITERATIONS // SWEEP):
        # a stable step in logarithms, after which the kernel is near the plan, however small epsilon is
        f = soft_minimum(cost, g, epsilon)
        g = soft_minimum(cost.T, f, epsilon)
        u, v, error = _scale(np.exp((f[:, None] + g - cost) / epsilon))
        g = g + epsilon * np.log(v)
        if error < TOLERANCE:
            # the columns are exact, so that the plan has mass 1
            return f.mean() + epsilon * np.log(u).mean() + g.mean()
    _warn(error)
    return soft_minimum(cost, g, epsilon).mean() + g.mean()


def _scale(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Scalings of rows and columns, and the marginal error; stops early rather than under- or overflow."""
    u, v, error = np.ones(len(kernel)), np.ones(kernel.shape[1]), np.inf
    for _ in range(SWEEP):
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            new_u = 1 / (kernel @ v) * len(v)
            new_v = 1 / (new_u @ kernel) * len(u)
            safe = np.abs(np.log(new_u)).max() < LARGEST_LOG and np.abs(np.log(new_v)).max() < LARGEST_LOG
        if not safe:
            break
        error = np.abs(u / new_u - 1).mean()
        u, v = new_u, new_v
        if error < TOLERANCE:
            break
    return u, v, error


def _warn(error: float) -> None:
    warnings.warn(f"Sinkhorn stopped at a marginal error of {error:.1e}: raise `epsilon`.", stacklevel=4)
