"""Held-out cells of perturbations: which they are, and how they score."""

from collections.abc import Collection, Sequence
from itertools import product

import numpy as np
from anndata import AnnData

from scgenot._check import as_array
from scgenot._warn import each_once, warn_user
from scgenot.cells.read import check_column
from scgenot.cells.tasks.conditions import same_dose
from scgenot.fit.regions import RegionScores, pool, score_conditions


def each_of(target, dose) -> list[tuple]:
    """Return each target at each dose; checked."""
    sides = (target, dose)
    is_one = [not np.iterable(v) or isinstance(v, str) for v in sides]
    targets, doses = ([v] if one else list(v) for v, one in zip(sides, is_one, strict=True))
    asked = list(product(targets, doses))
    try:
        n_different = len(set(asked))
    except TypeError as error:
        raise TypeError(
            f"`target={target!r}` at `dose={dose!r}` must be labels and numbers, or lists of them."
        ) from error
    if not asked or n_different < len(asked):
        raise ValueError(f"`target={target!r}` at `dose={dose!r}`: give one or more, each once.")
    return asked


def held_out_mask(adata: AnnData, held_out: np.ndarray | str | None) -> np.ndarray:
    """Read which cells are held out; checked."""
    if held_out is None:
        return np.ones(adata.n_obs, dtype=bool)
    if isinstance(held_out, str):
        check_column(adata, held_out, "held_out")
    column = adata.obs[held_out] if isinstance(held_out, str) else held_out
    mask = as_array(column, "held_out")
    if str(getattr(column, "dtype", "")) == "boolean" and not column.isna().any():
        mask = column.to_numpy(dtype=bool)
    if mask.dtype != bool or mask.shape != (adata.n_obs,) or not mask.any():
        raise ValueError(
            f"`held_out` must be boolean, of length {adata.n_obs} and true somewhere; found "
            f"{mask.dtype} of shape {mask.shape}."
        )
    return mask


def score_held_out(
    fit,
    adata: AnnData,
    cells: np.ndarray,
    target: str | Sequence[str] | None,
    dose: float | Sequence[float] | None,
    groupby: Sequence[str],
    levels: Sequence[float],
    *,
    guidance: float,
    seed: int,
) -> RegionScores:
    """Score all held-out treated cells; warns when they were fitted, and refuses the control."""
    fit.task.refuse_dose(dose)
    asked = fit.task.measured(adata) if target is None else each_of(target, dose)
    if target is None and dose is not None:
        doses = [level for _, level in each_of("any", dose)]
        asked = [one for one in asked if any(same_dose(one[1], level) for level in doses)]
        if not asked:
            raise ValueError(f"`dose={dose}` has no treated cell among those held out.")
    for one in asked:
        fit.task.refuse_control(*one)
    warn_if_among(
        adata,
        np.concatenate([link.target_names for link in fit.links]),
        "that the model was fitted with: regions calibrated on fitted cells are too small for "
        "others. Hold cells out before the fit.",
    )
    options = {"guidance": guidance, "seed": seed}
    with each_once():
        return pool(score_conditions(fit, adata, cells, asked, groupby, levels, **options))


def warn_if_among(adata: AnnData, known: Collection[str], why: str) -> None:
    """Warn when held-out cells have names of cells that should not be among them."""
    if n := int(adata.obs_names.isin(list(known)).sum()):
        warn_user(f"{n} of the {adata.n_obs} held-out cells have names of cells {why}")
