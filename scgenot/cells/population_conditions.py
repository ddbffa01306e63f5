"""Conditions of populations: columns of obs, encoded as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scgenot.cells.labels import as_text, factorize, text_of, texts_of
from scgenot.cells.tasks.conditions import read_number


@dataclass(frozen=True)
class PopulationConditions:
    """Columns that describe populations: numbers, and categories with their labels.

    Parameters
    ----------
    columns
        Names of the columns.
    numbers
        Mean and standard deviation of numerical columns.
    categories
        Labels, as text, of all other columns.
    """

    columns: list[str] = field(default_factory=list)
    numbers: dict[str, tuple[float, float]] = field(default_factory=dict)
    categories: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, obs: pd.DataFrame, columns: Sequence[str]) -> "PopulationConditions":
        """Take them from a table with a row for each population."""
        numbers, categories = {}, {}
        for column in columns:
            values = obs[column]
            if values.dtype.kind in "iuf" and not isinstance(values.dtype, pd.CategoricalDtype):
                found = values.to_numpy(dtype=float)
                if not np.isfinite(found).all():
                    raise ValueError(f"`condition={column!r}` has infinite values.")
                numbers[column] = float(found.mean()), float(found.std()) or 1.0
            else:
                categories[column] = texts_of(factorize(values)[1])
        return cls(list(columns), numbers, categories)

    @property
    def size(self) -> int:
        """Length of an encoded condition."""
        return len(self.numbers) + sum(map(len, self.categories.values()))

    def encode(self, obs: pd.DataFrame) -> np.ndarray:
        """Encode the rows of a table, shape `(n, size)`."""
        parts = [np.empty((len(obs), 0))]
        for column in self.columns:
            if column in self.numbers:
                mean, std = self.numbers[column]
                rows = [{column: value} for value in obs[column]]
                values = np.array([read_number(row, column) for row in rows])
                parts.append((values[:, None] - mean) / std)
                continue
            texts, known = as_text(obs[column]), self.categories[column]
            unknown = sorted({str(text) for text in texts} - set(known))
            if unknown:
                raise KeyError(
                    f"`condition` has {column!r}: {', '.join(unknown)}, which no fitted population "
                    f"has; known are {known}."
                )
            parts.append((texts[:, None] == np.array(known, dtype=object)).astype(float))
        return np.concatenate(parts, axis=1)

    def groups(self, obs: pd.DataFrame) -> np.ndarray:
        """Which populations to leave out together, to learn what serves for new conditions.

        Populations of one condition, where others tell of it: each of its categories is found in
        another condition too. Else each by itself.
        """
        encoded = self.encode(obs)
        kinds, place = np.unique(encoded, axis=0, return_inverse=True)
        labels = kinds[:, self._places_of_labels()]
        if self.size == 0 or len(kinds) < 3 or (labels.sum(0) < 2).any():
            return np.arange(len(obs))
        return place.reshape(-1)

    def _places_of_labels(self) -> list[int]:
        """Positions of the labels in an encoded condition."""
        places, at = [], 0
        for column in self.columns:
            n = len(self.categories.get(column, [None]))
            places += range(at, at + n) if column in self.categories else []
            at += n
        return places

    def table(self, condition, argument: str = "condition") -> pd.DataFrame:
        """Return conditions that were asked for, one or several, as a table of these columns."""
        if isinstance(condition, Mapping):
            condition = [condition]
        rows = condition if isinstance(condition, pd.DataFrame) else pd.DataFrame(list(condition))
        lacking = [column for column in self.columns if column not in rows]
        odd = [column for column in rows if column not in self.columns]
        if lacking or odd or not len(rows):
            raise ValueError(
                f"`{argument}` has {list(rows)} in {len(rows)} row(s), the fit has the columns "
                f"{self.columns}: give a value for each, such as "
                f"`{argument}={self.example()}`."
            )
        rows = rows[self.columns].reset_index(drop=True)
        for column in self.columns:
            wrong = [value for value in rows[column] if not pd.api.types.is_scalar(value)]
            if wrong:
                raise TypeError(
                    f"`{argument}` has {column!r}: {wrong[0]!r}, which is not one value: give a "
                    "list of dictionaries, one for each condition."
                )
        return rows

    def example(self) -> dict:
        """Return a condition, for messages."""
        first = {column: labels[0] for column, labels in self.categories.items()}
        return {column: first.get(column, 1.0) for column in self.columns}

    def name(self, row: Mapping) -> str:
        """Return a condition as text."""
        return "_".join(text_of(row[column]) for column in self.columns)

    def to_dict(self) -> dict:
        """Return what an AnnData can hold."""
        return {
            "columns": list(self.columns),
            "number_names": list(self.numbers),
            "number_units": np.array(list(self.numbers.values()), dtype=float).reshape(-1, 2),
            "category_names": list(self.categories),
            "category_values": [label for labels in self.categories.values() for label in labels],
            "category_sizes": list(map(len, self.categories.values())),
        }

    @classmethod
    def from_dict(cls, stored: Mapping) -> "PopulationConditions":
        """Make what :meth:`to_dict` took apart; a ValueError when it is damaged."""
        values = iter(map(str, stored["category_values"]))
        sizes = zip(stored["category_names"], stored["category_sizes"], strict=True)
        units = zip(stored["number_names"], stored["number_units"], strict=True)
        made = cls(
            list(map(str, stored["columns"])),
            {str(name): (float(mean), float(std)) for name, (mean, std) in units},
            {str(name): [next(values) for _ in range(int(size))] for name, size in sizes},
        )
        known = {*made.numbers, *made.categories}
        finite = all(np.isfinite(unit).all() and unit[1] > 0 for unit in made.numbers.values())
        if known != set(made.columns) or not finite:
            raise ValueError("the stored conditions are damaged: fit again.")
        return made
