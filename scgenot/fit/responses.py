"""Responses to a perturbation: the change of every feature in every group of cells."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.special import ndtri

from scgenot.cells.labels import as_text
from scgenot.cells.read import unit_of
from scgenot.cells.strata import read_strata
from scgenot.fit.change_errors import ChangeErrors
from scgenot.fit.changes import Changes, sum_changes
from scgenot.fit.decoder import feature_decoder
from scgenot.fit.measured import Values
from scgenot.fit.sample import draw_blocks

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
    n_samples: int,
    guidance: float,
) -> pd.DataFrame:
    """Tabulate predicted changes beside what was measured; as :func:`scgenot.tl.response`."""
    question = fit.ask(adata, target, dose)
    cells = fit.cells(adata, use_rep=use_rep)
    if adata is not fit.adata and fit.reference is not None:
        fit.reference.warn_if_unlike(cells[question.rows])
    rep = use_rep or fit.task.use_rep
    to_features = feature_decoder(fit, rep, decoder, features)
    names = to_features(cells[:1]).columns
    values = Values.of(fit, adata, rep, cells, to_features, decoder)
    fitted = fit.cells(fit.adata, use_rep=use_rep)
    errors = ChangeErrors.of(
        fit,
        question.answer,
        lambda adata: fit.ask(adata, target, dose),
        Values.of(fit, fit.adata, rep, fitted, to_features, decoder),
        guidance=guidance,
        seed=seed,
    )
    groups, order = read_groups(adata, groupby)
    asked = (question.answer.get(key) for key in (fit.task.perturbation_key, fit.task.dose_key))
    treated, tables = fit.task.treated_rows(adata, *asked), []
    for group in order:
        chosen = groups[question.rows] == group
        if not chosen.any():
            continue
        rows = question.rows[chosen]
        drawn = draw_blocks(
            fit.model,
            cells[rows],
            question.condition[chosen],
            n_samples=n_samples,
            guidance=guidance,
            seed=seed,
        )
        changes = sum_changes(drawn, to_features, len(names))
        observed = treated[groups[treated] == group]
        half = np.nan
        if errors is not None:
            n_treated = len(observed) or len(rows)
            sd = errors.sd(cells[rows], changes.spread, len(rows), n_treated)
            half = ndtri((1 + interval) / 2) * sd
        means = values.mean(rows), values.mean(observed)
        tables.append(as_table(group, names, changes, half, *means, len(observed)))
    table = pd.concat(tables, ignore_index=True)
    if values.measured is not None:
        table.attrs["unit"] = unit_of(adata, values.layer)
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


def as_table(
    group: str,
    names: pd.Index,
    changes: Changes,
    half: np.ndarray | float,
    control: np.ndarray,
    observed: np.ndarray,
    n_observed: int,
) -> pd.DataFrame:
    """Make the rows of one group; `half` is half of the length of the interval."""
    return pd.DataFrame(
        {
            "group": group,
            "feature": np.asarray(names),
            "n_cells": changes.n_cells,
            "control_mean": control,
            "change": changes.mean,
            "lower": changes.mean - half,
            "upper": changes.mean + half,
            "sd_between": changes.between,
            "sd_within": changes.within,
            "probability_up": changes.up,
            "share_moved": changes.moved,
            "n_observed": n_observed,
            "observed_mean": np.broadcast_to(observed, len(names)),
            "observed_change": observed - control,
        }
    )
