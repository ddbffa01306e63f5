"""What an evaluation is made of, and predictions by the model, its coupling and baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._random import numpy_rng, torch_rng
from scgenot.cells.strata import match_stratum, read_strata
from scgenot.fit.evaluation.comparison import COUPLING, Features, Prediction
from scgenot.fit.evaluation.generic import (
    BRIDGE,
    MAX_PLANNED,
    PLAIN_COUPLING,
    bridged_cells,
    moved_cells,
)
from scgenot.fit.fit import Fit
from scgenot.fit.sample import draw_blocks


@dataclass(frozen=True)
class Evaluation:
    """A fit, the cells that were held out of it, and the options of the caller."""

    fit: Fit
    held_out: AnnData | tuple[AnnData, AnnData]
    to_features: Features
    groupby: str | None
    label_key: str | None
    n_cells: int | None
    in_sample: bool
    seed: int
    baselines: bool = True  # whether to predict by anything but the model
    n_planned: int = MAX_PLANNED
    bridge: bool = True  # whether to predict by a light bridge too, which is fitted for it

    @cached_property
    def training(self) -> np.ndarray:
        """Fitted cells in the representation of the fit."""
        return self.fit.cells(self.fit.adata)

    @cached_property
    def source_names(self) -> pd.Index:
        """Names of the fitted source cells, each once."""
        arrays = {id(names): names for names in (link.names("source") for link in self.fit.links)}
        return pd.Index(pd.unique(np.concatenate([*arrays.values()])))

    @cached_property
    def training_groups(self) -> np.ndarray | None:
        """Groups of the fitted cells, None where they are not known."""
        obs, key = self.fit.adata.obs, self.groupby
        known = key is not None and key in obs and not obs[key].isna().any()
        return read_strata(self.fit.adata, [key]) if known else None

    def drawn(self, cells: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
        """Draw one target of each source cell from the model."""
        if condition is not None and condition.ndim == 1:
            condition = np.tile(condition, (len(cells), 1))
        found = draw_blocks(self.fit.model, cells, condition, n_samples=1, seed=self.seed)
        return np.concatenate([block.draws[:, 0] for block in found])

    def coupled(
        self, links: Sequence[int], cells: np.ndarray, strata: Sequence[dict] | None = None
    ) -> np.ndarray | None:
        """Draw a fitted target cell of each source cell from its row of a coupling."""
        rng = numpy_rng([self.seed, 1])
        fitted = [self.fit.links[k] for k in links]
        if any(not link.knows_new_cells for link in fitted):
            return None
        out, chosen = None, choose_links(fitted, strata or [{}] * len(cells), rng)
        for k, link in enumerate(fitted):
            rows = np.flatnonzero(chosen == k)
            if len(rows):
                plan = link.plan(cells[rows])
                drawn = plan.y[plan.sample(generator=torch_rng(rng))[:, 0]].double().cpu().numpy()
                out = np.full((len(cells), drawn.shape[1]), np.nan) if out is None else out
                out[rows] = drawn
        return out if out is not None and np.isfinite(out).all() else None

    def map_predictions(
        self,
        links: Sequence[int],
        query: np.ndarray,
        groups: np.ndarray,
        strata: Sequence[dict],
    ) -> dict[str, Prediction]:
        """Predict by the plain coupling and by the baselines of one space."""
        if not self.baselines:
            return {}
        source, target = (self.fit.rows(links, side) for side in ("source", "target"))
        found, plan = {}, self.coupled(links, query, strata)
        if plan is not None:
            found[PLAIN_COUPLING] = Prediction.of_all(COUPLING, plan)
        own = self.training_groups
        several = own is not None and len(np.unique(groups)) > 1
        three = (own[source], own[target], groups) if several else None
        before, after = self.training[source], self.training[target]
        found |= moved_cells(before, after, query, self.seed, three, self.n_planned)
        if self.bridge:
            found[BRIDGE] = bridged_cells(before, after, query, self.seed)
        return found


def choose_links(links: Sequence, strata: Sequence[dict], rng: np.random.Generator) -> np.ndarray:
    """Choose the link whose coupling each cell takes: of its stratum, or the nearest."""
    shares = np.array([len(link.source_names) for link in links], dtype=float)
    codes, kinds = pd.factorize(pd.Series([tuple(stratum.items()) for stratum in strata]))
    out = np.empty(len(strata), dtype=int)
    for code, kind in enumerate(kinds):
        inside = match_stratum(dict(kind), [link.stratum for link in links])
        cells = codes == code
        out[cells] = rng.choice(inside, cells.sum(), p=shares[inside] / shares[inside].sum())
    return out
