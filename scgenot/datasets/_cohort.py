"""Simulated patients with known distributions of cells and an outcome."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.special import expit, softmax

from scgenot._check import check_count
from scgenot._random import Rng, numpy_rng

RADIUS = 2.0  # of the arc on which the means of patients lie
APART = 6.0  # distance of the centers of cell types from the arc
SLOPE = 6.0  # of the log odds of the outcome along the arc
SHIFT = 2.0  # of the log odds of cell types along the arc
SPREAD = 0.7  # standard deviation of these between patients at one place
OFFSET = 1.0  # standard deviation of the offset of a patient in each dimension
GRID = 2001


def cohort(
    n_patients: int = 60, *, n_cells: int = 200, dim: int = 10, n_types: int = 3, rng: Rng = 0
) -> AnnData:
    r"""Simulate patients along a course of disease, with an associated outcome.

    The place :math:`s` of a patient is uniform between 0 and 1. The mean of its cells lies on an
    arc, :math:`m(s) = 2 (\cos \pi s, \sin \pi s, 0, ...)`, plus an offset of the patient,
    :math:`N(0, I)`, like a batch effect, which partly masks it. The covariance :math:`S(s)` is
    rotated by :math:`\pi s / 2` in the first two dimensions, where its variances are 1 and 0.1. In
    the third dimension, the variance increases from 0.2 to 0.7; it is 0.3 in all others. Cells of
    type :math:`k` follow :math:`N(m(s) + \text{offset} + c_k, S(s))`, with centers 6 apart along
    the last dimensions; with a single type, each patient is Gaussian. The log odds of types are
    :math:`2 (s - 1/2) w_k` plus noise of standard deviation 0.7, with :math:`w_k` from -1 to 1. The
    outcome is 1 with probability
    :math:`1 / (1 + \exp(-6 (s - 1/2)))`.

    Parameters
    ----------
    n_patients
        Number of patients, at least 2.
    n_cells
        Number of cells of each patient.
    dim
        Number of dimensions, at least `2 + n_types` and 3.
    n_types
        Number of cell types; 1 for Gaussian patients.
    rng
        Seed. Patients and cells use separate random streams: a larger `n_cells` gives the same
        patients.

    Returns
    -------
    AnnData of `n_patients * n_cells` cells, with coordinates in `X` and `obsm["X_pca"]`, and

    `obs["patient"]`, `obs["cell_type"]`
        Patient and type of each cell.
    `obs["outcome"]`
        0 or 1, constant within each patient.
    `obs["place"]`, `obs["risk"]`
        `s`, and the probability of the outcome, which are not observed in practice.
    `uns["truth"]`
        By patient: `mean` (of cells without the center of their type), `covariance`, `composition`
        and `place`; `centers` of the types; and `auc`, the area under the receiver operating
        characteristic curve of the true risk, which no model exceeds on average.

    Raises
    ------
    TypeError
        When a number is not an integer.
    ValueError
        When a number is too small.

    Examples
    --------
    >>> adata = sg.datasets.cohort(20)
    >>> table = sg.tl.population_distances(adata, "patient", progress=False)
    """
    check_count("n_patients", n_patients, 2)
    check_count("n_cells", n_cells, 1)
    check_count("n_types", n_types, 1)
    check_count("dim", dim, max(3, 2 + n_types), f"for {n_types} cell types")
    of_patients, of_cells = numpy_rng(rng).spawn(2)
    place = of_patients.random(n_patients)
    offset = OFFSET * of_patients.normal(size=(n_patients, dim))
    weights = np.linspace(-1, 1, n_types) if n_types > 1 else np.zeros(1)
    odds = SHIFT * (place[:, None] - 0.5) * weights
    odds = odds + SPREAD * of_patients.normal(size=(n_patients, n_types))
    composition, risk = softmax(odds, axis=1), expit(SLOPE * (place - 0.5))
    outcome = (of_patients.random(n_patients) < risk).astype(int)
    mean, covariance = mean_at(place, dim) + offset, covariance_at(place, dim)
    centers = np.zeros((n_types, dim))
    if n_types > 1:
        centers[np.arange(n_types), dim - 1 - np.arange(n_types)] = APART / np.sqrt(2)

    kinds = [of_cells.choice(n_types, n_cells, p=shares) for shares in composition]
    noise = of_cells.normal(size=(n_patients, n_cells, dim))
    cells = mean[:, None] + noise @ np.linalg.cholesky(covariance).transpose(0, 2, 1)
    cells = (cells + centers[np.array(kinds)]).reshape(-1, dim).astype(np.float32)
    names = [f"patient-{k}" for k in range(n_patients)]
    obs = pd.DataFrame(
        {
            "patient": pd.Categorical(np.repeat(names, n_cells), names),
            "cell_type": pd.Categorical([f"type-{k}" for k in np.concatenate(kinds)]),
            "outcome": np.repeat(outcome, n_cells),
            "place": np.repeat(place, n_cells),
            "risk": np.repeat(risk, n_cells),
        },
        index=[f"cell-{k}" for k in range(len(cells))],
    )
    truth = {"mean": mean, "covariance": covariance, "composition": composition}
    truth |= {"place": place, "centers": centers, "auc": oracle_auc()}
    return AnnData(cells, obs=obs, obsm={"X_pca": cells.copy()}, uns={"truth": truth})


def mean_at(place: np.ndarray, dim: int) -> np.ndarray:
    """Points of the arc, shape `(n, dim)`."""
    mean = np.zeros((len(place), dim))
    mean[:, 0], mean[:, 1] = np.cos(np.pi * place), np.sin(np.pi * place)
    return RADIUS * mean


def covariance_at(place: np.ndarray, dim: int) -> np.ndarray:
    """Covariances along the arc, shape `(n, dim, dim)`."""
    covariance = np.tile(0.3 * np.eye(dim), (len(place), 1, 1))
    cos, sin = np.cos(np.pi * place / 2), np.sin(np.pi * place / 2)
    covariance[:, 0, 0], covariance[:, 1, 1] = cos**2 + 0.1 * sin**2, sin**2 + 0.1 * cos**2
    covariance[:, 0, 1] = covariance[:, 1, 0] = 0.9 * sin * cos
    covariance[:, 2, 2] = 0.2 + 0.5 * place
    return covariance


def oracle_auc() -> float:
    """Probability that of two patients, with and without the outcome, the first has more risk."""
    place = (np.arange(GRID) + 0.5) / GRID
    risk = expit(SLOPE * (place - 0.5))
    below = np.cumsum(1 - risk) - (1 - risk) / 2  # the grid cell itself is a tie
    return float((risk * below).sum() / (risk.sum() * (1 - risk).sum()))
