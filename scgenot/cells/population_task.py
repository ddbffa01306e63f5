"""Task of a fit of populations: cells, condition and paired population of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._warn import warn_user
from scgenot.cells.labels import as_text, factorize, text_of, texts_of
from scgenot.cells.population_conditions import PopulationConditions
from scgenot.cells.populations import Populations, read_populations
from scgenot.cells.read import check_anndata, check_column, named_rep, representation

FEWEST = 3  # populations to learn from


@dataclass(frozen=True)
class PopulationTask:
    """Populations to generate.

    Parameters
    ----------
    population_key
        Where the populations are.
    use_rep, layer
        Representation of the cells.
    paired_column, paired_label
        Cells with this label are the populations that all others are paired with; None without.
    answer
        Label of the others, where it is one for all.
    conditions
        What populations are described by.
    """

    population_key: str
    use_rep: str | None = None
    layer: str | None = None
    paired_column: str | None = None
    paired_label: object = None
    answer: object = None
    conditions: PopulationConditions = field(default_factory=PopulationConditions)

    name = "populations"

    @classmethod
    def read(
        cls, adata: AnnData, population_key: str, columns, paired_with, *, use_rep, layer
    ) -> "tuple[PopulationTask, Populations, Populations | None]":
        """Read what to fit: the task, the populations, and those that they are paired with."""
        check_anndata(adata)
        columns = [columns] if isinstance(columns, str) else list(columns or ())
        if population_key in columns:
            raise ValueError(
                f"`condition` contains {population_key!r}, the column of populations, but new "
                "populations have new names: remove it."
            )
        task = cls(population_key, named_rep(adata, use_rep, layer), layer)
        if paired_with is None:
            found = read_populations(
                *(adata, population_key),
                use_rep=use_rep,
                layer=layer,
                constant=columns,
                least=FEWEST,
            )
            return (
                replace(task, conditions=PopulationConditions.of(found.obs, columns)),
                found,
                None,
            )
        return task._read_pairs(adata, columns, paired_with)

    def _read_pairs(self, adata: AnnData, columns: list[str], paired_with):
        """Read populations and their sources: one for each label except that of the sources."""
        if not isinstance(paired_with, Mapping) or len(paired_with) != 1:
            raise ValueError(
                f"`paired_with={paired_with!r}` must be a column of obs with the label of the "
                "source cells, such as `{'condition': 'control'}`."
            )
        (column, label), *_ = paired_with.items()
        check_column(adata, column, "paired_with")
        if self.population_key not in adata.obs and self.population_key in adata.obsp:
            raise ValueError(
                f"`population_key={self.population_key!r}` names neighborhoods in obsp, which have "
                "no cells on both sides of `paired_with`: name a column of obs."
            )
        check_column(adata, self.population_key, "population_key")
        texts, partner = as_text(adata.obs[column]), text_of(label)
        labels = [text for text in dict.fromkeys(texts) if text not in (partner, None)]
        if partner not in texts or not labels:
            raise ValueError(
                f"`paired_with={paired_with!r}`: {column!r} needs cells with that label and cells "
                f"with another; found {texts_of(factorize(adata.obs[column])[1])}."
            )
        several = len(labels) > 1
        columns = list(dict.fromkeys([*columns, *([column] if several else [])]))
        task = replace(self, paired_column=column, paired_label=label)
        cells = representation(adata, self.use_rep, layer=self.layer)
        sources = task.partners(adata, cells)
        own, there = as_text(adata.obs[self.population_key]), texts != partner
        there &= np.array([text is not None for text in texts])
        names = own
        if several:
            names = np.array([f"{k} {text}" for k, text in zip(own, texts, strict=True)], object)
        targets = _side(adata, cells, there, self.population_key, names, columns)
        found = [own[there][rows[0]] for rows in targets.rows]
        place = {name: k for k, name in enumerate(sources.names)}
        kept = [k for k, name in enumerate(found) if name in place]
        if len(kept) < FEWEST:
            raise ValueError(
                f"`paired_with={paired_with!r}`: {len(kept)} population(s) of "
                f"{self.population_key!r} have cells on both sides, at least {FEWEST} are needed."
            )
        if len(kept) < len(found):
            warn_user(
                f"{len(found) - len(kept)} populations have no cells with {column!r} = {partner}: "
                "they are ignored."
            )
        targets = targets.select(kept)
        answer = None if several else adata.obs[column].iloc[int(np.flatnonzero(there)[0])]
        conditions = PopulationConditions.of(targets.obs, columns)
        task = replace(task, answer=answer, conditions=conditions)
        return task, targets, sources.select([place[found[k]] for k in kept])

    def partners(self, adata: AnnData, cells: np.ndarray) -> Populations:
        """Read the populations that others are paired with; all, where no column tells."""
        mask = np.ones(adata.n_obs, dtype=bool)
        if self.paired_column in adata.obs:
            mask = as_text(adata.obs[self.paired_column]) == text_of(self.paired_label)
        if not mask.any():
            raise ValueError(
                f"`adata` has no cells with {self.paired_column!r} = {self.paired_label}, the "
                "source populations of the fit."
            )
        check_column(adata, self.population_key, "population_key")
        return _side(adata, cells, mask, self.population_key)

    def to_dict(self) -> dict:
        """Return what an AnnData can hold."""
        own = {name: value for name, value in vars(self).items() if name != "conditions"}
        return {**own, "conditions": self.conditions.to_dict()}

    @classmethod
    def from_dict(cls, stored: Mapping) -> "PopulationTask":
        """Make what :meth:`to_dict` took apart."""
        names = ("use_rep", "layer", "paired_column", "paired_label", "answer")
        own = {name: stored.get(name) for name in names}
        conditions = PopulationConditions.from_dict(stored["conditions"])
        return cls(str(stored["population_key"]), **own, conditions=conditions)


def _side(
    adata: AnnData,
    cells: np.ndarray,
    mask: np.ndarray,
    key: str,
    names: np.ndarray | None = None,
    constant: Sequence[str] = (),
) -> Populations:
    """Read the populations of some cells, under other names where these are given."""
    obs = adata.obs[mask]
    if names is not None:
        obs = obs.assign(**{key: pd.Categorical(names[mask])})
    part = AnnData(obs=obs, obsm={"cells": cells[mask]})
    return read_populations(part, key, use_rep="cells", constant=constant, least=1)
