"""Times of cells: numbers, text with one number each, or ordered categories."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._warn import warn_user
from scgenot.cells.labels import factorize, like_column, text_of, texts_of
from scgenot.cells.read import check_anndata, check_column

logger = logging.getLogger("scgenot")

# a sign or a leading point counts where a word begins: "day -1" is before day 0, "day.5" is day 5
_NUMBER = re.compile(r"(?:(?<!\S)[-+])?(?:[0-9]+(?:\.[0-9]+)?|(?:(?<=[-+])|(?<!\S))\.[0-9]+)")
_PLAIN = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_ORDERED = (
    "Use a column of numbers in one unit, or an ordered category: adata.obs[{key!r}] = "
    "pd.Categorical(adata.obs[{key!r}], categories=[...], ordered=True)."
)


@dataclass(frozen=True)
class TimeScale:
    """Times of a course as numbers, and what the column of obs calls them.

    Parameters
    ----------
    times
        The times in increasing order, shape `(n,)`.
    labels
        The label of each, as the column holds them.
    prefix, suffix
        What stands before and after the number in each label, of text.
    ordinal
        Whether times are positions of ordered categories, because labels have no numbers to go by.

    See Also
    --------
    like_column : puts labels into a column of the same dtype.
    """

    times: np.ndarray
    labels: pd.Index
    prefix: str = ""
    suffix: str = ""
    ordinal: bool = False

    @classmethod
    def read(cls, adata: AnnData, time_key: str) -> tuple["TimeScale", np.ndarray]:
        """Read the scale of a column, and the time of each cell.

        Raises
        ------
        KeyError
            When there is no such column.
        ValueError
            When times are missing, infinite, dates, or text without one number, prefix and suffix.
        """
        check_anndata(adata)
        check_column(adata, time_key, "time_key")
        column = adata.obs[time_key]
        missing = column.isna().to_numpy()
        if missing.any():
            shown = ", ".join(map(str, adata.obs_names[missing][:3]))
            raise ValueError(
                f"`time_key={time_key!r}` is missing in {missing.sum()} of {len(column)} cells "
                f"({shown}): drop those cells or give them a time."
            )
        codes, labels = factorize(column)
        ordered = isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered
        scale = _ordered_scale(labels, time_key) if ordered else _scale(labels, time_key)
        bad = ~np.isfinite(scale.times)
        if bad.any():
            n_bad = int(np.isin(codes, np.flatnonzero(bad)).sum())
            raise ValueError(f"`time_key={time_key!r}` has infinite times in {n_bad} cells.")
        order = np.argsort(scale.times)
        in_order = replace(scale, times=scale.times[order], labels=labels[order])
        return in_order, scale.times[codes]

    def times_of(self, column: pd.Series, *, new: bool = False) -> np.ndarray:
        """Return the time of each cell, shape `(n,)`, times not of the scale if `new`; else NaN."""
        codes, labels = factorize(column)
        # ordered categories are not read anew: positions would shift when the first ones are gone
        found = [self._known(label, by_number=not self.ordinal) for label in labels]
        if new and not self.ordinal:
            pairs = zip(labels, found, strict=True)
            found = [self._number(label) if time is None else time for label, time in pairs]
        return np.array([*found, None], dtype=float)[codes]

    def find(self, wanted, argument: str) -> float:
        """Return the time that a number or a label means; `argument` is named in the error."""
        found = self._known(wanted, by_number=True)
        if found is None:
            raise ValueError(
                f"`{argument}={wanted!r}` is not among the sampled times {self.texts}."
            )
        return found

    def label(self, time: float):
        """Return what the column calls a time: its own value, or for a new time one like it."""
        found = self._known(time, by_number=True)
        if found is not None:
            return self.labels[int(np.flatnonzero(self.times == found)[0])]
        if self.labels.dtype.kind in "iuf":
            return like_column([time], pd.Series(self.labels))[0]
        return f"{self.prefix}{text_of(float(time))}{self.suffix}"

    def labels_of(self, times: np.ndarray) -> np.ndarray:
        """Return what the column calls each of some times, shape `(n,)`."""
        found, codes = np.unique(times, return_inverse=True)
        return np.array([self.label(time) for time in found], dtype=object)[codes]

    @cached_property
    def texts(self) -> list[str]:
        """The labels as text, in order of time."""
        return texts_of(self.labels)

    def to_dict(self) -> dict:
        """Return what an AnnData can hold, on disk too."""
        is_text = self.labels.dtype.kind not in "iufb"
        return {
            "times": np.asarray(self.times, dtype=float),
            "labels": np.array(self.texts) if is_text else self.labels.to_numpy(),
            "prefix": self.prefix,
            "suffix": self.suffix,
            "ordinal": self.ordinal,
        }

    @classmethod
    def from_dict(cls, stored: Mapping) -> "TimeScale":
        """Make what :meth:`to_dict` took apart; a ValueError when it is damaged."""
        try:
            times = np.asarray(stored["times"], dtype=float)
            labels = pd.Index(np.asarray(stored["labels"]))
            words = [str(stored[name]) for name in ("prefix", "suffix")]
            ordinal = bool(stored["ordinal"])
            whole = times.ndim == 1 and len(times) == len(labels) and labels.is_unique
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the stored times are damaged ({error!r}): fit again.") from error
        if not whole or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise ValueError(
                f"the stored times are damaged (times {stored['times']}, labels "
                f"{stored['labels']}): fit again."
            )
        return cls(times, labels, *words, ordinal)

    def _known(self, wanted, *, by_number: bool) -> float | None:
        """The time of the scale that a label or a number is, if any."""
        if isinstance(wanted, (bool, np.bool_)):
            return None
        if text_of(wanted) in self.texts:
            return float(self.times[self.texts.index(text_of(wanted))])
        value = self._number(wanted) if by_number else None
        near = [] if value is None else [time for time in self.times if np.isclose(time, value)]
        return float(min(near, key=lambda time: abs(time - value))) if near else None

    def _number(self, label) -> float | None:
        """The number in a label that is written as those of this scale, or is a plain number."""
        parsed = _parse(label)
        if parsed is None or (parsed[0], parsed[2]) not in (("", ""), (self.prefix, self.suffix)):
            return None
        return parsed[1]


def _parse(label) -> tuple[str, float, str] | None:
    """What stands before the number in a label, the number, what stands behind; None if unclear."""
    if isinstance(label, (int, float, np.number)) and not isinstance(label, (bool, np.timedelta64)):
        try:
            return "", float(label), ""
        except OverflowError:  # an integer beyond all numbers
            return None
    if not isinstance(label, str):
        return None
    text = label.strip().replace("\N{MINUS SIGN}", "-")
    if _PLAIN.fullmatch(text):
        return "", float(text), ""
    found = list(_NUMBER.finditer(text))
    if len(found) != 1:
        return None
    start, end = found[0].span()
    return text[:start], float(found[0].group()), text[end:]


def _scale(labels: pd.Index, time_key: str) -> TimeScale:
    """Read labels as numbers with one prefix and one suffix."""
    advice = _ORDERED.format(key=time_key)
    if labels.dtype.kind in "mM":
        raise ValueError(
            f"`time_key={time_key!r}` has dates or durations: use a column of numbers, such as "
            f"days: (column - column.min()) / pd.Timedelta('1D')."
        )
    parsed = [_parse(label) for label in labels]
    unread = [label for label, value in zip(labels, parsed, strict=True) if value is None]
    if unread:
        raise ValueError(
            f"`time_key={time_key!r}` cannot be read as times: no single number in "
            f"{list(map(str, unread[:5]))}. {advice}"
        )
    if not parsed:
        return TimeScale(np.empty(0), labels)
    prefix, _, suffix = parsed[0]
    for label, (before, _, behind) in zip(labels, parsed, strict=True):
        if (before, behind) != (prefix, suffix):
            raise ValueError(
                f"`time_key={time_key!r}` cannot be read as times: {str(labels[0])!r} and "
                f"{str(label)!r} differ in more than a number, which may be their unit. {advice}"
            )
        if before.rstrip().endswith(("-", "\N{EN DASH}", "\N{EM DASH}")):
            raise ValueError(
                f"`time_key={time_key!r}` cannot be read as times: the sign in {str(labels[0])!r} "
                f"and {str(labels[-1])!r} may be a minus or a hyphen. {advice}"
            )
    times = np.array([time for _, time, _ in parsed])
    for time in times[pd.Series(times).duplicated()][:1]:
        twice = [str(label) for label in labels[times == time]]
        raise ValueError(
            f"`time_key={time_key!r}` cannot be read as times: two labels stand for one time, "
            f"{twice[0]!r} and {twice[1]!r}. {advice}"
        )
    return TimeScale(times, labels, prefix, suffix)


def _ordered_scale(labels: pd.Index, time_key: str) -> TimeScale:
    """Read ordered categories: their numbers where these rise in one unit, else positions."""
    try:
        scale = _scale(labels, time_key)
        if (np.diff(scale.times) > 0).all():
            shown = ", ".join(f"{time:g}" for time in scale.times)
            logger.info(
                f"obs[{time_key!r}]: times are the numbers of the ordered categories, {shown}."
            )
            return scale
    except ValueError:
        pass
    message = (
        f"`time_key={time_key!r}`: the ordered categories {list(map(str, labels))} are treated as "
        f"equidistant, at 0 to {len(labels) - 1}."
    )
    if any(character.isdigit() for label in labels for character in str(label)):
        warn_user(f"{message} Use a column of numbers in one unit for other distances.")
    else:
        logger.info(message)
    return TimeScale(np.arange(len(labels), dtype=float), labels, ordinal=True)
