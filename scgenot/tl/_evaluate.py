"""Compare a fit with trivial baselines and with the ceiling, on cells that it has not seen."""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot import get
from scgenot._check import check_count, check_share
from scgenot._random import Rng, numpy_rng, seed_of
from scgenot.cells.read import check_anndata, representation
from scgenot.cells.tasks.conditions import Conditions
from scgenot.fit.decoder import Decoder, feature_decoder
from scgenot.fit.evaluation.comparison import Features, shuffled, split_all
from scgenot.fit.evaluation.course import course_comparisons
from scgenot.fit.evaluation.maps import read_fitted
from scgenot.fit.evaluation.metrics import (
    CHANGES,
    HIGHER_IS_BETTER,
    MATCHES,
    POPULATIONS,
    Metric,
    Plain,
    plain,
)
from scgenot.fit.evaluation.scores import make_table
from scgenot.fit.evaluation.screen import Screen, screen_comparisons
from scgenot.fit.evaluation.translation import check_pair, translation_comparison
from scgenot.fit.source import checked_width, ready_model, source_cells

logger = logging.getLogger("scgenot")

OFFERED = {
    "perturbation": {**POPULATIONS, **CHANGES},
    "trajectory": POPULATIONS,
    "translation": {**MATCHES, **POPULATIONS},
}


def evaluate(
    fitted: AnnData,
    held_out: AnnData | tuple[AnnData, AnnData],
    *,
    key: str = "genot",
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
    r"""Compare a fit with trivial baselines and with the ceiling, on cells that were held out of it.

    Nothing is fitted again: the fit was made without the held-out cells, and true cells that it has seen are refused.
    Every method gets the same held-out source cells, baselines the cells that the fit has coupled, and every row of the
    table comes from the same functions and the same resamples. A model is worth its cost where it beats the best
    baseline by more than the interval of the paired difference; `table.attrs["verdict"]` says where that is, names that
    baseline, and compares with the coupling that the model learned from. On a distance
    between whole populations nothing beats random target cells when the held-out cells are like those of the fit: ask
    with `groupby`, or hold out a donor, a cell type, a dose.

    Parameters
    ----------
    fitted
        Cells with a fit of `sg.tl.fit_*`, all that it was made of.
    held_out
        Cells that were held out, with the same representation, or the same features where :func:`embed` made it.
        Of a screen: control and treated cells of, for instance, a donor, a cell type, a dose or a perturbation; each
        perturbation and dose is predicted from the control cells, which may be of the fit. Of a time course: cells of a
        left-out time; or cells at both times of a step, such as those of a donor. Of a translation: source and target
        cells as a pair `(source, target)`, row `i` of both the same cell.
    key
        The `key_added` of the fit.
    groupby
        Column of `obs` of the held-out cells: everything is compared within its groups, and averaged over them. Of a
        predicted cell the group is that of its source cell, so that what ignores its input is found out.
    label_key
        Column of `obs` of both sides of a translation with labels of cells, for `label_transfer`.
    metrics
        Names from the list below, or functions `(predicted, true) -> float` of cells in the representation (of a
        translation row `i` of both is the same cell); by name when it is a mapping. None for all that suit the task.
    maximize
        Names of functions of your own of which more is better.
    features
        Features whose means are compared; None for all that states decode to.
    decoder
        From states to features, as of :func:`simulate`. None inverts the embedding; where nothing does, and for a
        translation without `decoder`, means are those of the representation.
    n_cells
        Most source and most true cells to compare in a group, the same random ones for every method; None for all.
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
    One row for each condition, group and method; where there are several conditions or groups, rows with condition and
    group "mean" come first, in which each counts the same. Columns:

    `condition`, `group`, `method`, `kind`
        Kinds are "model"; "coupling", draws from the coupling that the model learned from; "baseline"; "supervised",
        which is shown the pairs of a translation by cross-validation; and "ceiling": half of the true cells against the
        other half. Of what asks for the match of each cell the ceiling is the truth itself.
    `n_predicted`, `n_true`
        Cells compared.
    `<metric>`, `<metric>_low`, `<metric>_high`
        Value and bootstrap interval. Source and true cells are resampled, the model is not: the interval tells how far
        these cells can be trusted, not how another fit or another donor would do.
    `<metric>_scaled`
        0 is a negative baseline, 1 the ceiling. The negative baseline is `table.attrs["negative"]`: random treated
        cells of all perturbations, or the control cells with a single perturbation; the source cells; the time before;
        random matching. NaN where the ceiling is not better
        than the negative baseline by more than the interval of the difference.

    `attrs` has `verdict`; `comparisons`, what the verdict is made of; `trivial`, how much of the range the best
    baseline fills, by condition, group and metric; `higher_is_better`, `negative`, `metrics`, `interval` and `task`.

    Metrics, in the representation:

    `edistance`
        Squared energy distance, unbiased, see :func:`scgenot.metrics.energy_distance`. pertpy's is biased.
    `mmd`
        Squared maximum mean discrepancy, unbiased, :func:`scgenot.metrics.mmd` with the median distance of true cells
        as bandwidth. pertpy's default kernel is linear, which compares means only.
    `wasserstein`
        Exact 2-Wasserstein distance between as many cells a side as the ceiling has, at most 500. pertpy's is an
        entropic transport cost, squared.
    `foscttm`, `label_transfer`
        Of a translation, see :mod:`scgenot.metrics`; the verdict is on the mean of draws, which is what matches cells.

    In features, decoded on both sides:

    `r2_distance`
        1 less the coefficient of determination of means, as in pertpy, truth as reference.
    `r2_variances`
        Coefficient of determination of variances.
    `pearson_delta`
        Of a screen: correlation of mean changes from control, over the 50 features that change most. It flatters what
        predicts the average of all perturbations.
    `wmse`, `weighted_r2_delta`
        Of a screen: squared error of means, and coefficient of determination of changes from the mean of all
        perturbations :math:`\delta = \mu - \bar\mu`, weighted by :math:`w_k \propto ((|t_k| - \min |t|) / (\max |t| -
        \min |t|))^2`, Welch's `t` of the true cells against those of other perturbations in the fit. What predicts the
        mean of all has a delta of 0, so at most 0. With a single perturbation, control stands in for the others.

    Raises
    ------
    TypeError
        When an argument is not an AnnData, or of a translation not a pair of them; when a list of names is text, or
        an option has a wrong type.
    KeyError
        When there is no such fit, a column or representation is not there, or a perturbation cannot be predicted.
    ValueError
        When true cells are of the fit, cells of the fit are gone from `fitted`, `held_out` lacks source or target
        cells, times fit no step, a metric, or one to maximize, is unknown, groups are too small, or an option is out
        of range.

    References
    ----------
    Mejia, Miller, Leblanc, Wang, Swain, Camillo (2025), *Diversity by design: addressing mode collapse improves
    scRNA-seq perturbation modeling on well-calibrated metrics*, arXiv 2506.22641.

    Examples
    --------
    >>> train, test = adata[adata.obs["donor"] != "d8"].copy(), adata[adata.obs["donor"] == "d8"].copy()
    >>> sg.tl.fit_perturbation(train, "drug", "control")
    >>> table = sg.tl.evaluate(train, test, groupby="cell_type")
    >>> print(table.attrs["verdict"])
    >>> sg.pl.evaluation(table)
    """
    check_anndata(fitted, "fitted")
    check_options(n_cells, min_cells, n_resamples, interval)
    entry, seed = get.fit_entry(fitted, key), seed_of(rng)
    genot, params, _ = ready_model(fitted, None, key, device)
    task = params["task"]
    offered = dict(OFFERED[task])
    if label_key is None:
        offered.pop("label_transfer", None)
    chosen = choose_metrics(metrics, offered, task)
    check_maximize(maximize, chosen)
    common = {"groupby": groupby, "in_sample": in_sample, "seed": seed}
    if task == "translation":
        source, target = check_pair(held_out)
        cells = checked_width(source_cells(source, params, fitted=fitted), genot)
        to_features = as_features(target, params, decoder, features)
        found = [
            translation_comparison(
                entry,
                (source, target),
                cells,
                genot,
                params,
                to_features,
                label_key=label_key,
                **common,
            )
        ]
    else:
        check_anndata(held_out, "held_out")
        cells = checked_width(source_cells(held_out, params, fitted=fitted), genot)
        training = representation(fitted, params.get("use_rep"), layer=params.get("layer"))
        fit, to_features = (
            read_fitted(fitted, entry, training, groupby),
            as_features(fitted, params, decoder, features),
        )
        if task == "trajectory":
            found = course_comparisons(
                fitted, fit, held_out, cells, genot, to_features, key=key, n_cells=n_cells, **common
            )
        else:
            screen = Screen(fit, Conditions.from_dict(params["conditions"]))
            found = screen_comparisons(
                screen, held_out, cells, genot, params, to_features, **common
            )
    split = split_all(found, min_cells=min_cells)
    chosen_cells = [shuffled(c, n_cells, numpy_rng([seed, k])) for k, c in enumerate(split)]
    better = [*HIGHER_IS_BETTER, *maximize]
    table = make_table(
        chosen_cells,
        chosen,
        higher_is_better=better,
        n_resamples=n_resamples,
        level=interval,
        seed=seed,
    )
    table.attrs["task"] = task
    logger.info(table.attrs["verdict"])
    return table


def check_options(n_cells: int | None, min_cells: int, n_resamples: int, interval: float) -> None:
    """Raise an error that names the option that is no number, or out of range."""
    for name, value, least in (
        ("n_cells", n_cells, 10),
        ("min_cells", min_cells, 10),
        ("n_resamples", n_resamples, 2),
    ):
        if value is not None or name != "n_cells":
            check_count(name, value, least)
    check_share("interval", interval)


def choose_metrics(
    metrics: Sequence[str | Plain] | Mapping[str, str | Plain] | None,
    offered: Mapping[str, Metric],
    task: str,
) -> dict[str, Metric]:
    """Return the metrics that are asked for by name, or given as functions."""
    asked = list(offered) if metrics is None else metrics
    if isinstance(asked, str):
        raise TypeError(f"`metrics={asked!r}` is text: give a list of names, such as [{asked!r}].")
    named = (
        asked if isinstance(asked, Mapping) else {getattr(m, "__name__", str(m)): m for m in asked}
    )
    unknown = [m for m in named.values() if not callable(m) and m not in offered]
    if unknown or not named:
        raise ValueError(
            f"`metrics` has {unknown}; of a {task} there are {list(offered)}, or functions of your own."
        )
    return {
        name: plain(metric) if callable(metric) else offered[metric]
        for name, metric in named.items()
    }


def check_maximize(maximize: Sequence[str], chosen: Mapping[str, Metric]) -> None:
    """Raise when `maximize` is no list of names of the metrics."""
    if isinstance(maximize, str):
        raise TypeError(
            f"`maximize={maximize!r}` is text: give a list of names, such as [{maximize!r}]."
        )
    if unknown := [name for name in maximize if name not in chosen]:
        raise ValueError(f"`maximize` has {unknown}, not among the metrics {list(chosen)}.")


def as_features(
    fitted: AnnData, params: dict, decoder: Decoder | None, features: Sequence[str] | None
) -> Features:
    """Return the function from states to the features whose means are compared; the states when nothing decodes."""
    try:
        rep = None if params.get("task") == "translation" else params.get("use_rep")
        to_frame = feature_decoder(fitted, rep, decoder, features)
    except ValueError:
        if features is not None:
            raise
        logger.info(
            "Nothing turns states into features: means are those of %r itself.",
            params.get("use_rep"),
        )
        return lambda states: states
    return lambda states: np.asarray(to_frame(states), dtype=float)
