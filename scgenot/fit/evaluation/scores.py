"""From predictions to a table with intervals and a calibrated scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scgenot._outcome import Outcome
from scgenot._random import numpy_rng
from scgenot.fit.evaluation.comparison import (
    BASELINE,
    CEILING,
    COUPLING,
    MODEL,
    SUPERVISED,
    Comparison,
)
from scgenot.fit.evaluation.metrics import (
    POPULATIONS,
    Counts,
    Metric,
    Populations,
    error_of,
)
from scgenot.fit.evaluation.verdict import MEAN, best_baselines, compare, interval, verdict

REPLICATE = "replicate"
ORDER = (MODEL, COUPLING, BASELINE, SUPERVISED, CEILING)


@dataclass(frozen=True)
class Score:
    """Values of one prediction for each metric, one for each resample."""

    kind: str
    n_predicted: int
    n_true: int
    values: dict[str, np.ndarray]


Scores = dict[str, Score]  # by name of the prediction


def score_all(
    comparison: Comparison,
    metrics: Mapping[str, Metric],
    n_resamples: int,
    rng: np.random.Generator,
) -> Scores:
    """Score all predictions, and the ceiling, on the same resamples of the cells."""
    whole, n = comparison.true, len(comparison.true)
    source = resample(comparison.n_source, n_resamples, rng)
    true = source if comparison.paired else resample(n, n_resamples, rng)
    scores = {}
    for name, found in comparison.predictions.items():
        cells = Populations(found.cells, whole, comparison)
        counts = Counts(source[:, found.rows], true, source)
        values = {name: values_of(metric, cells, counts) for name, metric in metrics.items()}
        scores[name] = Score(found.kind, len(found.cells), n, values)
    half = n // 2
    halves = Populations(whole[:half], whole[half:], comparison)
    counts = Counts(true[:, :half], true[:, half:], source)
    # a cell's own match is in no other half: what asks for it is perfect with the truth itself
    itself = Populations(whole, whole, comparison)
    values = {}
    for name, metric in metrics.items():
        matched = comparison.paired and name not in POPULATIONS
        of = (itself, Counts(true, true, source)) if matched else (halves, counts)
        values[name] = values_of(metric, *of)
    scores[REPLICATE] = Score(CEILING, half, n - half, values)
    return dict(sorted(scores.items(), key=lambda item: ORDER.index(item[1].kind)))


def values_of(metric: Metric, cells: Populations, counts: Counts) -> np.ndarray:
    """Values of a metric for each resample; NaN for predictions that are not finite."""
    if not np.isfinite(cells.predicted).all():
        return np.full(len(counts.true), np.nan)
    return metric(cells, counts)


def resample(n: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `n` cells counts: once, then by resample; shape `(1 + n_resamples, n)`."""
    return np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=n_resamples)])


def average(every: Sequence[Scores]) -> Scores:
    """Average the scores of predictions that are in all; each comparison counts the same."""
    mean = {}
    for name in every[0]:
        if all(name in scores for scores in every):
            found = [scores[name] for scores in every]
            values = {m: np.mean([s.values[m] for s in found], axis=0) for m in found[0].values}
            n_predicted, n_true = sum(s.n_predicted for s in found), sum(s.n_true for s in found)
            mean[name] = Score(found[0].kind, n_predicted, n_true, values)
    return mean


def as_rows(
    scores: Scores,
    condition: str,
    group: str,
    *,
    negative: str,
    higher_is_better: Sequence[str],
    ideal: Mapping[str, float],
    level: float,
) -> list[dict]:
    """Make one row for each prediction."""
    rows = []
    for name, score in scores.items():
        row = {"condition": condition, "group": group, "method": name, "kind": score.kind}
        row |= {"n_predicted": score.n_predicted, "n_true": score.n_true}
        for metric, values in score.values.items():
            low, high = interval(values, level)
            row |= {metric: float(values[0]), f"{metric}_low": low, f"{metric}_high": high}
            ends = [values, *(scores[end].values[metric] for end in (negative, REPLICATE))]
            ours, worst, best = (error_of(found, ideal.get(metric)) for found in ends)
            gain = best - worst if metric in higher_is_better else worst - best
            told_apart = interval(gain, level)[0] > 0
            scaled = (ours[0] - worst[0]) / (best[0] - worst[0]) if told_apart else np.nan
            row[f"{metric}_scaled"] = float(scaled)
        rows.append(row)
    return rows


def make_table(
    comparisons: Sequence[Comparison],
    metrics: Mapping[str, Metric],
    *,
    higher_is_better: Sequence[str],
    ideal: Mapping[str, float] | None = None,
    n_resamples: int,
    level: float,
    seed: int,
    outcomes: Sequence[Outcome] = (),
    notes: Sequence[str] = (),
) -> pd.DataFrame:
    """Score all comparisons, and average them where there are several."""
    negative, ideal = comparisons[0].negative, ideal or {}
    scores = [
        score_all(comparison, metrics, n_resamples, numpy_rng([seed, k]))
        for k, comparison in enumerate(comparisons)
    ]
    directions = {"higher_is_better": higher_is_better, "ideal": ideal}
    options = {"negative": negative, "level": level, **directions}
    whole, rows = scores[0], []
    if len(comparisons) > 1:
        whole = average(scores)
        rows += as_rows(whole, MEAN, MEAN, **options)
    for comparison, found in zip(comparisons, scores, strict=True):
        rows += as_rows(found, comparison.condition, comparison.group, **options)
    compared = compare(whole, level=level, **directions)
    sentences = [outcome.sentence for outcome in outcomes if outcome.is_problem]
    sentences += dict.fromkeys(one.note for one in comparisons if one.note)
    table = pd.DataFrame(rows)
    # plain values only, which can be compared when tables are joined, and written
    table.attrs = {
        "metrics": list(metrics),
        "higher_is_better": [name for name in metrics if name in higher_is_better],
        "ideal": dict(ideal),
        "negative": negative,
        "interval": float(level),
        "comparisons": compared,
        "trivial": best_baselines(rows, list(metrics)),
        "outcomes": [outcome.label for outcome in outcomes],
        "verdict": verdict(compared, rows[: len(whole)], negative, level, [*sentences, *notes]),
    }
    return table
