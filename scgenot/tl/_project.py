"""New cells into an embedding."""

from anndata import AnnData

from scgenot._typed import typed
from scgenot.cells.embedding import Embedding
from scgenot.cells.read import check_anndata, check_writable, copy_of


@typed
def project(
    adata: AnnData,
    reference: AnnData,
    *,
    key: str = "pca",
    layer: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Place new cells in the embedding of other cells.

    The cells that were embedded keep their coordinates, up to rounding, only if these were not
    adjusted (`adjust=False` of :func:`~scgenot.tl.embed`): projection is for other cells.

    Parameters
    ----------
    adata
        New cells, prepared as those of `reference` were. Features are found by name;
        there may be more of them, in another order.
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
        When features of the embedding are missing in `adata`, its values are unfit (see `embed`),
        or they are whole numbers, such as raw counts, where those that were embedded are not.

    Examples
    --------
    >>> sg.tl.embed(adata)
    >>> sg.tl.project(new_cells, adata)
    >>> sg.tl.predict(new_cells, model=adata)
    """
    check_anndata(adata)
    check_writable(adata, copy)
    embedding = Embedding.read(reference, key, "reference")
    cells = embedding.project(adata, layer)
    out = copy_of(adata) if copy else adata
    embedding.write(out, cells=cells)
    return out if copy else None
