"""A PCA that Scanpy made: it keeps its loadings in `varm` but not its means."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.embedding.embedding import N_COMPARED, Embedding
from scgenot.cells.embedding.features import Summary, Values, alike, feature_blocks
from scgenot.cells.keys import embedding_key
from scgenot.cells.read import dense

# of the coordinates' spread: means are those of all cells only up to Scanpy's rounding
ROUNDING = 1e-2


def loadings_slot(rep: str) -> str:
    """Return the key of `varm` that Scanpy gives the loadings of a representation."""
    return "PCs" if rep == "X_pca" else rep


@dataclass(frozen=True, eq=False)
class ScanpyPCA(Embedding):
    """Principal components of :func:`scanpy.pp.pca`; `offset` is None where the means are unknown.

    The means are those of the features of the cells, as long as these give the coordinates: no
    longer when cells were dropped or values changed since. `measured` are the names of all
    features of the cells.
    """

    measured: pd.Index | None = None

    @classmethod
    def of(cls, adata: AnnData, rep: str) -> Self | None:
        """Return the PCA that made a representation; None when there are no loadings of one."""
        slot = loadings_slot(rep)
        if slot not in adata.varm or rep not in adata.obsm:
            return None
        loadings = np.nan_to_num(dense(adata.varm[slot], f"varm[{slot!r}]").astype(float))
        cells = dense(adata.obsm[rep], f"obsm[{rep!r}]")
        if loadings.shape[1] != cells.shape[1]:
            return None
        used = np.flatnonzero(loadings.any(axis=1))
        key, loadings = embedding_key(rep), loadings[used]
        entry = adata.uns.get(key)  # of Scanpy or anyone else
        params = entry.get("params") if isinstance(entry, Mapping) else None
        layer = params.get("layer") if isinstance(params, Mapping) else None
        known = {"features": adata.var_names[used], "loadings": loadings, "layer": layer}
        known |= {"key": key, "method": "pca", "n_components": loadings.shape[1], "offset": None}
        known["measured"] = adata.var_names
        found = summary_and_some(adata, layer, used)
        if found is None:
            return cls(**known)
        seen, some = found
        near = (some - seen.mean) @ loadings
        if np.allclose(near, cells[:N_COMPARED], atol=ROUNDING * cells.std()):
            known["offset"] = seen.mean
        known |= {"whole": seen.whole, "largest": seen.largest}
        return cls(**known, nonnegative=seen.smallest >= 0)

    def with_means_of(self, adata: AnnData, rep: str) -> Self:
        """Take the means that decode cells to features of their own mean, where the cells tell.

        Cells that were split off after the PCA do: their features give the coordinates up to one
        shift. Where features were changed since, the means stay unknown.
        """
        columns = adata.var_names.get_indexer(self.features)
        cells = dense(adata.obsm[rep], f"obsm[{rep!r}]").astype(float)
        found = summary_and_some(adata, self.layer, columns)
        if found is None:
            return self
        mean, center = found[0].mean, cells.mean(axis=0)
        some = (found[1] - mean) @ self.loadings
        near = np.allclose(some, cells[:N_COMPARED] - center, atol=ROUNDING * cells.std())
        return replace(self, offset=mean - self.loadings @ center) if near else self

    def digest(self) -> str:
        """Return a fingerprint of features and loadings: the means may not be known."""
        return Embedding.digest(replace(self, offset=None))

    def same_as(self, other: "ScanpyPCA") -> bool | None:
        """Compare loadings, by feature name; None when features are missing in the others."""
        unique = self.measured.is_unique and other.measured.is_unique
        if not unique or not self.measured.isin(other.measured).all():
            return None
        tables = (pd.DataFrame(one.loadings, index=one.features) for one in (other, self))
        return alike(*(table.reindex(self.measured, fill_value=0).to_numpy() for table in tables))


def summary_and_some(
    adata: AnnData, layer: str | None, columns: np.ndarray
) -> tuple[Summary, Values] | None:
    """Return what kind of values features have, and those of the first cells; None without them."""
    seen, some = Summary(), None
    try:
        for values in feature_blocks(adata, layer, columns):
            seen.add(values)
            some = values[:N_COMPARED] if some is None else some
    except (KeyError, ValueError):  # no X, or not as it was
        return None
    return seen, some
