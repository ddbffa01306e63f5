"""Neighborhoods in spatial data as populations."""

from anndata import AnnData

from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.neighborhoods import find_neighborhoods
from scgenot.cells.read import check_writable, copy_of
from scgenot.cells.write import write_slots


@typed
def neighborhoods(
    adata: AnnData,
    spatial_key: str = "spatial",
    *,
    n_neighbors: int = 30,
    library_key: str | None = None,
    n_centers: int | None = None,
    key_added: str = "neighborhoods",
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | None:
    """Make a population of the spatial neighbors of each cell.

    Pass `key_added` as `population_key` to :func:`fit_populations`, :func:`population_distances` or
    :func:`embed_populations`. Each population is then a neighborhood, named after the cell at its
    center, and columns of this cell, such as its type, can be used as `condition`.

    Parameters
    ----------
    adata
        Cells with coordinates.
    spatial_key
        Key of `obsm` with the coordinates.
    n_neighbors
        Number of cells in a neighborhood, without the cell at its center.
    library_key
        Column of `obs` with the section or sample, within which neighbors are found; None for a
        single section.
    n_centers
        Number of centers, drawn at random; None for all cells.
    key_added
        Name in `obsp`.
    rng
        Seed of the centers that are drawn.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following field:

    `obsp["neighborhoods"]`
        Sparse matrix with a 1 for each neighbor in the row of the center; rows of other cells are
        empty. Memory grows with `n_neighbors` times the number of centers.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there are no such coordinates, or no such column.
    ValueError
        When the coordinates are not finite, `key_added` is a column of `obs` or another matrix of
        `obsp`, or a section has at most `n_neighbors` cells.

    Examples
    --------
    >>> sg.tl.neighborhoods(adata, n_neighbors=50)  # doctest: +SKIP
    >>> sg.tl.fit_populations(adata, "neighborhoods", condition="type")  # doctest: +SKIP
    """
    check_writable(adata, copy=copy)
    found = find_neighborhoods(
        *(adata, spatial_key),
        n_neighbors=n_neighbors,
        library_key=library_key,
        n_centers=n_centers,
        key=key_added,
        seed=seed_of(rng),
    )
    out = copy_of(adata) if copy else adata
    write_slots(out, obsp={key_added: found})
    return out if copy else None
