"""Regions that hold treated cells as often as they say."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._check import check_guidance
from scgenot._random import Rng, numpy_rng, seed_of
from scgenot.cells.embedding import embedding_key
from scgenot.cells.keys import (
    CALIBRATION,
    CALIBRATION_FEATURES,
    CALIBRATION_NAMES,
    CALIBRATION_STRATA,
)
from scgenot.cells.write import writing
from scgenot.fit.conformal import (
    check_enough,
    check_levels,
    conformal_threshold,
    random_halves,
    swapped_coverage,
)
from scgenot.fit.held_out import fit_of_screen, held_out_mask, score_held_out, warn_if_among
from scgenot.fit.source import ModelSource, checked_width, ready_model, source_cells

REGION = "region"  # in the column of features: the region of all of them together
LEVELS = (0.5, 0.8, 0.9, 0.95)


def calibrate(
    adata: AnnData,
    target: str | Sequence[str] | None = None,
    *,
    held_out: np.ndarray | str | None = None,
    dose: float | Sequence[float] | None = None,
    groupby: Sequence[str] | None = None,
    levels: Sequence[float] = LEVELS,
    guidance: float = 1.0,
    key: str = "genot",
    model: ModelSource = None,
    use_rep: str | None = None,
    rng: Rng = 0,
    device: str | None = None,
) -> None:
    """Calibrate what is predicted of a screen on treated cells that were not fitted.

    Nobody knows which control cell a treated cell was, so that a region cannot be one of a control cell. It is one of a
    *stratum*: for each condition and each value of `groupby`, cells are generated from the held-out control cells, and

    **Region of all features.** The score of a cell is its distance to the 10th nearest generated cell, over the median
    of that distance among generated cells. The region of level 90 % holds the cells whose score is under a threshold.
    *Raw* is the 90 % quantile of the scores of generated cells, which are those of treated cells if the model is right;
    they come from other control cells than those they are compared with. *Corrected* is the split-conformal
    threshold: the `ceil((n + 1) 0.9)`-th smallest score of `n` held-out treated cells.

    **Interval of one feature.** Raw: between the 5 % and 95 % quantiles of the generated cells of the stratum.
    Corrected: stretched at both ends by a share of its length (conformalised quantile regression, Romano, Patterson,
    Candès 2019, one-sided scores divided by the length); negative where it was too long.

    The corrected regions hold new treated cells with the stated probability if these are drawn as those held out were:
    on average over conditions and strata, not in each, and not for a donor or perturbation of which none were held out.

    Parameters
    ----------
    adata
        Cells; those held out, control and treated, are among them.
    target, dose
        Perturbations and doses, several or one; None for all that were held out.
    held_out
        Mask of the cells that the model was not fitted with, control and treated, or a boolean column of `obs`; None
        for all.
    groupby
        Columns of `obs` that make the strata, such as cell type; None for the `covariates` of the fit that are there.
        Strata of under 10 cells on a side are pooled, first with those that differ in the last column alone.
    levels
        Probabilities.
    guidance, key, model, use_rep
        As of :func:`predict`; the model comes with its fit.
    rng
        Seed of draws and halves.
    device
        Where to compute; None for CUDA when there is one.

    Returns
    -------
    None. Sets the following fields of the AnnData with the fit, `model` where that is one, else `adata`:

    `uns[key]["calibration"]`
        One row a level: `level`; `raw_threshold` and `threshold`, the latter from all held-out cells; `raw_coverage`,
        share of held-out treated cells in the raw region; `coverage`, in a region corrected on the half of them that
        the cell is not in, mean of ten random halvings; `n`, treated cells; `error`, binomial standard error of a share
        of `n` cells at the level.
    `uns[key]["calibration_features"]`
        One row for each feature of the representation and level: `feature`, `level`, `correction` (stretch at either
        end over length), `raw_coverage`, `coverage`, `n`, `error`.
    `uns[key]["calibration_strata"]`
        The columns of `groupby`.
    `uns[key]["calibration_names"]`
        Names of the cells that were held out.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, a column or the representation is not there, or the perturbation was not seen.
    ValueError
        When the fit is of no screen, `target` is the control, there are no control or treated cells among those held
        out, a level is not between 0 and 1, or there are fewer than `level / (1 - level)` treated cells for one.

    Warns
    -----
    UserWarning
        When cells of these names were fitted: regions would be too small.

    Examples
    --------
    >>> sg.tl.fit_perturbation(fitted := adata[~adata.obs["test"]].copy(), "drug", "control")  # doctest: +SKIP
    >>> sg.tl.calibrate(adata, held_out="test", model=fitted)  # doctest: +SKIP
    >>> fitted.uns["genot"]["calibration"]  # doctest: +SKIP
    """
    check_levels(levels)
    check_guidance(guidance)
    genot, params, fitted = ready_model(adata, model, key, device)
    entry = fit_of_screen(fitted, params, key)
    if groupby is None:
        groupby = [column for column in params["covariates"] if column in adata.obs]
    mask, seed = held_out_mask(adata, held_out), seed_of(rng)
    cells = checked_width(source_cells(adata, params, use_rep=use_rep, fitted=fitted), genot)[mask]
    held = score_held_out(
        adata[mask],
        genot,
        entry,
        cells,
        target,
        dose,
        groupby,
        levels,
        guidance=guidance,
        seed=seed,
    )
    check_enough(len(held.scores), levels)
    halves = random_halves(held.strata, numpy_rng(seed))
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
    by_level = [held.beyond[:, i] for i in range(len(levels))]
    features = per_feature(
        feature_names(fitted, use_rep or params["use_rep"], cells.shape[1]),
        levels,
        {
            "correction": [
                conformal_threshold(beyond, level)
                for beyond, level in zip(by_level, levels, strict=True)
            ],
            "raw_coverage": [(beyond <= 0).mean(0) for beyond in by_level],
            "coverage": [
                swapped_coverage(beyond, halves, level)
                for beyond, level in zip(by_level, levels, strict=True)
            ],
        },
    )
    calibration = {
        CALIBRATION: with_error(region, len(held.scores)),
        CALIBRATION_FEATURES: with_error(features, len(held.scores)),
        CALIBRATION_STRATA: list(groupby),
        CALIBRATION_NAMES: adata.obs_names[mask].to_numpy(dtype=str),
    }
    with writing():
        fitted.uns[key] = {**entry, **calibration}


def coverage(
    adata: AnnData,
    target: str | Sequence[str] | None = None,
    *,
    held_out: np.ndarray | str | None = None,
    dose: float | Sequence[float] | None = None,
    guidance: float = 1.0,
    key: str = "genot",
    model: ModelSource = None,
    use_rep: str | None = None,
    rng: Rng = 0,
    device: str | None = None,
) -> pd.DataFrame:
    """Count how many treated cells lie in calibrated regions, cells that calibrated nothing.

    Parameters
    ----------
    adata
        Cells, control and treated, as of :func:`calibrate`; for an honest answer neither fitted nor calibrated with.
    target, dose, held_out
        As of :func:`calibrate`.
    guidance, key, model, use_rep, rng, device
        As of :func:`calibrate`, whose result is with the fit.

    Returns
    -------
    One row for the region of all features (`feature` is "region") and each feature, and level: `feature`, `level`,
    `raw_coverage`, share of treated cells in what the model says; `coverage`, in what the calibration made of it; `n`,
    treated cells; `error`, binomial standard error of a share of `n` cells at the level.

    Raises
    ------
    TypeError, ValueError
        As for :func:`calibrate`.
    KeyError
        Likewise, and when the fit was not calibrated.

    Warns
    -----
    UserWarning
        When cells of these names were fitted, or calibrated.

    Examples
    --------
    >>> table = sg.tl.coverage(new_donor, model=fitted)  # doctest: +SKIP
    >>> table[(table["feature"] == "region") & (table["level"] == 0.9)]  # doctest: +SKIP
    """
    genot, params, fitted = ready_model(adata, model, key, device)
    entry = fit_of_screen(fitted, params, key)
    if CALIBRATION not in entry:
        raise KeyError(
            f"`key={key!r}` is not calibrated: run `sg.tl.calibrate` on held-out cells first."
        )
    mask = held_out_mask(adata, held_out)
    known = entry.get(CALIBRATION_NAMES, [])
    warn_if_among(
        adata[mask],
        known,
        "that calibrated: regions were made to hold these. Count others.",
        stacklevel=3,
    )
    region, corrections = entry[CALIBRATION], entry[CALIBRATION_FEATURES]["correction"].to_numpy()
    levels, groupby = region["level"].tolist(), list(map(str, entry[CALIBRATION_STRATA]))
    cells = checked_width(source_cells(adata, params, use_rep=use_rep, fitted=fitted), genot)[mask]
    held = score_held_out(
        adata[mask],
        genot,
        entry,
        cells,
        target,
        dose,
        groupby,
        levels,
        guidance=guidance,
        seed=seed_of(rng),
    )
    joint = pd.DataFrame(
        {
            "feature": REGION,
            "level": levels,
            "raw_coverage": (held.scores[:, None] <= region["raw_threshold"].to_numpy()).mean(0),
            "coverage": (held.scores[:, None] <= region["threshold"].to_numpy()).mean(0),
        }
    )
    corrected = held.beyond <= corrections.reshape(len(levels), -1)
    single = per_feature(
        feature_names(fitted, use_rep or params["use_rep"], cells.shape[1]),
        levels,
        {"raw_coverage": (held.beyond <= 0).mean(0), "coverage": corrected.mean(0)},
    )
    return with_error(pd.concat([joint, single]), len(held.scores))


def feature_names(fitted: AnnData, rep: str, n: int) -> list[str]:
    """Name the columns of a representation."""
    return (
        list(fitted.var_names) if rep == "X" else [f"{embedding_key(rep)}{i + 1}" for i in range(n)]
    )


def per_feature(
    names: Sequence[str], levels: Sequence[float], columns: dict[str, Sequence]
) -> pd.DataFrame:
    """Make a tidy table of arrays `(levels, features)`."""
    flat = {name: np.ravel(values) for name, values in columns.items()}
    return pd.DataFrame(
        {"feature": np.tile(names, len(levels)), "level": np.repeat(levels, len(names)), **flat}
    )


def with_error(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Add how many cells there were, and what that leaves open."""
    table = table.assign(n=n, error=np.sqrt(table["level"] * (1 - table["level"]) / n))
    return table.set_axis([str(i) for i in range(len(table))])
