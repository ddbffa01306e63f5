"""Calibrated regions of treated cells: made on held-out cells, and counted on others."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import numpy_rng
from scgenot.cells.embedding import embedding_key
from scgenot.fit.conformal import (
    check_enough,
    conformal_threshold,
    random_halves,
    swapped_coverage,
)
from scgenot.fit.held_out import held_out_mask, score_held_out, warn_if_among
from scgenot.fit.regions import RegionScores
from scgenot.fit.regions_found import Calibration

REGION = "region"  # in the column of features: the region of all of them together


def calibrated(
    fit, adata: AnnData, held_out, target, dose, groupby, levels: Sequence[float], **options
) -> Calibration:
    """Make regions that hold held-out treated cells as often as they say."""
    if groupby is None:
        groupby = [column for column in fit.task.covariates if column in adata.obs]
    mask = held_out_mask(adata, held_out)
    held, names = scored(fit, adata, mask, target, dose, groupby, levels, **options)
    check_enough(len(held.scores), levels)
    halves = random_halves(held.strata, numpy_rng(options["seed"]))
    raw = np.array([held.raw_threshold(level) for level in levels])
    region = pd.DataFrame(
        {
            "level": levels,
            "raw_threshold": raw,
            "threshold": [float(conformal_threshold(held.scores, level)) for level in levels],
            "raw_coverage": (held.scores[:, None] <= raw).mean(0),
            "coverage": [swapped_coverage(held.scores, halves, level) for level in levels],
        }
    )
    by_level = list(zip(np.moveaxis(held.beyond, 1, 0), levels, strict=True))
    columns = {
        "correction": [conformal_threshold(beyond, level) for beyond, level in by_level],
        "raw_coverage": [(beyond <= 0).mean(0) for beyond, _ in by_level],
        "coverage": [swapped_coverage(beyond, halves, level) for beyond, level in by_level],
    }
    return Calibration(
        with_error(region, len(held.scores)),
        with_error(per_feature(names, levels, columns), len(held.scores)),
        list(groupby),
        adata.obs_names[mask].to_numpy(dtype=str),
    )


def counted(fit, adata: AnnData, held_out, target, dose, **options) -> pd.DataFrame:
    """Count how many treated cells lie in calibrated regions."""
    known = fit.calibration
    if known is None:
        raise KeyError(
            f"`key={fit.key!r}` is not calibrated: run `sg.tl.calibrate` on held-out cells first."
        )
    mask = held_out_mask(adata, held_out)
    groupby, levels = known.calibration_strata, known.levels
    held, names = scored(fit, adata, mask, target, dose, groupby, levels, **options)
    warn_if_among(
        adata[mask],
        known.calibration_names,
        "that calibrated: regions were made to hold these. Count others.",
    )
    scores, region = held.scores[:, None], known.calibration
    joint = pd.DataFrame(
        {
            "feature": REGION,
            "level": levels,
            "raw_coverage": (scores <= region["raw_threshold"].to_numpy()).mean(0),
            "coverage": (scores <= region["threshold"].to_numpy()).mean(0),
        }
    )
    corrections = known.calibration_features["correction"].to_numpy().reshape(len(levels), -1)
    columns = {
        "raw_coverage": (held.beyond <= 0).mean(0),
        "coverage": (held.beyond <= corrections).mean(0),
    }
    return with_error(pd.concat([joint, per_feature(names, levels, columns)]), len(scores))


def scored(
    fit, adata: AnnData, mask, target, dose, groupby, levels, *, use_rep=None, **options
) -> tuple[RegionScores, list[str]]:
    """Score held-out cells, and name the columns of the representation."""
    cells = fit.cells(adata, use_rep=use_rep)[mask]
    held = score_held_out(fit, adata[mask], cells, target, dose, groupby, levels, **options)
    rep, n = use_rep or fit.task.use_rep, cells.shape[1]
    names = [f"{embedding_key(rep)}{i + 1}" for i in range(n)]
    return held, list(fit.adata.var_names) if rep == "X" else names


def per_feature(names, levels: Sequence[float], columns: dict[str, Sequence]) -> pd.DataFrame:
    """Make a tidy table of arrays `(levels, features)`."""
    flat = {name: np.ravel(values) for name, values in columns.items()}
    labels = {"feature": np.tile(names, len(levels)), "level": np.repeat(levels, len(names))}
    return pd.DataFrame({**labels, **flat})


def with_error(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Add how many cells there were, and what that leaves open."""
    table = table.assign(n=n, error=np.sqrt(table["level"] * (1 - table["level"]) / n))
    return table.set_axis([str(i) for i in range(len(table))])
