"""What is compared when paired cells of two modalities were held out from a translation."""

from collections.abc import Iterator

import numpy as np
from anndata import AnnData
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

from scgenot import baselines
from scgenot._random import numpy_rng, torch_rng
from scgenot.cells.read import check_anndata, representation
from scgenot.cells.strata import read_strata
from scgenot.cells.tasks import Translation
from scgenot.fit.evaluation.comparison import (
    BASELINE,
    COUPLING,
    GENOT,
    MODEL,
    SUPERVISED,
    Comparison,
    Grouped,
    Prediction,
    read_groups,
    refuse_seen,
)
from scgenot.fit.evaluation.comparisons import comparisons, offered
from scgenot.fit.evaluation.fitted import Evaluation
from scgenot.fit.evaluation.generic import PLAIN_COUPLING
from scgenot.fit.evaluation.metrics import MATCHES, POPULATIONS, Metric
from scgenot.fit.evaluation.verdict import MEAN
from scgenot.fit.sample import draw_blocks

RANDOM = "random matching"
N_DRAWS = 32  # of each cell, for the mean
FOLDS = 5


@offered.register
def _(task: Translation) -> dict[str, Metric]:
    return {**MATCHES, **POPULATIONS}


@comparisons.register
def _(task: Translation, asked: Evaluation) -> Iterator[Grouped]:
    source, target = check_pair(asked.held_out)
    refuse_seen(target.obs_names, asked.fit.links[0].target_names, in_sample=asked.in_sample)
    true = target_states(asked.fit, target).astype(float)
    width = getattr(asked.fit.model, "target_dim", true.shape[1])
    if true.shape[1] != width:
        raise ValueError(
            f"{task.target_rep!r} of the target cells of `held_out` has {true.shape[1]} columns, "
            f"that of the fit {width}: project them with `sg.tl.project` onto the embedding of the "
            "fitted cells."
        )
    labels, groups = None, read_groups(source, asked.groupby)
    if asked.label_key is not None:
        labels = [
            read_strata(side, [asked.label_key], argument="label_key") for side in (source, target)
        ]
    comparison = Comparison(
        condition="translation",
        group="",
        predictions=predictions(asked, asked.fit.cells(source), true),
        true=true,
        n_source=len(true),
        negative=RANDOM,
        to_features=asked.to_features,
        paired=True,
        labels=None if labels is None else labels[0],
        reference=true,
        reference_labels=None if labels is None else labels[1],
    )
    yield comparison, groups, groups


def target_states(fit, target: AnnData) -> np.ndarray:
    """Place held-out target cells in the representation of the fit, as source cells are."""
    rep, embedding = fit.task.target_rep, fit.target_embedding
    if rep not in target.obsm and embedding is not None:
        return embedding.project(target)
    cells = representation(target, rep, name="held_out", argument="target_rep")
    if embedding is not None and embedding.holds(target, cells) is False:
        raise ValueError(
            f"{rep!r} of the target cells of `held_out` is another embedding than that of the fit: "
            f"remove it, and they are placed in that of the fit, or call "
            f"`sg.tl.project(target, fitted, key={embedding.key!r})`."
        )
    return cells


def check_pair(held_out: object) -> tuple[AnnData, AnnData]:
    """Return source and target cells, or raise when these are not two AnnData of as many cells."""
    if not isinstance(held_out, (tuple, list)) or len(held_out) != 2:
        raise TypeError(
            "`held_out` must be (source, target), two AnnData with the same cells in the same "
            f"order, for a translation; found {type(held_out).__name__}."
        )
    for adata in held_out:
        check_anndata(adata, "held_out")
    if held_out[0].n_obs != held_out[1].n_obs:
        raise ValueError(
            f"`held_out` has {held_out[0].n_obs} source and {held_out[1].n_obs} target "
            "cells: row i of both must be the same cell."
        )
    return held_out[0], held_out[1]


def predictions(asked: Evaluation, cells: np.ndarray, true: np.ndarray) -> dict[str, Prediction]:
    """Predict by the model, the plain coupling, chance, and a regression shown the pairs."""
    model, seed, n = asked.fit.model, asked.seed, len(true)
    drawn = draw_blocks(model, cells, None, n_samples=N_DRAWS, seed=seed, antithetic=True)
    blocks = list(drawn)
    sample = np.concatenate([block.draws[:, 0] for block in blocks])
    mean = np.concatenate([block.draws.mean(1) for block in blocks])
    found = {
        GENOT: Prediction.of_all(MODEL, sample),
        f"{GENOT}, {MEAN}": Prediction.of_all(MODEL, mean),
    }
    pool, (link,) = true, asked.fit.links
    if link.knows_new_cells:
        plan = link.plan(cells)
        fitted = plan.y[:, : true.shape[1]]  # shared features come last
        chosen = plan.sample(generator=torch_rng(numpy_rng([seed, 1])))[:, 0]
        pool = fitted.double().cpu().numpy()
        mean = plan.barycenter(values=fitted).double().cpu().numpy()
        found[PLAIN_COUPLING] = Prediction.of_all(COUPLING, pool[chosen.cpu().numpy()])
        found[f"{PLAIN_COUPLING}, {MEAN}"] = Prediction.of_all(COUPLING, mean)
    matched = baselines.random_targets(pool, n, rng=numpy_rng([seed, 4]))
    found[RANDOM] = Prediction.of_all(BASELINE, matched)
    folds = KFold(min(FOLDS, n), shuffle=True, random_state=seed % 2**32)
    shown = cross_val_predict(Ridge(1.0), cells, true, cv=folds)
    found["ridge, shown the pairs"] = Prediction.of_all(SUPERVISED, shown)
    return found
