"""From predictions to a table with intervals, a calibrated scale and a verdict in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scgenot._random import numpy_rng
from scgenot.fit.evaluation.metrics import MATCHES, POPULATIONS, Compared, Counts, Metric
from scgenot.fit.evaluation.parts import BASELINE, CEILING, COUPLING, GENOT, MODEL, SUPERVISED, Part

MEAN = "mean"  # the condition and group of the rows that sum up several
REPLICATE = "replicate"
ORDER = (MODEL, COUPLING, BASELINE, SUPERVISED, CEILING)


@dataclass(frozen=True)
class Score:
    """Values of one method."""

    kind: str
    n_predicted: int
    n_true: int
    values: dict[str, np.ndarray]


Scores = dict[str, Score]  # by method


def score_part(
    part: Part, metrics: Mapping[str, Metric], n_resamples: int, rng: np.random.Generator
) -> Scores:
    """Score all methods of a part, and the ceiling, on the same resamples of the cells."""
    source = resample(part.n_source, n_resamples, rng)
    true = source if part.paired else resample(len(part.true), n_resamples, rng)
    scores = {}
    for name, method in part.methods.items():
        cells, counts = (
            Compared(method.cells, part.true, part),
            Counts(source[:, method.rows], true, source),
        )
        values = {metric: prepare(cells)(counts) for metric, prepare in metrics.items()}
        scores[name] = Score(method.kind, len(method.cells), len(part.true), values)
    half = len(part.true) // 2
    halves = (
        Compared(part.true[:half], part.true[half:], part),
        Counts(true[:, :half], true[:, half:], source),
    )
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
        mean[name] = Score(
            found[0].kind, sum(s.n_predicted for s in found), sum(s.n_true for s in found), values
        )
    return mean


def interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Bootstrap interval of the first value by the others, around the value."""
    replicates = values[1:][np.isfinite(values[1:])]
    if len(replicates) == 0:
        return np.nan, np.nan
    tail = (1 - level) / 2
    # of few resamples the usual quantile is too near to the middle; this one is right on average
    low, high = np.quantile(replicates - np.median(replicates), [tail, 1 - tail], method="weibull")
    return float(values[0] + low), float(values[0] + high)


def as_rows(
    scores: Scores,
    condition: str,
    group: str,
    *,
    negative: str,
    higher_is_better: Sequence[str],
    level: float,
) -> list[dict]:
    """Make one row a method."""
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
    """Compare the model with the best baseline and with the coupling that it learned from."""
    found = []
    for metric in scores[GENOT].values:
        model = f"{GENOT}, {MEAN}" if metric in MATCHES and f"{GENOT}, {MEAN}" in scores else GENOT
        for kind in (BASELINE, COUPLING):
            sign = -1 if metric in higher_is_better else 1
            others = {n: sign * s.values[metric][0] for n, s in scores.items() if s.kind == kind}
            others = {name: value for name, value in others.items() if np.isfinite(value)}
            if others and np.isfinite(scores[model].values[metric][0]):
                best = min(others, key=others.get)
                ours, theirs = (scores[name].values[metric] for name in (model, best))
                result = difference(ours, theirs, level, higher=metric in higher_is_better)
                found.append(
                    {"metric": metric, "model": model, "kind": kind, "best": best, **result}
                )
    return found


def difference(ours: np.ndarray, theirs: np.ndarray, level: float, *, higher: bool) -> dict:
    """Say whether one method is better than another by more than the interval of the difference."""
    low, high = interval(ours - theirs, level)
    ahead, behind = (low > 0, high < 0) if higher else (high < 0, low > 0)
    return {
        "value": float(ours[0]),
        "best_value": float(theirs[0]),
        "difference": float(ours[0] - theirs[0]),
        "low": low,
        "high": high,
        "outcome": "beats" if ahead else "loses to" if behind else "is not told apart from",
    }


def verdict(
    comparisons: Sequence[Mapping], rows: Sequence[Mapping], negative: str, level: float
) -> str:
    """Say in words where the model beats the best baseline beyond the interval, and where it does not."""
    lines = {}
    for c in comparisons:
        scaled = {row["method"]: row[f"{c['metric']}_scaled"] for row in rows}
        ours, theirs = scaled[c["model"]], scaled[c["best"]]
        text = f"the best baseline, {c['best']}" if c["kind"] == BASELINE else c["best"]
        text = (
            f"{c['outcome']} {text} ({c['value']:.3g} against {c['best_value']:.3g}; difference "
            f"{c['difference']:.2g}, {level:.0%} interval {c['low']:.2g} to {c['high']:.2g})"
        )
        if c["kind"] == BASELINE and np.isfinite(ours):
            text += f", {ours:.2f} against {theirs:.2f} of the way from {negative} to a replicate"
        lines.setdefault(f"{c['metric']}: {c['model']} ", []).append(text)
    found = [c for c in comparisons if c["kind"] == BASELINE]
    wins, losses = (
        [c["metric"] for c in found if c["outcome"] == how] for how in ("beats", "loses to")
    )
    head = f"{GENOT} beats the best baseline beyond the interval on {len(wins)} of {len(found)} metrics"
    head += f" ({', '.join(wins)})" * bool(wins) + f" and loses on {len(losses)}"
    head += f" ({', '.join(losses)})" * bool(losses) + "."
    return "\n".join([head, *(start + "; it ".join(texts) + "." for start, texts in lines.items())])


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
    """Score all parts, and sum them up where there are several."""
    negative = parts[0].negative
    scores = [
        score_part(part, metrics, n_resamples, numpy_rng([seed, k])) for k, part in enumerate(parts)
    ]
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
