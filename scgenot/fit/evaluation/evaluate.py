"""The table of an evaluation: choose metrics, compare, score."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from scgenot._check import check_count, check_share
from scgenot._random import numpy_rng
from scgenot._warn import each_once
from scgenot.fit.coupled import PROBLEM, name_of
from scgenot.fit.decoder import feature_decoder

# registers the comparisons of each task
from scgenot.fit.evaluation import course, screen, translation  # noqa: F401
from scgenot.fit.evaluation.comparison import (
    Comparison,
    Features,
    shuffled,
    split_all,
    with_profiles,
)
from scgenot.fit.evaluation.comparisons import comparisons, offered
from scgenot.fit.evaluation.fitted import Evaluation
from scgenot.fit.evaluation.metrics import (
    Metric,
    Plain,
    discrimination,
    plain,
    under_own_names,
)
from scgenot.fit.evaluation.scores import make_table

logger = logging.getLogger("scgenot")

N_CONDITIONS = 3  # among fewer, the place of a prediction is one of two


def evaluation_table(
    fit,
    held_out,
    *,
    groupby: str | None,
    label_key: str | None,
    metrics,
    maximize: Sequence[str],
    features: Sequence[str] | None,
    decoder: Callable | None,
    n_cells: int | None,
    min_cells: int,
    n_resamples: int,
    interval: float,
    in_sample: bool,
    seed: int,
) -> pd.DataFrame:
    """Score a fit on held-out cells; as :func:`scgenot.tl.evaluate`."""
    check_options(n_cells, min_cells, n_resamples, interval)
    known = offered(fit.task)
    if label_key is None:
        known.pop("label_transfer", None)
    chosen = choose_metrics(metrics, known, name_of(fit.task))
    check_maximize(maximize, chosen)
    asked = Evaluation(
        fit,
        held_out,
        as_features(fit, decoder, features),
        groupby,
        label_key,
        n_cells,
        in_sample,
        seed,
    )
    with each_once(), warnings.catch_warnings():
        # plans of baselines: nobody chose their epsilon, and nobody can change it
        warnings.filterwarnings("ignore", message=PROBLEM)
        split = split_all(comparisons(fit.task, asked), min_cells=min_cells)
    found = [shuffled(one, n_cells, numpy_rng([seed, k])) for k, one in enumerate(split)]
    chosen = with_enough_conditions(chosen, found, by_name=metrics is not None)
    if discrimination in chosen.values():
        found = with_profiles(found)
    higher, ideal = under_own_names(chosen)
    table = make_table(
        found,
        chosen,
        higher_is_better=[*higher, *maximize],
        ideal=ideal,
        n_resamples=n_resamples,
        level=interval,
        seed=seed,
        outcomes=fit.outcomes,
    )
    table.attrs["task"] = name_of(fit.task)
    logger.info(table.attrs["verdict"])
    return table


def check_options(n_cells: int | None, min_cells: int, n_resamples: int, interval: float) -> None:
    """Raise an error that names the option that has a wrong type or is out of range."""
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
    known: Mapping[str, Metric],
    task: str,
) -> dict[str, Metric]:
    """Return the metrics that are asked for by name, or given as functions."""
    asked = list(known) if metrics is None else metrics
    if isinstance(asked, str):
        raise TypeError(f"`metrics={asked!r}` is text: give a list of names, such as [{asked!r}].")
    if not isinstance(asked, Mapping):
        asked = {getattr(metric, "__name__", str(metric)): metric for metric in asked}
    unknown = [metric for metric in asked.values() if not callable(metric) and metric not in known]
    if unknown or not asked:
        raise ValueError(
            f"`metrics` has {unknown}; for the task {task!r} there are {list(known)}, or functions "
            "of your own."
        )
    return {
        name: plain(metric) if callable(metric) else known[metric] for name, metric in asked.items()
    }


def with_enough_conditions(
    chosen: dict[str, Metric], found: Sequence[Comparison], *, by_name: bool
) -> dict[str, Metric]:
    """Leave out what tells conditions apart where few were held out; raise when it was named."""
    names = [name for name, metric in chosen.items() if metric is discrimination]
    few = {group: n for group, n in Counter(one.group for one in found).items() if n < N_CONDITIONS}
    if not names or not few:
        return chosen
    text = f"{names[0]!r} needs {N_CONDITIONS} or more held-out conditions in each group; found "
    text += ", ".join(f"{n} in {group!r}" for group, n in few.items())
    if by_name:
        raise ValueError(f"`metrics`: {text}.")
    logger.info("%s: left out.", text)
    return {name: metric for name, metric in chosen.items() if name not in names}


def check_maximize(maximize: Sequence[str], chosen: Mapping[str, Metric]) -> None:
    """Raise when `maximize` is not a list of names of the metrics."""
    if isinstance(maximize, str):
        raise TypeError(
            f"`maximize={maximize!r}` is text: give a list of names, such as [{maximize!r}]."
        )
    if unknown := [name for name in maximize if name not in chosen]:
        raise ValueError(f"`maximize` has {unknown}, not among the metrics {list(chosen)}.")


def as_features(fit, decoder: Callable | None, features: Sequence[str] | None) -> Features:
    """Return the function from states to the features whose means are compared."""
    rep = getattr(fit.task, "use_rep", None)
    try:
        to_frame = feature_decoder(fit, rep, decoder, features, fitted_means=True)
    except ValueError:
        if features is not None:
            raise
        logger.info("Nothing decodes states to features: means are those of %r itself.", rep)
        return lambda states: states
    return lambda states: np.asarray(to_frame(states), dtype=float)
