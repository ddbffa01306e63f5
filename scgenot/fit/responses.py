"""Responses to a perturbation: the change of every feature in every group of cells."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.embedding import embedding_of
from scgenot.cells.labels import as_text
from scgenot.cells.read import matrix
from scgenot.cells.strata import read_strata
from scgenot.fit.changes import Changes, sum_changes
from scgenot.fit.decoder import feature_decoder
from scgenot.fit.sample import BLOCK, draw_blocks
from scgenot.model.generate import blocks

ALL = "all"  # the group when there is one


def responses(
    fit,
    adata: AnnData,
    target: str | None,
    dose: float | None,
    *,
    groupby,
    features,
    interval: float,
    use_rep: str | None,
    decoder,
    seed: int,
    **options,
) -> pd.DataFrame:
    """Tabulate predicted changes beside what was measured; as :func:`scgenot.tl.response`."""
    question = fit.ask(adata, target, dose)
    cells = fit.cells(adata, use_rep=use_rep)
    if adata is not fit.adata and fit.reference is not None:
        fit.reference.warn_if_unlike(cells[question.rows])
    rep = use_rep or fit.task.use_rep
    to_features = feature_decoder(fit, rep, decoder, features)
    names = to_features(cells[:1]).columns
    mean = measured_mean(fit, adata, rep, names) if decoder is None else None
    mean = mean or (lambda rows: decoded_mean(cells[rows], to_features))
    groups, order = read_groups(adata, groupby)
    asked = (question.answer.get(key) for key in (fit.task.perturbation_key, fit.task.dose_key))
    treated, tables = fit.task.treated_rows(adata, *asked), []
    for group in order:
        chosen = groups[question.rows] == group
        if not chosen.any():
            continue
        drawn = draw_blocks(
            fit.model,
            cells[question.rows[chosen]],
            question.condition[chosen],
            seed=seed,
            **options,
        )
        changes = sum_changes(drawn, to_features, len(names), interval=interval, seed=seed)
        observed = treated[groups[treated] == group]
        control = mean(question.rows[chosen])
        tables.append(as_table(group, names, changes, control, len(observed), mean(observed)))
    table = pd.concat(tables, ignore_index=True)
    # one answer a cell has no spread; all features move unless the model is sparse
    absent = ["sd_within"] * getattr(fit.model, "deterministic", False)
    absent += ["share_moved"] * (not getattr(fit.model, "is_sparse", False))
    return table.drop(columns=absent)


def read_groups(adata: AnnData, groupby) -> tuple[np.ndarray, list[str]]:
    """Read the group of every cell, and the groups in the order of the columns' categories."""
    if groupby is None:
        return np.full(adata.n_obs, ALL, dtype=object), [ALL]
    columns = [groupby] if isinstance(groupby, str) else list(groupby)
    read_strata(adata, columns, argument="groupby")
    texts = [as_text(adata.obs[column]) for column in columns]
    groups = np.array([" | ".join(values) for values in zip(*texts, strict=True)], dtype=object)
    codes = [pd.Categorical(adata.obs[column]).codes for column in columns]
    return groups, list(pd.unique(groups[np.lexsort(codes[::-1])]))


def measured_mean(
    fit, adata: AnnData, rep: str, names: pd.Index
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return the mean of features over some cells as a function; None where not measured."""
    embedding = embedding_of(fit.adata, rep)
    if getattr(embedding, "method", "pca") != "pca" or not names.isin(adata.var_names).all():
        return None
    layer = fit.task.layer if rep == "X" else getattr(embedding, "layer", None)
    if (adata.X is None) if layer is None else (layer not in adata.layers):
        return None
    values = matrix(adata, layer)[:, adata.var_names.get_indexer(names)]

    def mean(rows: np.ndarray) -> np.ndarray:
        if len(rows) == 0:
            return np.full(values.shape[1], np.nan)
        return np.asarray(values[rows].mean(0, dtype=float)).ravel()

    return mean


def decoded_mean(cells: np.ndarray, to_features: Callable) -> np.ndarray:
    """Mean of each decoded feature over cells; NaN of no cells."""
    if len(cells) == 0:
        return np.full(1, np.nan)
    parts = (to_features(cells[rows]).to_numpy(dtype=float) for rows in blocks(len(cells), BLOCK))
    return sum(part.sum(0) for part in parts) / len(cells)


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
            "share_moved": changes.moved,
            "n_observed": n_observed,
            "observed_mean": np.broadcast_to(observed, len(names)),
            "observed_change": observed - control,
        }
    )
