"""Some of the fitted cells: they tell whether cells belong to the fit, and resemble its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from sklearn.neighbors import LocalOutlierFactor

from scgenot._random import numpy_rng
from scgenot._warn import warn_user
from scgenot.cells.embedding import embedding_of
from scgenot.cells.read import dense
from scgenot.fit.shared import names_of
from scgenot.pair import Link

MAX_SOURCES, MAX_TARGETS = 1000, 200
N_NEIGHBORS = 20
BLOCK = 2**16  # cells that are scored at a time
# a cell stands out when it does so more than this share of the fitted cells among themselves
LEVEL = 0.99
# of the cells, standing out; for cells like those fitted it is 1 - LEVEL
TOLERATED = 0.05
FEW = 5
# a fitted cell is where it was up to this share of the spread of the fitted cells
SAME = 1e-3


@dataclass(frozen=True)
class Reference:
    """A sample of the fitted cells by name, in the representation of the fit."""

    source_names: np.ndarray
    source_cells: np.ndarray
    target_names: np.ndarray
    target_cells: np.ndarray
    digest: str  # of the embedding that made the representation; empty where there is none

    @classmethod
    def of(cls, links: Sequence[Link], adata: AnnData, task, seed: int) -> "Reference":
        """Choose the cells to keep."""
        rng, sides = numpy_rng(seed), []
        for side, most in (("source", MAX_SOURCES), ("target", MAX_TARGETS)):
            rows = [getattr(link, f"{side}_rows") for link in links]
            kept = np.sort(rng.permutation(np.unique(np.concatenate(rows)))[:most])
            cells = np.empty((len(kept), getattr(links[0].pair, side).shape[1]), dtype=np.float32)
            for own, link in zip(rows, links, strict=True):
                there = np.isin(own, kept)
                cells[np.searchsorted(kept, own[there])] = getattr(link.pair, side)[there]
            other = adata if side == "source" or links[0].within else task.adata_target
            sides += [other.obs_names[kept].to_numpy(dtype=str), cells]
        embedding = embedding_of(adata, getattr(task, "use_rep", None))
        return cls(*sides, "" if embedding is None else embedding.digest())

    def check_fitted(self, fitted: AnnData, rep: str, sides: Sequence[str]) -> None:
        """Raise when the fitted cells were embedded anew, in whose space others are placed."""
        if rep in fitted.obsm:  # X is no coordinates of its own: its features have names
            names = np.union1d(self.source_names, self.target_names)
            known = fitted[fitted.obs_names.isin(names)]
            self.check(known, dense(known.obsm[rep], rep), rep, sides, name="the fitted AnnData")

    def check(
        self,
        adata: AnnData,
        cells: np.ndarray,
        rep: str,
        sides: Sequence[str] = ("source", "target"),
        *,
        name: str = "`adata`",
    ) -> None:
        """Raise when fitted cells are elsewhere than they were: embedded anew, or integrated."""
        n_found = n_same = 0
        for side in sides:
            names, kept = getattr(self, f"{side}_names"), getattr(self, f"{side}_cells")
            rows = adata.obs_names.get_indexer(names) if adata.obs_names.is_unique else [-1]
            there = np.asarray(rows) >= 0
            if there.any() and cells.shape[1] == kept.shape[1]:
                now = cells[np.asarray(rows)[there]].astype(np.float32)
                near = SAME * (kept.std() + 1e-6)
                n_found += int(there.sum())
                n_same += int(np.isclose(now, kept[there], rtol=1e-4, atol=near).all(1).sum())
            elif there.any():
                n_found += int(there.sum())
        if n_found:
            moved = n_same < n_found
        else:  # renamed cells: the embedding tells, which is known of the source
            embedding = embedding_of(adata, rep) if self.digest and "source" in sides else None
            moved = embedding is not None and embedding.digest() != self.digest
        if moved:
            where = "X" if rep == "X" else f"obsm[{rep!r}]"
            raise ValueError(
                f"{where} of {name} has changed since the fit: {n_found - n_same} of "
                f"{n_found} compared cells have other values. Fit again with the new "
                "representation, or restore the old one."
            )

    def warn_if_unlike(self, cells: np.ndarray) -> None:
        """Warn when many source cells stand out from those that were fitted."""
        own = cells[:, : self.source_cells.shape[1]]  # features shared with the target follow
        n = int(unlike(own, np.unique(self.source_cells, axis=0)).sum())
        if n > max(FEW, TOLERATED * len(cells)):
            warn_user(
                f"{n} of {len(cells)} source cells ({n / len(cells):.0%}) are unlike the source "
                f"cells of the fit, where {1 - LEVEL:.0%} is expected: their predictions are "
                "extrapolations. Check whether they are of another cell type or batch, and "
                "compare with measured cells before you rely on them."
            )

    def to_dict(self) -> dict:
        """Return what an AnnData can hold."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, stored: Mapping) -> "Reference":
        """Make what :meth:`to_dict` took apart, after a file too."""
        sides = []
        for side in ("source", "target"):
            names, cells = names_of(stored[f"{side}_names"]), np.asarray(stored[f"{side}_cells"])
            right = cells.ndim == 2 and len(cells) == len(names) and cells.dtype.kind == "f"
            if not (right and np.isfinite(cells).all()):
                raise ValueError(f"reference/{side}_cells are not those of its names")
            sides += [names, cells]
        return cls(*sides, str(stored["digest"]))


def unlike(cells: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Say which cells stand out from those seen."""
    if len(seen) <= N_NEIGHBORS:
        return np.zeros(len(cells), dtype=bool)
    factors = LocalOutlierFactor(N_NEIGHBORS, novelty=True).fit(seen)
    least = np.quantile(factors.negative_outlier_factor_, 1 - LEVEL)
    # scores of many cells at once hold their distances to all neighbors
    parts = [cells[start : start + BLOCK] for start in range(0, len(cells), BLOCK)]
    return np.concatenate([factors.score_samples(part) < least for part in parts])
