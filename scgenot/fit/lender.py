"""What states leave out of cells, lent to generated cells by measured ones."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from scgenot._random import numpy_rng
from scgenot.cells.embedding import embedding_key
from scgenot.fit.measured import Values, links_of_answer

N_NEAR = 5  # measured target cells near a generated one, of which one lends


class Near(NamedTuple):
    """Target cells of one answer, and which of the nearest each generated cell takes."""

    answer: dict
    rows: np.ndarray
    tree: cKDTree
    chosen: np.ndarray


@dataclass
class Lender:
    """Measured target cells of a fit, one for each generated cell.

    A measured cell lends the difference of its features from what its own state decodes to, all
    features together, so that generated cells have the residual variances and correlations of
    measured ones where these are.
    """

    fit: object
    values: Values
    seed: int
    near: "Near | None" = None

    @classmethod
    def of(cls, fit, rep: str | None, to_features, decoder, seed: int) -> "Lender":
        """Read the target cells of a fit; refused where they have no measured features."""
        adata = fit.adata if fit.one_space else getattr(fit.task, "adata_target", None)
        if adata is None:
            raise ValueError(
                "`residuals=True` needs the measured features of the target cells, which are in "
                "another AnnData, and not in a fit of a file."
            )
        cells = fit.cells(adata) if fit.one_space else fit.target_cells(adata)
        values = Values.of(fit, adata, rep, cells, to_features)
        if decoder is not None or values.measured is None:
            how = "by `decoder`" if decoder is not None else f"of uns[{embedding_key(rep)!r}]"
            raise ValueError(
                f"`residuals=True` needs target cells whose features are measured in the units "
                f"that states decode to; those {how} cannot be compared with X: use a PCA."
            )
        return cls(fit, values, seed)

    def choose(self, answer: dict, states: np.ndarray, start: int, n: int) -> np.ndarray:
        """Choose for each of some generated cells one of the nearest target cells, by its row.

        These are cells of the same perturbation and dose, or of all links where that is not fitted.
        The generated cells are those from `start` on of `n` that are of one answer.
        """
        if self.near is None or self.near.answer is not answer:
            links = links_of_answer(self.fit, answer) or range(len(self.fit.links))
            rows = self.fit.rows(links, "target")
            k = min(N_NEAR, len(rows))
            chosen = numpy_rng([self.seed, 7]).integers(k, size=n)
            self.near = Near(answer, rows, cKDTree(self.values.cells[rows]), chosen)
        rows, chosen = self.near.rows, self.near.chosen[start : start + len(states)]
        near = self.near.tree.query(states, k=min(N_NEAR, len(rows)))[1]
        return rows[near.reshape(len(states), -1)[np.arange(len(states)), chosen]]

    def add(self, features: np.ndarray, rows: np.ndarray, *, clip: bool) -> np.ndarray:
        """Add what the cells at some rows lend to the decoded features of as many cells.

        With `clip`, values under half of the smallest positive one of the measured cell are 0: in
        log-normalised counts that is one count, and measured cells have nothing between.
        """
        found = self.values.at(rows)
        sums = features + found - self.values.decoded(rows)
        least = np.where(found > 0, found, np.inf).min(axis=1, keepdims=True)
        return np.where(sums < least / 2, 0, sums) if clip else sums
