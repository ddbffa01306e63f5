"""Coordinates of an embedding back to features."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._typed import typed
from scgenot.cells.embedding import Embedding
from scgenot.cells.lazy import readable


@typed
def decode(
    values: np.ndarray | pd.DataFrame,
    adata: AnnData,
    *,
    key: str = "pca",
    features: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Turn coordinates of an embedding into features: genes, peaks or proteins.

    This is the inverse of the linear part of the embedding, `values @ loadings.T * scale + offset`.
    Variation outside the components is replaced by its mean. Values of non-negative features may
    become slightly negative; they are not clipped.

    Parameters
    ----------
    values
        Coordinates, such as predicted cells, shape `(n, k)`. Rows of NaN stay NaN.
    adata
        Cells to which :func:`~scgenot.tl.embed` or :func:`~scgenot.tl.project` was applied.
    key
        Name of the embedding: `key_added`, or else `method`, of :func:`~scgenot.tl.embed`.
    features
        Which features to compute; None for all that were embedded.

    Returns
    -------
    Cells x features, with the index of `values` if it is a DataFrame. Units: for `"pca"` those of
    the embedded values (log-normalised expression); for `"lsi"` the TF-IDF scale, `log(1 + 1e4 TF
    IDF)`, at average depth; for `"topics"` the frequency, a share of the counts of a cell; for
    `"clr"` the centred log ratio.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such embedding, or a feature was not embedded.
    ValueError
        When `values` has infinite values or the wrong number of columns, or the embedding was made
        with `l2=True`. Lengths are then lost.

    Examples
    --------
    >>> genes = sg.tl.decode(adata.obsm["X_genot"], adata, features=["ISG15", "IFI6"])
    """
    return Embedding.read(readable(adata), key).decode(values, features)
