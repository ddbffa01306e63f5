"""Adjusted scores where Scanpy made the components: beside its own, which stay."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from anndata import AnnData

from scgenot.cells.embedding.adjust import MOST_CELLS, adjusted_scores, enough_components
from scgenot.cells.embedding.components import scanpy_components, shrinkage
from scgenot.cells.embedding.embedding import N_COMPARED
from scgenot.cells.embedding.features import alike, fingerprints, read_features
from scgenot.cells.embedding.scanpy_pca import ScanpyPCA
from scgenot.cells.keys import USUAL_REPS, embedding_key, is_embedding
from scgenot.cells.read import dense
from scgenot.cells.write import ABSENT, write_slots

logger = logging.getLogger("scgenot")

SUFFIX = "_adjusted"


def read_slot(adata: AnnData, task, rep: str | None) -> str | None:
    """Return the key of obsm that fitted cells are read from: adjusted scores where there are."""
    own = rep is not None and rep == getattr(task, "use_rep", None)
    if not own or not getattr(task, "adjust", False) or f"{rep}{SUFFIX}" not in adata.obsm:
        return rep
    entry = adata.uns.get(f"{embedding_key(rep)}{SUFFIX}")
    if isinstance(entry, Mapping) and rep in adata.obsm:  # or they are of older components
        few = dense(adata.obsm[rep][:N_COMPARED], f"obsm[{rep!r}]")
        if not np.isin(fingerprints(few), entry.get("fingerprints", ())).all():
            return rep
    return f"{rep}{SUFFIX}"


@contextmanager
def adjusted_cells(adata: AnnData, task) -> Iterator[None]:
    """Write adjusted scores beside Scanpy's for a task that asks for them; none after a failure."""
    usual = next((rep for rep in USUAL_REPS if rep in adata.obsm), None)
    rep = getattr(task, "use_rep", None) or usual
    asked = getattr(task, "adjust", False) and getattr(task, "layer", None) is None
    slots = new_slots(adata, rep) if asked and rep in adata.obsm else {}
    before = {one: getattr(adata, one[0]).get(one[1], ABSENT) for one in slots}
    try:
        _put(adata, slots)
        yield
    except BaseException:
        _put(adata, before)
        raise


def new_slots(adata: AnnData, rep: str) -> dict[tuple[str, str], object]:
    """Return what is to be written, by slot and name; ABSENT for what is of older scores."""
    key = embedding_key(rep)
    names = ("obsm", f"{rep}{SUFFIX}"), ("uns", f"{key}{SUFFIX}")
    other = is_embedding(adata.uns.get(key)) or adata.n_obs > MOST_CELLS
    pca = None if other else ScanpyPCA.of(adata, rep)
    if pca is None or pca.offset is None:
        return {one: ABSENT for one in names if one[1] in getattr(adata, one[0])}
    scores = dense(adata.obsm[rep], f"obsm[{rep!r}]")
    entry = {"digest": pca.digest(), "fingerprints": fingerprints(scores)}
    known = adata.uns.get(names[1][1])
    same = isinstance(known, Mapping) and all(
        np.array_equal(known.get(name), value) for name, value in entry.items()
    )
    if same and names[0][1] in adata.obsm:
        return {}
    cells = _scores(adata, pca, scores)
    if cells is None:
        return {one: ABSENT for one in names if one[1] in getattr(adata, one[0])}
    logger.info(
        "obsm[%r] was made by Scanpy: the fit reads the coordinates that components of all other "
        "cells give each cell, obsm[%r]. Pass `adjust=False` to read obsm[%r].",
        *(rep, names[0][1], rep),
    )
    return {names[0]: cells, names[1]: entry | {"shrinkage": shrinkage(cells, scores)}}


def _scores(adata: AnnData, pca: ScanpyPCA, scores: np.ndarray) -> np.ndarray | None:
    """Adjusted scores on the same components; None when further ones do not continue them."""
    used = adata.var_names.get_indexer(pca.features)
    values, k = read_features(adata, pca.layer, used), scores.shape[1]
    n = enough_components(k, min(values.shape[0] - 1, values.shape[1]))
    more, components, *_ = scanpy_components(values, n)
    signs = np.sign((more[:, :k] * scores).sum(axis=0))
    if not alike(more[:, :k] * signs, scores):
        return None
    loadings = np.hstack([pca.loadings, components[k:].T])
    more = np.hstack([scores, more[:, k:]])
    return adjusted_scores(more, k, values, loadings, offset=pca.offset, seed=0)[:, :k]


def _put(adata: AnnData, slots: dict[tuple[str, str], object]) -> None:
    """Write entries, and remove those that are to be absent."""
    new = {"obsm": {}, "uns": {}}
    for (slot, name), value in slots.items():
        if value is not ABSENT:
            new[slot][name] = value
    write_slots(adata, **new, remove=[one for one, value in slots.items() if value is ABSENT])
