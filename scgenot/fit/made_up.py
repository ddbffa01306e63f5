"""Simulated and interpolated cells, as an AnnData that goes with the fitted one."""

import logging
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._check import check_memory
from scgenot._progress import progress_bar
from scgenot._warn import each_once
from scgenot.cells.embedding import embedding_key, embedding_of
from scgenot.cells.keys import Keys
from scgenot.cells.labels import made_obs
from scgenot.fit.decoder import feature_decoder, never_negative
from scgenot.fit.held_out import each_of
from scgenot.fit.lender import Lender
from scgenot.fit.sample import BLOCK, draw_blocks
from scgenot.model.generate import blocks
from scgenot.pair import Question

logger = logging.getLogger("scgenot")


def simulated(
    fit,
    adata: AnnData,
    target,
    dose,
    *,
    n_samples: int,
    use_rep: str | None,
    decoder,
    clip: bool,
    residuals: bool,
    progress: bool,
    **options,
) -> AnnData:
    """Simulate target cells of source cells; as :func:`scgenot.tl.simulate`."""
    cells = fit.cells(adata, use_rep=use_rep)
    rep = getattr(fit.task, "target_rep", use_rep or getattr(fit.task, "use_rep", None))
    # all questions before the first answer: what cannot be answered is refused before the work
    with each_once():
        questions = [fit.ask(adata, *one) for one in each_of(target, dose)]
    to_features = feature_decoder(fit, rep, decoder)
    lend = Lender.of(fit, rep, to_features, decoder, options["seed"]) if residuals else None
    if adata is not fit.adata and fit.reference is not None:
        fit.reference.warn_if_unlike(cells[questions[0].rows])
    obs = pd.concat([described(fit, adata, question, n_samples) for question in questions])
    states, growth = [], []
    several = len(questions) > 1
    bar = progress_bar(questions, desc="simulating", unit="target", shown=progress and several)
    for question in bar:
        source, condition = cells[question.rows], question.condition
        drawn = draw_blocks(
            fit.model,
            source,
            condition,
            n_samples=n_samples,
            progress=progress and not several,
            **options,
        )
        by_cell = np.concatenate([block.draws for block in drawn])
        states.append(by_cell.transpose(1, 0, 2).reshape(-1, by_cell.shape[2]))
        if getattr(fit.model, "eta", None) is not None:
            growth.append(np.tile(fit.model.growth(source, condition).numpy(), n_samples))
    if growth:
        obs[Keys(fit.key).growth] = np.concatenate(growth)
    if lend is not None:
        for question, found in zip(questions, states, strict=True):
            lend.choose(question.answer, found)
    states = np.concatenate(states).astype(np.float32)
    clip = clip and decoder is None
    return assemble(fit, rep, states, obs, to_features, clip=clip, lend=lend)


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


def decoded(
    states: np.ndarray,
    to_features: Callable[[np.ndarray], pd.DataFrame],
    *,
    clip: bool,
    lend: Lender | None = None,
) -> tuple[np.ndarray, pd.Index]:
    """Turn states into features block by block, negative ones into 0 if asked."""
    features, n_clipped = None, 0
    for rows in blocks(len(states), BLOCK):
        frame = to_features(states[rows])
        if features is None:
            features = np.empty((len(states), frame.shape[1]), dtype=np.float32)
        features[rows] = frame if lend is None else lend.add(frame.to_numpy(), rows, clip=clip)
        if clip:
            n_clipped += int((features[rows] < 0).sum())
            np.maximum(features[rows], 0, out=features[rows])
    if clip:
        share = 100 * n_clipped / features.size
        logger.info("%.2f %% of the decoded values were negative and are set to 0.", share)
    return features, frame.columns


def assemble(
    fit,
    rep: str | None,
    states: np.ndarray,
    obs: pd.DataFrame,
    to_features,
    *,
    clip: bool,
    lend: Lender | None = None,
) -> AnnData:
    """Make an AnnData of states that goes with that of the fit, and says of which fit they are."""
    fitted = fit.adata
    clip = clip and never_negative(fit, rep)
    features, names = decoded(states, to_features, clip=clip, lend=lend)
    known = fit.one_space and fitted is not None and names.isin(fitted.var_names).all()
    var = fitted.var.loc[names] if known else pd.DataFrame(index=names)
    out = AnnData(features, obs=obs, var=var.copy())
    out.obs_names_make_unique()
    if rep is not None and rep != "X":
        out.obsm[rep] = states
        if not fit.one_space and fit.target_embedding is not None:
            out.uns[embedding_key(rep)] = fit.target_embedding.to_dict()
        elif fit.one_space and fitted is not None and embedding_of(fitted, rep) is not None:
            key = embedding_key(rep)
            if key in fitted.uns:
                out.uns[key] = deepcopy(dict(fitted.uns[key]))
    if fit.links:
        out.uns[fit.key] = {"params": deepcopy(fit.params)}
    return out
