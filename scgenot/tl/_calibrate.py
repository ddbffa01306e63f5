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

    The control state of a treated cell is unknown, so regions cannot be calibrated for single
    control cells. They are calibrated for a *stratum*: for each condition and each value of
    `groupby`, cells are generated from the held-out control cells.

    **Region of all features.** The score of a cell is its distance to the 10th nearest generated
    cell, divided by the median of that distance among generated cells. The 90 % region contains the
    cells whose score is below a threshold. The *raw* threshold is the 90 % quantile of the scores
    of generated cells, which have the same distribution as those of treated cells if the model is
    correct; they are generated from other control cells than the cells they are compared with. The
    *corrected* threshold is the split-conformal one: the `ceil((n + 1) 0.9)`-th smallest score of
    `n` held-out treated cells.

    **Interval of one feature.** Raw: between the 5 % and 95 % quantiles of the generated cells of
    the stratum. Corrected: extended at both ends by a fraction of its length, negative if the raw
    interval was too long (conformalized quantile regression, Romano, Patterson, Candès 2019, with
    one-sided scores divided by the length).

    The corrected regions contain new treated cells with the stated probability if these are sampled
    in the same way as the held-out cells. This holds on average over conditions and strata, not for
    each of them, and not for a donor or perturbation without held-out cells.

    Parameters
    ----------
    adata
        Cells, including the held-out control and treated cells.
    target, dose
        One or more perturbations and doses; None for all of the held-out cells.
    held_out
        Mask or boolean column of `obs` of the control and treated cells that were not used in the
        fit; None for all cells. Or an AnnData of only these cells; `adata` is then the AnnData with
        the fit, as in :func:`evaluate`.
    groupby
        Columns of `obs` that define the strata, such as cell type; None for the `covariates` of the
        fit that are present. Strata with fewer than 10 cells on a side are pooled, first with those
        that differ only in the last column.
    levels
        Probabilities.
    guidance, key, model, use_rep
        As in :func:`predict`; the model comes with its fit.
    rng
        Seed of the samples and of the splits into halves.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    None. Sets the following fields of the AnnData with the fit (`model` if it is an AnnData,
    otherwise `adata`):

    `uns[key]["calibration"]`
        One row per level: `level`; `raw_threshold` and `threshold`, the latter from all held-out
        cells; `raw_coverage`, share of held-out treated cells in the raw region; `coverage`, share
        in the region corrected on the other half of these cells, mean of ten random splits; `n`,
        number of treated cells; `error`, binomial standard error of a share of `n` cells at the
        level.
    `uns[key]["calibration_features"]`
        One row per feature of the representation and level: `feature`, `level`, `correction`
        (extension at each end, relative to the length), `raw_coverage`, `coverage`, `n`, `error`.
    `uns[key]["calibration_strata"]`
        Columns of `groupby`.
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
        When cells with these names were fitted; regions would then be too small.

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
