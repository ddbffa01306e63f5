"""Coordinates of an embedding back to features."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._typed import typed
from scgenot.cells.embedding import Embedding


@typed
def decode(
    values: np.ndarray | pd.DataFrame,
    adata: AnnData,
    *,
    key: str = "pca",
    features: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Turn coordinates of an embedding into features: genes, peaks or proteins.

    The inverse of the linear part of the embedding, `values @ loadings.T * scale + offset`: what
    the components left out is at its mean, and values that cannot be negative may come out slightly
    so; they are not clipped.

    Parameters
    ----------
    values
        Coordinates, such as predicted cells, shape `(n, k)`. Rows of NaN stay NaN.
    adata
        Cells that :func:`~scgenot.tl.embed` was run on or :func:`~scgenot.tl.project` placed.
    key
        Name of the embedding: `key_added`, or else `method`, of :func:`~scgenot.tl.embed`.
    features
        Which features to compute; None for all that were embedded.

    Returns
    -------
    Cells x features, with the index of `values` when that is a DataFrame. Units: for `"pca"` those
    of the values that were embedded (log-normalised expression); for `"lsi"` the TF-IDF scale,
    `log(1 + 1e4 TF IDF)`, at average depth; for `"topics"` the frequency, a share of
    the counts of a cell; for `"clr"` the centred log ratio.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such embedding, or a feature was not embedded.
    ValueError
        When `values` has infinite values or the wrong number of columns, or the embedding was made
        with `l2=True`:
        lengths are then lost.

    Examples
    --------
    >>> genes = sg.tl.decode(adata.obsm["X_genot"], adata, features=["ISG15", "IFI6"])
    """
    return Embedding.read(adata, key).decode(values, features)
