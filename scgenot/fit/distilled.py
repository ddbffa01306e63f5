"""A fit with a distilled model."""

import logging

import numpy as np

from scgenot._random import numpy_rng, seed_of
from scgenot._warn import warn_user
from scgenot.fit import storage
from scgenot.model import Genot, distill

logger = logging.getLogger("scgenot")
# source cells, each under one condition, that a sampler is distilled for
MOST_CELLS = 50_000


def distilled(fit, *, steps: int, training_steps: int, rng, progress: bool):
    """Return a fit with a distilled sampler for its conditions, and the result of the check."""
    model, seed = fit.model, seed_of(rng)
    if not isinstance(model, Genot):
        raise ValueError(
            f"`key={fit.key!r}` has a model of type {type(model).__name__}, which does not "
            "sample in steps: only a fit with `learner=sg.model.FlowMatching()` can be distilled."
        )
    if fit.adata is None or not fit.links:
        raise ValueError(
            "`model` has no fit, whose cells are needed for training: pass the fitted AnnData, or "
            "call `sg.model.distill(model, source)`."
        )
    source, condition = asked_of(fit, seed)
    options = {"steps": steps, "training_steps": training_steps, "progress": progress}
    return fit.with_model(distill(model, source, condition, rng=seed, **options))


def asked_of(fit, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return source cells and conditions of all that was fitted, or some of them at random."""
    cells, targets = fit.cells(fit.adata), {}
    for link in fit.links:
        target = link.labels.get("perturbation", link.labels.get("target_time"))
        if link.labels.get("dose") != 0:  # the control that is coupled with itself
            targets[target, link.labels.get("dose")] = None
    questions = [fit.ask(fit.adata, *target) for target in targets]
    which = np.repeat(np.arange(len(questions)), [len(one.rows) for one in questions])
    place = np.concatenate([np.arange(len(one.rows)) for one in questions])
    kept = numpy_rng([seed, 0]).permutation(len(which))[:MOST_CELLS]
    source = [cells[one.rows[place[kept[which[kept] == k]]]] for k, one in enumerate(questions)]
    if questions[0].condition is None:
        return np.concatenate(source), None
    told = [one.condition[place[kept[which[kept] == k]]] for k, one in enumerate(questions)]
    return np.concatenate(source), np.concatenate(told)


def write(fit) -> None:
    """Write the model of a fit in the place of its old one; regions that this one drew go."""
    gone = () if fit.calibration is None else tuple(vars(fit.calibration))
    storage.update(fit, gone, **{storage.MODEL: storage.model_entry(fit.model)})
    found = fit.model.distilled
    logger.info(
        "Distilled to %d step(s): cBW-UVP %.2g points and energy distance %.2g %% from the teacher "
        "on held-out source cells.",
        *(found.steps, found.uvp, found.energy),
    )
    if gone:
        warn_user(
            f"`key={fit.key!r}` was calibrated before the model was distilled: these regions are "
            "removed, call `sg.tl.calibrate` again."
        )
