"""Representations that can be projected to and decoded from: PCA, LSI, CLR."""

from typing import Literal

import numpy as np
from anndata import AnnData

from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.embedding import Embedding
from scgenot.cells.read import check_anndata, check_writable, copy_of


@typed
def embed(
    adata: AnnData,
    *,
    method: Literal["pca", "lsi", "topics", "clr"] = "pca",
    n_components: int | None = None,
    layer: str | None = None,
    mask_var: str | np.ndarray | None = "highly_variable",
    scale: bool = False,
    l2: bool = False,
    adjust: bool = True,
    key_added: str | None = None,
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | None:
    """Embed cells in a few dimensions, such that new cells and features can be computed from it.

    Every method but topics is linear after a transform `t`: coordinates are `(t(x) - offset) /
    scale @ loadings`, where `scale` is 1 unless asked for.

    `"pca"`
        Principal components, by :func:`scanpy.pp.pca`. `t` does nothing: values should be
        log-normalised.
    `"lsi"`
        For ATAC counts. `t` is TF-IDF as in Signac, `log(1 + 1e4 * counts / depth * cells /
        total)`, with depth and total over the features used; then a truncated SVD without centring.
        Components whose absolute Pearson correlation with log depth exceeds 0.8 are dropped
        (usually the first), so that there may be fewer than `n_components`. Coordinates keep the
        scale of their component (Signac standardises them): distances then approximate those
        between TF-IDF profiles, and directions of noise are not blown up.
    `"topics"`
        For counts, of ATAC above all. Latent Dirichlet allocation, 50 passes of
        :class:`sklearn.decomposition.LatentDirichletAllocation`: a coordinate is the share of a
        topic in a cell, rows sum to 1, and depth has no part in it. Decoding gives the frequency of
        each feature. Slower than `"lsi"`.
    `"clr"`
        For protein counts. `t` is the centred log ratio of each cell, `log(1 + x)` less its mean
        over proteins. All columns are kept, as they are, or rotated to principal components when
        `n_components` is smaller. To align proteins with another modality without shared features,
        take `scale=True`: unscaled, the few proteins that vary most decide, and a wrong match may
        fit better than the true one.

    Parameters
    ----------
    adata
        Cells. Of a backed file only the matrix that is embedded is read into memory.
    method
        One of the methods above.
    n_components
        Components to compute. None: 30, or as many as there can be; all columns for `"clr"`.
    layer
        A key of `layers` to use in place of `X`.
    mask_var
        Features to use: a boolean column of var without missing values, or a boolean array of
        length `n_vars`. None uses all, and so does the default when there is no such column.
    scale
        For `"pca"` and `"clr"`: centre each feature after the transform and divide it by its
        standard deviation (n - 1 in the denominator, as in :func:`scanpy.pp.scale`), before any
        principal components. Features that do not vary become 0. Projecting and decoding undo it.
    l2
        Scale each cell to unit length (the geometry of angles). What the length was is lost, so
        that :func:`~scgenot.tl.decode` is not possible.
    adjust
        Give each cell the coordinates that components of all *other* cells give it, in closed form.
        Components fit the noise of their own cells, whose plain coordinates spread further than
        those of new cells, the more so the fewer cells and the more features there are; what is
        learned from them is wrong for new cells. New cells are projected as ever. Without effect
        where all components are kept, as for `"clr"` with all columns, for `"topics"`, and for more
        than 100,000 cells, which fit hardly any noise. False: plain coordinates.
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
        Loadings, shape `(n_vars, k)`, 0 for features not used; the former name for `key="pca"`, as
        scanpy has it. None of it for `"clr"` with all columns.
    `.uns['{key}']['embedding']`
        Arrays `features`, `offset`, `loadings`, for `"lsi"` `idf`, for `"topics"`
        `totals`, the pseudocounts of each topic, and `scale` when asked for;
        `fingerprints` of the adjusted cells, by which they are known again.
    `.uns['{key}']['values']`
        `whole`, whether all values were whole numbers; `nonnegative`, whether what is decoded
        should not be negative.
    `.uns['{key}']['params']`
        The arguments.
    `.uns['{key}']['variance']`, `['variance_ratio']`
        Variance of the principal components, in squared units of the (scaled) data and as a
        fraction; of plain coordinates.
    `.uns['{key}']['shrinkage']`
        Standard deviation of adjusted over plain coordinates, for each component.
    `.uns['{key}']['depth_correlation']`, `['dropped']`
        For `"lsi"`: correlation of every computed component with log depth; positions of those
        dropped.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When `layer` or a column named by `mask_var` is not there.
    ValueError
        When values are not finite, negative where counts are needed, or the same in all cells; when
        var names are not unique, there are fewer than 2 cells, a cell has no counts (`"lsi"`,
        `"topics"`), `scale` is asked of these two, `n_components` is impossible, or `adata` is a
        view of a backed file.

    Warns
    -----
    UserWarning
        When `"pca"` is given what looks like raw counts, or normalised without a logarithm; when
        `adata` is backed by a file, to which results are not written.

    References
    ----------
    Lee, Zou and Wright (2010), *Convergence and prediction of principal component scores in
    high-dimensional settings*, and Bunch, Nielsen and Sorensen (1978), *Rank-one modification of
    the symmetric eigenproblem* (`adjust`); Stuart et al. (2021), *Single-cell chromatin state
    analysis with Signac* (TF-IDF); Blei, Ng and Jordan (2003), *Latent Dirichlet allocation*
    (topics); Aitchison (1982), *The statistical analysis of compositional
    data* (CLR); Stoeckius et al. (2017), *CITE-seq* (CLR of proteins).

    Examples
    --------
    >>> sg.tl.embed(adata_rna)  # doctest: +SKIP
    >>> sg.tl.embed(adata_atac, method="lsi", n_components=50)  # doctest: +SKIP
    >>> sg.tl.embed(adata_atac, method="topics", n_components=20)  # doctest: +SKIP
    >>> sg.tl.embed(adata_protein, method="clr", scale=True)  # doctest: +SKIP
    """
    check_anndata(adata)
    check_writable(adata, copy)
    embedding, cells = Embedding.fit(
        adata,
        method=method,
        n_components=n_components,
        layer=layer,
        mask_var=mask_var,
        scale=scale,
        l2=l2,
        adjust=adjust,
        seed=seed_of(rng) % 2**32,
        key=key_added,
    )
    out = copy_of(adata) if copy else adata
    embedding.write(out, cells=cells, loadings=True)
    return out if copy else None
