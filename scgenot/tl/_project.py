"""New cells into an embedding."""

from anndata import AnnData

from scgenot._typed import typed
from scgenot.cells.embedding import Embedding
from scgenot.cells.lazy import readable
from scgenot.cells.read import check_writable, copy_of


@typed
def project(
    adata: AnnData,
    reference: AnnData,
    *,
    key: str = "pca",
    layer: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Project new cells into the embedding of other cells.

    Projection is meant for new cells. It reproduces the coordinates of the embedded cells, up to
    rounding, only if these were not adjusted (`adjust=False` of :func:`~scgenot.tl.embed`).

    Parameters
    ----------
    adata
        New cells, preprocessed as those of `reference`. Features are matched by name; additional
        features and another order are allowed. Backed files and cells of
        :func:`anndata.experimental.read_lazy` are read in blocks of rows.
    reference
        Cells to which :func:`~scgenot.tl.embed` was applied.
    key
        Name of the embedding: `key_added`, or else `method`, of :func:`~scgenot.tl.embed`.
    layer
        Key of `layers` of `adata`, or `"X"`; None for the layer from which `reference` was
        embedded.
    copy
        Return an annotated copy and leave `adata` unchanged.

    Returns
    -------
    None, or the copy. Sets the following fields:

    `.obsm['X_{key}']`
        Coordinates, shape `(n_obs, k)`.
    `.uns['{key}']`
        Copied from `reference`, so that :func:`~scgenot.tl.decode` works with `adata`, too.

    Raises
    ------
    TypeError
        When an argument is not an AnnData, or an option has a wrong type.
    KeyError
        When `reference` has no such embedding, or the layer is not there.
    ValueError
        When features of the embedding are missing in `adata`, its values are invalid (see `embed`),
        or they are whole numbers, such as raw counts, and the embedded values were not.

    Examples
    --------
    >>> sg.tl.embed(adata)
    >>> sg.tl.project(new_cells, adata)
    >>> sg.tl.predict(new_cells, model=adata)
    """
    read, reference = readable(adata), readable(reference, "reference")
    check_writable(read, copy)
    embedding = Embedding.read(reference, key, "reference")
    cells = embedding.project(read, layer)
    out = copy_of(adata) if copy else adata
    embedding.write(out, cells=cells)
    return out if copy else None
