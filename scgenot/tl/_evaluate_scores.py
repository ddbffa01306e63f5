"""From predictions to a table with intervals, a calibrated scale and a verdict in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scgenot._rng import numpy_rng
from scgenot.tl._evaluate_metrics import MATCHES, POPULATIONS, Compared, Counts, Metric
from scgenot.tl._evaluate_parts import BASELINE, CEILING, COUPLING, GENOT, MODEL, SUPERVISED, Part

MEAN = "mean"  # the condition and group of the rows that sum up several
REPLICATE = "replicate"
ORDER = (MODEL, COUPLING, BASELINE, SUPERVISED, CEILING)


@dataclass(frozen=True)
class Score:
    """Values of one method.

    Parameters
    ----------
    kind
        What the method is.
    n_predicted, n_true
        Cells compared; numbers of parts add up.
    values
        By metric: its value, then that of each resample, shape `(1 + n_resamples,)`.
    """

    kind: str
    n_predicted: int
    n_true: int
    values: dict[str, np.ndarray]


Scores = dict[str, Score]  # by method


def score_part(part: Part, metrics: Mapping[str, Metric], n_resamples: int, rng: np.random.Generator) -> Scores:
    """Score all methods of a part, and the ceiling, on the same resamples of the cells.

    Parameters
    ----------
    part
        Predictions and true cells, in random order.
    metrics
        Metrics by name.
    n_resamples
        Number of resamples.
    rng
        Random numbers.

    Returns
    -------
    Scores by method.
    """
    source = resample(part.n_source, n_resamples, rng)
    true = source if part.paired else resample(len(part.true), n_resamples, rng)
    scores = {}
    for name, method in part.methods.items():
        cells, counts = Compared(method.cells, part.true, part), Counts(source[:, method.rows], true, source)
        values = {metric: prepare(cells)(counts) for metric, prepare in metrics.items()}
        scores[name] = Score(method.kind, len(method.cells), len(part.true), values)
    half = len(part.true) // 2
    halves = Compared(part.true[:half], part.true[half:], part), Counts(true[:, :half], true[:, half:], source)
    # a cell's own match is in no other half: what asks for it is perfect with the truth itself
    itself = Compared(part.true, part.true, part), Counts(true, true, source)
    values = {}
    for metric, prepare in metrics.items():
        cells, counts = itself if part.paired and metric not in POPULATIONS else halves
        values[metric] = prepare(cells)(counts)
    scores[REPLICATE] = Score(CEILING, half, len(part.true) - half, values)
    return dict(sorted(scores.items(), key=lambda item: ORDER.index(item[1].kind)))


def resample(n: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `n` cells counts: once, and then in each resample, shape `(1 + n_resamples, n)`."""
    return np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=n_resamples)])


def average(parts: Sequence[Scores]) -> Scores:
    """Average the scores of methods that every part has; each part counts the same."""
    names = [name for name in parts[0] if all(name in part for part in parts)]
    mean = {}
    for name in names:
        found = [part[name] for part in parts]
        values = {m: np.mean([score.values[m] for score in found], axis=0) for m in found[0].values}
        mean[name] = Score(found[0].kind, sum(s.n_predicted for s in found), sum(s.n_true for s in found), values)
    return mean


def interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Bootstrap interval of the first value by the others, around the value.

    Cells drawn twice make populations more unlike than they are, so resamples lie to one side of the value: only how
    far they lie from their own median counts. NaN when no resample has a value.
    """
    replicates = values[1:][np.isfinite(values[1:])]
    if len(replicates) == 0:
        return np.nan, np.nan
    tail = (1 - level) / 2
    # of few resamples the usual quantile is too near to the middle; this one is right on average
    low, high = np.quantile(replicates - np.median(replicates), [tail, 1 - tail], method="weibull")
    return float(values[0] + low), float(values[0] + high)


def as_rows(
    scores: Scores, condition: str, group: str, *, negative: str, higher_is_better: Sequence[str], level: float
) -> list[dict]:
    """Make one row a method.

    The calibrated scale is NaN where the replicate is not better than the negative baseline beyond the interval.
    """
    rows = []
    for name, score in scores.items():
        row = {"condition": condition, "group": group, "method": name, "kind": score.kind}
        row |= {"n_predicted": score.n_predicted, "n_true": score.n_true}
        for metric, values in score.values.items():
            low, high = interval(values, level)
            row |= {metric: float(values[0]), f"{metric}_low": low, f"{metric}_high": high}
            worst, best = (scores[end].values[metric] for end in (negative, REPLICATE))
            gain = best - worst if metric in higher_is_better else worst - best
            told_apart = interval(gain, level)[0] > 0
            scaled = (values[0] - worst[0]) / (best[0] - worst[0]) if told_apart else np.nan
            row[f"{metric}_scaled"] = float(scaled)
        rows.append(row)
    return rows


def compare(scores: Scores, higher_is_better: Sequence[str], level: float) -> list[dict]:
    """Compare the model with the best other method, metric by metric, by the interval of the paired difference.

    The best is the best by its value among the coupling and the baselines; both were scored on the same resamples.
    """
    found = []
    for metric in scores[GENOT].values:
        model = f"{GENOT}, {MEAN}" if metric in MATCHES and f"{GENOT}, {MEAN}" in scores else GENOT
        sign = -1 if metric in higher_is_better else 1
        others = {n: sign * s.values[metric] for n, s in scores.items() if s.kind in (COUPLING, BASELINE)}
        others = {name: values for name, values in others.items() if np.isfinite(values[0])}
        ours = scores[model].values[metric]
        if not others or not np.isfinite(ours[0]):
            continue
        best = min(others, key=lambda name: others[name][0])
        difference = ours - sign * others[best]
        low, high = interval(difference, level)
        ahead, behind = (high < 0, low > 0) if sign > 0 else (low > 0, high < 0)
        found.append(
            {
                "metric": metric,
                "model": model,
                "best": best,
                "value": float(ours[0]),
                "best_value": float(sign * others[best][0]),
                "difference": float(difference[0]),
                "low": low,
                "high": high,
                "outcome": "beats" if ahead else "loses to" if behind else "is not told apart from",
            }
        )
    return found


def verdict(comparisons: Sequence[Mapping], rows: Sequence[Mapping], negative: str, level: float) -> str:
    """Say in words where the model beats the best other method beyond the interval, and where it does not."""
    scaled = {(row["method"], c["metric"]): row[f"{c['metric']}_scaled"] for row in rows for c in comparisons}
    lines = []
    for c in comparisons:
        line = (
            f"{c['metric']}: {c['model']} {c['outcome']} {c['best']}, the best of the others ({c['value']:.3g} against "
            f"{c['best_value']:.3g}; difference {c['difference']:.2g}, {level:.0%} interval {c['low']:.2g} to "
            f"{c['high']:.2g})."
        )
        ours, theirs = (scaled[c[method], c["metric"]] for method in ("model", "best"))
        if np.isfinite(ours):
            line += f" Of the way from {negative} to a replicate they come {ours:.2f} and {theirs:.2f}."
        lines.append(line)
    wins = [c["metric"] for c in comparisons if c["outcome"] == "beats"]
    head = f"{GENOT} beats every baseline and the plain coupling beyond the interval on {len(wins)} of "
    head += f"{len(comparisons)} metrics{': ' * bool(wins)}{', '.join(wins)}."
    return "\n".join([head, *lines])


def trivial(rows: Sequence[Mapping], metrics: Sequence[str]) -> list[dict]:
    """Say for each condition and group how far the best baseline comes on the calibrated scale."""
    found: dict[tuple, dict] = {}
    for row in rows:
        for metric in metrics if row["kind"] == BASELINE else ():
            place, scaled = (row["condition"], row["group"], metric), row[f"{metric}_scaled"]
            if scaled > found.get(place, {"scaled": -np.inf})["scaled"]:  # never of NaN
                named = dict(zip(("condition", "group", "metric"), place, strict=True))
                found[place] = {**named, "method": row["method"], "scaled": scaled}
    return list(found.values())


def make_table(
    parts: Sequence[Part],
    metrics: Mapping[str, Metric],
    *,
    higher_is_better: Sequence[str],
    n_resamples: int,
    level: float,
    seed: int,
) -> pd.DataFrame:
    """Score all parts, and sum them up where there are several.

    Parameters
    ----------
    parts
        Predictions and true cells, in random order.
    metrics
        Metrics by name.
    higher_is_better
        Metrics of which more is better.
    n_resamples, level
        Number of resamples and probability of the intervals.
    seed
        Seed of the resamples; a part has its own, whatever the other parts.

    Returns
    -------
    The table, as of :func:`scgenot.tl.evaluate`.
    """
    negative = parts[0].negative
    scores = [score_part(part, metrics, n_resamples, numpy_rng([seed, k])) for k, part in enumerate(parts)]
    options = {"negative": negative, "higher_is_better": higher_is_better, "level": level}
    whole, rows = scores[0], []
    if len(parts) > 1:
        whole = average(scores)
        rows += as_rows(whole, MEAN, MEAN, **options)
    for part, found in zip(parts, scores, strict=True):
        rows += as_rows(found, part.condition, part.group, **options)
    comparisons = compare(whole, higher_is_better, level)
    table = pd.DataFrame(rows)
    # what pandas compares when tables are joined must be plain
    table.attrs = {
        "metrics": list(metrics),
        "higher_is_better": [name for name in metrics if name in higher_is_better],
        "negative": negative,
        "interval": level,
        "comparisons": comparisons,
        "trivial": trivial(rows, list(metrics)),
        "verdict": verdict(comparisons, rows[: len(whole)], negative, level),
    }
    return table
