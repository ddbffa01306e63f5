"""What is compared when paired cells of two modalities were held out from an unpaired translation."""

import numpy as np
from anndata import AnnData
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

from scgenot import baselines
from scgenot._random import numpy_rng, torch_rng
from scgenot.cells.keys import COUPLING_NAMES, DUAL
from scgenot.cells.read import check_anndata, representation
from scgenot.cells.strata import read_strata
from scgenot.fit.evaluation.comparison import (
    BASELINE,
    COUPLING,
    GENOT,
    MODEL,
    SUPERVISED,
    Comparison,
    Features,
    Grouped,
    Prediction,
    read_groups,
    refuse_seen,
)
from scgenot.fit.evaluation.verdict import MEAN
from scgenot.fit.sample import draw_blocks
from scgenot.model import Genot
from scgenot.ot.store import from_arrays

RANDOM = "random matching"
N_DRAWS = 32  # of each cell, for the mean
FOLDS = 5


def translation_comparison(
    entry: dict,
    held_out: tuple[AnnData, AnnData],
    cells: np.ndarray,
    genot: Genot,
    params: dict,
    to_features: Features,
    *,
    groupby: str | None,
    label_key: str | None,
    in_sample: bool,
    seed: int,
) -> Grouped:
    """Predict held-out target cells from their source cells."""
    source, target = held_out
    refuse_seen(target.obs_names, entry[COUPLING_NAMES], in_sample=in_sample)
    true = representation(target, params["target_rep"]).astype(float)
    if true.shape[1] != genot.target_dim:
        raise ValueError(
            f"{params['target_rep']!r} of the target cells of `held_out` has {true.shape[1]} columns, that of the fit "
            f"{genot.target_dim}: project them with `sg.tl.project` onto the embedding of the fitted cells."
        )
    labels = (
        None
        if label_key is None
        else [read_strata(side, [label_key], argument="label_key") for side in held_out]
    )
    groups = read_groups(source, groupby)
    comparison = Comparison(
        condition="translation",
        group="",
        predictions=methods(entry, cells, true, genot, seed),
        true=true,
        n_source=len(true),
        negative=RANDOM,
        to_features=to_features,
        paired=True,
        labels=None if labels is None else labels[0],
        reference=true,
        reference_labels=None if labels is None else labels[1],
    )
    return comparison, groups, groups


def check_pair(held_out: object) -> tuple[AnnData, AnnData]:
    """Return source and target cells, or raise when these are not two AnnData of as many cells."""
    if not isinstance(held_out, (tuple, list)) or len(held_out) != 2:
        raise TypeError(
            f"`held_out` must be (source, target), two AnnData with the same cells in the same order, for a "
            f"translation; found {type(held_out).__name__}."
        )
    for adata in held_out:
        check_anndata(adata, "held_out")
    if held_out[0].n_obs != held_out[1].n_obs:
        raise ValueError(
            f"`held_out` has {held_out[0].n_obs} source and {held_out[1].n_obs} target cells: row i of both must be "
            "the same cell."
        )
    return held_out[0], held_out[1]


def methods(
    entry: dict, cells: np.ndarray, true: np.ndarray, genot: Genot, seed: int
) -> dict[str, Prediction]:
    """Predict by the model, the plain coupling, chance, and a regression on the pairs."""
    blocks = draw_blocks(genot, cells, None, n_samples=N_DRAWS, guidance=1.0, seed=seed)
    draws = [(block.draws[:, 0], block.draws.mean(1)) for block in blocks]
    sample, mean = (np.concatenate(side) for side in zip(*draws, strict=True))
    found = {
        GENOT: Prediction.of_all(MODEL, sample),
        f"{GENOT}, {MEAN}": Prediction.of_all(MODEL, mean),
    }
    if DUAL in entry:
        plan = from_arrays(entry[DUAL], cells)
        fitted = plan.y[:, : genot.target_dim]  # shared features come last
        chosen = plan.sample(generator=torch_rng(numpy_rng([seed, 1])))[:, 0]
        mean = plan.barycentre(values=fitted)
        found["plain coupling"] = Prediction.of_all(COUPLING, fitted[chosen].double().cpu().numpy())
        found[f"plain coupling, {MEAN}"] = Prediction.of_all(COUPLING, mean.double().cpu().numpy())
        pool = fitted.double().cpu().numpy()
    else:
        pool = true
    found[RANDOM] = Prediction.of_all(
        BASELINE, baselines.random_targets(pool, len(true), rng=numpy_rng([seed, 4]))
    )
    folds = KFold(min(FOLDS, len(true)), shuffle=True, random_state=seed % 2**32)
    found["ridge, shown the pairs"] = Prediction.of_all(
        SUPERVISED, cross_val_predict(Ridge(1.0), cells, true, cv=folds)
    )
    return found
