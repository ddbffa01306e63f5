"""What a perturbation moves: features, by group of cells."""

from collections.abc import Sequence

import pandas as pd
from anndata import AnnData

from scgenot._check import check_count, check_dose, check_guidance, check_share
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.tasks import Screen
from scgenot.fit.decoder import Decoder
from scgenot.fit.fit import ModelSource, open_fit
from scgenot.fit.responses import responses


@typed
def response(
    adata: AnnData,
    target: object = None,
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
    r"""Predict the mean change of each feature in each group of cells under a perturbation.

    `change` is the predicted change of the mean; `lower` and `upper` are the bounds of a prediction
    interval for the *measured* change of the mean. The change of a control cell is its sampled
    state minus its own state, both decoded; values are not clipped.

    Parameters
    ----------
    adata
        Control cells, and measured treated cells if available; as in :func:`predict`.
    target, dose
        Perturbation, and its dose, as in :func:`predict`.
    groupby
        One or more columns of `obs` that define the groups; None for one group of all cells.
    features
        Features; None for all decoded features.
    interval
        Probability that the measured change of the mean lies between `lower` and `upper`.
    n_samples
        Samples per cell.
    guidance, key, model, use_rep
        As in :func:`predict`.
    decoder
        As in :func:`simulate`.
    rng
        Seed. The result for a group does not depend on the other groups.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    One row per group of control cells and feature, with the columns

    `group`, `feature`, `n_cells`
        Groups are in the order of the categories of `groupby`; text and numbers are sorted. With
        several columns, their values are joined by " | ". `n_cells` is the number of control cells.
    `control_mean`
        Measured mean of the control cells.
    `change`
        Predicted mean change.
    `lower`, `upper`
        Prediction interval for `observed_change`, the difference between the means of measured
        treated and control cells, for a new sample of `n_observed` treated cells, or of as many as
        control cells if there are none. The distribution is normal with variance

        .. math:: s^2 (1 / n_{treated} + 1 / n_{cells} + \sum_l w_l^2 (1 / n_l + 1 / m_l)) + \tau^2

        per feature. `s^2` is the variance of predicted cells plus the variance of the feature that
        their states do not contain. The sum is the error due to the finite number of fitted cells:
        link `l` of the fit has `n_l` control and `m_l` treated cells and a share `w_l` of the
        fitted cells near those of the group. :math:`\tau^2` is the additional error of predictions
        in the links of the fit. The interval refers to one feature in one group: among many, some
        measured changes lie outside. NaN for an unseen perturbation or dose, whose error is
        unknown, and if the fitted cells are not available.
    `sd_between`
        Standard deviation, between cells, of the mean change of a cell, corrected for the finite
        number of samples. 0 if all cells respond equally.
    `sd_within`
        Standard deviation of the samples of a cell: the variation of the response that the state of
        the cell does not determine. Not included after a map, such as that of
        :class:`~scgenot.model.MongeMap`, which has one answer per cell.
    `probability_up`
        Probability that the feature increases in a cell of the group: share of cells and samples.
        No change counts as one half.
    `share_moved`
        After a sparse map only: share of the cells in which the feature changes.
    `n_observed`, `observed_mean`, `observed_change`
        Number of treated cells of `adata` in the group with this perturbation and dose, their
        measured mean, and this mean minus `control_mean`; NaN if there are none.

    Measured means are those of the fitted values, or of the values embedded by PCA, if `adata` has
    these features; otherwise those of the decoded representation.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, a column, feature or the representation is not there, or the
        perturbation was not seen.
    ValueError
        When the fit is not from :func:`fit_perturbation`, nothing turns states into features (pass
        `decoder`), or as for :func:`predict`.

    Warns
    -----
    UserWarning
        As for :func:`predict`.

    Examples
    --------
    >>> table = sg.tl.response(adata, "IFN", groupby="cell_type")  # doctest: +SKIP
    >>> table[table["lower"] > 0].sort_values("change")  # up, by more than noise  # doctest: +SKIP
    """
    check_count("n_samples", n_samples, 2, "for a spread")
    check_share("interval", interval)
    check_guidance(guidance)
    check_dose(dose)
    fit = open_fit(adata, key, model, device)
    fit.needs(Screen, "response")
    return responses(
        fit,
        adata,
        target,
        dose,
        groupby=groupby,
        features=features,
        interval=interval,
        n_samples=n_samples,
        guidance=guidance,
        use_rep=use_rep,
        decoder=decoder,
        seed=seed_of(rng),
    )
