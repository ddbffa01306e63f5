"""Whether a representation of new cells is that of the fitted cells: one name says nothing of the axes."""

from collections.abc import Mapping

import numpy as np
from anndata import AnnData

from scgenot.cells.keys import EMBEDDING
from scgenot.tl._project import coordinates

# cells whose coordinates are compared, and how far these may be apart, in units of their size
N_COMPARED = 50
TOLERANCE = 1e-3


def embedding_key(rep: str) -> str:
    """Return the name of the embedding that made a representation: `pca` of `X_pca`."""
    return rep.removeprefix("X_")


def check_same_embedding(
    adata: AnnData, cells: np.ndarray, fitted: AnnData, rep: str, argument: str
) -> None:
    """Raise when a representation was not made the same way, as far as the two AnnData tell."""
    key = embedding_key(rep)
    stored = [side.uns.get(key) for side in (adata, fitted)]
    ours, theirs = (
        entry.get(EMBEDDING) if isinstance(entry, Mapping) else None for entry in stored
    )
    if theirs is None:
        check_same_loadings(adata, fitted, rep, argument)
    elif ours is not None:
        if set(ours) != set(theirs) or not all(
            np.array_equal(ours[name], theirs[name]) for name in theirs
        ):
            raise ValueError(
                f"{other(rep, argument)}: its features, offsets or loadings differ. {advice(rep)}"
            )
    else:
        check_same_coordinates(adata, cells, fitted, rep, argument)


def check_same_coordinates(
    adata: AnnData, cells: np.ndarray, fitted: AnnData, rep: str, argument: str
) -> None:
    """Raise when the features of some cells give other coordinates; without features nothing can be told."""
    step = -(-adata.n_obs // N_COMPARED)
    try:
        expected = coordinates(adata[::step], fitted, key=embedding_key(rep))
    except (
        KeyError,
        ValueError,
    ):  # the features of the embedding are not there, or not as they were embedded
        return
    if not alike(cells[::step], expected):
        raise ValueError(
            f"{other(rep, argument)}: its coordinates are not those that the embedding of the fitted cells gives for "
            f"the features of these cells. {advice(rep)}"
        )


def check_same_loadings(adata: AnnData, fitted: AnnData, rep: str, argument: str) -> None:
    """Raise when both come with the loadings of Scanpy's PCA, and these differ."""
    if rep != "X_pca" or not all("PCs" in side.varm for side in (adata, fitted)):
        return
    columns = (
        adata.var_names.get_indexer(fitted.var_names)
        if adata.var_names.is_unique
        else np.array([-1])
    )
    if (columns < 0).any():
        return
    ours, theirs = (
        np.nan_to_num(np.asarray(side.varm["PCs"], dtype=float)) for side in (adata, fitted)
    )
    if not alike(ours[columns], theirs):
        raise ValueError(
            f"{other(rep, argument)}: the loadings in `varm['PCs']` differ. Run `sg.tl.embed` in place of "
            f"`sc.pp.pca` on the cells of the fit, fit again, and remove `obsm[{rep!r}]` of the new cells: they are "
            "then placed in that embedding."
        )


def alike(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two arrays are the same up to rounding."""
    size = np.sqrt(np.mean(np.square(expected, dtype=float)))
    return found.shape == expected.shape and np.allclose(
        found, expected, rtol=TOLERANCE, atol=TOLERANCE * size
    )


def other(rep: str, argument: str) -> str:
    """Say that a representation is of another embedding."""
    return f"`{argument}={rep!r}` of `adata` is another embedding than that of the fitted cells"


def advice(rep: str) -> str:
    """Say how to place new cells."""
    return (
        f"Remove `obsm[{rep!r}]` of the new cells, which are then placed in that of the fitted cells, or call "
        f"`sg.tl.project(adata, fitted, key={embedding_key(rep)!r})`."
    )
