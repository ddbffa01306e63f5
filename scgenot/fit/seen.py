"""What a model has seen: a sample of its source cells, and a warning for cells that are unlike them."""

import warnings
from collections.abc import Sequence

import numpy as np
from anndata import AnnData
from sklearn.neighbors import LocalOutlierFactor

from scgenot._random import Rng, numpy_rng
from scgenot.cells.keys import COUPLINGS, SEEN
from scgenot.cells.read import dense
from scgenot.cells.strata import Linked

MAX_SEEN = 1000
NEIGHBORS = 20
# a cell stands out when it does so more than this share of the seen cells among themselves
LEVEL = 0.99
# of the cells, standing out; for cells like those seen it is 1 - LEVEL
TOLERATED = 0.05
FEW = 5


def sample_seen(cells: np.ndarray, linked: Sequence[Linked], rng: Rng) -> np.ndarray:
    """Choose the cells to keep with a fit, no two the same."""
    sources = np.unique(np.concatenate([item.source for item in linked]))
    chosen = numpy_rng(rng).permutation(sources)[:MAX_SEEN]
    return np.unique(cells[chosen].astype(np.float32), axis=0)


def unlike(cells: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Say which cells stand out from those seen."""
    if len(seen) <= NEIGHBORS:
        return np.zeros(len(cells), dtype=bool)
    factors = LocalOutlierFactor(NEIGHBORS, novelty=True).fit(seen)
    return factors.score_samples(cells) < np.quantile(factors.negative_outlier_factor_, 1 - LEVEL)


def refuse_moved(adata: AnnData, entry: dict, params: dict) -> None:
    """Raise when the fitted cells are elsewhere than they were."""
    rep = params.get("use_rep")
    if SEEN not in entry or rep not in adata.obsm:
        return
    seen = np.asarray(entry[SEEN], dtype=np.float32)
    sources = {
        str(name) for coupling in entry[COUPLINGS].values() for name in coupling["source_names"]
    }
    rows = np.flatnonzero(adata.obs_names.isin(list(sources)))
    if len(rows) * len(seen) < FEW * len(sources):  # too few to expect one of those kept among them
        return
    known = {cell.tobytes() for cell in seen}
    cells = dense(adata.obsm[rep], f"obsm[{rep!r}] of `adata`")[rows].astype(np.float32)
    if not any(cell.tobytes() in known for cell in cells):
        raise ValueError(
            f"obsm[{rep!r}] of `adata` is not what it was at the fit: none of its {len(rows)} fitted control cells is "
            "where it was. Fit again with the new representation, or bring the old one back."
        )


def warn_if_unlike(cells: np.ndarray, fitted: AnnData, params: dict, key: str) -> None:
    """Warn when many source cells stand out from what the fit has kept of its own, if it has."""
    seen = fitted.uns.get(key, {}).get(SEEN) if params else None
    if seen is None:
        return
    n = int(unlike(cells, np.asarray(seen)).sum())
    if n > max(FEW, TOLERATED * len(cells)):
        warnings.warn(
            f"{n} of {len(cells)} source cells ({n / len(cells):.0%}) stand out from the source cells that the model "
            f"was fitted with, where {1 - LEVEL:.0%} would be expected: their responses are extrapolated. See whether "
            "they come from another kind of cell or batch, and compare with measured responses before relying on them.",
            UserWarning,
            stacklevel=3,
        )
