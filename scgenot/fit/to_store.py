"""Writes simulated and predicted cells to a zarr folder in blocks."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.keys import Keys
from scgenot.cells.store import Store, check_out
from scgenot.cells.tasks.task import name_of
from scgenot.cells.write import check_prediction, plain, predicted_slots
from scgenot.fit.like_fitted import like_fitted
from scgenot.fit.predictions import Prediction
from scgenot.fit.sample import BLOCK
from scgenot.fit.simulation import Decoding, Simulation
from scgenot.model.files import digest
from scgenot.model.generate import blocks
from scgenot.pair import Question


def write_simulated(
    simulation: Simulation, decoding: Decoding, rep: str | None, obs, out, *, overwrite: bool
) -> None:
    """Write simulated cells; continue an interrupted call."""
    fit, (question, *_) = simulation.fit, simulation.questions
    options = {**simulation.options, "n_samples": 1, "progress": False}
    one = Question(question.rows[:1], some(question.condition, 1), question.answer, question.name)
    (probe,) = Simulation(fit, simulation.cells, [one], None, options).pieces()
    features = decoding.to_features(probe.states)
    has_obsm = rep is not None and rep != "X"
    widths = {"X": features.shape[1]}
    widths |= {f"obsm/{rep}": probe.states.shape[1]} if has_obsm else {}
    widths |= {} if probe.growth is None else {f"obs/{Keys(fit.key).growth}": 0}
    arrays = {"cells": simulation.cells, "features": features.to_numpy(dtype=float)}
    text = [obs.index, features.columns, decoding.clip, simulation.lend is not None]
    work = work_of(fit, simulation.questions, simulation.options, arrays, text)
    store = Store(out, widths, simulation.n_rows, work, overwrite=overwrite)
    store.open(like_fitted(fit, rep, obs, features.columns))
    end = store.done
    for piece in simulation.pieces(end):
        for part in blocks(len(piece.states), BLOCK):
            states = piece.states[part]
            values = {"X": decoding(states, some(piece.lenders, part)).to_numpy()}
            values |= {f"obsm/{rep}": states} if has_obsm else {}
            if piece.growth is not None:
                values[f"obs/{Keys(fit.key).growth}"] = piece.growth[part]
            store.put(np.arange(end, end + len(states)), values)
            end += len(states)
    decoding.log()
    store.finish()


def predict_to(fit, adata: AnnData, *asked, out, overwrite: bool, **options) -> None:
    """Write predictions, one row per cell of `adata`, NaN for cells that are not sources."""
    check_out(out, overwrite=overwrite)
    prediction = Prediction.of(fit, adata, *asked, **options)
    rows = prediction.question.rows
    if (np.diff(rows) <= 0).any():
        raise ValueError(
            f"`out` needs source cells in the order of `adata`; `ask` of the task "
            f"{name_of(fit.task)!r} returns another order: predict without `out`."
        )
    _, probe = next(prediction.blocks())
    places = {name: f"obs{'m' * (found.ndim - 1)}/{name}" for name, found in probe.items()}
    widths = {
        places[name]: found.shape[1] if found.ndim == 2 else 0 for name, found in probe.items()
    }
    cells, text = {"cells": prediction.cells}, [adata.obs_names]
    work = work_of(fit, [prediction.question], prediction.options, cells, text)
    store = Store(out, widths, adata.n_obs, work, overwrite=overwrite)
    older = {name for slot, name in predicted_slots(adata, fit.key) if slot == "obs"} | set(probe)
    obs = adata.obs.drop(columns=older & set(adata.obs))
    made = like_fitted(fit, prediction.rep, obs, pd.Index([], dtype=str))
    if asked := plain(prediction.asked):
        made.uns[fit.keys.predicted] = asked
    store.open(made)
    for block, values in prediction.blocks(int(np.searchsorted(rows, store.done))):
        check_prediction(fit.key, values)
        new = rows[block] >= store.done
        store.put(rows[block][new], {places[name]: one[new] for name, one in values.items()})
    store.finish()


def some(values: np.ndarray | None, rows: slice | int) -> np.ndarray | None:
    """Return some rows of an array, an integer for the first ones; None if it is None."""
    if values is None:
        return None
    return values[rows] if isinstance(rows, slice) else values[:rows]


def work_of(
    fit, questions: Sequence[Question], options: Mapping, arrays: Mapping, text: Sequence
) -> str:
    """Return a digest of everything that determines the samples, to recognize the same call."""
    config, weights = fit.model.to_arrays()
    arrays = dict(arrays) | {f"model {name}": value for name, value in weights.items()}
    for k, question in enumerate(questions):
        arrays[f"rows {k}"] = question.rows
        if question.condition is not None:
            arrays[f"condition {k}"] = question.condition
    options = {name: value for name, value in options.items() if name != "progress"}
    words = [list(map(str, each)) if isinstance(each, pd.Index) else each for each in text]
    words += [config, options, [question.answer for question in questions], fit.key]
    return digest(arrays, json.dumps(words, default=repr, sort_keys=True))
