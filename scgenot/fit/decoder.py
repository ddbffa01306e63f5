"""From generated states to features: by the inverse of the embedding, or by what the user passes."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.cells.embedding.scanpy_pca import scanpy_decoder
from scgenot.cells.keys import EMBEDDING, VALUES
from scgenot.cells.read import matrix
from scgenot.fit.source import embedding_key
from scgenot.tl._project import decode

Decoder = Callable[[np.ndarray], np.ndarray | pd.DataFrame]

# values of features held at a time
MAX_VALUES = 2**22


def feature_decoder(
    fitted: AnnData,
    params: dict,
    rep: str | None,
    decoder: Decoder | None = None,
    features: Sequence[str] | None = None,
) -> Callable[[np.ndarray], pd.DataFrame]:
    """Return the function that turns states into features."""
    if decoder is not None and not callable(decoder):
        raise TypeError(
            f"`decoder={decoder!r}` must be a function of states to a DataFrame of features."
        )
    if decoder is not None:
        return lambda values: some_columns(
            as_frame(decoder(values), len(values), fitted.var_names), features
        )
    own_space = params.get("task") != "translation"
    if own_space and rep == "X":
        return lambda values: some_columns(
            as_frame(values, len(values), fitted.var_names), features
        )
    if own_space and rep is not None and EMBEDDING in fitted.uns.get(embedding_key(rep), {}):
        return lambda values: decode(values, fitted, key=embedding_key(rep), features=features)
    scanpy = scanpy_decoder(fitted, rep) if own_space and rep is not None else None
    if scanpy is not None:
        return lambda values: some_columns(scanpy(values), features)
    where = (
        "target cells are in another AnnData"
        if not own_space
        else f"uns[{embedding_key(str(rep))!r}] does not say"
    )
    raise ValueError(
        f"`decoder` is needed: {where} how {rep!r} was made from features. Make it with `sg.tl.embed` before the fit, "
        "or pass `decoder`, a function of states to a DataFrame of features, such as "
        "`lambda values: sg.tl.decode(values, adata_target, key='pca')`."
    )


def as_frame(values: np.ndarray | pd.DataFrame, n: int, names: pd.Index) -> pd.DataFrame:
    """Name the columns of decoded values; checked."""
    if not isinstance(values, pd.DataFrame):
        values = np.asarray(values)
        if values.ndim != 2 or values.shape[1] != len(names):
            raise ValueError(
                f"`decoder` gives an array of shape {values.shape}, expected (n, {len(names)}), the features of "
                "`adata`: return a DataFrame with the features as columns."
            )
        values = pd.DataFrame(values, columns=names)
    if len(values) != n:
        raise ValueError(f"`decoder` gives {len(values)} rows for {n} states.")
    return values


def some_columns(values: pd.DataFrame, features: Sequence[str] | None) -> pd.DataFrame:
    """Return chosen features, or raise a KeyError that names those that are not there, a TypeError for no list."""
    if features is None:
        return values
    if isinstance(features, str) or not isinstance(features, Collection):
        raise TypeError(
            f"`features={features!r}` must be a list of features, such as [{features!r}]."
        )
    if unknown := [feature for feature in features if feature not in values]:
        raise KeyError(
            f"`features` {unknown[:5]} are not among the {values.shape[1]} that the states decode to."
        )
    return values[list(features)]


def never_negative(fitted: AnnData, params: dict, rep: str | None) -> bool:
    """Whether the features that the fit was made of have no negative values, so that decoded ones should not."""
    stored = fitted.uns.get(embedding_key(str(rep)), {})
    if rep == "X" or EMBEDDING not in stored:
        return bool(matrix(fitted, params.get("layer")).min() >= 0)
    return bool(stored.get(VALUES, {}).get("nonnegative", False))
