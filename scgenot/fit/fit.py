"""A fit: a task, its links and plans, and the model that was learned from them."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._check import usable_device
from scgenot._outcome import Outcome
from scgenot._random import seed_of
from scgenot._warn import warn_user
from scgenot.cells.embedding import Embedding, target_embedding_of
from scgenot.cells.keys import Keys
from scgenot.cells.lazy import readable
from scgenot.cells.read import check_anndata
from scgenot.cells.tasks.task import check_kind
from scgenot.fit import storage
from scgenot.fit.alone import bare
from scgenot.fit.chosen import Choice
from scgenot.fit.coupled import (
    check_question,
    couple,
    growth_of,
    link_table,
    links_of,
    name_of,
    outcomes_of,
    problems_of,
)
from scgenot.fit.defaults import learn, solver_of, warn_of_components
from scgenot.fit.making import Solver
from scgenot.fit.reference import Reference
from scgenot.fit.regions_found import Calibration
from scgenot.fit.source import read_source, read_targets
from scgenot.fit.stored_link import StoredLink
from scgenot.fit.stored_model import load_model
from scgenot.pair import Link, Question


@dataclass(repr=False)
class Fit:
    """What a fit ended with, made once and read again by every verb.

    Parameters
    ----------
    task
        How AnnData becomes links, and what a `target` means.
    links
        The fitted cells of each pair by name, and their plans.
    table
        One row a link: what it is, and how its plan was solved.
    history
        Loss and validation by step.
    provenance
        Solver, learner and seed, as they are stored.
    key
        Name of the fit in `uns`.
    adata
        The cells that were fitted; None for a model without its fit.
    outcomes
        How the couplings and the training ended.
    reference
        Some of the fitted cells, to tell whether cells belong to the fit.
    confidence
        How the search of a quadratic coupling ended.
    calibration
        Regions found on held-out cells; None before :func:`~scgenot.tl.calibrate`.
    coupling_key
        Where the joint mass is, in `obsp` or `obsm`; None before :func:`~scgenot.tl.coupling`.
    choice
        How several candidates did on held-out cells; None where there was one.
    growth
        Growth of each source cell, of a fit that is not yet written.
    target_embedding
        What made the representation of the target cells, where these are in another AnnData.
    make_model
        Makes the model when it is first asked for.
    """

    task: object
    links: list[StoredLink] = field(default_factory=list)
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    provenance: dict = field(default_factory=dict)
    key: str = "genot"
    adata: AnnData | None = field(default=None, repr=False)
    outcomes: tuple[Outcome, ...] = ()
    confidence: dict | None = None
    reference: Reference | None = None
    calibration: Calibration | None = None
    coupling_key: str | None = None
    choice: Choice | None = None
    growth: np.ndarray | None = None
    target_embedding: Embedding | None = None
    make_model: Callable[[], object] | None = field(default=None, repr=False)

    @classmethod
    def make(
        cls,
        adata: AnnData,
        task,
        *,
        solver: Solver | None = None,
        learner=None,
        predict: bool | None = None,
        key: str = "genot",
        rng=0,
        device: str | None = None,
        progress: bool = True,
    ) -> "Fit":
        """Couple the links of a task and learn a model from them; `adata` is not changed."""
        seed, device = seed_of(rng), usable_device(device)
        task = copy(task)
        links = links_of(task, adata)
        storage.check_free(adata, key, task)
        warn_of_components(learner, adata, task)
        if predict:  # what needs a target is refused before the work
            task.ask(adata)
        solver = solver_of(task, links, solver, device=device, seed=seed)
        links = couple(links, solver, progress=progress)
        run = {"seed": seed, "device": device, "progress": progress}
        return cls.of_coupled(links, adata, task, solver=solver, learner=learner, key=key, **run)

    @classmethod
    def of_coupled(
        cls,
        links: Sequence[Link],
        adata: AnnData,
        task,
        *,
        solver: Solver,
        learner,
        key: str,
        seed: int,
        device: str,
        progress: bool,
    ) -> "Fit":
        """Learn a model from links that a solver has coupled."""
        learned = learn(learner, links, task, seed=seed, device=device, progress=progress)
        confidences, names = [getattr(link.plan, "confidence", None) for link in links], {}
        fit = cls(
            task,
            [StoredLink.of(link, adata, task, names) for link in links],
            link_table(links, task),
            learned.history,
            storage.provenance(solver, learner, seed),
            key,
            adata,
            outcomes_of(links, learned.outcomes),
            confidence=next((found.to_dict() for found in confidences if found), None),
            growth=growth_of(adata.n_obs, links, task),
            make_model=lambda: learned.model,
        )
        fit.reference = Reference.of(links, adata, task, seed)
        fit.target_embedding = target_embedding_of(task)
        return fit

    def write(self, adata: AnnData) -> None:
        """Write the fit to `uns[key]`, in place of an older one."""
        storage.write(self, adata)

    def warn(self) -> None:
        """Warn of problems of the couplings, in one warning for all of them."""
        if problems := problems_of(self.table, self.confidence):
            warn_user(" ".join(problems))

    def __repr__(self) -> str:
        """Say what was fitted in a few lines: names of cells and weights are in the fields."""
        pairs = [str(name) for name in self.table.get("name", [])]
        named = "; ".join([*pairs[:6], *(["..."] if len(pairs) > 6 else [])])
        ends = ", ".join(outcome.label for outcome in self.outcomes) or "not known"
        return (
            f"Fit of key {self.key!r}, task {name_of(self.task)!r}\n"
            f"    {len(pairs)} pairs: {named}\n    ended: {ends}"
        )

    @classmethod
    def read(cls, adata: AnnData, key: str = "genot", **own) -> "Fit":
        """Read the fit of a name: the only reader of `uns[key]`."""
        return storage.read(cls, adata, key, **own)

    @cached_property
    def model(self):
        """The model, made when it is first asked for."""
        return self.make_model()

    def on(self, device: str | None) -> "Fit":
        """Put the model where it is to compute."""
        place = usable_device(device)

        def there():
            model = self.model
            return model.to(place) if hasattr(model, "to") else model

        return replace(self, make_model=there)  # made when asked: couplings need no model

    def with_model(self, model) -> "Fit":
        """Return the same fit with another model."""
        return replace(self, make_model=lambda: model)

    @property
    def params(self) -> dict:
        """What the fit was asked for, enough to repeat it."""
        return {"task": name_of(self.task), **storage.task_dict(self.task), **self.provenance}

    @property
    def keys(self) -> Keys:
        """Names of what is written of the fit."""
        return Keys(self.key)

    @property
    def one_space(self) -> bool:
        """Whether source and target cells are in one space, so that a cell has a displacement."""
        own = all(link.within for link in self.links) and bool(self.links)
        return getattr(self.task, "one_space", own or getattr(self.model, "displacement", False))

    def ask(self, adata: AnnData, target=None, dose: float | None = None) -> Question:
        """Return what the model is asked; checked."""
        return check_question(self.task.ask(adata, target, dose=dose), adata, self.task)

    def cells(self, adata: AnnData, *, use_rep=None, shared_rep=None) -> np.ndarray:
        """Read source cells in the space of the fit; refuse what does not belong to it."""
        return read_source(self, adata, use_rep=use_rep, shared_rep=shared_rep)

    def target_cells(self, adata: AnnData) -> np.ndarray:
        """Read measured target cells in the space of the targets; refuse those embedded anew."""
        return read_targets(self, adata)

    def predicted(self, adata: AnnData) -> dict | None:
        """Return perturbation and dose that `predict` was asked for; None without a record."""
        return adata.uns.get(self.keys.predicted)

    def needs(self, kind: type, verb: str) -> None:
        """Raise a ValueError unless the task is of the kind that a verb is for."""
        check_kind(self.task, kind, verb, self.key)

    def rows(self, links: Sequence[int], side: str) -> np.ndarray:
        """Positions of the source or target cells of some links in AnnData, each once."""
        names = pd.unique(np.concatenate([self.links[k].names(side) for k in links]))
        found = self.adata.obs_names.get_indexer(names)
        if (found < 0).any():
            raise ValueError(
                f"`fitted` lacks {(found < 0).sum()} of {len(found)} cells that were fitted, by "
                "obs name: pass the AnnData as it was fitted; baselines are made of its cells."
            )
        return found


ModelSource = object  # a Genot, a Fit, an AnnData, a path or None


def open_fit(adata: AnnData, key: str, model=None, device: str | None = None) -> Fit:
    """Return the fit that a verb asks, wherever the user keeps it, its model on a device."""
    check_anndata(adata)
    if model is None or isinstance(model, AnnData):
        return Fit.read(adata if model is None else readable(model, "model"), key).on(device)
    if isinstance(model, Fit):
        return model.on(device)
    model = load_model(model)
    # which condition is which is told by its own fit alone
    if storage.has_fit(adata, key) and not getattr(model, "condition_dim", 0):
        return Fit.read(adata, key).with_model(model).on(device)
    return bare(Fit, model, key).on(device)
