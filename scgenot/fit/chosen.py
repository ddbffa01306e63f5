"""What a choice between candidates leaves with a fit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from scgenot._typed import check_fields

CANDIDATE, BASELINE = "candidate", "baseline"
HEADLINE = "edistance"  # the metric that decides
# the same with its bias, which is what sampling alone makes of it, so that it is above 0
BIASED = "edistance_biased"
LEVEL = 0.95
# columns of both tables, and of them those of numbers
FOLDS = ["candidate", "kind", "fold", "metric", "value"]
SUMMARY = ["candidate", "kind", "value", "difference", "low", "high", "chosen", "note"]
NUMBERS = ["value", "difference", "low", "high"]


@dataclass(frozen=True)
class Choice:
    """Scores by fold, and a row for each candidate and baseline, in the order of the candidates."""

    choice: pd.DataFrame
    choice_summary: pd.DataFrame

    @classmethod
    def of(cls, scores: pd.DataFrame, names: list[str], failed: Mapping[str, str]) -> "Choice":
        """Compare candidates with the first that did not fail, over folds; leave it for a better
        one only.
        """
        values = by_fold(scores)
        working = [(CANDIDATE, name) for name in names if name not in failed]
        others = baselines_of(values)
        rows = [summary_row(values, column, working[0]) for column in [*working, *others]]
        table = pd.DataFrame(rows)
        better = table[(table["kind"] == CANDIDATE) & (table["high"] < 0)]
        best = 0 if better.empty else better["difference"].idxmin()
        table["chosen"], table["note"] = table.index == best, ""
        lost = [{"candidate": name, "kind": CANDIDATE, "note": why} for name, why in failed.items()]
        lost = pd.DataFrame(lost, columns=["candidate", "kind", "note"]).assign(chosen=False)
        table = pd.concat([table, lost], ignore_index=True) if len(lost) else table
        table = table[SUMMARY].astype(dict.fromkeys(NUMBERS, float) | {"chosen": bool})
        scores = scores[FOLDS].reset_index(drop=True)
        return cls(as_text_index(scores), as_text_index(table))

    @property
    def chosen(self) -> str:
        """Name of the candidate that was chosen."""
        return str(self.choice_summary["candidate"][self.choice_summary["chosen"]].iloc[0])

    def winning_baseline(self, left_out: tuple[str, ...] = ()) -> dict | None:
        """Return the best baseline when it beats the chosen candidate beyond the interval."""
        values, ours = by_fold(self.choice), (CANDIDATE, self.chosen)
        others = [one for one in baselines_of(values) if one[1] not in left_out]
        rows = [summary_row(values, one, ours) for one in others]
        winners = [row for row in rows if row["high"] < 0]
        return min(winners, key=lambda row: row["difference"], default=None)

    def to_dict(self) -> dict:
        """Return what an AnnData can hold."""
        return {"choice": self.choice, "choice_summary": self.choice_summary}

    @classmethod
    def read(cls, entry: Mapping) -> "Choice | None":
        """Read the choice of a fit, None where there was none."""
        if "choice" not in entry:
            return None
        found = cls(entry["choice"], entry["choice_summary"])
        check_fields(found)
        for table, columns in ((found.choice, FOLDS), (found.choice_summary, SUMMARY)):
            if not isinstance(table, pd.DataFrame) or not set(columns) <= set(table):
                raise ValueError("the tables of the choice lack columns")
        if found.choice_summary["chosen"].astype(bool).sum() != 1:
            raise ValueError("the table of candidates has no selected candidate")
        return found


def as_text_index(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as a file gives it back."""
    return table.set_axis(table.index.astype(str))


def by_fold(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the two energy distances, a row each fold and a column each candidate or baseline."""
    known = scores[scores["metric"].isin([HEADLINE, BIASED])]
    columns = ["metric", "kind", "candidate"]
    return known.pivot(index="fold", columns=columns, values="value")


def baselines_of(values: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the baselines that answered in all folds; a dose above is not always there."""
    found = values[HEADLINE].dropna(axis=1)
    return [one for one in found if one[0] == BASELINE]


def summary_row(values: pd.DataFrame, column: tuple[str, str], reference: tuple[str, str]) -> dict:
    """Compare the values of one column with those of another, fold by fold."""
    ours, theirs = (values[HEADLINE, *one].to_numpy(dtype=float) for one in (column, reference))
    # relative to both, so that no fold counts more than others because its cells are far away,
    # and with the bias, so that what sampling makes of equal populations is small
    size = (values[BIASED, *column] + values[BIASED, *reference]).to_numpy(dtype=float)
    difference = np.divide(ours - theirs, size, out=np.zeros_like(size), where=size > 0)
    low, high = paired_interval(difference)
    row = {"candidate": column[1], "kind": column[0], "value": float(ours.mean())}
    return row | {"difference": float(difference.mean()), "low": low, "high": high}


def paired_interval(difference: np.ndarray) -> tuple[float, float]:
    """Interval of the mean of differences over folds, whose training cells overlap."""
    n, mean = len(difference), difference.mean()
    # Nadeau and Bengio 2003, Machine Learning 52:239: fits of overlapping folds are alike, so the
    # variance of the mean is larger than that of independent ones, by the share held out
    variance = difference.var(ddof=1) * (1 / n + 1 / (n - 1))
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt(variance)
    return float(mean - half), float(mean + half)
