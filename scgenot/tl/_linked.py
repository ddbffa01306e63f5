"""Couplings within one AnnData: how they are stored, and what they say of growth."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scgenot.data.strata import Linked
from scgenot.ot import Coupling
from scgenot.ot.store import to_arrays
from scgenot.tl._fit import growth_ratios

# entries kept per source cell of a coupling whose cost is a function that cannot be stored
TOP_K = 200


def store_couplings(names: pd.Index, linked: Sequence[Linked], couplings: Sequence[Coupling]) -> dict[str, dict]:
    """Return what is kept of each coupling, by its row in the table of pairs.

    Parameters
    ----------
    names
        Obs names of all cells.
    linked, couplings
        Pairs and their couplings.

    Returns
    -------
    For each `source_names`, `target_names` and `source_weights`; and `dual`, see
    :func:`~scgenot.ot.store.to_arrays`, or, when the cost cannot be stored, `plan`: the largest entries of each row.
    """
    stored = {}
    for position, (item, coupling) in enumerate(zip(linked, couplings, strict=True)):
        dual = to_arrays(coupling)
        stored[str(position)] = {
            "source_names": names[item.source].to_numpy(dtype=str),
            "target_names": names[item.target].to_numpy(dtype=str),
            "source_weights": item.pair.source_weights,
            **({"dual": dual} if dual is not None else {"plan": coupling.to_sparse(TOP_K)}),
        }
    return stored


def pair_labels(linked: Sequence[Linked], table: pd.DataFrame) -> pd.DataFrame:
    """Put what each pair is before how it was solved."""
    labels = pd.DataFrame([item.labels for item in linked], index=table.index)
    return pd.concat([table[["name"]], labels, table.drop(columns="name")], axis=1)


def growth_of(n: int, linked: Sequence[Linked], couplings: Sequence[Coupling]) -> np.ndarray | None:
    """Return the growth of every cell, relative to the mean of its pair; NaN where a cell is no source.

    A cell that is the source of several pairs has that of the first. None when no coupling knows of growth.
    """
    growth, known = np.full(n, np.nan), False
    for item, coupling in reversed(list(zip(linked, couplings, strict=True))):
        ratios = growth_ratios(coupling, weights_are_growth=True)
        known |= ratios is not None
        values = np.ones(len(item.source)) if ratios is None else ratios[0].double().cpu().numpy()
        growth[item.source] = values / values.mean()
    return growth if known else None
