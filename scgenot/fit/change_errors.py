"""How far measured mean changes may lie from predicted ones, by the cells of the fit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from scgenot.fit.changes import sum_changes
from scgenot.fit.measured import Values, links_of_answer
from scgenot.fit.sample import draw_blocks

MOST_CELLS = 500  # source cells of a link that are predicted, and target cells that are read
FEWEST_CELLS = 5  # of a link on either side, for its error to count
N_SAMPLES, N_NEIGHBORS = 2, 10


@dataclass(frozen=True)
class ChangeErrors:
    """What adds to the error of a predicted mean change, learned from the links of the fit.

    `left_out` is the variance of each feature that states leave out, shape `(g,)`; `model` the
    variance of errors of links beyond sampling noise; `noise` is `1 / n_source + 1 / n_target` of
    each link, and `owner` the link of each source cell in `tree`.
    """

    left_out: np.ndarray
    model: np.ndarray
    noise: np.ndarray
    owner: np.ndarray
    tree: cKDTree

    @classmethod
    def of(
        cls, fit, answer: dict, ask: Callable, values: Values, *, seed: int, **options
    ) -> "ChangeErrors | None":
        """Compare predicted with measured changes in the links of a perturbation and dose.

        None where there is no link of them, or its cells are gone: nothing is known of the error.
        """
        names = fit.adata.obs_names
        sides = [
            [names.get_indexer(fit.links[k].names(side)) for side in ("source", "target")]
            for k in links_of_answer(fit, answer)
        ]
        sides = [[some(rows[rows >= 0]) for rows in pair] for pair in sides]
        sides = [pair for pair in sides if min(map(len, pair)) > 1]
        if not sides:
            return None
        question = ask(fit.adata)
        place = np.full(len(names), -1)
        place[question.rows] = np.arange(len(question.rows))
        targets = np.unique(np.concatenate([target for _, target in sides]))
        left_out = values.left_out(some(targets, 4 * MOST_CELLS)).var(0)
        excess = []
        for source, target in sides:
            if min(len(source), len(target)) < FEWEST_CELLS:
                continue
            condition = None if question.condition is None else question.condition[place[source]]
            drawn = draw_blocks(
                fit.model,
                values.cells[source],
                condition,
                n_samples=N_SAMPLES,
                seed=seed,
                **options,
            )
            changes = sum_changes(drawn, values.to_features, len(left_out))
            error = values.mean(target) - values.mean(source) - changes.mean
            spread = changes.spread + left_out
            excess.append(error**2 - spread * (1 / len(source) + 1 / len(target)))
        return cls(
            left_out,
            np.maximum(np.mean(excess, axis=0), 0) if excess else np.zeros_like(left_out),
            np.array([1 / len(source) + 1 / len(target) for source, target in sides]),
            np.repeat(np.arange(len(sides)), [len(source) for source, _ in sides]),
            cKDTree(np.concatenate([values.cells[source] for source, _ in sides])),
        )

    def sd(self, cells: np.ndarray, spread: np.ndarray, n_cells: int, n_treated: int) -> np.ndarray:
        """Return the standard deviation of a measured mean change about the predicted one, `(g,)`.

        With `s` the spread of treated cells and `w` the share of each link among the fitted cells
        near the source cells, its square is `s (1 / n_treated + 1 / n_cells + sum w^2 noise)` and
        the model's own.
        """
        k = min(N_NEIGHBORS, len(self.owner))
        near = self.owner[self.tree.query(cells, k=k)[1].ravel()]
        share = np.bincount(near, minlength=len(self.noise)) / len(near)
        noise = 1 / n_treated + 1 / n_cells + share**2 @ self.noise
        return np.sqrt((spread + self.left_out) * noise + self.model)


def some(rows: np.ndarray, most: int = MOST_CELLS) -> np.ndarray:
    """Return at most so many rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, most).astype(int)] if len(rows) > most else rows
