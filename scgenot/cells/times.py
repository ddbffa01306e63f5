"""Read when cells were sampled: numbers, text with a number in it, or ordered categories."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.read import check_anndata, check_column

# a minus counts where it begins a word: "day -1" is before day 0, "day-1" is day 1
_NUMBER = re.compile(r"(?:(?<!\S)-)?\d+(?:\.\d+)?")


def read_times(adata: AnnData, time_key: str) -> np.ndarray:
    """Read the time of each cell as a number."""
    check_anndata(adata)
    check_column(adata, time_key, "time_key")
    column = adata.obs[time_key]
    missing = column.isna().to_numpy()
    if missing.any():
        shown = ", ".join(map(str, adata.obs_names[missing][:3]))
        raise ValueError(
            f"`time_key={time_key!r}` is missing in {missing.sum()} of {len(column)} cells ({shown}): drop those cells "
            "or give them a time."
        )
    if column.dtype.kind in "iuf":
        times = column.to_numpy(dtype=float)
    else:
        times = column.map(label_times(column, time_key)).to_numpy(dtype=float)
    if not np.isfinite(times).all():
        raise ValueError(
            f"`time_key={time_key!r}` has infinite times in {(~np.isfinite(times)).sum()} cells."
        )
    return times


def label_times(column: pd.Series, time_key: str) -> dict[object, float]:
    """Return the time that each label of a column stands for."""
    ordered = isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered
    labels = (
        column.cat.categories[column.cat.categories.isin(column)] if ordered else column.unique()
    )
    found = {label: _number(label) for label in labels}
    unread = [label for label, value in found.items() if value is None]
    values = list(found.values())
    if not unread and len(set(values)) == len(values) and (not ordered or values == sorted(values)):
        return found
    if ordered:
        return {label: float(position) for position, label in enumerate(labels)}
    problem = (
        f"no single number in {list(map(str, unread[:5]))}"
        if unread
        else "two labels stand for one time"
    )
    raise ValueError(
        f"`time_key={time_key!r}` cannot be read as times: {problem}. Use numbers, or an ordered category: "
        f"adata.obs[{time_key!r}] = pd.Categorical(adata.obs[{time_key!r}], categories=[...], ordered=True)."
    )


def _number(label) -> float | None:
    if isinstance(label, (int, float, np.number)) and not isinstance(label, bool):
        return float(label)
    numbers = _NUMBER.findall(str(label))
    return float(numbers[0]) if len(numbers) == 1 else None


def time_labels(times: np.ndarray, column: pd.Series) -> list[str]:
    """Return how the column calls each time, in order of time."""
    first = np.unique(times, return_index=True)[1]
    return column.iloc[first].astype(str).tolist()


def find_time(
    wanted: float | str, known: Sequence[float], labels: Sequence[str], argument: str
) -> float:
    """Find the sampled time that a number or a label means."""
    if str(wanted) in labels:
        return float(known[list(labels).index(str(wanted))])
    value = _number(wanted)
    near = [] if value is None else [time for time in known if np.isclose(time, value)]
    if not near:
        raise ValueError(f"`{argument}={wanted!r}` is not among the sampled times {list(labels)}.")
    return float(min(near, key=lambda time: abs(time - value)))
