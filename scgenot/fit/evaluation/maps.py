"""Predictions for source cells whose targets were held out: by the model, its coupling, and baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import numpy_rng, torch_rng
from scgenot.cells.keys import COUPLINGS, PAIRS
from scgenot.cells.strata import POOLED, nested_strata, read_strata
from scgenot.fit.evaluation.comparison import COUPLING, Prediction
from scgenot.fit.evaluation.generic import PLAIN_COUPLING, moved_cells
from scgenot.fit.sample import draw_blocks
from scgenot.model import Genot
from scgenot.ot.store import from_arrays


@dataclass(frozen=True)
class Fitted:
    """The cells that a fit has coupled, looked up by name."""

    entry: dict
    names: pd.Index
    cells: np.ndarray
    groups: np.ndarray | None

    def side(self, pairs: Sequence[int], side: str) -> np.ndarray:
        """Positions of the source or target cells of some rows of the table of pairs, each once."""
        stored = self.entry[COUPLINGS]
        wanted = pd.unique(
            np.concatenate(
                [np.asarray(stored[str(row)][f"{side}_names"], dtype=str) for row in pairs]
            )
        )
        found = self.names.get_indexer(wanted)
        if (found < 0).any():
            raise ValueError(
                f"`fitted` lacks {(found < 0).sum()} of {len(found)} cells that were fitted, by obs name: pass the "
                "AnnData as it was fitted; baselines are made of its cells."
            )
        return found


def read_fitted(fitted: AnnData, entry: dict, cells: np.ndarray, groupby: str | None) -> Fitted:
    """Look up the cells of a fit, and their groups where they have any."""
    known = groupby is not None and groupby in fitted.obs and not fitted.obs[groupby].isna().any()
    return Fitted(entry, fitted.obs_names, cells, read_strata(fitted, [groupby]) if known else None)


def drawn(genot: Genot, cells: np.ndarray, condition: np.ndarray | None, seed: int) -> np.ndarray:
    """Draw one target of each source cell from the model."""
    found = draw_blocks(genot, cells, condition, n_samples=1, guidance=1.0, seed=seed)
    return np.concatenate([block.draws[:, 0] for block in found])


def coupled(
    fit: Fitted, pairs: Sequence[int], cells: np.ndarray, nested: Sequence[np.ndarray], seed: int
) -> np.ndarray:
    """Draw a fitted target cell of each source cell from its row of the coupling."""
    stored, table = fit.entry[COUPLINGS], fit.entry[PAIRS].iloc[list(pairs)]
    out, rng = np.full(cells.shape, np.nan), numpy_rng([seed, 1])
    if any("dual" not in stored[str(row)] for row in pairs):
        return out
    part = choose_pairs(table, nested or [np.full(len(cells), "", dtype=object)], rng)
    for k, row in enumerate(pairs):
        chosen = np.flatnonzero(part == k)
        if len(chosen):
            plan = from_arrays(stored[str(row)]["dual"], cells[chosen])
            out[chosen] = plan.y[plan.sample(generator=torch_rng(rng))[:, 0]].double().numpy()
    return out


def choose_pairs(
    table: pd.DataFrame, nested: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Choose the pair whose coupling each cell takes."""
    fitted, share = table["stratum"].to_numpy(dtype=object), table["n_source"].to_numpy(dtype=float)
    out = np.empty(len(nested[0]), dtype=int)
    for strata in reversed(nested):
        for label in pd.unique(strata):
            inside = np.array(
                [not label or name == label or name.startswith(f"{label} | ") for name in fitted]
            )
            if not label and POOLED in fitted:
                inside = fitted == POOLED
            if inside.any():
                cells = strata == label
                out[cells] = rng.choice(
                    len(table), cells.sum(), p=share * inside / (share * inside).sum()
                )
    return out


def held_out_strata(held_out: AnnData, keys: Sequence[str], rows: np.ndarray) -> list[np.ndarray]:
    """Read the strata of held-out cells, by as many of the first columns as are there without gaps."""
    known = list(
        takewhile(lambda key: key in held_out.obs and not held_out.obs[key].isna().any(), keys)
    )
    return [strata[rows] for strata in nested_strata(held_out, known)]


def map_predictions(
    fit: Fitted,
    pairs: Sequence[int],
    query: np.ndarray,
    groups: np.ndarray,
    nested: Sequence[np.ndarray],
    seed: int,
) -> dict[str, Prediction]:
    """Predict by the plain coupling and by the baselines of one space."""
    source, target = (fit.side(pairs, side) for side in ("source", "target"))
    before, after = fit.cells[source], fit.cells[target]
    found = {}
    plan = coupled(fit, pairs, query, nested, seed)
    if np.isfinite(plan).all():
        found[PLAIN_COUPLING] = Prediction.of_all(COUPLING, plan)
    three = fit.groups is not None and len(np.unique(groups)) > 1
    sides = (fit.groups[source], fit.groups[target], groups) if three else None
    return found | moved_cells(before, after, query, seed, sides)
