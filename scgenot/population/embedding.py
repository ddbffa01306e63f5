"""Coordinates of populations whose Euclidean distances approximate transport distances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.decomposition import PCA

from scgenot._check import check_memory
from scgenot._progress import progress_bar
from scgenot._random import Rng, numpy_rng
from scgenot.ot.batched import Batch, Settings, solve
from scgenot.population import bures
from scgenot.population.bures import Gaussians
from scgenot.population.distances import EPSILON, scale_of, subsample
from scgenot.population.sinkhorn import batches


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of populations, shape `(n, k)`, and the name of each."""

    values: np.ndarray
    names: list[str]

    def reduced(self, n_components: int | None) -> "Coordinates":
        """Return their principal components; all coordinates for None."""
        if n_components is None:
            return self
        most = min(len(self.values) - 1, len(self.names))
        if n_components > most:
            raise ValueError(
                f"`n_components={n_components}` must be at most {most} for {len(self.values)} "
                f"populations in {len(self.names)} coordinates."
            )
        values = PCA(n_components, svd_solver="full").fit_transform(self.values)
        return Coordinates(values, [f"PC{k + 1}" for k in range(n_components)])


def gaussian_coordinates(gaussians: Gaussians) -> Coordinates:
    """Coordinates in the tangent space at the Bures barycenter.

    The means, and the logarithmic map `A - I` of each covariance in an orthonormal basis of the
    symmetric matrices under `tr(L S L)`, with `S` the barycenter. Euclidean distances equal Bures
    distances if covariances commute, and for distances to the barycenter; otherwise they are larger
    (the geometry is curved).
    """
    center = bures.barycenter(gaussians)
    values, vectors = torch.linalg.eigh(center.covariance)
    everywhere = center.covariance.expand_as(gaussians.covariance)
    maps = bures.transport(Gaussians(gaussians.mean, everywhere), gaussians)
    maps = vectors.T @ maps @ vectors - torch.eye(len(values)).to(maps)
    i, j = torch.triu_indices(len(values), len(values)).to(values.device)
    length = torch.where(i == j, values[i], values[i] + values[j]).clamp(min=0).sqrt()
    spread = maps[:, i, j] * length
    names = [f"mean {k}" for k in range(len(values))]
    names += [f"spread {a} {b}" for a, b in zip(i.tolist(), j.tolist(), strict=True)]
    found = torch.cat([gaussians.mean - center.mean, spread], 1)
    return Coordinates(found.cpu().numpy(), names)


def transport_coordinates(
    clouds: Sequence[np.ndarray],
    *,
    n_reference: int = 200,
    epsilon: float = EPSILON,
    n_cells: int | None = 1000,
    rng: Rng = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Coordinates:
    """Displacements of a common reference to each population (linearized transport).

    The reference has the same number of cells from each population. Each population is coupled with
    it by entropic transport. The displacement of a reference cell is the difference between its
    barycenter in the population and its barycenter in the reference itself (Wang et al. 2013, *A
    linear optimal transportation framework*; the difference removes the bias of epsilon, as in
    Pooladian, Cuturi, Niles-Weed 2022, arXiv 2202.08919). Divided by the square root of the number
    of reference cells, Euclidean distances approximate transport distances.

    Parameters
    ----------
    clouds
        Cells of each population, shapes `(n_k, d)`.
    n_reference
        Number of reference cells.
    epsilon
        Regularization, in units of the mean squared distance between two cells of a population.
    n_cells
        Maximum number of cells per population; None for all.
    rng
        Seed of the cells that are drawn.
    device
        Where to compute.
    progress
        Whether to show a progress bar.
    """
    n, d = len(clouds), np.shape(clouds[0])[1]
    check_memory("n_reference", n_reference, 4 * n * d * n_reference)
    rng = numpy_rng(rng)
    clouds = [np.asarray(cloud, dtype=float) for cloud in subsample(clouds, n_cells, rng)]
    reference = reference_cells(clouds, n_reference, rng)
    settings = Settings(epsilon * scale_of(clouds), device=device)
    means = np.array([cloud.mean(0) for cloud in clouds]) - reference.mean(0)
    found = np.zeros((n, *reference.shape))
    sizes = np.array(list(map(len, clouds)))
    order = np.argsort(sizes)
    blocks = list(batches(np.full(n, len(reference)), sizes[order], device))
    own = _barycenters(reference, [reference], settings)[0]
    for rows in progress_bar(blocks, shown=progress, desc="Couplings with the reference"):
        some = order[rows]
        found[some] = _barycenters(reference, [clouds[k] for k in some], settings) - own
    found += means[:, None]
    names = [f"cell {k} {axis}" for k in range(len(reference)) for axis in range(d)]
    return Coordinates(found.reshape(n, -1) / np.sqrt(len(reference)), names)


def reference_cells(
    clouds: Sequence[np.ndarray], n_reference: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw cells from all populations, as many from each, give or take one."""
    order = rng.permutation(len(clouds))
    counts = np.bincount(order[np.arange(n_reference) % len(order)], minlength=len(order))
    drawn = [
        cloud[rng.choice(len(cloud), k, replace=k > len(cloud))]
        for cloud, k in zip(clouds, counts, strict=True)
    ]
    return np.concatenate(drawn)


def _barycenters(
    reference: np.ndarray, clouds: Sequence[np.ndarray], settings: Settings
) -> np.ndarray:
    """Mean partner of each centred reference cell in each centred population."""
    sides = (Batch.of(side, settings.device) for side in ([reference] * len(clouds), clouds))
    x, y = sides
    return solve(x, y, settings).barycenters(y.cells).double().cpu().numpy()
