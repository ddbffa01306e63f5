"""A fit in AnnData: the only place that reads and writes `uns[key]`."""

import json
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._outcome import Outcome
from scgenot._typed import check_fields, check_type
from scgenot.cells.embedding import Embedding
from scgenot.cells.keys import Keys
from scgenot.cells.tasks import Screen, TimeCourse, Translation
from scgenot.cells.write import check_finite, is_fit, plain, predicted_slots, write_slots, writing
from scgenot.fit.chosen import Choice
from scgenot.fit.coupled import PAGE, name_of
from scgenot.fit.reference import Reference
from scgenot.fit.regions_found import Calibration
from scgenot.fit.shared import Shared
from scgenot.fit.stored_link import StoredLink
from scgenot.fit.stored_model import DAMAGE, MODELS, OWN, read_model, remember, remember_parts
from scgenot.model import Genot
from scgenot.model.files import digest

VERSION = 2
MODEL, PARAMS, HISTORY, PAIRS, LINKS = "model", "params", "history", "pairs", "links"
SHARED = "shared"
REFERENCE, CONFIDENCE, CALIBRATION = "reference", "confidence", "calibration"
TARGET_EMBEDDING = "target_embedding"
POPULATIONS = "populations"  # of a fit of populations
OUTCOMES, COUPLING_KEY, COUPLING_NAMES = "outcomes", "coupling_key", "coupling_names"
KINDS = {
    **dict.fromkeys((PARAMS, MODEL, LINKS, SHARED), Mapping),
    **dict.fromkeys((HISTORY, PAIRS), pd.DataFrame),
    REFERENCE: Mapping | None,
    CONFIDENCE: Mapping | None,
    COUPLING_KEY: str | None,
}
TASKS = {task.name: task for task in (Screen, TimeCourse, Translation)}


def provenance(solver, learner, seed: int) -> dict:
    """Return how a fit was made, as what can be stored."""
    return {"solver": described(solver), "learner": described(learner), "rng": seed}


def described(options) -> dict | str | None:
    """Return a solver or learner as its type and fields, or its name."""
    if options is None or not is_dataclass(options):
        return None if options is None else getattr(options, "__name__", type(options).__name__)
    names = [entry.name for entry in fields(options) if entry.name != "checkpoint"]  # a path
    own = {name: getattr(options, name) for name in names}
    return {"type": type(options).__name__, **own}


def task_dict(task) -> dict:
    """Return what a task keeps of itself."""
    rep = {"use_rep": getattr(task, "use_rep", None)}
    return task.to_dict() if hasattr(task, "to_dict") else rep


def write(fit, adata: AnnData) -> None:
    """Write a fit to `uns[key]`, in the place of any older one; what that one predicted goes."""
    Keys(fit.key)
    model = fit.model
    if type(model) not in MODELS.values():
        remember(type(model))
    elif isinstance(model, Genot):
        for part in (model.field, getattr(model.field, "encoder", None)):
            if part is not None and not type(part).__module__.startswith("scgenot."):
                remember(type(part))
    if type(fit.task) not in TASKS.values():
        OWN[name_of(fit.task)] = type(fit.task)
    shared = Shared()
    links = {str(k): link.to_dict(shared) for k, link in enumerate(fit.links)}
    entry = {
        "version": VERSION,
        PARAMS: plain(fit.params),
        MODEL: model_entry(model),
        HISTORY: fit.history,
        PAIRS: fit.table,
        LINKS: links,
        SHARED: shared.stored,
        OUTCOMES: [outcome.label for outcome in fit.outcomes],
        REFERENCE: None if fit.reference is None else fit.reference.to_dict(),
        CONFIDENCE: fit.confidence,
        COUPLING_NAMES: None if fit.links[0].within else fit.links[0].target_names,
    }
    if fit.target_embedding is not None:
        entry[TARGET_EMBEDDING] = {
            "key": fit.target_embedding.key,
            **fit.target_embedding.to_dict(),
        }
    entry |= {} if fit.choice is None else fit.choice.to_dict()
    entry = {name: value for name, value in entry.items() if value is not None}
    write_slots(
        adata,
        uns={fit.key: entry},
        obs={} if fit.growth is None else {Keys(fit.key).growth: fit.growth},
        remove=[*predicted_slots(adata, fit.key), ("obs", Keys(fit.key).growth)],
    )


def model_entry(model) -> dict:
    """Return what is kept of a model."""
    config, weights = model.to_arrays()
    text, found = json.dumps(config), digest(weights)
    return {"type": type(model).__name__, "config": text, "weights": weights, "digest": found}


def write_mass(adata: AnnData, key: str, mass, names: np.ndarray | None, left: Mapping) -> None:
    """Write joint mass to `obsp`, or to `obsm` when the targets are in another AnnData.

    What a partial plan leaves behind goes to `obs`.
    """
    keys = Keys(key)
    slot = keys.coupling
    check_finite("the coupling", mass.data)
    entry = {**adata.uns.get(key, {}), COUPLING_KEY: slot}
    if names is not None:
        entry[COUPLING_NAMES] = names
    where = "obsp" if names is None else "obsm"
    older = [("obs", name) for name in (keys.kept, keys.left, keys.assignment)]
    write_slots(adata, obs=left, **{where: {slot: mass}}, uns={key: entry}, remove=older)


def update(fit, gone: Collection[str] = (), **entries) -> None:
    """Add entries to a fit that is written, such as its calibration; some may go."""
    kept = {name: value for name, value in fit.adata.uns[fit.key].items() if name not in gone}
    with writing():
        fit.adata.uns[fit.key] = {**kept, **entries}


def check_free(adata: AnnData, key: str, task) -> None:
    """Raise a ValueError when a fit of this name would replace something else."""
    entry, names = adata.uns.get(key), Keys(key)
    ours = is_fit(entry) or (isinstance(entry, Mapping) and COUPLING_KEY in entry)
    read = [getattr(task, name, None) for name in ("use_rep", "shared_rep")]
    if (entry is not None and not ours) or names.sample in read:
        taken = f"obsm[{names.sample!r}]" if entry is None or ours else f"uns[{key!r}]"
        raise ValueError(
            f"`key_added={key!r}`: the fit would overwrite {taken}, which is not the result of a "
            "fit. Choose another name."
        )


def has_fit(adata: AnnData, key: str) -> bool:
    """Whether there is a fit of a name."""
    entry = adata.uns.get(key)
    return isinstance(entry, Mapping) and MODEL in entry and PARAMS in entry


def entry_of(adata: AnnData, key: str) -> Mapping:
    """Return `uns[key]`, or raise a KeyError that lists the fits there are."""
    if isinstance(key, str) and has_fit(adata, key):
        found = adata.uns[key].get("version")
        if not np.array_equal(found, VERSION):  # whatever it was changed into
            raise ValueError(
                f"The fit `key={key!r}` was written by another version of scgenot, in layout "
                f"{found}; this one reads layout {VERSION}: fit again."
            )
        return adata.uns[key]
    fits = [name for name in adata.uns if has_fit(adata, name)]
    raise KeyError(
        f"`key={key!r}` is not a fit in uns; found {fits}. Run one of `sg.tl.fit_*` first; "
        "functions of `sg.tl` also take other cells with the fit as `model`."
    )


def task_of(adata: AnnData, key: str):
    """Return the task of a fit, also of made-up cells, which carry its parameters only."""
    entry = adata.uns.get(key)
    if not is_fit(entry):
        entry = entry_of(adata, key)
    return read_task(entry[PARAMS], None, key)


def coupling_names(adata: AnnData, key: str) -> np.ndarray:
    """Return the target cells of a coupling, also of cells that were coupled by another's fit."""
    entry = adata.uns.get(key)
    if not isinstance(entry, Mapping) or COUPLING_NAMES not in entry:
        entry = entry_of(adata, key)
    return entry[COUPLING_NAMES]


def read(cls, adata: AnnData, key: str, *, task=None, model=None, field=None, encoder=None):
    """Make a fit of what :func:`write` wrote, after a file too."""
    entry = entry_of(adata, key)
    if POPULATIONS in entry:
        raise ValueError(
            f"`key={key!r}` is a fit of populations, not of cells: use "
            "`sg.tl.simulate_populations`."
        )
    task = read_task(entry[PARAMS], task, key)
    try:
        for name, kind in KINDS.items():
            check_type(name, entry.get(name), kind)
        remember_parts(entry[MODEL], model, field, encoder)
        return _put_together(cls, adata, key, entry, task, (model, field, encoder))
    except DAMAGE as error:
        raise ValueError(
            f"uns[{key!r}] is damaged ({type(error).__name__}: {error}): fit again, or read the "
            "file as it was written."
        ) from error


def _put_together(cls, adata: AnnData, key: str, entry: Mapping, task, own: tuple):
    table = entry[PAIRS]
    if len(table) != len(entry[LINKS]) or not len(table):
        raise ValueError(f"{len(table)} rows of pairs are not those of {len(entry[LINKS])} links")
    times = [name for name in ("source_time", "target_time") if name in table]
    table = table.astype(dict.fromkeys(times, float)) if times else table
    columns = [
        name for name in table.columns[: list(table.columns).index("stratum")] if name != "name"
    ]
    shared = Shared(entry[SHARED])
    links = [
        StoredLink.from_dict(entry[LINKS][str(k)], dict(table.iloc[k][columns]), shared)
        for k in range(len(table))
    ]
    params = dict(entry[PARAMS])
    reference = entry.get(REFERENCE)
    return cls(
        task,
        links,
        table,
        entry[HISTORY],
        {name: params.get(name) for name in ("solver", "learner", "rng")},
        key,
        adata,
        tuple([Outcome.of(str(label)) for label in entry.get(OUTCOMES, [])]),
        confidence=entry.get(CONFIDENCE),
        reference=None if reference is None else Reference.from_dict(reference),
        calibration=Calibration.read(entry),
        coupling_key=entry.get(COUPLING_KEY),
        choice=Choice.read(entry),
        target_embedding=read_embedding(entry),
        make_model=lambda: read_model(entry[MODEL], key, *own),
    )


def read_embedding(entry: Mapping) -> Embedding | None:
    """Read the embedding of target cells that are in another AnnData; None without one."""
    stored = entry.get(TARGET_EMBEDDING)
    if stored is None:
        return None
    check_type(TARGET_EMBEDDING, stored, Mapping)
    rest = {name: value for name, value in stored.items() if name != "key"}
    return Embedding.from_dict(rest, str(stored["key"]), "the fit")


def read_task(params: Mapping, task, key: str):
    """Make the task of a fit; `task` is the class or object of one of the user's own."""
    if not isinstance(params, Mapping) or "task" not in params:
        raise ValueError(f"uns[{key!r}]['params'] is damaged: it names no task. Fit again.")
    name = str(params["task"])
    kind = task if task is not None else TASKS.get(name, OWN.get(name))
    if kind is None:
        raise ValueError(
            f"The fit `key={key!r}` has a task of your own, {name!r}: read it once with "
            f"`sg.get.fit(adata, {key!r}, task={name})`, and all functions find it. {PAGE}"
        )
    if not isinstance(kind, type):
        return kind
    if task is not None:
        OWN[name] = kind
    try:
        made = kind.from_dict(params) if hasattr(kind, "from_dict") else kind()
        if kind in TASKS.values():
            check_fields(made)
        return made
    except DAMAGE as error:
        raise ValueError(
            f"uns[{key!r}]['params'] cannot be read as the task {name!r} "
            f"({type(error).__name__}: {error}): it is damaged, or pass the task object as `task`."
        ) from error
