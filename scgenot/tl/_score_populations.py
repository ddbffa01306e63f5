"""Predict an outcome of populations."""

import pandas as pd
from anndata import AnnData

from scgenot._check import check_count, check_number, check_unit, usable_device
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.populations import read_populations
from scgenot.cells.read import check_column
from scgenot.fit.evaluation.cohort import features_of, outcome_table


@typed
def score_populations(
    adata: AnnData,
    population_key: str,
    outcome: str,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    label_key: str | None = None,
    n_prototypes: int = 16,
    keep: float = 0.5,
    n_cells: int | None = 1000,
    n_folds: int = 5,
    rng: Rng = 0,
    progress: bool = True,
    device: str | None = None,
) -> pd.DataFrame:
    """Score how well features of populations predict an outcome, by cross-validation.

    Each set of features is used in the same ridge or logistic regression, whose penalty is chosen
    within the training populations. Features do not depend on the outcome. Scores are too high if
    populations are not independent, such as two samples of one patient: use patients as
    `population_key`.

    For survival times, pass the result of :func:`embed_populations` (`samples.X` and `samples.obs`)
    to a survival library.

    Parameters
    ----------
    adata
        Cells of all populations.
    population_key
        Column of `obs` with the population of each cell; cells with a missing value are ignored.
    outcome
        Column of `obs`, constant within each population: two values, or numbers.
    use_rep
        Key of `obsm`, or "X"; None for the first of `X_pca`, `X_lsi`, `X_clr`.
    layer
        Layer to use instead of a representation.
    label_key
        Column of `obs` with cell types, whose proportions are an additional baseline.
    n_prototypes
        Number of prototypes onto which cells are pooled.
    keep
        Share of the cells of a population that is coupled with prototypes, those with the lowest
        cost.
    n_cells
        Maximum number of cells per population for pooling, drawn at random; None for all.
    n_folds
        Number of folds; the cross-validation is repeated three times.
    rng
        Seed.
    progress
        Whether to show progress bars.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    One row per set of features, with its `kind`, the number of features, `auc` (two values; 0.5 is
    chance level) or `r2` (numbers; 0 is chance level), and the ends `low` and `high` of a 95 %
    bootstrap interval over populations. The sets are

    "prototypes"
        The mass that each of 16 prototypes receives by partial transport, and its displacement.
    "gaussian"
        Means and covariances, as in :func:`embed_populations`.
    "covariance"
        The same without means, which is not affected by an offset of each patient, such as a batch
        effect.
    "mean expression", "composition"
        Baselines: the mean of the cells and, with `label_key`, the proportions of the labels.

    `table.attrs` contains the `verdict`, which compares the best set with the best baseline, the
    `metric`, and `predictions`, the predictions for each population when it was left out: log odds
    of the second value, or numbers.

    Raises
    ------
    KeyError
        When a column or the representation is not there.
    TypeError
        When an argument has a wrong type.
    ValueError
        When the outcome varies within a population, is missing, or has neither two values nor
        numbers, or when too few populations have one of its values.

    Warns
    -----
    UserWarning
        When there are fewer than 100 populations.

    References
    ----------
    OTSurv (2025), arXiv 2506.20741 (pooling by partial transport).

    Examples
    --------
    >>> adata = sg.datasets.cohort(120, n_cells=50)
    >>> table = sg.tl.score_populations(adata, "patient", "outcome")  # doctest: +SKIP
    """
    check_count("n_prototypes", n_prototypes, 2)
    check_count("n_folds", n_folds, 2)
    check_unit("keep", keep)
    check_number("keep", keep, "above 0", lambda share: share > 0)
    if n_cells is not None:
        check_count("n_cells", n_cells, 2)
    if outcome == population_key:
        raise ValueError(f"`outcome={outcome!r}` names the populations: give another column.")
    options = {"use_rep": use_rep, "layer": layer, "constant": [outcome], "argument": "outcome"}
    found, seed = read_populations(adata, population_key, **options), seed_of(rng)
    if label_key is not None:
        check_column(adata, label_key, "label_key")
    features = features_of(
        found,
        None if label_key is None else adata.obs[label_key],
        {"n_prototypes": n_prototypes, "keep": keep, "n_cells": n_cells},
        seed=seed,
        device=usable_device(device),
        progress=progress,
    )
    return outcome_table(
        features, found.obs[outcome], n_folds=n_folds, seed=seed, progress=progress
    )
