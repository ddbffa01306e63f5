"""Couplings within one AnnData: how they are stored and read again, and what they say of growth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from scgenot.cells.keys import COUPLINGS, PAIRS
from scgenot.cells.strata import Linked
from scgenot.fit.fit import growth_ratios
from scgenot.ot import Coupling
from scgenot.ot.store import plan_from_arrays, plan_to_arrays


def store_couplings(
    names: pd.Index, linked: Sequence[Linked], couplings: Sequence[Coupling]
) -> dict[str, dict]:
    """Return what is kept of each coupling, by its row in the table of pairs."""
    stored = {}
    for position, (item, coupling) in enumerate(zip(linked, couplings, strict=True)):
        plan = plan_to_arrays(coupling)
        stored[str(position)] = {
            "source_names": names[item.source].to_numpy(dtype=str),
            "target_names": names[item.target].to_numpy(dtype=str),
            "source_weights": item.pair.source_weights,
            **({"dual": plan} if plan["kind"] == "dual" else {"plan": plan["mass"]}),
        }
    return stored


@dataclass(frozen=True)
class Part:
    """A stored coupling, as far as its cells are there."""

    plan: Coupling | sparse.csr_matrix
    source: np.ndarray
    target: np.ndarray
    n_source: int
    mass: float

    @property
    def n_gone(self) -> int:
        """Cells of the fit that are not there."""
        return self.n_source - len(self.source) + int((self.target < 0).sum())


def read_part(
    entry: dict, row: int, names: pd.Index, cells: np.ndarray, device: str | None
) -> Part:
    """Couple the cells of a pair again."""
    stored = entry[COUPLINGS][str(row)]
    source, target = (names.get_indexer(stored[f"{side}_names"]) for side in ("source", "target"))
    there = np.flatnonzero(source >= 0)
    n_source, source = len(source), source[there]
    if not len(there):
        return Part(sparse.csr_matrix((0, len(target))), source, target, n_source, 1.0)
    if "plan" in stored:
        plan = sparse.csr_matrix(stored["plan"])
        return Part(plan[there], source, target, n_source, float(plan.sum()))
    plan = plan_from_arrays(
        stored["dual"], cells[source], there, stored["source_weights"][there], device=device
    )
    mass = 1.0 if set(plan.tau) == {1.0} else float(entry[PAIRS]["mass"].iloc[row])
    return Part(plan, source, target, n_source, mass)


def pair_labels(linked: Sequence[Linked], table: pd.DataFrame) -> pd.DataFrame:
    """Put what each pair is before how it was solved."""
    labels = pd.DataFrame([item.labels for item in linked], index=table.index)
    return pd.concat([table[["name"]], labels, table.drop(columns="name")], axis=1)


def growth_of(n: int, linked: Sequence[Linked], couplings: Sequence[Coupling]) -> np.ndarray | None:
    """Return the mass that each cell sends, of 1 in the mean cell."""
    growth, known = np.full(n, np.nan), False
    for item, coupling in reversed(list(zip(linked, couplings, strict=True))):
        ratios = growth_ratios(coupling, weights_are_growth=True)
        known |= ratios is not None
        growth[item.source] = 1 if ratios is None else ratios[0].double().cpu().numpy()
    return growth if known else None
