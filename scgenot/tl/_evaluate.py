"""Compare a fit with trivial baselines and with the ceiling, on cells that it has not seen."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from anndata import AnnData

from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.fit.decoder import Decoder
from scgenot.fit.evaluation import evaluation_table
from scgenot.fit.fit import Fit, open_fit


@typed
def evaluate(
    fitted: AnnData,
    held_out: AnnData | tuple[AnnData, AnnData],
    *,
    key: str = "genot",
    model: Fit | None = None,
    groupby: str | None = None,
    label_key: str | None = None,
    metrics: Sequence[str | Callable] | Mapping[str, str | Callable] | None = None,
    maximize: Sequence[str] = (),
    features: Sequence[str] | None = None,
    decoder: Decoder | None = None,
    n_cells: int | None = 1000,
    min_cells: int = 20,
    n_resamples: int = 200,
    interval: float = 0.95,
    in_sample: bool = False,
    rng: Rng = 0,
    device: str | None = None,
) -> pd.DataFrame:
    r"""Compare a fit with simple baselines and with the ceiling, on held-out cells.

    The model is not fitted again: the fit must have been made without the held-out cells, and true
    cells that it has seen raise an error. All methods get the same held-out source cells, and
    baselines use the cells of the fit. All rows of the table are computed with the same functions
    and the same bootstrap samples. The model is useful where it is better than the best baseline by
    more than the interval of the paired difference. `table.attrs["verdict"]` states where this is
    the case, names that baseline, and compares with the coupling on which the model was trained. If
    the held-out cells resemble those of the fit, no method has a smaller distance between whole
    populations than random target cells: use `groupby`, or hold out a donor, a cell type or a dose.

    Parameters
    ----------
    fitted
        Cells with a fit of `sg.tl.fit_*`, including all fitted cells.
    held_out
        Held-out cells with the same representation, or with the same features if :func:`embed` made
        the representation. After :func:`fit_perturbation`: control and treated cells of, for
        instance, a donor, a cell type, a dose or a perturbation; each perturbation and dose is
        predicted from the control cells. These may be cells of the fit, but then mean shifts score
        better than on new cells, which the verdict says: hold out half of them, too. After
        :func:`fit_trajectory`: cells of a left-out time, or cells at both times of a step, such as
        those of a donor. After :func:`fit_translation`: a pair `(source, target)` in which row `i`
        of both is the same cell. Cells without the representation are projected if it was made by
        :func:`embed` or by the PCA of Scanpy.
    key
        The `key_added` of the fit.
    model
        A fit from :func:`scgenot.get.fit`, if it was made with your own classes.
    groupby
        Column of `obs` of the held-out cells: comparisons are made within its groups and averaged
        over them. The group of a predicted cell is that of its source cell, which reveals methods
        that ignore their input.
    label_key
        Column of `obs` of both sides of a translation with labels of cells, for `label_transfer`.
    metrics
        Names from the list below, or functions `(predicted, true) -> float` of cells in the
        representation (after a translation, row `i` of both is the same cell); a mapping gives
        names to functions. None for all metrics that apply to the task.
    maximize
        Names of your own functions for which higher is better.
    features
        Features whose means and variances are compared; None for all decoded features.
    decoder
        Function from states to features, as in :func:`simulate`. None inverts the embedding,
        including a PCA of Scanpy that was computed before cells were held out. If there is no
        inverse, and for a translation without `decoder`, means and variances are those of the
        representation.
    n_cells
        Maximum number of source cells and of true cells per group, the same random cells for all
        methods; None for all.
    min_cells
        Minimum number of cells of a group on both sides, 10 or more; smaller groups are left out
        and logged.
    n_resamples
        Number of bootstrap samples of the cells.
    interval
        Probability of the intervals.
    in_sample
        Whether to score cells that were fitted; baselines have then seen them, too.
    rng
        Seed. The same seed gives the same table.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    One row per condition, group and method. With several conditions or groups, rows with condition
    and group "mean" come first, in which all have equal weight. Columns:

    `condition`, `group`, `method`, `kind`
        Kinds are "model"; "coupling", samples from the coupling on which the model was trained;
        "baseline"; "supervised", trained on the pairs of a translation with cross-validation; and
        "ceiling", one half of the true cells compared with the other half. For metrics of the match
        of each cell, the ceiling is the truth itself.
    `n_predicted`, `n_true`
        Numbers of cells compared.
    `<metric>`, `<metric>_low`, `<metric>_high`
        Value and bootstrap interval. Source and true cells are resampled, the model is not: the
        interval describes the uncertainty due to these cells, not the variation between fits or
        donors.
    `<metric>_scaled`
        Value on a scale from a negative baseline (0) to the ceiling (1). The negative baseline,
        `table.attrs["negative"]`, depends on the task: random treated cells of all perturbations,
        or the control cells with a single perturbation; the source cells; the time before; random
        matching. NaN if the ceiling is not better than the negative baseline by more than the
        interval of the difference.

    `attrs` has `verdict`; `comparisons`, the comparisons that the verdict summarizes; `trivial`,
    the scaled score of the best baseline by condition, group and metric; `higher_is_better`;
    `ideal`, the ideal value of metrics for which neither higher nor lower is better; `negative`,
    `metrics`, `interval` and `task`.

    Metrics, in the representation:

    `edistance`
        Unbiased squared energy distance, see :func:`scgenot.metrics.energy_distance`. The one of
        pertpy is biased.
    `mmd`
        Unbiased squared maximum mean discrepancy, :func:`scgenot.metrics.mmd` with the median
        distance of true cells as bandwidth. The default kernel of pertpy is linear and compares
        only means.
    `wasserstein`
        Exact 2-Wasserstein distance between as many cells per side as the ceiling has, at most 500.
        The one of pertpy is a squared entropic transport cost.
    `coverage_80`, `coverage_90`
        Share of true cells in the region that contains 80 or 90 % of the predicted cells, without
        correction: the *raw* region of all features of :func:`calibrate`, from one half of the
        predicted cells compared with the other half. The level itself is the ideal value;
        comparisons and the scaled value use the distance from it. The interval does not include the
        noise of the first half. Not after :func:`fit_translation`, where regions would refer to
        single cells and not to the population.
    `foscttm`, `label_transfer`
        After :func:`fit_translation`, see :mod:`scgenot.metrics`. The verdict uses the mean of
        samples, which is the prediction for matching.

    In features, decoded on both sides:

    `r2_distance`
        1 minus the coefficient of determination of means, as in pertpy, with the true cells as
        reference.
    `r2_variances`
        Coefficient of determination of variances.
    `squared_error_means`
        Squared error of means, corrected for the sampling noise of predicted and true cells,
        :func:`scgenot.metrics.squared_error_means`. Not after :func:`fit_translation`, where each
        prediction shares noise with its true cell.
    `pearson_delta`
        After :func:`fit_perturbation`: correlation of mean changes from control, over the 50
        features that change most. It is optimistic for methods that predict the average of all
        perturbations.
    `wmse`, `weighted_r2_delta`
        After :func:`fit_perturbation`: squared error of means, and coefficient of determination of
        changes from the mean of all perturbations :math:`\delta = \mu - \bar\mu`, weighted by
        :math:`w_k \propto ((|t_k| - \min |t|) / (\max |t| - \min |t|))^2`, Welch's `t` of the true
        cells compared with other perturbations in the fit. A method that predicts the mean of all
        perturbations scores at most 0. With a single perturbation, control cells replace the
        others.
    `discrimination`
        After :func:`fit_perturbation` with at least 3 held-out conditions in each group: share of
        the other held-out conditions whose true mean change from control is less similar to the
        prediction than that of the predicted condition,
        :func:`scgenot.metrics.perturbation_discrimination`. Each dose of a perturbation is a
        separate condition. The interval does not include the noise of the other conditions.

    Raises
    ------
    TypeError
        When an argument is not an AnnData, or of a translation not a pair of them; when a list of
        names is text, or an option has a wrong type.
    KeyError
        When there is no such fit, a column or representation is not there, or a perturbation cannot
        be predicted.
    ValueError
        When true cells are of the fit, cells of the fit are gone from `fitted`, `held_out` lacks
        source or target cells, times fit no step, a metric, or one to maximize, is unknown or needs
        more conditions, groups are too small, or an option is out of range.

    References
    ----------
    Mejia, Miller, Leblanc, Wang, Swain, Camillo (2025), *Diversity by design: addressing mode
    collapse improves scRNA-seq perturbation modeling on well-calibrated metrics*, arXiv 2506.22641.

    Examples
    --------
    >>> is_new = adata.obs["donor"] == "d8"
    >>> train, test = adata[~is_new].copy(), adata[is_new].copy()
    >>> sg.tl.fit_perturbation(train, "drug", "control")
    >>> table = sg.tl.evaluate(train, test, groupby="cell_type")
    >>> print(table.attrs["verdict"])
    >>> sg.pl.evaluation(table)
    """
    return evaluation_table(
        open_fit(fitted, key, model, device),
        held_out,
        groupby=groupby,
        label_key=label_key,
        metrics=metrics,
        maximize=maximize,
        features=features,
        decoder=decoder,
        n_cells=n_cells,
        min_cells=min_cells,
        n_resamples=n_resamples,
        interval=interval,
        in_sample=in_sample,
        seed=seed_of(rng),
    )
