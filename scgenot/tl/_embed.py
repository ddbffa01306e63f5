"""Representations that can be projected to and decoded from: PCA, LSI, CLR."""

from typing import Literal

import numpy as np
from anndata import AnnData

from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.embedding import Embedding
from scgenot.cells.lazy import readable
from scgenot.cells.read import check_writable, copy_of


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
    """Embed cells in a few dimensions, with projection of new cells and decoding to features.

    All methods except topics are linear after a transform `t`: coordinates are `(t(x) - offset) /
    scale @ loadings`, where `scale` is 1 by default.

    `"pca"`
        Principal components, by :func:`scanpy.pp.pca`. `t` is the identity: values should be
        log-normalised.
    `"lsi"`
        For ATAC counts. `t` is TF-IDF as in Signac, `log(1 + 1e4 * counts / depth * cells /
        total)`, with depth and total over the features used; then a truncated SVD without centring.
        Components whose absolute Pearson correlation with log depth exceeds 0.8 are dropped
        (usually the first), so the result may have fewer than `n_components`. Coordinates keep the
        scale of their component, whereas Signac standardises them: distances then approximate those
        between TF-IDF profiles, and components of noise are not amplified.
    `"topics"`
        For counts, of ATAC above all. Latent Dirichlet allocation, 50 passes of
        :class:`sklearn.decomposition.LatentDirichletAllocation`: a coordinate is the share of a
        topic in a cell, rows sum to 1, and depth has no influence. Decoding returns the frequency
        of each feature. Slower than `"lsi"`.
    `"clr"`
        For protein counts. `t` is the centred log ratio of each cell, `log(1 + x)` minus its mean
        over proteins. All columns are kept unchanged, or rotated to principal components if
        `n_components` is smaller. To align proteins with another modality without shared features,
        use `scale=True`: unscaled, the few most variable proteins dominate, and a wrong match may
        have a lower objective than the true one.

    Parameters
    ----------
    adata
        Cells. Backed files and cells of :func:`anndata.experimental.read_lazy` are read in blocks
        of rows. With more than 2^28 values (1 GB), the principal components are computed from sums
        over these blocks; they equal those of cells in memory up to rounding. For other methods the
        features used must fit in memory. CSC matrices are read as a whole.
    method
        One of the methods above.
    n_components
        Number of components. None: 30, or the maximum if that is smaller; all columns for `"clr"`.
    layer
        Key of `layers` to use instead of `X`.
    mask_var
        Features to use: a boolean column of var without missing values, or a boolean array of
        length `n_vars`. None uses all features, and so does the default if there is no such column.
    scale
        For `"pca"` and `"clr"`: centre each feature after the transform and divide it by its
        standard deviation (n - 1 in the denominator, as in :func:`scanpy.pp.scale`), before any
        principal components. Features that do not vary become 0. Projection applies the same
        scaling, and decoding reverts it.
    l2
        Scale each cell to unit length, so that distances depend on angles only. Lengths are lost,
        so :func:`~scgenot.tl.decode` is not possible.
    adjust
        Compute the coordinates of each cell from the components of all *other* cells, in closed
        form. Components also fit the noise of their own cells, whose plain coordinates therefore
        vary more than those of new cells, especially with few cells and many features; a model
        trained on them does not transfer to new cells. New cells are projected as usual. Without
        effect if all components are kept, as for `"clr"` with all columns, for `"topics"`, and for
        more than 100,000 cells, where the difference is negligible. False: plain coordinates.
    key_added
        Name of the embedding; None for `method`.
    rng
        Seed or generator for the start of iterative solvers.
    copy
        Return an annotated copy and leave `adata` unchanged.

    Returns
    -------
    None, or the copy. Sets the following fields, with `key` for `key_added` or `method`:

    `.obsm['X_{key}']`
        Coordinates, shape `(n_obs, k)`.
    `.varm['PCs']`, `.varm['{key}_loadings']`
        Loadings, shape `(n_vars, k)`, 0 for features that are not used; `PCs` for `key="pca"`, as
        in Scanpy. Not set for `"clr"` with all columns.
    `.uns['{key}']['embedding']`
        Arrays `features`, `offset`, `loadings`, for `"lsi"` `idf`, for `"topics"` `totals`, the
        pseudocounts of each topic, and `scale` if used; `fingerprints` of the adjusted cells, to
        recognize them.
    `.uns['{key}']['values']`
        `whole`, whether all values were whole numbers; `nonnegative`, whether decoded values should
        be non-negative.
    `.uns['{key}']['params']`
        The arguments.
    `.uns['{key}']['variance']`, `['variance_ratio']`
        Variance of the principal components, in squared units of the (scaled) data and as a
        fraction; of plain coordinates.
    `.uns['{key}']['shrinkage']`
        Standard deviation of adjusted coordinates divided by that of plain coordinates, per
        component.
    `.uns['{key}']['depth_correlation']`, `['dropped']`
        For `"lsi"`: correlation of each computed component with log depth; positions of the dropped
        components.

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
    read = readable(adata)
    check_writable(read, copy)
    embedding, cells = Embedding.fit(
        read,
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
