"""Populations with weights, and the blocks in which distances between them are computed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.utils import gen_batches

from scgenot._check import check_one_space, check_weights

BLOCK = 2**22  # entries of a distance matrix held at once: 32 MB


@dataclass(frozen=True)
class Weighted:
    """Populations in one space, each with rows of weights, shape `(1 or b, n)`."""

    cells: list[np.ndarray]
    weights: list[np.ndarray]
    single: bool

    @classmethod
    def of(cls, populations: Mapping[str, object], *weights: np.ndarray | None) -> "Weighted":
        """Check populations of at least 2 cells, given by name, and the weights of each."""
        cells = check_one_space(populations, least=2)
        rows = [
            np.atleast_2d(check_weights(given, len(found), f"{name}_weights", rows=True))
            for given, name, found in zip(weights, populations, cells, strict=True)
        ]
        many = {len(r) for r, given in zip(rows, weights, strict=True) if np.ndim(given) == 2}
        if len(many - {1}) > 1:
            raise ValueError(f"Weights have {sorted(many)} rows: give as many for all populations.")
        return cls(cells, rows, single=not many)

    @property
    def means(self) -> list[np.ndarray]:
        """Mean of each feature, an array of shape `(1 or b, g)` for each population."""
        return [mean(*side) for side in zip(self.cells, self.weights, strict=True)]

    def row_by_row(self, value: Callable[..., float]) -> float | np.ndarray:
        """Call a function of one row of weights of each population; NaN for a row of zeros."""
        b = max(map(len, self.weights))
        rows = zip(*(np.broadcast_to(w, (b, w.shape[1])) for w in self.weights), strict=True)
        found = [value(*row) if all(w.any() for w in row) else np.nan for row in rows]
        return self.result(np.array(found))

    def result(self, values: np.ndarray) -> float | np.ndarray:
        """Return a number where there was one row of weights; refuse one that is not defined."""
        if not self.single:
            return values
        if np.isnan(values[0]):
            raise ValueError("The weights leave fewer than 2 cells on a side: there is no value.")
        return float(values[0])


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of each column for each row of weights, shape `(b, g)`."""
    return weights @ values / positive(weights.sum(1, keepdims=True))


def positive(values: np.ndarray) -> np.ndarray:
    """Return what to divide by; NaN where that is 0."""
    return np.where(values > 0, values, np.nan)


def row_blocks(n: int, m: int) -> Iterator[slice]:
    """Yield slices of the rows of an `n x m` matrix, few enough that a block fits in memory."""
    return gen_batches(n, max(1, BLOCK // m))
