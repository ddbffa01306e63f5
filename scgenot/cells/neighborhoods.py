"""Neighborhoods of cells in space."""

import numpy as np
from anndata import AnnData
from scipy import sparse
from scipy.spatial import cKDTree

from scgenot._check import check_count, check_matrix
from scgenot._random import numpy_rng
from scgenot.cells.labels import factorize, text_of
from scgenot.cells.read import check_column, dense


def find_neighborhoods(
    adata: AnnData,
    spatial_key: str,
    *,
    n_neighbors: int,
    library_key: str | None,
    n_centers: int | None,
    key: str,
    seed: int,
) -> sparse.csr_matrix:
    """Find the nearest cells of each; as :func:`scgenot.tl.neighborhoods`."""
    check_count("n_neighbors", n_neighbors, 1)
    if key in adata.obs:
        raise ValueError(
            f"`key_added={key!r}` is a column of obs, which would be used as `population_key` of "
            "that name: choose another name."
        )
    if key in adata.obsp and (sparse.csr_matrix(adata.obsp[key]).data != 1).any():
        raise ValueError(
            f"`key_added={key!r}`: obsp[{key!r}] has values other than 1, so it is not the result "
            "of this function and would be lost: choose another name."
        )
    if spatial_key not in adata.obsm:
        raise KeyError(f"`spatial_key={spatial_key!r}` is not in obsm; found {list(adata.obsm)}.")
    label = f"obsm[{spatial_key!r}]"
    places = check_matrix(dense(adata.obsm[spatial_key], label), label)
    centers = np.ones(adata.n_obs, dtype=bool)
    if n_centers is not None:
        check_count("n_centers", n_centers, 1)
        centers[:] = False
        centers[numpy_rng(seed).permutation(adata.n_obs)[:n_centers]] = True
    starts, ends = [], []
    for name, members in sections(adata, library_key):
        if len(members) <= n_neighbors:
            where = f" of {library_key!r} = {name}" if library_key else ""
            raise ValueError(
                f"`n_neighbors={n_neighbors}`: there are {len(members)} cells{where}, and a cell "
                "is not its own neighbor. Use fewer."
            )
        own = members[centers[members]]
        found = cKDTree(places[members]).query(places[own], n_neighbors + 1)[1]
        found = members[found.reshape(len(own), n_neighbors + 1)]
        starts.append(np.repeat(own, n_neighbors))
        ends.append(without(found, own).ravel())
    rows, columns = np.concatenate(starts), np.concatenate(ends)
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.csr_matrix((ones, (rows, columns)), shape=(adata.n_obs, adata.n_obs))


def sections(adata: AnnData, library_key: str | None):
    """Yield the name and the cells of each section."""
    if library_key is None:
        yield "", np.arange(adata.n_obs)
        return
    check_column(adata, library_key, "library_key")
    codes, names = factorize(adata.obs[library_key])
    missing = int((codes < 0).sum())
    if missing:
        raise ValueError(f"`library_key={library_key!r}` is missing for {missing} cells.")
    for code, name in enumerate(names):
        members = np.flatnonzero(codes == code)
        if len(members):
            yield text_of(name), members


def without(found: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Take the cell itself from its nearest cells; else, cells in one place, the last."""
    place = found == own[:, None]
    place[~place.any(1), -1] = True
    return found[~place].reshape(len(found), -1)
