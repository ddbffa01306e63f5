"""How many true cells lie in the region that a prediction says holds a share of them."""

from dataclasses import dataclass

import numpy as np

from scgenot.fit.regions import neighbor_distances


@dataclass(frozen=True)
class Distances:
    """Distances to one half of the predicted cells: of the true cells, and of the other half."""

    true: np.ndarray
    own: np.ndarray
    own_rows: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, true: np.ndarray) -> "Distances":
        """Measure how true cells, and those of one half of the predictions, lie in the other."""
        inside = first_half(predicted)
        own_rows = np.flatnonzero(~inside)
        reference = predicted[inside]
        sides = neighbor_distances(reference, true, predicted[own_rows])
        return cls(*sides, own_rows)

    def coverage(
        self, level: float, predicted_weights: np.ndarray, true_weights: np.ndarray
    ) -> np.ndarray:
        """Share of true cells no farther than a share `level` of the predicted ones, by weights."""
        order = np.argsort(self.own)
        held = np.cumsum(predicted_weights[:, self.own_rows[order]], axis=1)
        place = (held < level * held[:, -1:]).sum(1)
        inside = self.true <= self.own[order][place][:, None]
        total, none = true_weights.sum(1), (held[:, -1] == 0) | (true_weights.sum(1) == 0)
        return np.where(none, np.nan, (true_weights * inside).sum(1) / np.where(none, 1, total))


def first_half(cells: np.ndarray) -> np.ndarray:
    """Mask of half of the cells; copies of a cell are on one side, or they would be near it."""
    _, first, copies = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    if len(first) == 1:
        return np.arange(len(cells)) % 2 == 0
    place = np.argsort(np.argsort(first))  # of each cell, in the order of their first copies
    return place[copies.ravel()] % 2 == 0
