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
    r"""Tell what a perturbation moves: the predicted change of every feature in every group of
    cells.

    `change` is predicted, and `lower` to `upper` is where the *measured* change of the mean is
    expected. A change is that of one control cell, its drawn state less its own, both decoded;
    nothing is clipped.

    Parameters
    ----------
    adata
        Control cells, and treated ones where there are; as in :func:`predict`.
    target, dose
        Perturbation, and its dose, as in :func:`predict`.
    groupby
        Column of `obs`, or several, whose values make the groups; None for one group of all cells.
    features
        Which features; None for all that the states decode to.
    interval
        Probability with which the measured change of a mean lies between `lower` and `upper`.
    n_samples
        Draws per cell.
    guidance, key, model, use_rep
        As in :func:`predict`.
    decoder
        As in :func:`simulate`.
    rng
        Seed. A group has the same numbers whatever the other groups.
    device
        Where to compute; None for CUDA when there is one.

    Returns
    -------
    One row for each group of control cells and feature, with the columns

    `group`, `feature`, `n_cells`
        Groups are in the order of the categories of `groupby`, text and numbers sorted; of several
        columns by the first, then the next, and the values are joined by " | ". `n_cells` counts
        control cells.
    `control_mean`
        Measured mean of the control cells.
    `change`
        Predicted mean change.
    `lower`, `upper`
        Predictive interval of `observed_change`, the difference of the means of measured treated
        and control cells, were the treated ones measured again: `n_observed` of them, or as many
        as control cells where there are none. It is normal, with the variance

        .. math:: s^2 (1 / n_{treated} + 1 / n_{cells} + \sum_l w_l^2 (1 / n_l + 1 / m_l)) + \tau^2

        of each feature. `s^2` is the variance of predicted cells and of what their states leave
        out of the feature. The sum is what few fitted cells add: link `l` of the fit has `n_l`
        control and `m_l` treated cells and a share `w_l` of the fitted cells near those of the
        group. :math:`\tau^2` is the error of predictions in the links of the fit beyond such noise.
        The interval is of one feature in one group: of many, some lie outside. NaN for a
        perturbation or dose that was not fitted, of whose error nothing is known, and where the
        fitted cells are gone.
    `sd_between`
        Standard deviation between cells of the mean change of a cell, free of what few draws add:
        how unlike the cells respond. 0 where the response is the same for all.
    `sd_within`
        Standard deviation of the draws of one cell: what the cell's state does not tell of its
        response. Not there after a map, such as :class:`~scgenot.model.MongeMap` makes: it has one
        answer a cell.
    `probability_up`
        Probability that the feature goes up in a cell of the group: share of cells and draws. No
        change counts half.
    `share_moved`
        After a sparse map only: share of the cells in which the feature moves.
    `n_observed`, `observed_mean`, `observed_change`
        Treated cells of `adata` in the group, at this perturbation and dose, their measured mean,
        and that less `control_mean`; NaN where there are none.

    Measured means are of the values that were fitted or embedded by PCA, where `adata` has these
    features; else of the decoded representation.

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
