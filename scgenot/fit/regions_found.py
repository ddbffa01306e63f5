"""What a calibration leaves with a fit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scgenot._typed import check_fields


@dataclass(frozen=True)
class Calibration:
    """Thresholds of regions by level, corrections by feature, and the cells that gave them."""

    calibration: pd.DataFrame
    calibration_features: pd.DataFrame
    calibration_strata: list[str]  # columns of obs within whose values regions are made
    calibration_names: np.ndarray  # obs names of the cells that calibrated

    @property
    def levels(self) -> list[float]:
        """Probabilities of the regions."""
        return self.calibration["level"].tolist()

    @classmethod
    def read(cls, entry: Mapping) -> "Calibration | None":
        """Read the calibration of a fit, None where there is none."""
        names = cls.__dataclass_fields__
        if "calibration" not in entry:
            return None
        found = cls(**{name: entry[name] for name in names})
        object.__setattr__(found, "calibration_strata", list(map(str, found.calibration_strata)))
        check_fields(found)
        for table, columns in (
            (found.calibration, ["level", "raw_threshold", "threshold"]),
            (found.calibration_features, ["level", "correction"]),
        ):
            if "O" in {kind.kind for kind in table.dtypes[["level"]]}:
                raise ValueError("the levels of the calibration are not numbers")
            if not table["level"].between(0, 1, inclusive="neither").all():
                raise ValueError("the levels of the calibration are not between 0 and 1")
            known = table[[column for column in columns if column in table]]
            if not len(table) or np.isnan(known.to_numpy(dtype=float)).any():
                raise ValueError("the calibration is empty or has NaN")
        return found
