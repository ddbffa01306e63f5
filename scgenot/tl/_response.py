"""What a perturbation moves: features, by group of cells."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scgenot._check import check_count, check_guidance, check_share
from scgenot._random import Rng, seed_of
from scgenot.cells.keys import PARAMS
from scgenot.cells.read import matrix
from scgenot.cells.strata import read_strata
from scgenot.cells.tasks.conditions import Conditions, split_name
from scgenot.fit.changes import Changes, sum_changes
from scgenot.fit.decoder import Decoder, feature_decoder
from scgenot.fit.questions import ask
from scgenot.fit.sample import BLOCK, draw_blocks
from scgenot.fit.seen import warn_if_unlike
from scgenot.fit.source import ModelSource, checked_width, embedding_key, ready_model, source_cells
from scgenot.model.generate import blocks

ALL = "all"  # the group when there is one


def response(
    adata: AnnData,
    target: str | None = None,
    *,
    groupby: str | Sequence[str] | None = None,
    dose: float | None = None,
    features: Sequence[str] | None = None,
    interval: float = 0.9,
    n_samples: int = 32,
    guidance: float = 1.0,
    key: str = "genot",
    model: ModelSource = None,
    use_rep: str | None = None,
    decoder: Decoder | None = None,
    rng: Rng = 0,
    device: str | None = None,
) -> pd.DataFrame:
    """Tell what a perturbation moves: the predicted change of every feature in every group of cells.

    A change is that of one control cell, its drawn state less its own, both decoded; nothing is clipped.

    Parameters
    ----------
    adata
        Control cells, and treated ones where there are; as of :func:`predict`.
    target, dose
        Perturbation, and its dose, as of :func:`predict`.
    groupby
        Column of `obs`, or several, whose values make the groups; None for one group of all cells.
    features
        Which features; None for all that the states decode to.
    interval
        Probability of the interval of the mean change.
    n_samples
        Draws per cell.
    guidance, key, model, use_rep
        As of :func:`predict`.
    decoder
        As of :func:`simulate`.
    rng
        Seed. A group has the same numbers whatever the other groups.
    device
        Where to compute; None for CUDA when there is one.

    Returns
    -------
    One row for each group of control cells and feature, with the columns

    `group`, `feature`, `n_cells`
        Groups are in the order of the categories of `groupby`, text and numbers sorted; of several columns by the
        first, then the next, and the values are joined by " | ". `n_cells` counts control cells.
    `control_mean`
        Measured mean of the control cells.
    `change`
        Predicted mean change.
    `lower`, `upper`
        Interval of the mean change by a Bayesian bootstrap over the control cells. It covers that there are so many
        cells and draws; it covers neither errors of the model nor differences between donors.
    `sd_between`
        Standard deviation between cells of the mean change of a cell, free of what few draws add: how unlike the cells
        respond. 0 where the response is the same for all.
    `sd_within`
        Standard deviation of the draws of one cell: what the cell's state does not tell of its response.
    `probability_up`
        Probability that the feature goes up in a cell of the group: share of cells and draws. No change counts half.
    `n_observed`, `observed_mean`, `observed_change`
        Treated cells of `adata` in the group, at this perturbation and dose, their measured mean, and that less
        `control_mean`; NaN where there are none.

    Measured means are of the values that were fitted or embedded by PCA, where `adata` has these features; else of the
    decoded representation.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, a column, feature or the representation is not there, or the perturbation was not
        seen.
    ValueError
        When the fit is of no screen, nothing turns states into features (pass `decoder`), or as for :func:`predict`.

    Warns
    -----
    UserWarning
        As for :func:`predict`.

    Examples
    --------
    >>> table = sg.tl.response(adata, "IFN", groupby="cell_type")  # doctest: +SKIP
    >>> table[table["lower"] > 0].sort_values("change")  # doctest: +SKIP
    """
    check_count("n_samples", n_samples, 2, "for a spread")
    check_share("interval", interval)
    check_guidance(guidance)
    genot, params, fitted = ready_model(adata, model, key, device)
    if params.get("task") != "perturbation":
        raise ValueError(
            f"`key={key!r}` is a {params.get('task', 'bare model')}: responses are of a screen."
        )
    question = ask(adata, params, target, dose)
    cells = checked_width(source_cells(adata, params, use_rep=use_rep, fitted=fitted), genot)
    warn_if_unlike(cells[question.rows], fitted, params, key)
    rep = use_rep or params["use_rep"]
    to_features = feature_decoder(fitted, params, rep, decoder, features)
    names = to_features(cells[:1]).columns
    mean = measured_mean(adata, fitted, params, rep, names) if decoder is None else None
    mean = mean or (lambda rows: decoded_mean(cells[rows], to_features))
    groups = read_groups(adata, groupby)
    treated, seed = treated_rows(adata, params, question.answer), seed_of(rng)
    tables = []
    for group in in_order(adata, groupby, groups, question.rows):
        chosen = groups[question.rows] == group
        drawn = draw_blocks(
            genot,
            cells[question.rows[chosen]],
            question.condition[chosen],
            n_samples=n_samples,
            guidance=guidance,
            seed=seed,
        )
        changes = sum_changes(drawn, to_features, len(names), interval=interval, seed=seed)
        observed = treated[groups[treated] == group]
        tables.append(
            as_table(
                group, names, changes, mean(question.rows[chosen]), len(observed), mean(observed)
            )
        )
    return pd.concat(tables, ignore_index=True)


def read_groups(adata: AnnData, groupby: str | Sequence[str] | None) -> np.ndarray:
    """Read the group of every cell."""
    if groupby is None:
        return np.full(adata.n_obs, ALL, dtype=object)
    return read_strata(
        adata, [groupby] if isinstance(groupby, str) else groupby, argument="groupby"
    )


def in_order(
    adata: AnnData, groupby: str | Sequence[str] | None, groups: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Groups of some cells, in the order of the categories or else sorted, of the first column, then of the next."""
    columns = [] if groupby is None else [groupby] if isinstance(groupby, str) else groupby
    codes = [pd.Categorical(adata.obs[column]).codes[rows] for column in columns]
    return pd.unique(groups[rows[np.lexsort(codes[::-1])] if codes else rows])


def treated_rows(adata: AnnData, params: dict, answer: dict) -> np.ndarray:
    """Positions of the measured cells of a perturbation and dose, however a combination is written."""
    key, dose_key = params["perturbation_key"], params.get("dose_key")
    if key not in adata.obs or (dose_key is not None and dose_key not in adata.obs):
        return np.empty(0, dtype=int)
    conditions = Conditions.from_dict(params["conditions"])
    column = adata.obs[key].astype(str)
    parts = {
        name: set(split_name(name, conditions.separator, conditions.control))
        for name in column.unique()
    }
    asked = set(split_name(answer[key], conditions.separator, conditions.control))
    found = column.map(parts).to_numpy() == asked
    if dose_key is not None:
        found &= np.isclose(
            adata.obs[dose_key].to_numpy(dtype=float, na_value=np.nan), answer[dose_key]
        )
    return np.flatnonzero(found)


def measured_mean(
    adata: AnnData, fitted: AnnData, params: dict, rep: str, names: pd.Index
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return the function that gives the mean of features over some cells; None where they were not measured."""
    stored = {} if rep == "X" else fitted.uns[embedding_key(rep)][PARAMS]
    if stored.get("method", "pca") != "pca" or not names.isin(adata.var_names).all():
        return None
    layer = params.get("layer") if rep == "X" else stored.get("layer")
    if (adata.X is None) if layer is None else (layer not in adata.layers):
        return None
    values, columns = matrix(adata, layer), adata.var_names.get_indexer(names)
    values = values[:, columns]
    return lambda rows: sparse_mean(values[rows])


def sparse_mean(values: np.ndarray | sparse.csr_matrix) -> np.ndarray:
    """Mean of each column; NaN of no rows."""
    if values.shape[0] == 0:
        return np.full(values.shape[1], np.nan)
    return np.asarray(values.mean(0, dtype=float)).ravel()


def decoded_mean(
    cells: np.ndarray, to_features: Callable[[np.ndarray], pd.DataFrame]
) -> np.ndarray:
    """Mean of each decoded feature over cells; NaN of no cells."""
    if len(cells) == 0:
        return np.full(1, np.nan)
    return sum(
        to_features(cells[rows]).to_numpy(dtype=float).sum(0) for rows in blocks(len(cells), BLOCK)
    ) / len(cells)


def as_table(
    group: str,
    names: pd.Index,
    changes: Changes,
    control: np.ndarray,
    n_observed: int,
    observed: np.ndarray,
) -> pd.DataFrame:
    """Make the rows of one group."""
    return pd.DataFrame(
        {
            "group": group,
            "feature": np.asarray(names),
            "n_cells": changes.n_cells,
            "control_mean": control,
            "change": changes.mean,
            "lower": changes.lower,
            "upper": changes.upper,
            "sd_between": changes.between,
            "sd_within": changes.within,
            "probability_up": changes.up,
            "n_observed": n_observed,
            "observed_mean": np.broadcast_to(observed, len(names)),
            "observed_change": observed - control,
        }
    )
