"""Where cells stand in a picture: measured ones by a basis, generated ones near them."""

from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from scipy.spatial import cKDTree

from scgenot.cells.read import dense
from scgenot.pl._colors import NO_LABEL
from scgenot.pl._slots import predicted_states

# measured cells whose coordinates place a generated one in a basis that it cannot be projected to
N_NEIGHBORS = 5
BESIDE = f"\nat its {N_NEIGHBORS} nearest measured cells:\nan error cannot be seen here"
JOINT = "\nin a UMAP of measured\nand generated cells"
MOST_CROSSES = 1500  # generated cells drawn: more would hide the measured ones


def coordinates(
    adata: AnnData, basis: str, name: str = "adata"
) -> tuple[np.ndarray, tuple[str, str]]:
    """Return two coordinates of cells in a basis, and the names of the axes."""
    found = basis if basis in adata.obsm else f"X_{basis}"
    if found not in adata.obsm:
        raise KeyError(f"`basis={found!r}` is not in obsm of `{name}`; found {list(adata.obsm)}.")
    xy = dense(adata.obsm[found], f"obsm[{found!r}] of `{name}`")[:, :2]
    if xy.shape[1] < 2:
        raise ValueError(f"obsm[{found!r}] of `{name}` has one column: a picture needs two.")
    return xy, tuple(f"{found.removeprefix('X_').upper()} {i}" for i in (1, 2))


def beside(generated: np.ndarray, measured: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Return the mean coordinates of the measured cells nearest to each generated one."""
    k = min(N_NEIGHBORS, len(measured))
    nearest = cKDTree(measured).query(generated, k=k)[1].reshape(len(generated), k)
    return xy[nearest].mean(axis=1)


@dataclass(frozen=True)
class Places:
    """Where measured and generated cells stand, and what the picture must say of it."""

    measured: np.ndarray
    generated: np.ndarray
    names: tuple[str, str]
    note: str = ""


def places(
    adata: AnnData,
    basis: object,
    measured: np.ndarray,
    generated: np.ndarray,
    rep: str,
    name: str = "adata",
) -> Places:
    """Place measured and generated states in a basis: a key of obsm, "joint" or a projection."""
    if not isinstance(basis, str):
        if not callable(getattr(basis, "transform", None)):
            raise TypeError(
                f"`basis` must be a key of obsm, 'joint', or an object with `transform`, such as a "
                f"fitted `umap.UMAP`; found {type(basis).__name__}."
            )
        shown = f"{type(basis).__name__} of {rep.removeprefix('X_')}"
        both = [np.asarray(basis.transform(cells))[:, :2] for cells in (measured, generated)]
        return Places(*both, tuple(f"{shown}, {i}" for i in (1, 2)))
    if basis == "joint" and not {"joint", "X_joint"} & set(adata.obsm):
        xy = joint_umap(measured, generated)
        both = xy[: len(measured)], xy[len(measured) :]
        return Places(*both, ("joint UMAP 1", "joint UMAP 2"), JOINT)
    xy, names = coordinates(adata, basis, name)
    if rep in (basis, f"X_{basis}"):
        return Places(xy, generated[:, :2], names)
    return Places(xy, beside(generated, measured, xy), names, BESIDE)


def joint_umap(measured: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Return a UMAP of measured and generated cells together."""
    import scanpy as sc

    both = AnnData(obsm={"X_both": np.concatenate([measured, generated])})
    sc.pp.neighbors(both, use_rep="X_both", random_state=0)
    sc.tl.umap(both, random_state=0)
    return both.obsm["X_umap"]


def predicted_cells(
    adata: AnnData, fit, basis: object, rng: np.random.Generator
) -> tuple[np.ndarray, int, Places]:
    """Return some cells with a prediction in random order, how many have one, and their places."""
    states, rows = predicted_states(adata, fit.key)
    drawn = rng.permutation(rows)[:MOST_CROSSES]
    measured = fit.cells(adata)  # refused when they are elsewhere than at the fit
    return drawn, len(rows), places(adata, basis, measured, states[drawn], fit.task.use_rep)


def scatter_numbers(
    ax: Axes, xy: np.ndarray, values: np.ndarray, *, cmap, norm: Normalize, unknown: float
) -> PathCollection:
    """Draw cells by a number, the last on top; those without one gray and of another size."""
    known, size = np.isfinite(values), 1.5 * disc_size(len(xy))
    ax.scatter(*xy[~known].T, c=NO_LABEL, s=unknown * size, linewidths=0)
    return ax.scatter(
        *xy[known].T, c=values[known], s=size, lw=0.2, edgecolors="0.5", cmap=cmap, norm=norm
    )


def bare(ax: Axes, names: tuple[str, str], title: str | None = None) -> None:
    """Name the axes of an embedding, whose numbers mean nothing."""
    ax.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
    if title is not None:
        ax.set_title(title)


def lower_left(n: int, columns: int) -> int:
    """Return which of `n` panels names the axes for all."""
    return columns * ((n - 1) // columns)


def disc_size(n: int) -> float:
    """Return the area of the disc of a cell when there are `n` of them."""
    return float(np.clip(1.5e4 / max(n, 1), 5, 40))
