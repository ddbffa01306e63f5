"""Simulated and interpolated cells, as an AnnData that goes with the fitted one."""

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._check import check_memory
from scgenot._warn import each_once
from scgenot.cells.keys import Keys
from scgenot.cells.labels import made_obs
from scgenot.cells.store import check_out
from scgenot.fit.decoder import feature_decoder, never_negative
from scgenot.fit.held_out import each_of
from scgenot.fit.lender import Lender
from scgenot.fit.like_fitted import like_fitted
from scgenot.fit.sample import BLOCK
from scgenot.fit.simulation import Decoding, Simulation
from scgenot.fit.to_store import write_simulated
from scgenot.model.generate import blocks
from scgenot.pair import Question


def simulated(
    fit,
    adata: AnnData,
    target,
    dose,
    *,
    use_rep: str | None,
    decoder,
    clip: bool,
    residuals: bool,
    out: str | Path | None = None,
    overwrite: bool = False,
    **options,
) -> AnnData | None:
    """Simulate target cells of source cells; as :func:`scgenot.tl.simulate`."""
    if out is not None:
        check_out(out, overwrite=overwrite)
    cells = fit.cells(adata, use_rep=use_rep)
    rep = getattr(fit.task, "target_rep", use_rep or getattr(fit.task, "use_rep", None))
    # all questions before the first answer: what cannot be answered is refused before the work
    with each_once():
        questions = [fit.ask(adata, *one) for one in each_of(target, dose)]
    to_features = feature_decoder(fit, rep, decoder)
    lend = Lender.of(fit, rep, to_features, decoder, options["seed"]) if residuals else None
    if adata is not fit.adata and fit.reference is not None:
        fit.reference.warn_if_unlike(cells[questions[0].rows])
    n_samples = options["n_samples"]
    obs = pd.concat([described(fit, adata, question, n_samples) for question in questions])
    simulation = Simulation(fit, cells, questions, lend, options)
    decoding = decoding_of(fit, rep, to_features, lend, clip=clip and decoder is None)
    if out is not None:
        return write_simulated(simulation, decoding, rep, obs, out, overwrite=overwrite)
    pieces = list(simulation.pieces())
    if pieces[0].growth is not None:
        obs[Keys(fit.key).growth] = np.concatenate([piece.growth for piece in pieces])
    lenders = None if lend is None else np.concatenate([piece.lenders for piece in pieces])
    states = np.concatenate([piece.states for piece in pieces])
    return assemble(fit, rep, states, obs, decoding, lenders)


def described(fit, adata: AnnData, question: Question, n_samples: int) -> pd.DataFrame:
    """Return the obs of simulated cells: that of the source cells, but for what they become."""
    check_memory("n_samples", n_samples, n_samples * len(question.rows) * 2)
    rows = np.tile(question.rows, n_samples)
    answer = {
        column: list(value) * n_samples if np.ndim(value) else value
        for column, value in question.answer.items()
    }
    names = [f"{name}_{question.name}" for name in adata.obs_names[question.rows]]
    if n_samples > 1:
        names = [f"{name}_{k}" for k in range(n_samples) for name in names]
    return made_obs(adata, rows, answer, names, key=fit.key, origin="simulated")


def interpolated_obs(
    fit, adata: AnnData, rows: np.ndarray, fractions: np.ndarray, time: float
) -> pd.DataFrame:
    """Return the obs of interpolated cells: that of cells they were made from, with a new time."""
    answer = {fit.task.time_key: fit.task.scale.label(time)}
    names = [f"{name}_{time:g}_{k}" for k, name in enumerate(adata.obs_names[rows])]
    obs = made_obs(adata, rows, answer, names, key=fit.key, origin="interpolated")
    return obs.assign(fraction=fractions)


def decoding_of(fit, rep: str | None, to_features, lend=None, *, clip: bool) -> Decoding:
    """Return how states become features; with `clip` not negative where those fitted are not."""
    return Decoding(to_features, lend, clip=clip and never_negative(fit, rep))


def assemble(
    fit, rep: str | None, states: np.ndarray, obs: pd.DataFrame, decoding: Decoding, lenders=None
) -> AnnData:
    """Make an AnnData of states that goes with that of the fit, and says of which fit they are."""
    features = None
    for rows in blocks(len(states), BLOCK):
        frame = decoding(states[rows], None if lenders is None else lenders[rows])
        if features is None:
            features = np.empty((len(states), frame.shape[1]), dtype=np.float32)
        features[rows] = frame
    decoding.log()
    out = like_fitted(fit, rep, obs, frame.columns, features)
    if rep is not None and rep != "X":
        out.obsm[rep] = states
    return out
