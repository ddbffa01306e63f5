"""Predictions of source cells: one possible cell, the mean of many, and how far they spread."""

import logging

import numpy as np
from anndata import AnnData

from scgenot._random import seed_of
from scgenot.cells.keys import Keys
from scgenot.fit.sample import draw_blocks
from scgenot.fit.spread import cosine_variance, response_size, spread, total_variance

logger = logging.getLogger("scgenot")
# more source cells than this are predicted when it is asked for
MOST_AT_ONCE = 50_000


def predict_cells(
    fit,
    adata: AnnData,
    target=None,
    dose: float | None = None,
    *,
    use_rep: str | None = None,
    shared_rep: str | None = None,
    n_samples: int = 32,
    guidance: float = 1.0,
    integrator=None,
    rng=0,
    progress: bool = True,
) -> dict:
    """Return what is written of a prediction, as arguments of `write_prediction`."""
    question = fit.ask(adata, target, dose)
    cells = fit.cells(adata, use_rep=use_rep, shared_rep=shared_rep)[question.rows]
    if adata is not fit.adata and fit.reference is not None:
        fit.reference.warn_if_unlike(cells)
    keys, found, total = Keys(fit.key), {}, None
    options = {"n_samples": n_samples, "guidance": guidance, "integrator": integrator}
    options["seed"] = seed_of(rng)
    for rows, source, draws in draw_blocks(
        fit.model, cells, question.condition, progress=progress, **options
    ):
        total = total_variance(fit.model, draws) if total is None else total
        block = {
            keys.sample: draws[:, 0],
            keys.mean: draws.mean(1),
        }
        certain = getattr(fit.model, "deterministic", False)
        if not certain:
            block[keys.uncertainty] = spread(draws, total)
        if fit.one_space:
            moved = draws - source[:, None, : draws.shape[2]]
            if not certain:
                block[keys.cosine_variance] = cosine_variance(moved)
            block[keys.response] = response_size(moved, total)
        for name, values in block.items():
            whole = found.setdefault(name, np.empty((len(cells), *values.shape[1:]), np.float32))
            whole[rows] = values
    if getattr(fit.model, "eta", None) is not None:
        found[keys.growth] = fit.model.growth(cells, question.condition).numpy()
    scalars = {name: value for name, value in question.answer.items() if np.ndim(value) == 0}
    return {"rows": question.rows, "values": found, "asked": asked_of(fit.task, scalars)}


def asked_of(task, answer: dict) -> dict:
    """Return perturbation and dose that were asked for, for plots; nothing of other tasks."""
    names = {"target": "perturbation_key", "dose": "dose_key"}
    columns = {what: getattr(task, key, None) for what, key in names.items()}
    return {what: answer[column] for what, column in columns.items() if column in answer}


def predict_at_once(fit, adata: AnnData, *, predict: bool | None, progress: bool) -> dict | None:
    """Predict the source cells of a new fit, unless that was not asked for or they are many."""
    if predict is False:
        return None
    try:
        n_source = len(fit.ask(adata).rows)
    except ValueError as error:  # which perturbation?
        if predict:
            raise ValueError(
                f"`predict=True` cannot be done at once, call `sg.tl.predict`: {error}"
            ) from error
        logger.info("The source cells are not predicted at once: %s", error)
        return None
    if predict is None and n_source > MOST_AT_ONCE:
        logger.info(
            "%d source cells are not predicted at once: call `sg.tl.predict(adata)`.", n_source
        )
        return None
    return predict_cells(fit, adata, progress=progress)
