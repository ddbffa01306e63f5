"""Regions that hold treated cells as often as they say."""

from collections.abc import Sequence

import numpy as np
from anndata import AnnData

from scgenot._check import check_guidance
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.tasks import Screen
from scgenot.fit import storage
from scgenot.fit.calibration import calibrated
from scgenot.fit.conformal import check_levels
from scgenot.fit.fit import ModelSource, open_fit

LEVELS = (0.5, 0.8, 0.9, 0.95)


@typed
def calibrate(
    adata: AnnData,
    target: object = None,
    *,
    held_out: AnnData | np.ndarray | str | None = None,
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
    """Calibrate predicted responses on treated cells that were not fitted.

    Nobody knows which control cell a treated cell was, so that a region cannot be one of a control
    cell. It is one of a *stratum*: for each condition and each value of `groupby`, cells are
    generated from the held-out control cells, and

    **Region of all features.** The score of a cell is its distance to the 10th nearest generated
    cell, over the median of that distance among generated cells. The region of level 90 % holds the
    cells whose score is under a threshold. *Raw* is the 90 % quantile of the scores of generated
    cells, which are those of treated cells if the model is right; they come from other control
    cells than those they are compared with. *Corrected* is the split-conformal threshold: the
    `ceil((n + 1) 0.9)`-th smallest score of `n` held-out treated cells.

    **Interval of one feature.** Raw: between the 5 % and 95 % quantiles of the generated cells of
    the stratum. Corrected: stretched at both ends by a share of its length (conformalised quantile
    regression, Romano, Patterson, Candès 2019, one-sided scores divided by the length); negative
    where it was too long.

    The corrected regions hold new treated cells with the stated probability if these are drawn as
    those held out were: on average over conditions and strata, not in each, and not for a donor or
    perturbation of which none were held out.

    Parameters
    ----------
    adata
        Cells; those held out, control and treated, are among them.
    target, dose
        Perturbations and doses, several or one; None for all that were held out.
    held_out
        Mask of the cells that the model was not fitted with, control and treated, or a boolean
        column of `obs`; None for all. Or an AnnData of these cells alone: `adata` is then the one
        with the fit, as in :func:`evaluate`.
    groupby
        Columns of `obs` that make the strata, such as cell type; None for the `covariates` of the
        fit that are there. Strata of under 10 cells on a side are pooled, first with those that
        differ in the last column alone.
    levels
        Probabilities.
    guidance, key, model, use_rep
        As in :func:`predict`; the model comes with its fit.
    rng
        Seed of draws and halves.
    device
        Where to compute; None for CUDA when there is one.

    Returns
    -------
    None. Sets the following fields of the AnnData with the fit, `model` where that is one, else
    `adata`:

    `uns[key]["calibration"]`
        One row a level: `level`; `raw_threshold` and `threshold`, the latter from all held-out
        cells; `raw_coverage`, share of held-out treated cells in the raw region; `coverage`, in a
        region corrected on the half of them that the cell is not in, mean of ten random halvings;
        `n`, treated cells; `error`, binomial standard error of a share of `n` cells at the level.
    `uns[key]["calibration_features"]`
        One row for each feature of the representation and level: `feature`, `level`, `correction`
        (stretch at either end over length), `raw_coverage`, `coverage`, `n`, `error`.
    `uns[key]["calibration_strata"]`
        The columns of `groupby`.
    `uns[key]["calibration_names"]`
        Names of the cells that were held out.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, a column or the representation is not there, or the perturbation
        was not seen.
    ValueError
        When the fit is not from :func:`fit_perturbation`, `target` is the control, there are no
        control or treated cells among those held out, a level is not between 0 and 1, or there are
        fewer than `level / (1 - level)` treated cells for one.

    Warns
    -----
    UserWarning
        When cells of these names were fitted: regions would be too small.

    Examples
    --------
    >>> fitted = adata[~adata.obs["test"]].copy()  # doctest: +SKIP
    >>> sg.tl.fit_perturbation(fitted, "drug", "control")  # doctest: +SKIP
    >>> sg.tl.calibrate(fitted, held_out=test)  # doctest: +SKIP
    >>> sg.tl.calibrate(adata, held_out="test", model=fitted)  # the same  # doctest: +SKIP
    >>> fitted.uns["genot"]["calibration"]  # doctest: +SKIP
    """
    check_levels(levels)
    check_guidance(guidance)
    if isinstance(held_out, AnnData):
        adata, held_out, model = held_out, None, adata if model is None else model
    fit = open_fit(adata, key, model, device)
    fit.needs(Screen, "calibrate")
    options = {"guidance": guidance, "use_rep": use_rep, "seed": seed_of(rng)}
    made = calibrated(fit, adata, held_out, target, dose, groupby, levels, **options)
    storage.update(fit, **vars(made))
