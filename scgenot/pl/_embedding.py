"""Where cells stand in a picture: measured ones by a basis, generated ones beside their nearest measured cells."""

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from scipy import sparse
from scipy.spatial import cKDTree

from scgenot.cells.keys import PARAMS, Keys
from scgenot.pl._slots import fit_slot

N_NEIGHBORS = 5  # measured cells whose coordinates place a generated one in a basis that cannot be projected to
MOST_CROSSES = 1500  # generated cells drawn: more would hide the measured ones


def coordinates(
    adata: AnnData, basis: str, name: str = "adata"
) -> tuple[np.ndarray, tuple[str, str]]:
    """Two coordinates of cells in a basis, named with or without `X_`, and the names of the axes."""
    found = basis if basis in adata.obsm else f"X_{basis}"
    if found not in adata.obsm:
        raise KeyError(f"`basis={found!r}` is not in obsm of `{name}`; found {list(adata.obsm)}.")
    xy = dense(adata.obsm[found])[:, :2]
    if xy.shape[1] < 2:
        raise ValueError(f"obsm[{found!r}] of `{name}` has one column: a picture needs two.")
    return xy, tuple(f"{found.removeprefix('X_').upper()} {i}" for i in (1, 2))


def dense(values) -> np.ndarray:
    """An array, of whatever obsm or X holds."""
    return values.toarray() if sparse.issparse(values) else np.asarray(values)


def beside(generated: np.ndarray, measured: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Mean coordinates of the measured cells nearest to each generated one, shape `(n, 2)`."""
    k = min(N_NEIGHBORS, len(measured))
    nearest = cKDTree(measured).query(generated, k=k)[1].reshape(len(generated), k)
    return xy[nearest].mean(axis=1)


def predicted_rows(adata: AnnData, key: str) -> np.ndarray:
    """Positions of the cells with a prediction, or an error that says what to run."""
    slot = Keys(key).sample
    if slot not in adata.obsm:
        raise KeyError(
            f"{slot!r} is not in obsm of `adata`; found {list(adata.obsm)}: run `sg.tl.predict(adata, key={key!r})`."
        )
    rows = np.flatnonzero(np.isfinite(dense(adata.obsm[slot])).all(axis=1))
    if not len(rows):
        raise ValueError(f"obsm[{slot!r}] is NaN for every cell: nothing to draw.")
    return rows


def predicted_xy(adata: AnnData, key: str, basis: str, rows: np.ndarray) -> np.ndarray:
    """Where the predicted states of some cells stand."""
    params = fit_slot(adata, key, PARAMS)
    rep, layer = params.get("use_rep"), params.get("layer")
    states = dense(adata.obsm[Keys(key).sample])[rows]
    if rep in (basis, f"X_{basis}"):
        return states[:, :2]
    if rep != "X" and rep not in adata.obsm:
        raise KeyError(
            f"{rep!r}, which `key={key!r}` was fitted to, is not in obsm; found {list(adata.obsm)}."
        )
    source = adata.obsm[rep] if rep != "X" else adata.X[:] if layer is None else adata.layers[layer]
    return beside(states, dense(source), coordinates(adata, basis)[0])


def bare(ax: Axes, names: tuple[str, str], title: str | None = None) -> None:
    """Name the axes of an embedding, whose numbers mean nothing."""
    ax.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
    if title is not None:
        ax.set_title(title)


def lower_left(n: int, columns: int) -> int:
    """Which of so many panels names the axes for all."""
    return columns * ((n - 1) // columns)


def disc_size(n: int) -> float:
    """Area of a disc for each of so many cells."""
    return float(np.clip(1.5e4 / n, 5, 40))
