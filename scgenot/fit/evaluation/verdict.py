"""The verdict of an evaluation in words, and the comparisons that it is made of."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from scgenot.fit.evaluation.comparison import BASELINE, COUPLING, GENOT
from scgenot.fit.evaluation.metrics import MATCHES, error_of

MEAN = "mean"  # the condition and group of the rows that average several
NO_VALUE = "has no value"


def interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Bootstrap interval of the first value by the others, around the value."""
    replicates = values[1:][np.isfinite(values[1:])]
    if len(replicates) == 0:
        return np.nan, np.nan
    tail = (1 - level) / 2
    # of few resamples the usual quantile is too near to the middle; this one is right on average
    low, high = np.quantile(replicates - np.median(replicates), [tail, 1 - tail], method="weibull")
    return float(values[0] + low), float(values[0] + high)


def compare(
    scores: Mapping, higher_is_better: Sequence[str], ideal: Mapping[str, float], level: float
) -> list[dict]:
    """Compare the model with the best baseline and with the coupling that it learned from."""
    found = []
    for metric in scores[GENOT].values:
        model = f"{GENOT}, {MEAN}" if metric in MATCHES and f"{GENOT}, {MEAN}" in scores else GENOT
        values, higher = scores[model].values[metric], metric in higher_is_better
        right = ideal.get(metric)
        ours = error_of(values, right)
        for kind in (BASELINE, COUPLING):
            of_kind = {n: s.values[metric] for n, s in scores.items() if s.kind == kind}
            others = {n: error_of(found, right) for n, found in of_kind.items()}
            others = {n: error for n, error in others.items() if np.isfinite(error[0])}
            if not others:
                continue
            best = (max if higher else min)(others, key=lambda name: others[name][0])
            theirs = others[best]
            low, high = interval(ours - theirs, level)
            ahead, behind = (low > 0, high < 0) if higher else (high < 0, low > 0)
            outcome = "beats" if ahead else "loses to" if behind else "cannot be distinguished from"
            row = {"metric": metric, "model": model, "kind": kind, "best": best, "ideal": right}
            row |= {"value": float(values[0]), "best_value": float(of_kind[best][0])}
            row |= {"difference": float(ours[0] - theirs[0]), "low": low, "high": high}
            row["outcome"] = outcome if np.isfinite(ours[0]) else NO_VALUE
            found.append(row)
    return found


def verdict(
    comparisons: Sequence[Mapping],
    rows: Sequence[Mapping],
    negative: str,
    level: float,
    remarks: Sequence[str] = (),
) -> str:
    """Say where the model beats the best baseline beyond the interval, and where it does not."""
    lines: dict[str, list[str]] = {}
    for c in comparisons:
        start = f"{c['metric']}: {c['model']} "
        if c["outcome"] == NO_VALUE:
            lines[start] = [f"{NO_VALUE} (its predictions are not finite), which counts as a loss"]
            continue
        against = f"the best baseline, {c['best']}" if c["kind"] == BASELINE else c["best"]
        right = c["ideal"]
        what = "difference" if right is None else f"{right:g} is right; difference of the errors"
        text = (
            f"{c['outcome']} {against} ({c['value']:.3g} against {c['best_value']:.3g}; {what} "
            f"{c['difference']:.2g}, {level:.0%} interval {c['low']:.2g} to {c['high']:.2g})"
        )
        scaled = {row["method"]: row[f"{c['metric']}_scaled"] for row in rows}
        ours, theirs = scaled[c["model"]], scaled[c["best"]]
        if c["kind"] == BASELINE and np.isfinite(ours):
            text += f", {ours:.2f} against {theirs:.2f} of the way from {negative} to a replicate"
        lines.setdefault(start, []).append(text)
    details = [start + "; it ".join(texts) + "." for start, texts in lines.items()]
    return "\n".join([headline(comparisons), *remarks, *details])


def headline(comparisons: Sequence[Mapping]) -> str:
    """Count wins and losses against the best baselines, and losses to its own coupling."""

    def which(kind: str, *outcomes: str) -> tuple[int, str]:
        names = [c["metric"] for c in comparisons if c["kind"] == kind and c["outcome"] in outcomes]
        return len(names), f" ({', '.join(names)})" * bool(names)

    counts = Counter(c["kind"] for c in comparisons)
    text = f"{GENOT} cannot be compared: no metric has a value for any baseline."
    if n := counts[BASELINE]:
        wins, won = which(BASELINE, "beats")
        losses, lost = which(BASELINE, "loses to", NO_VALUE)
        text = f"{GENOT} beats the best baseline beyond the interval on {wins} of {n} metrics{won}"
        text += f" and loses on {losses}{lost}."
    behind, names = which(COUPLING, "loses to", NO_VALUE)
    if behind:
        text += " It loses to its own coupling beyond the interval on "
        text += f"{behind} of {counts[COUPLING]} metrics{names}."
    return text


def best_baselines(rows: Sequence[Mapping], metrics: Sequence[str]) -> list[dict]:
    """Say by condition and group how far the best baseline comes on the calibrated scale."""
    found: dict[tuple, dict] = {}
    for row in rows:
        for metric in metrics if row["kind"] == BASELINE else ():
            place, scaled = (row["condition"], row["group"], metric), row[f"{metric}_scaled"]
            if scaled > found.get(place, {"scaled": -np.inf})["scaled"]:  # never of NaN
                named = dict(zip(("condition", "group", "metric"), place, strict=True))
                found[place] = {**named, "method": row["method"], "scaled": scaled}
    return list(found.values())
