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
    r"""Compare a fit with trivial baselines and with the ceiling, on cells that were held out of
    it.

    Nothing is fitted again: the fit was made without the held-out cells, and true cells that it has
    seen are refused. Every method gets the same held-out source cells, baselines the cells that the
    fit has coupled, and every row of the table comes from the same functions and the same
    resamples. A model is worth its cost where it beats the best baseline by more than the interval
    of the paired difference; `table.attrs["verdict"]` says where that is, names that baseline, and
    compares with the coupling that the model learned from. On a distance between whole populations
    nothing beats random target cells when the held-out cells are like those of the fit: ask with
    `groupby`, or hold out a donor, a cell type, a dose.

    Parameters
    ----------
    fitted
        Cells with a fit of `sg.tl.fit_*`, all that it was made of.
    held_out
        Cells that were held out, with the same representation, or the same features where
        :func:`embed` made it. After :func:`fit_perturbation`: control and treated cells of, for
        instance, a donor, a cell type, a dose or a perturbation; each perturbation and dose is
        predicted from the control cells, which may be of the fit. After :func:`fit_trajectory`:
        cells of a left-out time; or cells at both times of a step, such as those of a donor. After
        :func:`fit_translation`: source and target cells as a pair `(source, target)`, row `i` of
        both the same cell; target cells too are placed in the embedding of the fit, where
        :func:`embed` or Scanpy's PCA made it.
    key
        The `key_added` of the fit.
    model
        A fit of :func:`scgenot.get.fit`, where it was made with classes of your own.
    groupby
        Column of `obs` of the held-out cells: everything is compared within its groups, and
        averaged over them. Of a predicted cell the group is that of its source cell, so that what
        ignores its input is found out.
    label_key
        Column of `obs` of both sides of a translation with labels of cells, for `label_transfer`.
    metrics
        Names from the list below, or functions `(predicted, true) -> float` of cells in the
        representation (of a translation row `i` of both is the same cell); by name when it is a
        mapping. None for all that suit the task.
    maximize
        Names of functions of your own of which more is better.
    features
        Features whose means and variances are compared; None for all that states decode to.
    decoder
        From states to features, as in :func:`simulate`. None inverts the embedding, also a PCA of
        Scanpy's that was made before other cells were held out; where nothing does, and for a
        translation without `decoder`, means and variances are those of the representation.
    n_cells
        Most source and most true cells to compare in a group, the same random ones for every
        method; None for all.
    min_cells
        Fewest cells of a group on both sides, 10 or more; smaller groups are left out, and logged.
    n_resamples
        Resamples of the cells (bootstrap).
    interval
        Probability of the intervals.
    in_sample
        Whether to score cells that the fit has seen; baselines then see the answer too.
    rng
        Seed. The same seed gives the same table.
    device
        Where to compute; None for CUDA when there is one.

    Returns
    -------
    One row for each condition, group and method; where there are several conditions or groups, rows
    with condition and group "mean" come first, in which each counts the same. Columns:

    `condition`, `group`, `method`, `kind`
        Kinds are "model"; "coupling", draws from the coupling that the model learned from;
        "baseline"; "supervised", which is shown the pairs of a translation by cross-validation; and
        "ceiling": half of the true cells against the other half. Of what asks for the match of each
        cell the ceiling is the truth itself.
    `n_predicted`, `n_true`
        Cells compared.
    `<metric>`, `<metric>_low`, `<metric>_high`
        Value and bootstrap interval. Source and true cells are resampled, the model is not: the
        interval tells how far these cells can be trusted, not how another fit or another donor
        would do.
    `<metric>_scaled`
        0 is a negative baseline, 1 the ceiling. The negative baseline is `table.attrs["negative"]`:
        random treated cells of all perturbations, or the control cells with a single perturbation;
        the source cells; the time before; random matching. NaN where the ceiling is not better than
        the negative baseline by more than the interval of the difference.

    `attrs` has `verdict`; `comparisons`, what the verdict is made of; `trivial`, how much of the
    range the best baseline fills, by condition, group and metric; `higher_is_better`; `ideal`, the
    value that is right for metrics of which neither more nor less is better; `negative`, `metrics`,
    `interval` and `task`.

    Metrics, in the representation:

    `edistance`
        Squared energy distance, unbiased, see :func:`scgenot.metrics.energy_distance`. pertpy's is
        biased.
    `mmd`
        Squared maximum mean discrepancy, unbiased, :func:`scgenot.metrics.mmd` with the median
        distance of true cells as bandwidth. pertpy's default kernel is linear, which compares means
        only.
    `wasserstein`
        Exact 2-Wasserstein distance between as many cells a side as the ceiling has, at most 500.
        pertpy's is an entropic transport cost, squared.
    `coverage_80`, `coverage_90`
        Share of true cells in the region that holds 80 or 90 % of the predicted ones, before any
        correction: the *raw* region of all features of :func:`calibrate`, of one half of the
        predicted cells against the other. Neither more nor less is better: the level is right, and
        comparisons and the calibrated scale are of the distance from it. The interval is without
        the noise of the first half. Not after :func:`fit_translation`: there a region is one of
        each cell, and that of the population says nothing of it.
    `foscttm`, `label_transfer`
        After :func:`fit_translation`, see :mod:`scgenot.metrics`; the verdict is on the mean of
        draws, which is what matches cells.

    In features, decoded on both sides:

    `r2_distance`
        1 less the coefficient of determination of means, as in pertpy, truth as reference.
    `r2_variances`
        Coefficient of determination of variances.
    `squared_error_means`
        Squared error of means less what the noise of the predicted and of the true cells adds,
        :func:`scgenot.metrics.squared_error_means`; not after :func:`fit_translation`, where each
        prediction has noise in common with its true cell.
    `pearson_delta`
        After :func:`fit_perturbation`: correlation of mean changes from control, over the 50
        features that change most. It flatters what predicts the average of all perturbations.
    `wmse`, `weighted_r2_delta`
        After :func:`fit_perturbation`: squared error of means, and coefficient of determination of
        changes from the mean of all perturbations :math:`\delta = \mu - \bar\mu`, weighted by
        :math:`w_k \propto ((|t_k| - \min |t|) / (\max |t| - \min |t|))^2`, Welch's `t` of the true
        cells against those of other perturbations in the fit. What predicts the mean of all has a
        delta of 0, so at most 0. With a single perturbation, control stands in for the others.
    `discrimination`
        After :func:`fit_perturbation` with at least 3 held-out conditions in each group: share of
        the other held-out conditions whose true mean change from control is less like the
        prediction than that of its own, :func:`scgenot.metrics.perturbation_discrimination`. A
        perturbation at another dose is another condition. The interval is without the noise of the
        other conditions.

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
