"""A link as a fit keeps it: its cells by name, and its plan as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._typed import check_type
from scgenot.cells.labels import text_of
from scgenot.fit.shared import Shared
from scgenot.ot.plan import Plan
from scgenot.ot.store import plan_from_arrays, plan_to_arrays
from scgenot.pair import Link

# entries of a stored link with the shares that a partial plan keeps
KEPT = "source_kept", "target_kept"


@dataclass(frozen=True)
class StoredLink:
    """The cells of a link by name, and its plan as arrays."""

    source_names: np.ndarray
    target_names: np.ndarray
    source_weights: np.ndarray
    arrays: dict = field(repr=False)
    labels: dict[str, object]
    stratum: dict[str, str]
    within: bool
    mass: float
    width: int  # columns of the source cells that the plan's cost looks at
    # shares of source and of target cells that a partial plan keeps
    kept: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, link: Link, adata: AnnData, task, known: dict | None = None) -> "StoredLink":
        """Take a coupled link apart; `known` are names that other links have, by their rows."""
        other = adata if link.within else getattr(task, "adata_target", None)
        arrays, known = plan_to_arrays(link.plan), {} if known is None else known
        return cls(
            _named(adata, link.source_rows, known),
            _named(other, link.target_rows, known),
            link.pair.source_weights,
            arrays,
            dict(link.labels),
            {key: text_of(value) for key, value in link.stratum.items()},
            link.within,
            mass_of(link.plan, arrays),
            int(np.shape(getattr(link.plan, "x", link.pair.source))[1]),
            kept_of(link.plan),
        )

    def names(self, side: str) -> np.ndarray:
        """Names of the source or target cells."""
        return self.source_names if side == "source" else self.target_names

    @property
    def knows_new_cells(self) -> bool:
        """Whether the plan has rows for cells that were not fitted."""
        return self.arrays["kind"] == "dual"

    def plan(
        self, source: np.ndarray, rows=None, weights=None, *, device: str | None = None
    ) -> Plan:
        """Couple source cells again: fitted ones at `rows` of the link, or others."""
        if weights is None and rows is not None:
            weights = self.source_weights[rows]
        return plan_from_arrays(self.arrays, source[:, : self.width], rows, weights, device=device)

    def here(self, names: pd.Index, cells: np.ndarray, device: str | None) -> "LinkHere":
        """Couple again the fitted cells that are among some named cells."""
        source, target = (
            names.get_indexer(side) for side in (self.source_names, self.target_names)
        )
        rows = np.flatnonzero(source >= 0)
        n_source, left, kept = len(source), None, None
        # mass that was left behind has no descendants; other mass that is lost is regrown
        scale = n_source / (self.mass if self.kept is None else 1.0)
        if self.kept is not None:
            asked = n_source * self.source_weights[rows]
            kept = self.kept[0][rows]
            left = asked * (1 - kept), 1 - self.kept[1]
        plan = self.plan(cells[source[rows]], rows, device=device) if len(rows) else None
        return LinkHere(plan, source[rows], target, n_source, scale, left, kept)

    def to_dict(self, shared: Shared) -> dict:
        """Return what an AnnData can hold; what other links may have too goes to `shared`."""
        return {
            "source_names": shared.put(self.source_names),
            "target_names": shared.put(self.target_names),
            "source_weights": shared.put(self.source_weights),
            "plan": self.arrays,
            "stratum_keys": np.array(list(self.stratum), dtype=str),
            "stratum_values": np.array(list(self.stratum.values()), dtype=str),
            "within": self.within,
            "mass": self.mass,
            "width": self.width,
            **({} if self.kept is None else dict(zip(KEPT, self.kept, strict=True))),
        }

    @classmethod
    def from_dict(cls, stored: Mapping, labels: dict[str, object], shared: Shared) -> "StoredLink":
        """Make what :meth:`to_dict` took apart, after a file too."""
        keys, values = (map(str, stored[f"stratum_{what}"]) for what in ("keys", "values"))
        source, target = (shared.names(stored[f"{side}_names"]) for side in ("source", "target"))
        weights = shared.weights(stored["source_weights"])
        if weights.shape != source.shape or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError("`source_weights` are not those of the source cells")
        mass = float(stored["mass"])
        if not 0 < mass < np.inf:
            raise ValueError(f"`mass` is {mass}")
        plan = stored["plan"]
        check_type("plan", plan, Mapping)
        n_target = len(plan.get("target", target)), plan.get("mass", np.empty((0, len(target))))
        if {n_target[0], n_target[1].shape[1]} != {len(target)}:
            raise ValueError("`plan` is not one of the target cells")
        return cls(
            source,
            target,
            weights,
            plan,
            labels,
            dict(zip(keys, values, strict=True)),
            bool(stored["within"]),
            mass,
            int(stored["width"]),
            shares_of(stored, (len(source), len(target))),
        )


@dataclass(frozen=True)
class LinkHere:
    """A link coupled again, as far as its cells are there."""

    plan: Plan | None  # None when no source cell is there
    source: np.ndarray  # positions of the source cells that are there
    target: np.ndarray  # positions of all target cells, -1 where gone
    n_source: int  # source cells of the fit
    scale: float  # turns mass of the plan into descendants per cell, 1 in the mean
    # of a partial plan: descendants that source cells lack, shares of targets without ancestors
    left: tuple[np.ndarray, np.ndarray] | None = None
    kept: np.ndarray | None = None  # share of each source cell that it keeps

    @property
    def n_gone(self) -> int:
        """Cells of the fit that are not there."""
        return self.n_source - len(self.source) + int((self.target < 0).sum())


def kept_of(plan) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the shares of source and of target cells that a plan keeps; None of all plans else."""
    found = plan.kept() if hasattr(plan, "kept") else None
    if found is None:
        return None
    # cells without weight keep nothing that could be missed
    return tuple(np.nan_to_num(np.asarray(side.cpu(), dtype=float), nan=1.0) for side in found)


def shares_of(stored: Mapping, sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the stored shares that a partial plan keeps of its cells."""
    if KEPT[0] not in stored:
        return None
    found = tuple(np.asarray(stored[name], dtype=float) for name in KEPT)
    if any(
        side.shape != (n,) or not ((side >= 0) & (side <= 1)).all()
        for side, n in zip(found, sizes, strict=True)
    ):
        raise ValueError("`source_kept` and `target_kept` are not shares of the cells")
    return found


def _named(adata: AnnData | None, rows: np.ndarray, known: dict) -> np.ndarray:
    """Names of cells, one array for the same ones; their numbers where nobody names them."""
    key = id(adata), blake2b(np.ascontiguousarray(rows)).digest()
    if key not in known:
        names = list(map(str, rows)) if adata is None else adata.obs_names[rows]
        known[key] = np.array(names, dtype=str)
    return known[key]


def mass_of(plan, arrays: Mapping) -> float:
    """Return the mass of a plan as it is kept."""
    if "mass" in arrays:
        return float(arrays["mass"].sum())
    balanced = getattr(plan, "is_balanced", True)
    diagnostics = getattr(plan, "diagnostics", None)
    if balanced or diagnostics is None:
        return 1.0
    return float(diagnostics.mass)
