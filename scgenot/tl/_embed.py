"""Representations that can be projected to and decoded from: PCA, LSI, CLR."""

import warnings
from typing import Literal

import numpy as np
from anndata import AnnData, ImplicitModificationWarning

from scgenot._random import Rng, seed_of
from scgenot.cells.embedding.components import fit_clr, fit_lsi, fit_pca
from scgenot.cells.embedding.features import are_whole, check_counts, read_features
from scgenot.cells.keys import EMBEDDING, PARAMS, VALUES
from scgenot.cells.read import check_anndata, layer_label


def embed(
    adata: AnnData,
    *,
    method: Literal["pca", "lsi", "clr"] = "pca",
    n_components: int | None = None,
    layer: str | None = None,
    mask_var: str | np.ndarray | None = "highly_variable",
    scale: bool = False,
    l2: bool = False,
    key_added: str | None = None,
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | None:
    """Embed cells in a few dimensions, and keep what it takes to embed new cells alike and to get features back.

    Every method is linear after a transform `t`: coordinates are `(t(x) - offset) / scale @ loadings`, where `scale` is
    1 unless asked for.

    `"pca"`
        Principal components, by :func:`scanpy.pp.pca`. `t` does nothing: values should be log-normalised.
    `"lsi"`
        For ATAC counts. `t` is TF-IDF as in Signac, `log(1 + 1e4 * counts / depth * cells / total)`, with depth and
        total over the features used; then a truncated SVD without centring. Components whose absolute Pearson
        correlation with log depth exceeds 0.8 are dropped (usually the first), so that there may be fewer than
        `n_components`. Coordinates keep the scale of their component (Signac standardises them): distances then
        approximate those between TF-IDF profiles, and directions of noise are not blown up.
    `"clr"`
        For protein counts. `t` is the centred log ratio of each cell, `log(1 + x)` less its mean over proteins. All
        columns are kept, as they are, or rotated to principal components when `n_components` is smaller. To align
        proteins with another modality without shared features, take `scale=True`: unscaled, the few proteins that
        vary most decide, and a wrong match may fit better than the true one.

    Parameters
    ----------
    adata
        Cells; a view or a backed file will do, and only the matrix that is embedded is read into memory.
    method
        What to do, see above.
    n_components
        Components to compute. None: 30, or as many as there can be, for `"pca"` and `"lsi"`; all columns for `"clr"`.
    layer
        A key of `layers` to use in place of `X`.
    mask_var
        Features to use: a boolean column of var, or a boolean array of length `n_vars`. None uses all, and so does
        the default when there is no such column.
    scale
        For `"pca"` and `"clr"`: centre each feature after the transform and divide it by its standard deviation
        (n - 1 in the denominator, as in :func:`scanpy.pp.scale`), before any principal components. Features that do
        not vary become 0. Projecting and decoding undo it.
    l2
        Scale each cell to unit length (the geometry of angles). What the length was is lost, so that
        :func:`~scgenot.tl.decode` is not possible.
    key_added
        Name of the embedding, by default `method`.
    rng
        Seed or generator of the iterative solvers' start.
    copy
        Return an annotated copy and leave `adata` alone.

    Returns
    -------
    None, or the copy. Sets the following fields, with `key` for `key_added` or `method`:

    `.obsm['X_{key}']`
        Coordinates, shape `(n_obs, k)`.
    `.varm['PCs']`, `.varm['{key}_loadings']`
        Loadings, shape `(n_vars, k)`, 0 for features not used; the former name for `key="pca"`, as scanpy has it.
        None of it for `"clr"` with all columns.
    `.uns['{key}']['embedding']`
        Arrays `features`, `offset`, `loadings`, for `"lsi"` `idf`, and `scale` when asked for.
    `.uns['{key}']['values']`
        `whole`, whether all values were whole numbers; `nonnegative`, whether what is decoded should not be negative.
    `.uns['{key}']['params']`
        The arguments.
    `.uns['{key}']['variance']`, `['variance_ratio']`
        Variance of the principal components, in squared units of the (scaled) data and as a fraction.
    `.uns['{key}']['depth_correlation']`, `['dropped']`
        For `"lsi"`: correlation of every computed component with log depth; positions of those dropped.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When `layer` or a column named by `mask_var` is not there.
    ValueError
        When values are not finite, negative where counts are needed, or the same in all cells; when var names are not
        unique, there are fewer than 2 cells, a cell has no counts (`"lsi"`), `scale` is asked of `"lsi"`, or
        `n_components` is impossible.

    Warns
    -----
    UserWarning
        When `"pca"` is given what looks like raw counts, or normalised without a logarithm.

    References
    ----------
    Stuart et al. (2021), *Single-cell chromatin state analysis with Signac* (TF-IDF); Aitchison (1982), *The
    statistical analysis of compositional data* (CLR); Stoeckius et al. (2017), *CITE-seq* (CLR of proteins).

    Examples
    --------
    >>> sg.tl.embed(adata_rna)  # doctest: +SKIP
    >>> sg.tl.embed(adata_atac, method="lsi", n_components=50)  # doctest: +SKIP
    >>> sg.tl.embed(adata_protein, method="clr", scale=True)  # doctest: +SKIP
    """
    _check(adata, method, key_added, scale=scale, copy=copy)
    used = _features_used(adata, mask_var)
    values, label = read_features(adata, layer, used), f"{layer_label(layer)} of `adata`"
    if method != "pca":
        check_counts(values, method, label)
    seed = seed_of(rng) % 2**32
    if method == "lsi":
        coordinates, embedding, extra = fit_lsi(values, n_components, seed, label)
    else:
        fit = fit_pca if method == "pca" else fit_clr
        coordinates, embedding, extra = fit(values, n_components, seed, label, scale=scale)
    # TF-IDF is never negative, a centred log ratio may be
    kind = {
        "whole": are_whole(values),
        "nonnegative": method == "lsi" or (method == "pca" and values.min() >= 0),
        "largest": float(values.max()),
    }
    embedding["features"] = np.asarray(adata.var_names[used], dtype=str)
    params = {"method": method, "n_components": coordinates.shape[1], "l2": l2, "scale": scale}
    params |= {"layer": layer} if layer is not None else {}
    params |= {"mask_var": mask_var} if isinstance(mask_var, str) and mask_var in adata.var else {}

    if copy:
        adata = adata.to_memory(copy=True) if adata.isbacked else adata.copy()
    key = key_added or method
    with (
        warnings.catch_warnings()
    ):  # a view becomes an AnnData of its own when it is written to: that is what is asked
        warnings.simplefilter("ignore", ImplicitModificationWarning)
        adata.obsm[f"X_{key}"] = unit_rows(coordinates) if l2 else coordinates
    adata.uns[key] = {PARAMS: params, EMBEDDING: embedding, VALUES: kind, **extra}
    varm_key = "PCs" if key == "pca" else f"{key}_loadings"
    adata.varm.pop(varm_key, None)
    if "loadings" in embedding:
        loadings = np.zeros((adata.n_vars, coordinates.shape[1]), dtype=embedding["loadings"].dtype)
        loadings[used] = embedding["loadings"]
        adata.varm[varm_key] = loadings
    return adata if copy else None


def unit_rows(coordinates: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; a row of zeros stays."""
    length = np.linalg.norm(coordinates, axis=1, keepdims=True)
    return coordinates / np.where(length == 0, 1, length)


def _check(adata: AnnData, method: str, key_added: str | None, *, scale: bool, copy: bool) -> None:
    check_anndata(adata)
    if method not in ("pca", "lsi", "clr"):
        raise ValueError(f"`method={method!r}` must be 'pca', 'lsi' or 'clr'.")
    if scale and method == "lsi":
        raise ValueError(
            "`scale=True` is not for `method='lsi'`: TF-IDF weighs the features itself."
        )
    if key_added is not None and (not isinstance(key_added, str) or "/" in key_added):
        raise ValueError(
            f"`key_added={key_added!r}` must be text without '/': AnnData files cannot hold another key."
        )
    if adata.n_obs < 2:
        raise ValueError(f"`adata` has {adata.n_obs} cell(s): an embedding needs at least 2.")
    if not adata.var_names.is_unique:
        raise ValueError(
            "var names of `adata` are not unique: call `adata.var_names_make_unique()`."
        )
    if adata.isbacked and adata.is_view and not copy:
        raise ValueError(
            "`adata` is a view of a backed file and cannot be written to: pass `adata.to_memory()`."
        )


def _features_used(adata: AnnData, mask_var: str | np.ndarray | None) -> np.ndarray:
    """Positions of the features to embed."""
    absent = isinstance(mask_var, str) and mask_var not in adata.var
    if mask_var is None or (absent and mask_var == "highly_variable"):
        return np.arange(adata.n_vars)
    if absent:
        raise KeyError(
            f"`mask_var={mask_var!r}` is not in var of `adata`; found {list(adata.var)}."
        )
    mask = np.asarray(adata.var[mask_var] if isinstance(mask_var, str) else mask_var)
    if mask.dtype != bool or mask.shape != (adata.n_vars,) or not mask.any():
        raise ValueError(
            f"`mask_var` must be boolean, of length {adata.n_vars} and true somewhere; "
            f"found {mask.dtype} of shape {mask.shape}."
        )
    return np.flatnonzero(mask)
