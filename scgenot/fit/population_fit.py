"""A fit of populations, its task and model, written to and read from `uns[key]`."""

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._check import usable_device
from scgenot._outcome import Outcome
from scgenot._random import seed_of
from scgenot._typed import check_type
from scgenot.cells.embedding import embedding_of
from scgenot.cells.keys import Keys
from scgenot.cells.population_task import PopulationTask
from scgenot.cells.populations import N_CELLS
from scgenot.cells.write import plain, predicted_slots, write_slots
from scgenot.fit import storage
from scgenot.fit.defaults import CELL_LEARNERS, check_learner
from scgenot.fit.fit import Fit
from scgenot.fit.stored_model import DAMAGE, read_model
from scgenot.model import (
    CloudFlow,
    CloudPopulations,
    GaussianPopulations,
    PopulationData,
    PopulationFlow,
    Run,
)
from scgenot.model.files import digest, kind_of

KINDS = {"gaussian": GaussianPopulations, "cloud": CloudPopulations}
FILES = {made.kind: made for made in (CloudFlow, PopulationFlow)}


@dataclass(repr=False)
class PopulationFit:
    """Result of a fit of populations.

    Parameters
    ----------
    task
        Which cells form a population, its conditions and its paired population.
    table
        One row for each fitted population: its conditions and number of cells.
    history
        Loss and validation by step.
    provenance
        Learner, seed and embedding of the cells.
    key
        Name of the fit in `uns`.
    adata
        The fitted cells.
    outcomes
        How the training ended.
    make_model
        Function that makes the model when it is first used.
    """

    task: PopulationTask
    table: pd.DataFrame
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    provenance: dict = field(default_factory=dict)
    key: str = "populations"
    adata: AnnData | None = field(default=None, repr=False)
    outcomes: tuple[Outcome, ...] = ()
    make_model: object = field(default=None, repr=False)

    # as those who decode ask of any fit
    one_space, links, target_embedding = True, (), None

    @classmethod
    def make(
        cls,
        adata: AnnData,
        population_key: str,
        condition,
        paired_with,
        *,
        kind: str,
        learner,
        use_rep: str | None,
        layer: str | None,
        key: str,
        rng=0,
        device: str | None = None,
        progress: bool = True,
    ) -> "PopulationFit":
        """Read the populations and learn from them; `adata` is not changed."""
        seed, device = seed_of(rng), usable_device(device)
        task, targets, sources = PopulationTask.read(
            adata, population_key, condition, paired_with, use_rep=use_rep, layer=layer
        )
        storage.check_free(adata, key, task)
        learner = KINDS[kind]() if learner is None else learner
        check_learner(learner, CELL_LEARNERS, "sg.model.GaussianPopulations()")
        encoded = task.conditions.encode(targets.obs)
        groups = task.conditions.groups(targets.obs)
        if sources is not None:
            groups = np.unique(sources.names, return_inverse=True)[1]
        clouds = [ordered(cloud) for cloud in targets]
        partners = None if sources is None else [ordered(cloud) for cloud in sources]
        data = PopulationData(clouds, encoded, groups, partners, targets.names)
        learned = learner(data, Run(seed, device, progress))
        table = targets.obs[[*task.conditions.columns, N_CELLS]]
        made_by = {
            **storage.provenance(None, learner, seed),
            "embedding": embedding_digest(adata, task.use_rep),
        }
        return cls(
            *(task, table, learned.history, made_by, key, adata, learned.outcomes),
            make_model=lambda: learned.model,
        )

    @cached_property
    def model(self):
        """The model, made when it is first used."""
        return self.make_model()

    @property
    def params(self) -> dict:
        """Options of the fit, sufficient to repeat it."""
        return {"task": self.task.name, **self.task.to_dict(), **self.provenance}

    def __repr__(self) -> str:
        """Say what was fitted."""
        ends = ", ".join(outcome.label for outcome in self.outcomes) or "not known"
        return (
            f"Fit of key {self.key!r}: {len(self.table)} populations of "
            f"{self.task.population_key!r}, conditions {self.task.conditions.columns}\n"
            f"    ended: {ends}"
        )

    def on(self, device: str | None) -> "PopulationFit":
        """Put the model where it is to compute."""
        place = usable_device(device)
        return replace(self, make_model=lambda: self.model.to(place))

    def write(self, adata: AnnData) -> None:
        """Write the fit to `uns[key]`, in the place of any older one."""
        config, weights = self.model.to_arrays()
        entry = {
            "version": storage.VERSION,
            storage.PARAMS: plain(self.params),
            storage.MODEL: {
                "type": type(self.model).__name__,
                "config": json.dumps(config),
                "weights": weights,
                "digest": digest(weights),
            },
            storage.HISTORY: self.history,
            storage.POPULATIONS: self.table,
            storage.OUTCOMES: [outcome.label for outcome in self.outcomes],
        }
        remove = [*predicted_slots(adata, self.key), ("obs", Keys(self.key).growth)]
        write_slots(adata, uns={self.key: entry}, remove=remove)

    @classmethod
    def read(cls, adata: AnnData, key: str) -> "PopulationFit":
        """Read what :meth:`write` wrote, after a file too."""
        entry = storage.entry_of(adata, key)
        if storage.POPULATIONS not in entry:
            raise ValueError(
                f"`key={key!r}` is a fit of cells, not of populations: run "
                "`sg.tl.fit_populations`, or use `sg.tl.simulate`."
            )
        try:
            params, table = entry[storage.PARAMS], entry[storage.POPULATIONS]
            check_type(storage.POPULATIONS, table, pd.DataFrame)
            names = ("solver", "learner", "rng", "embedding")
            return cls(
                PopulationTask.from_dict(params),
                table,
                entry[storage.HISTORY],
                {name: params.get(name) for name in names},
                key,
                adata,
                tuple([Outcome.of(str(label)) for label in entry.get(storage.OUTCOMES, [])]),
                make_model=lambda: read_model(entry[storage.MODEL], key),
            )
        except DAMAGE as error:
            raise ValueError(
                f"uns[{key!r}] is damaged ({type(error).__name__}: {error}): fit again, or read "
                "the file as it was written."
            ) from error

    def check_embedding(self) -> None:
        """Raise where the fitted cells were embedded anew, in whose space new ones are placed."""
        stored = self.provenance.get("embedding")
        if stored and embedding_digest(self.adata, self.task.use_rep) != stored:
            raise ValueError(
                f"obsm[{self.task.use_rep!r}] is not what it was at the fit: fit again with the "
                "new representation, or bring the old one back."
            )


def ordered(cells: np.ndarray) -> np.ndarray:
    """Order the cells of a population by their coordinates: as they came, they mean nothing."""
    return cells[np.lexsort(cells.T)]


def embedding_digest(adata: AnnData, rep: str | None) -> str:
    """Return a fingerprint of what made a representation; empty where it is not known."""
    embedding = embedding_of(adata, rep)
    return "" if embedding is None else embedding.digest()


def read_any(adata: AnnData, key: str, **own) -> "Fit | PopulationFit":
    """Read the fit of a name, of cells or of populations."""
    if storage.POPULATIONS in storage.entry_of(adata, key):
        return PopulationFit.read(adata, key)
    return Fit.read(adata, key, **own)


def open_populations(adata: AnnData, key: str, model=None, device=None) -> PopulationFit:
    """Return the fit of populations that a verb asks, wherever the user keeps it."""
    if isinstance(model, PopulationFit):
        return model.on(device)
    if model is None or isinstance(model, AnnData):
        return PopulationFit.read(adata if model is None else model, key).on(device)
    if isinstance(model, (str, PathLike)):
        model = FILES.get(kind_of(model), PopulationFlow).load(model)
    if type(model) not in FILES.values():
        raise TypeError(
            "`model` must be a fit of populations, its model or a path to one, or an AnnData; "
            f"found {type(model).__name__}."
        )
    fit = PopulationFit.read(adata, key)
    return replace(fit, make_model=lambda: model).on(device)
