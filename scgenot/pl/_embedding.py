"""Where cells stand in a picture: measured ones by a basis, generated ones near them."""

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


def predicted_cells(
    adata: AnnData, fit, basis: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return some cells with a prediction in random order, where it is, and how many have one."""
    states, rows = predicted_states(adata, fit.key)
    drawn = rng.permutation(rows)[:MOST_CROSSES]
    measured = fit.cells(adata)  # refused when they are elsewhere than at the fit
    if fit.task.use_rep in (basis, f"X_{basis}"):
        return drawn, states[drawn, :2], len(rows)
    return drawn, beside(states[drawn], measured, coordinates(adata, basis)[0]), len(rows)


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
