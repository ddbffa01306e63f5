"""From generated states to features: by the embedding, or by what the user passes."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from scgenot.cells.embedding import ScanpyPCA, embedding_key, embedding_of
from scgenot.cells.embedding.features import positions
from scgenot.cells.read import matrix_blocks

Decoder = Callable[[np.ndarray], np.ndarray | pd.DataFrame]

# values of features held at a time
MAX_VALUES = 2**22


def feature_decoder(
    fit,
    rep: str | None,
    decoder: Decoder | None = None,
    features: Sequence[str] | None = None,
    *,
    fitted_means: bool = False,
) -> Callable[[np.ndarray], pd.DataFrame]:
    """Return the function from states in the representation of a fit to features.

    `fitted_means`: where Scanpy's components lack their means, take those of the fitted cells.
    """
    fitted, rep = fit.adata, rep if fit.one_space else None
    names = None if fitted is None else fitted.var_names
    if decoder is not None and not callable(decoder):
        raise TypeError(
            f"`decoder={decoder!r}` must be a function of states to a DataFrame of features."
        )
    if decoder is not None or rep == "X":
        to_values = decoder or (lambda values: values)
        return lambda values: _some_columns(
            _as_frame(to_values(values), len(values), names), features
        )
    embedding = embedding_in(fit, rep)
    if embedding is None:
        why = (
            "the fit has no embedding of the target cells."
            if rep is None
            else f"uns[{embedding_key(rep)!r}] does not say how {rep!r} was made from features. "
            "Make it with `sg.tl.embed` before the fit, or"
        )
        raise ValueError(
            f"`decoder` is needed: {why} {'Pass' if rep is None else 'pass'} `decoder`, a function "
            "of states to a DataFrame of features, such as "
            "`lambda values: sg.tl.decode(values, adata_target, key='pca')`."
        )
    if fitted_means and isinstance(embedding, ScanpyPCA) and embedding.offset is None:
        embedding = embedding.with_means_of(fitted, rep)
    # what cannot be decoded is refused here, before any state is sampled
    embedding.decode(np.empty((0, embedding.n_components)), features)
    return lambda values: embedding.decode(values, features)


def embedding_in(fit, rep: str | None):
    """Return the embedding that made generated states; None when none is known."""
    if not fit.one_space:
        return fit.target_embedding
    return None if fit.adata is None else embedding_of(fit.adata, rep)


def never_negative(fit, rep: str | None) -> bool:
    """Say whether the features of the fit, and so decoded ones, are never negative."""
    embedding = embedding_in(fit, rep)
    if embedding is not None:
        return embedding.nonnegative
    blocks = matrix_blocks(fit.adata, getattr(fit.task, "layer", None))
    return all(values.min() >= 0 for _, values in blocks)


def _as_frame(values: np.ndarray | pd.DataFrame, n: int, names: pd.Index | None) -> pd.DataFrame:
    """Name the columns of decoded values; checked."""
    if not isinstance(values, pd.DataFrame):
        values = np.asarray(values)
        if names is None and values.ndim == 2:
            names = [f"feature {i + 1}" for i in range(values.shape[1])]
        if values.ndim != 2 or values.shape[1] != len(names):
            n_features = 0 if names is None else len(names)
            raise ValueError(
                f"`decoder` gives an array of shape {values.shape}, expected (n, {n_features}), "
                "the features of `adata`: return a DataFrame with the features as columns."
            )
        values = pd.DataFrame(values, columns=names)
    if len(values) != n:
        raise ValueError(f"`decoder` gives {len(values)} rows for {n} states.")
    return values


def _some_columns(values: pd.DataFrame, features: Sequence[str] | None) -> pd.DataFrame:
    """Return chosen features."""
    if features is None:
        return values
    return values.iloc[:, positions(values.columns, features, "that the states decode to")]
