"""Entropic plans whose conditional laws are Gaussian mixtures, in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax

from scgenot._check import as_array, check_count, check_memory, check_number
from scgenot._random import Rng, numpy_rng
from scgenot._typed import check_fields, typed
from scgenot.model.generate import blocks

# numbers held at a time
MAX_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class MixtureLaw:
    """Entropic plan within one space whose conditional distribution is a Gaussian mixture.

    `pi(y | x) = sum_k w_k(x) N(y; r_k + S_k x, epsilon S_k)` with `w_k(x) ~ alpha_k exp((x' S_k x +
    2 r_k' x) / (2 epsilon))` is the entropic plan, cost `|x - y|^2 / 2`, between any source
    population and its image (Korotin et al. 2024, arXiv 2310.01174, proposition 3.3).

    Parameters
    ----------
    weights
        `alpha`, positive, shape `(k,)`.
    intercepts
        `r`, shape `(k, d)`.
    slopes
        `S`, positive definite: shape `(k, d, d)`, or `(k, d)` for diagonal matrices.
    epsilon
        Entropic regularization, in the units of the cost `|x - y|^2 / 2`; that of a
        :class:`~scgenot.ot.Sinkhorn`, whose cost is `|x - y|^2`, is twice as large.

    Raises
    ------
    TypeError
        When `epsilon` is not a number.
    ValueError
        When shapes are inconsistent, or a value is out of range.

    Examples
    --------
    >>> law = sg.model.MixtureLaw([0.5, 0.5], [[-2.0, 0.0], [2.0, 0.0]], np.ones((2, 2)), 0.5)
    >>> law.mean(np.zeros((1, 2))), law.log_prob(np.zeros((1, 2)), np.ones((1, 2)))
    """

    weights: np.ndarray
    intercepts: np.ndarray
    slopes: np.ndarray
    epsilon: float

    def __post_init__(self):
        check_fields(self)
        check_number("epsilon", self.epsilon, "a positive number", lambda e: 0 < e < np.inf)
        for name in ("weights", "intercepts", "slopes"):
            values = as_array(getattr(self, name), name, float)
            if not np.isfinite(values).all():
                raise ValueError(f"`{name}` has values that are not finite.")
            object.__setattr__(self, name, values)
        k, shape = len(self.weights), self.intercepts.shape
        fits = len(shape) == 2 and shape[0] == k and self.weights.ndim == 1
        if not fits or self.slopes.shape not in (shape, (*shape, shape[1])):
            raise ValueError(
                f"`weights`, `intercepts` and `slopes` have shapes {self.weights.shape}, {shape} "
                f"and {self.slopes.shape}, expected (k,), (k, d) and (k, d) or (k, d, d)."
            )
        symmetric = self.slopes.ndim == 2 or np.allclose(self.slopes, self.slopes.swapaxes(1, 2))
        if not (self.weights > 0).all() or not symmetric or self._spread().min() <= 0:
            raise ValueError("`weights` must be positive, `slopes` positive definite.")

    @property
    def dim(self) -> int:
        """Dimensions of a cell."""
        return self.intercepts.shape[1]

    def _spread(self) -> np.ndarray:
        """Eigenvalues of the slopes, `(k, d)`."""
        return self.slopes if self.slopes.ndim == 2 else np.linalg.eigvalsh(self.slopes)

    def _at(self, k: int, x: np.ndarray) -> np.ndarray:
        """Means of one component, `(n, d)`."""
        return self.intercepts[k] + times(self.slopes[k], x)

    def log_weights(self, x: np.ndarray) -> np.ndarray:
        """Logarithms of the weights of the components given source cells.

        Parameters
        ----------
        x
            Source cells, shape `(n, d)`.

        Returns
        -------
        Logarithms, shape `(n, k)`; their exponentials sum to 1 in each row.
        """
        x = np.asarray(x, dtype=float)
        square = np.stack([(x * times(slope, x)).sum(1) for slope in self.slopes], axis=1)
        log_w = np.log(self.weights) + (square + 2 * x @ self.intercepts.T) / (2 * self.epsilon)
        return log_w - logsumexp(log_w, axis=1, keepdims=True)

    def mean(self, x: np.ndarray) -> np.ndarray:
        """Conditional means.

        Parameters
        ----------
        x
            Source cells, shape `(n, d)`.

        Returns
        -------
        `E[y | x]`, shape `(n, d)`.
        """
        x, weights = np.asarray(x, dtype=float), np.exp(self.log_weights(x))
        return sum(w[:, None] * self._at(k, x) for k, w in enumerate(weights.T))

    def covariance(self, x: np.ndarray) -> np.ndarray:
        """Conditional covariances.

        Parameters
        ----------
        x
            Source cells, shape `(n, d)`.

        Returns
        -------
        `Cov[y | x]`, shape `(n, d, d)`.
        """
        x = np.asarray(x, dtype=float)
        weights, mean, found = np.exp(self.log_weights(x)), self.mean(x), 0
        for k, w in enumerate(weights.T):
            slope = self.slopes[k] if self.slopes.ndim == 3 else np.diag(self.slopes[k])
            off = self._at(k, x) - mean
            found = found + w[:, None, None] * (
                self.epsilon * slope + off[:, :, None] * off[:, None, :]
            )
        return found

    def log_prob(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Log-densities `log pi(y | x)`, one for each pair of cells.

        Parameters
        ----------
        x, y
            Source and target cells, shapes `(n, d)`.

        Returns
        -------
        Log-densities, shape `(n,)`.
        """
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        log_p, spread = self.log_weights(x), np.log(self._spread()).sum(1)
        constant = self.dim * np.log(2 * np.pi * self.epsilon)
        for k in range(len(self.weights)):
            off = y - self._at(k, x)
            square = (off * divided(off, self.slopes[k])).sum(1) / self.epsilon
            log_p[:, k] -= (square + spread[k] + constant) / 2
        return logsumexp(log_p, axis=1)

    @typed
    def sample(self, x: np.ndarray, n_samples: int = 1, *, rng: Rng = 0) -> np.ndarray:
        """Draw target cells.

        Parameters
        ----------
        x
            Source cells, shape `(n, d)`.
        n_samples
            Samples per cell.
        rng
            Seed; the same seed gives the same samples.

        Returns
        -------
        Samples, shape `(n, n_samples, d)`.
        """
        check_count("n_samples", n_samples, 1)
        check_memory("n_samples", n_samples, 2 * len(x) * n_samples * self.dim)
        x, rng = np.asarray(x, dtype=float), numpy_rng(rng)
        uniform = rng.random((len(x), n_samples))
        out = np.sqrt(self.epsilon) * rng.standard_normal((len(x), n_samples, self.dim))
        roots = np.sqrt(self.slopes) if self.slopes.ndim == 2 else np.linalg.cholesky(self.slopes)
        size = max(1, MAX_VALUES // (n_samples * len(self.weights)))
        for rows in blocks(len(x), size):
            below = softmax(self.log_weights(x[rows]), axis=1).cumsum(1)[:, None, :-1]
            component = (uniform[rows, :, None] > below).sum(2)
            for k in np.unique(component):
                i, j = np.nonzero(component == k)
                i = i + rows.start
                out[i, j] = self._at(k, x[i]) + times(roots[k].T, out[i, j])
        return out

    def to_dict(self) -> dict[str, np.ndarray]:
        """Return the arrays of the plan."""
        return {**vars(self), "epsilon": np.float64(self.epsilon)}

    @classmethod
    def from_dict(cls, stored: Mapping) -> "MixtureLaw":
        """Create a plan from the result of :meth:`to_dict`.

        Parameters
        ----------
        stored
            Its result.

        Returns
        -------
        The plan.
        """
        names = ("weights", "intercepts", "slopes")
        return cls(*(stored[name] for name in names), float(stored["epsilon"]))


def times(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Products of rows with a matrix, or with a diagonal one as a vector."""
    return x * matrix if matrix.ndim == 1 else x @ matrix


def divided(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Rows times the inverse of a symmetric matrix, or of a diagonal one as a vector."""
    return x / matrix if matrix.ndim == 1 else np.linalg.solve(matrix, x.T).T
