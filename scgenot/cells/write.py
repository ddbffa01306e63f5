"""Results into AnnData: everything at once and at the end, so that a failure leaves it unchanged."""

import json
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData, ImplicitModificationWarning

from scgenot.cells.keys import (
    CONFIDENCE,
    COUPLING_KEY,
    COUPLING_NAMES,
    COUPLINGS,
    DUAL,
    HISTORY,
    MODEL,
    PAIRS,
    PARAMS,
    SEEN,
    Keys,
)


def write_fit(
    adata: AnnData,
    key: str,
    *,
    params: dict,
    model: tuple[dict, dict[str, np.ndarray]],
    history: pd.DataFrame,
    pairs: pd.DataFrame,
    dual: dict | None = None,
    couplings: dict | None = None,
    coupling_names: np.ndarray | None = None,
    confidence: dict | None = None,
    seen: np.ndarray | None = None,
) -> None:
    """Write a fit to `uns[key]`, in the place of any older one of that name."""
    config, weights = model
    entry = {
        PARAMS: plain(params),
        MODEL: {"config": json.dumps(config), "weights": weights},
        HISTORY: history,
        PAIRS: pairs,
        DUAL: dual,
        COUPLINGS: couplings,
        COUPLING_NAMES: coupling_names,
        CONFIDENCE: confidence,
        SEEN: seen,
    }
    with writing():
        remove_prediction(adata, key)
        adata.uns[key] = {name: value for name, value in entry.items() if value is not None}


def remove_prediction(adata: AnnData, key: str) -> None:
    """Remove what :func:`write_prediction` wrote, if it did."""
    keys = Keys(key)
    if (
        keys.uncertainty not in adata.obs
    ):  # no prediction: slots of these names are of something else
        return
    for slots, names in (
        (adata.obs, keys.of_predictions),
        (adata.obsm, [keys.sample, keys.mean]),
        (adata.uns, [keys.predicted]),
    ):
        for name in names:
            if name in slots:
                del slots[name]


def write_prediction(
    adata: AnnData,
    key: str,
    rows: np.ndarray,
    *,
    sample: np.ndarray,
    mean: np.ndarray,
    uncertainty: np.ndarray,
    cosine_variance: np.ndarray | None = None,
    response: np.ndarray | None = None,
    growth: np.ndarray | None = None,
    predicted: dict | None = None,
) -> None:
    """Write predicted cells to `obsm`, spread to `obs`, what was asked to `uns`."""
    keys, predicted = Keys(key), plain(predicted or {})
    numbers = {
        keys.uncertainty: uncertainty,
        keys.cosine_variance: cosine_variance,
        keys.response: response,
        keys.growth: growth,
    }
    with writing():
        adata.obsm[keys.sample] = spread_out(sample, rows, adata.n_obs)
        adata.obsm[keys.mean] = spread_out(mean, rows, adata.n_obs)
        for slot, values in numbers.items():
            if values is not None:
                adata.obs[slot] = spread_out(values, rows, adata.n_obs)
        adata.uns.pop(keys.predicted, None)
        if predicted:
            adata.uns[keys.predicted] = predicted


def spread_out(values: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """Return an array of `n` rows with the values at some of them and NaN elsewhere."""
    out = np.full((n, *values.shape[1:]), np.nan, dtype=values.dtype)
    out[rows] = values
    return out


def write_growth(adata: AnnData, key: str, growth: np.ndarray | None) -> None:
    """Write growth to `obs`; one of an older fit goes."""
    slot = Keys(key).growth
    with writing():
        if growth is not None:
            adata.obs[slot] = growth
        elif slot in adata.obs:
            del adata.obs[slot]


def write_slots(adata: AnnData, *, obs: dict | None = None, obsm: dict | None = None) -> None:
    """Write columns of obs and entries of obsm."""
    with writing():
        for name, values in (obs or {}).items():
            adata.obs[name] = values
        for name, values in (obsm or {}).items():
            adata.obsm[name] = values


def write_coupling(
    adata: AnnData, key: str, mass: sp.csr_matrix, names: np.ndarray | None = None
) -> None:
    """Write joint mass to `obsm`, or to `obsp` when it is within one AnnData."""
    slot = Keys(key).coupling
    entry = {**adata.uns.get(key, {}), COUPLING_KEY: slot}
    with writing():
        if names is None:
            adata.obsp[slot] = mass
        else:
            adata.obsm[slot] = mass
            entry[COUPLING_NAMES] = names
        adata.uns[key] = entry


def plain(value):
    """Turn parameters into what AnnData can hold."""
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items() if entry is not None}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, (str, bool, int, float, np.number, np.ndarray)):
        return value
    return getattr(value, "__name__", str(value))


@contextmanager
def writing():
    """Silence AnnData's note that a view becomes a copy of its own: writing results is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImplicitModificationWarning)
        yield
