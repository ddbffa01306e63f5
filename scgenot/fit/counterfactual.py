"""Measured cells under another condition: encoded under their own, decoded under that."""

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._warn import each_once
from scgenot.cells.keys import CONTROL_CELL
from scgenot.cells.labels import made_obs
from scgenot.fit.codes import coded
from scgenot.fit.decoder import feature_decoder
from scgenot.fit.made_up import assemble, decoding_of


def counterfactuals(
    fit, adata: AnnData, target, dose, *, use_rep, decoder, clip: bool, seed: int
) -> AnnData:
    """Make measured cells under another condition; as :func:`scgenot.tl.counterfactual`."""
    rep = use_rep or fit.task.use_rep
    to_features = feature_decoder(fit, rep, decoder)
    states, described = [], []
    with each_once():
        fit.task.ask(adata, target, dose=dose, rows=np.arange(1))  # refused before the work
        for part in coded(fit, adata, "counterfactual", use_rep=use_rep, seed=seed):
            question = fit.task.ask(adata, target, dose=dose, rows=part.rows)
            states.append(fit.model.decode(part.source, part.code, question.condition).numpy())
            names = [f"{name}_{question.name}" for name in adata.obs_names[part.rows]]
            made = {"key": fit.key, "origin": "counterfactual"}
            obs = made_obs(adata, part.rows, question.answer, names, **made)
            control = fit.adata.obs_names[part.source_rows].to_numpy(dtype=object)
            described.append((part.rows, obs.assign(**{CONTROL_CELL: control})))
    order = np.argsort(np.concatenate([rows for rows, _ in described]), kind="stable")
    obs = pd.concat([obs for _, obs in described]).iloc[order]
    states = np.concatenate(states)[order].astype(np.float32)
    decoding = decoding_of(fit, rep, to_features, clip=clip and decoder is None)
    return assemble(fit, rep, states, obs, decoding)
