"""New cells into an embedding, and coordinates back to features."""

import warnings
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import pandas as pd
from anndata import AnnData, ImplicitModificationWarning

from scgenot.cells.embedding.features import (
    MAX_LOGARITHM,
    Values,
    are_whole,
    check_counts,
    clr,
    read_features,
    tfidf,
)
from scgenot.cells.keys import EMBEDDING, PARAMS, VALUES
from scgenot.cells.read import check_anndata, layer_label
from scgenot.tl._embed import unit_rows


def project(
    adata: AnnData,
    reference: AnnData,
    *,
    key: str = "pca",
    layer: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Place new cells in the embedding of other cells.

    The cells that were embedded keep their coordinates, up to rounding.

    Parameters
    ----------
    adata
        New cells, prepared as those of `reference` were. Features are found by name; more of them, or another order,
        do no harm.
    reference
        Cells that :func:`~scgenot.tl.embed` was run on.
    key
        Name of the embedding: `key_added`, or else `method`, of :func:`~scgenot.tl.embed`.
    layer
        A key of `layers` of `adata`, or `"X"`; None for what `reference` was embedded from.
    copy
        Return an annotated copy and leave `adata` alone.

    Returns
    -------
    None, or the copy. Sets the following fields:

    `.obsm['X_{key}']`
        Coordinates, shape `(n_obs, k)`.
    `.uns['{key}']`
        What `reference` has there, so that :func:`~scgenot.tl.decode` works with `adata` too.

    Raises
    ------
    TypeError
        When an argument is not an AnnData, or an option has a wrong type.
    KeyError
        When `reference` has no such embedding, or the layer is not there.
    ValueError
        When features of the embedding are missing in `adata`, its values are unfit (see `embed`), or they are whole
        numbers, such as raw counts, where those that were embedded are not.

    Examples
    --------
    >>> sg.tl.embed(adata)
    >>> sg.tl.project(new_cells, adata)
    >>> sg.tl.predict(new_cells, model=adata)
    """
    values = coordinates(adata, reference, key=key, layer=layer)
    stored = _stored(reference, key, "reference")
    if copy:
        adata = adata.to_memory(copy=True) if adata.isbacked else adata.copy()
    with (
        warnings.catch_warnings()
    ):  # a view becomes an AnnData of its own when it is written to: that is what is asked
        warnings.simplefilter("ignore", ImplicitModificationWarning)
        adata.obsm[f"X_{key}"] = values
    adata.uns[key] = deepcopy(dict(stored))
    return adata if copy else None


def decode(
    values: np.ndarray | pd.DataFrame,
    adata: AnnData,
    *,
    key: str = "pca",
    features: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Turn coordinates of an embedding into features: genes, peaks or proteins.

    The inverse of the linear part of the embedding, `values @ loadings.T * scale + offset`: what the components left
    out is at its mean, and values that cannot be negative may come out slightly so; they are not clipped.

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
    Cells x features, with the index of `values` when that is a DataFrame. Units: for `"pca"` those of the values that
    were embedded (log-normalised expression); for `"lsi"` the TF-IDF scale, `log(1 + 1e4 TF IDF)`, at average depth;
    for `"clr"` the centred log ratio.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such embedding, or a feature was not embedded.
    ValueError
        When `values` has the wrong number of columns, or the embedding was made with `l2=True`: lengths are then lost.

    Examples
    --------
    >>> genes = sg.tl.decode(adata.obsm["X_genot"], adata, features=["ISG15", "IFI6"])
    """
    stored = _stored(adata, key, "adata")
    if stored[PARAMS]["l2"]:
        raise ValueError(
            f"`key={key!r}` was embedded with `l2=True`, which loses the cells' lengths: decode from an embedding "
            "made with `l2=False` (give it another `key_added`)."
        )
    embedding = stored[EMBEDDING]
    names = pd.Index(embedding["features"])
    if unknown := [feature for feature in features or () if feature not in names]:
        raise KeyError(
            f"`features` {_some(unknown)} are not among the {len(names)} that `key={key!r}` was made of."
        )
    chosen = np.arange(len(names)) if features is None else names.get_indexer(features)
    index = values.index if isinstance(values, pd.DataFrame) else None
    values = np.asarray(values)
    width = stored[PARAMS]["n_components"]
    if values.ndim != 2 or values.shape[1] != width:
        raise ValueError(
            f"`values` has shape {values.shape}, expected (n, {width}), coordinates of `key={key!r}`."
        )
    decoded = (
        values @ embedding["loadings"][chosen].T if "loadings" in embedding else values[:, chosen]
    )
    if "scale" in embedding:
        decoded = decoded * embedding["scale"][chosen]
    return pd.DataFrame(decoded + embedding["offset"][chosen], index=index, columns=names[chosen])


def coordinates(
    adata: AnnData, reference: AnnData, *, key: str, layer: str | None = None
) -> np.ndarray:
    """Return the coordinates of new cells; arguments and errors as of :func:`project`."""
    check_anndata(adata)
    stored = _stored(reference, key, "reference")
    params, embedding = stored[PARAMS], stored[EMBEDDING]
    columns = feature_columns(adata, embedding["features"], f"`key={key!r}`")
    layer = params.get("layer") if layer is None else layer
    values, label = read_features(adata, layer, columns), f"{layer_label(layer)} of `adata`"
    if params["method"] == "pca":
        check_no_counts(values, stored, label)
    else:
        check_counts(values, params["method"], label)
    if params["method"] == "lsi":
        values = tfidf(values, embedding["idf"], label)
    elif params["method"] == "clr":
        values = clr(values)
    values = _coordinates(values, embedding)
    return unit_rows(values) if params["l2"] else values


def check_no_counts(values: Values, stored: dict, label: str) -> None:
    """Raise when values are whole numbers, or no logarithms, and those that were embedded are known not to be."""
    if are_whole(values) and not stored.get(VALUES, {}).get("whole", True):
        raise ValueError(
            f"{label} holds whole numbers, such as raw counts, and the values that were embedded are not whole: "
            "prepare them alike, with `sc.pp.normalize_total` and `sc.pp.log1p` if those were."
        )
    if values.max() > MAX_LOGARITHM >= stored.get(VALUES, {}).get("largest", np.inf):
        raise ValueError(
            f"{label} goes up to {values.max():.0f}, no logarithm of counts, and the values that were embedded go up "
            f"to {stored[VALUES]['largest']:.1f}: run `sc.pp.log1p` if those were."
        )


def _coordinates(values: Values, embedding: dict) -> np.ndarray:
    """The linear part of the embedding, `(values - offset) / scale @ loadings`; sparse values are not made dense."""
    offset, scale = embedding["offset"], embedding.get("scale")
    if "loadings" in embedding:
        loadings = (
            embedding["loadings"] if scale is None else embedding["loadings"] / scale[:, None]
        )
        return values @ loadings - offset @ loadings
    return values if scale is None else (values - offset) / scale


def _stored(adata: AnnData, key: str, name: str) -> dict:
    """What `embed` left in uns."""
    check_anndata(adata, name)
    if EMBEDDING not in adata.uns.get(key, {}):
        found = [
            other
            for other, entry in adata.uns.items()
            if isinstance(entry, dict) and EMBEDDING in entry
        ]
        raise KeyError(
            f"`key={key!r}` names no embedding of `{name}`; found {found}: run `sg.tl.embed({name})`."
        )
    return adata.uns[key]


def feature_columns(adata: AnnData, features: Sequence[str], of: str) -> np.ndarray:
    """Positions in `adata` of the features of an embedding or fit."""
    if not adata.var_names.is_unique:
        raise ValueError(
            "var names of `adata` are not unique: call `adata.var_names_make_unique()`."
        )
    columns = adata.var_names.get_indexer(features)
    if (missing := np.asarray(features)[columns < 0]).size:
        raise ValueError(
            f"`adata` lacks {len(missing)} of {len(features)} features of {of}: {_some(missing)}."
        )
    return columns


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")
