"""A fitted screen whose model has a known law, so that answers are exact."""

import json

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

import scgenot as sg

CHANGE = {"A": np.array([2.0, 0.0, -1.0]), "B": np.array([0.0, 1.0, 0.0])}
LEAN = np.diag([0.5, 0.0, 0.0])  # how the change depends on the cell
SPREAD = np.array([1.0, 0.5, 0.1])  # of the change, given the cell
MEAN = np.array([10.0, 8.0, 6.0])  # of control cells


def known_cells(n: int = 200, *, rng: int = 0) -> AnnData:
    """Draw control cells `x ~ N(MEAN, I)`, and cells under A and B by :func:`known_response`."""
    rng = np.random.default_rng(rng)
    drug = np.repeat(["control", *CHANGE], n)
    x = rng.normal(size=(len(drug), 3)) + MEAN
    for name in CHANGE:
        treated = drug == name
        x[treated] += known_mean(x[treated], name) + SPREAD * rng.normal(size=(treated.sum(), 3))
    obs = pd.DataFrame(
        {"drug": pd.Categorical(drug), "group": pd.Categorical(rng.choice(["g", "h"], len(drug)))}
    )
    obs.index = [f"cell{i}" for i in range(len(drug))]
    return AnnData(x.astype(np.float32), obs=obs, var=pd.DataFrame(index=["one", "two", "three"]))


def known_mean(x: np.ndarray, name: str) -> np.ndarray:
    """Mean change of cells `(n, 3)`, which then vary around it by SPREAD."""
    return CHANGE[name] + (x - MEAN) @ LEAN.T


def known_fit(adata: AnnData, **options) -> AnnData:
    """Fit a model in three dimensions and put a field in its place that makes the known law exact.

    The velocity is constant in time and place, so that integrating it is exact: a draw is
    `x + CHANGE + LEAN (x - MEAN) + SPREAD noise` in the three columns of X.
    """
    learner = sg.model.FlowMatching(steps=1)
    options = {"use_rep": "X", "progress": False, "learner": learner} | options
    sg.tl.fit_perturbation(adata, "drug", "control", **options)
    fitted = sg.get.model(adata)
    model = sg.Genot(
        *(fitted.source_dim, fitted.target_dim, fitted.condition_dim),
        width=8,  # the networks are silent: as small as can be
        depth=1,
        displacement=True,
        encoder=fitted.field.encoder,
        condition_dropout=fitted.condition_dropout,
    )
    model.units.load_state_dict(fitted.units.state_dict())
    field, names = model.field, sg.get.params(adata)["conditions"]["names"]
    with torch.no_grad():
        for layer in (
            field.z_skip,
            field.out,
            field.gates,
            field.given_skip,
            *field.encoder.parameters(),
        ):
            for weight in [layer] if isinstance(layer, torch.Tensor) else layer.parameters():
                weight.zero_()
        field.gates.bias[0] = 1
        for place, name in enumerate(
            names
        ):  # a drug is told by one number of the encoded condition
            field.encoder.linear.weight[place, place] = 1
            field.given_skip.weight[:3, 3 + place] = torch.tensor(CHANGE[name] / SPREAD)
        field.given_skip.weight[:3, :3] = torch.tensor(LEAN / SPREAD[:, None])
        model.units.source.mean.copy_(torch.tensor(MEAN))
        model.units.source.std.fill_(1)
        model.units.displacement.mean.fill_(0)
        model.units.displacement.std.copy_(torch.tensor(SPREAD))
    config, weights = model.to_arrays()
    adata.uns["genot"]["model"] = {"config": json.dumps(config), "weights": weights}
    return adata
