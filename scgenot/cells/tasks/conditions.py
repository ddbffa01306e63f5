"""Perturbations, doses and covariates as the numbers that a network is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from scgenot.cells.labels import text_of
from scgenot.cells.tasks.names import Names

# the scale of doses is logarithmic down to this part of the smallest, where no effect may not be
# near yet
DOSE_RANGE = 10
# doses nearer to each other than this part are one: single precision, or the end of a calculation
SAME_DOSE = 1e-5

HELD_OUT_HINT = (
    "fit with `embedding=` (a DataFrame with a row for it) to place perturbations that were not "
    "measured"
)


@dataclass(frozen=True)
class Conditions:
    """The vocabulary of a fit: which perturbations have which token."""

    control: str | None
    tokens: pd.DataFrame
    known: list[str]
    n_slots: int = 1
    separator: str | None = "+"
    doses: tuple[float, float] | None = None
    largest: dict[str, float] = field(default_factory=dict)
    categories: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def n_further(self) -> int:
        """Columns after the slots."""
        return len(self.numbers) + sum(map(len, self.categories.values()))

    @property
    def size(self) -> int:
        """Length of an encoded condition."""
        return self.n_slots * (1 + self.tokens.shape[1]) + self.n_further

    def encode(
        self, name: str, dose: float | None = None, covariates: Mapping[str, object] | None = None
    ) -> np.ndarray:
        """Encode a perturbation."""
        slots = np.zeros((self.n_slots, 1 + self.tokens.shape[1]))
        strength = self.strength(dose)
        places = sorted(self.place(part) for part in self.parts(name))
        if len(places) > self.n_slots:
            raise ValueError(
                f"`target={name!r}` combines {len(places)} perturbations, but the fit has at most "
                f"{self.n_slots}."
            )
        if strength > 0:
            for slot, place in zip(slots, places, strict=False):
                slot[0], slot[1:] = strength, self.tokens.iloc[place]
        return np.concatenate([slots.ravel(), self._encode_covariates(covariates or {})])

    @cached_property
    def names(self) -> Names:
        """How names are read: as in the fit, whose tokens are the names that are known whole."""
        control = None if self.control is None else text_of(self.control)
        return Names(control, self.separator, frozenset(self.tokens.index))

    def same(self, labels: dict, name: object, dose: float | None) -> bool:
        """Say whether the labels of a link are of a perturbation and dose."""
        one, other = (set(self.parts(str(found))) for found in (labels["perturbation"], name))
        return one == other and (dose is None or bool(same_dose(float(labels["dose"]), dose)))

    def parts(self, name: str) -> list[str]:
        """Return the perturbations in a combination, none for the control."""
        return self.names.parts(name)

    def label(self, name: str) -> str:
        """Return the name of a perturbation or combination in the order of :attr:`largest`."""
        return (self.separator or "").join(sorted(self.parts(name)))

    def is_above(self, name: str, dose: float) -> bool:
        """Whether a dose is above the largest of a perturbation, beyond rounding."""
        return dose > self.largest_dose(name) * (1 + SAME_DOSE)

    def largest_dose(self, name: str) -> float:
        """Return the largest dose of a perturbation, of all if unmeasured; 0 for the control."""
        if not self.parts(name):
            return 0.0
        return self.largest.get(self.label(name), self.doses[1])

    def strength(self, dose: float | None) -> float:
        """Return the strength of a dose."""
        if self.doses is None or dose is None:
            return 1.0
        if not np.isfinite(dose) or dose < 0:
            raise ValueError(f"`dose={dose}` must be a number, 0 or more.")
        smallest, largest = self.doses
        unit = smallest / DOSE_RANGE
        return float(np.log1p(dose / unit) / np.log1p(largest / unit))

    def place(self, part: str) -> int:
        """Return the row of a single perturbation among the tokens."""
        if part not in self.tokens.index:
            raise KeyError(
                f"`target` names {part!r}, which the fit has not seen; known are {self.known}. Or "
                f"{HELD_OUT_HINT}."
            )
        return int(self.tokens.index.get_loc(part))

    def _encode_covariates(self, covariates: Mapping[str, object]) -> np.ndarray:
        values = []
        for key, (mean, std) in self.numbers.items():
            values.append((read_number(covariates, key) - mean) / std)
        for key, kinds in self.categories.items():
            values += [key in covariates and text_of(covariates[key]) == kind for kind in kinds]
        return np.array(values, dtype=float)

    def to_dict(self) -> dict:
        """Return what an AnnData can hold."""
        return {
            "control": self.control,
            "names": self.tokens.index.to_numpy(dtype=str),
            "tokens": self.tokens.to_numpy(dtype=float),
            "known": list(self.known),
            "n_slots": self.n_slots,
            "separator": self.separator,
            "doses": None if self.doses is None else list(self.doses),
            "largest_names": list(self.largest),
            "largest_doses": list(self.largest.values()),
            "category_names": list(self.categories),
            "category_values": [value for values in self.categories.values() for value in values],
            "category_sizes": [len(values) for values in self.categories.values()],
            "number_names": list(self.numbers),
            "number_units": np.array(list(self.numbers.values()), dtype=float).reshape(-1, 2),
        }

    @classmethod
    def from_dict(cls, stored: Mapping) -> "Conditions":
        """Make what :meth:`to_dict` took apart; a ValueError when it is damaged."""
        try:
            conditions = cls._read(stored)
            tokens, units = conditions.tokens, list(conditions.numbers.values())
            sizes = [*conditions.largest.values(), *(conditions.doses or ())]
            is_whole = (
                conditions.n_slots >= 1
                and conditions.names  # or a separator that is none
                and np.isfinite(tokens.to_numpy(dtype=float)).all()
                and set(conditions.known) <= set(tokens.index)
                and tokens.index.is_unique
                and np.isfinite(sizes).all()
                and min(sizes, default=1) > 0
                and all(np.isfinite(mean) and 0 < std < np.inf for mean, std in units)
            )
        except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as error:
            raise ValueError(
                f"the stored conditions are damaged ({error!r}): fit again."
            ) from error
        if not is_whole:
            raise ValueError("the stored conditions are damaged (impossible values): fit again.")
        return conditions

    @classmethod
    def _read(cls, stored: Mapping) -> "Conditions":
        """Put the entries together, unchecked."""
        values = iter(map(str, stored["category_values"]))
        sizes = zip(stored["category_names"], stored["category_sizes"], strict=True)
        units = zip(stored["number_names"], stored["number_units"], strict=True)
        names, largest = map(str, stored.get("largest_names", [])), stored.get("largest_doses", [])
        tokens = pd.DataFrame(np.asarray(stored["tokens"]), index=list(map(str, stored["names"])))
        return cls(
            control=stored.get("control"),
            tokens=tokens,
            known=list(map(str, stored["known"])),
            n_slots=int(stored["n_slots"]),
            separator=stored.get("separator"),
            doses=None if stored.get("doses") is None else tuple(map(float, stored["doses"])),
            largest=dict(zip(names, map(float, largest), strict=True)),
            categories={str(key): [next(values) for _ in range(int(size))] for key, size in sizes},
            numbers={str(key): (float(mean), float(std)) for key, (mean, std) in units},
        )


def read_number(covariates: Mapping[str, object], key: str) -> float:
    """Return a numeric covariate, or raise a ValueError that names it."""
    try:
        value = float(covariates[key])
    except (KeyError, TypeError, ValueError):
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(
            f"The covariate {key!r} must be a number, as in the fit; found {covariates.get(key)!r}."
        )
    return value


def same_dose(doses: np.ndarray, dose: float) -> np.ndarray:
    """Whether doses equal one, up to rounding, which the unit of single precision allows for."""
    return np.isclose(doses, dose, rtol=SAME_DOSE, atol=0)


def tidy_doses(doses: np.ndarray) -> np.ndarray:
    """Return doses with those that differ by rounding made equal, and 0 for what rounds to it."""
    levels, codes = np.unique(doses, return_inverse=True)
    levels[levels < 1e-12 * levels.max(initial=0)] = 0
    for k in range(1, len(levels)):
        if same_dose(levels[k], levels[k - 1]):
            levels[k] = levels[k - 1]
    return levels[codes]


def make_tokens(known: Sequence[str], embedding: pd.DataFrame | None) -> pd.DataFrame:
    """Return the token of each perturbation."""
    if embedding is None:
        return pd.DataFrame(np.eye(len(known)), index=list(known))
    if not isinstance(embedding, pd.DataFrame):
        raise TypeError(
            "`embedding` must be a DataFrame indexed by perturbation; found "
            f"{type(embedding).__name__}."
        )
    rows = embedding.set_axis(embedding.index.map(text_of))
    if rows.shape[1] == 0:
        raise ValueError("`embedding` has no columns: nothing tells perturbations apart.")
    lacking = [name for name in known if name not in rows.index]
    if lacking:
        raise ValueError(
            f"`embedding` has no row for {lacking}; its index has {list(rows.index[:5])} ... ."
        )
    if not rows.index.is_unique:
        raise ValueError(
            f"`embedding` has several rows for {list(rows.index[rows.index.duplicated()][:5])}."
        )
    if not all(kind.kind in "biuf" for kind in rows.dtypes):
        raise ValueError(
            f"`embedding` must be numbers; found {sorted({str(kind) for kind in rows.dtypes})}."
        )
    values = rows.to_numpy(dtype=float, na_value=np.nan)
    if not np.isfinite(values).all():
        bad = rows.index[~np.isfinite(values).all(1)]
        raise ValueError(f"`embedding` has NaN or infinite values for {list(bad[:5])}.")
    seen = values[rows.index.get_indexer(list(known))]
    spread = seen.std(0)
    return pd.DataFrame((values - seen.mean(0)) / np.where(spread > 0, spread, 1), index=rows.index)
