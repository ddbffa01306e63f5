"""Carry labels of a reference to other cells."""

from anndata import AnnData

from scgenot._check import usable_device
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.read import check_anndata, check_column, check_writable, copy_of
from scgenot.cells.write import write_slots
from scgenot.fit.carried import carried, read_values
from scgenot.fit.making import Solver
from scgenot.fit.transferred import carry_to_query, check_key, couple, probabilities, read_pair


@typed
def transfer(
    query: AnnData,
    reference: AnnData,
    column: str,
    *,
    use_rep: str | tuple[str, str] | None = None,
    solver: Solver | None = None,
    key_added: str | None = None,
    rng: Rng = 0,
    device: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Transfer labels from a reference to query cells; cells without a counterpart are
    "unassigned".

    Each query cell takes the labels of the reference cells around it. It is unassigned if these are
    less than half as dense as the query cells around it, see :class:`~scgenot.ot.Neighbors`; a type
    that is more than twice as frequent among the query cells is therefore unassigned, too. If less
    than half of the query cells are matched, as under a batch effect, a warning says so, and both
    sides are matched by distance, `sg.ot.Sinkhorn(epsilon=0.05, price=0.25)`. No model is fitted.

    Parameters
    ----------
    query
        Cells without labels.
    reference
        Cells with labels.
    column
        Column of obs of the reference with labels or numbers. Cells with a missing value are
        ignored.
    use_rep
        Representation, a key of `obsm` or "X"; None for the first of `X_pca`, `X_lsi`, `X_clr` in
        the reference. Query cells without it are projected into the embedding of the reference,
        with features matched by name. Components of the reference alone capture little of a type
        that it lacks; components of all cells together separate such cells better. A pair `(query,
        reference)` for two spaces, with a quadratic solver.
    solver
        Function from a :class:`~scgenot.pair.Pair` to a plan; None for `sg.ot.Neighbors()`, see
        above. :class:`~scgenot.ot.Sinkhorn` leaves cells unassigned with `price` or `keep`.
    key_added
        Column to write; None for `"genot_transferred_<column>"`.
    rng
        Seed.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    copy
        Return a copy with the results instead of writing to `query`.

    Returns
    -------
    None, or the copy. Sets the following fields of `query`, for `column="cell_type"`:

    `obs["genot_transferred_cell_type"]`
        The most probable label, or the expected number. `"unassigned"` or NaN if less than half of
        the mass of the cell is matched.
    `obs["genot_transferred_cell_type_probability"]`
        Probability of the label, relative to the whole mass of the cell; not for numbers.
    `obs["genot_transferred_cell_type_kept"]`
        Matched share of the mass of the cell; partial couplings only.
    `obsm["genot_transferred_cell_type"]`
        DataFrame, probability of each label and of `"unassigned"`; not for numbers.
    `uns["genot_transferred_cell_type"]`
        The solver and the diagnostics of its plan.

    Raises
    ------
    TypeError
        When an argument is not an AnnData, or an option has a wrong type.
    KeyError
        When a representation or the column is not there.
    ValueError
        When no reference cell has a label, the cells are not in one embedding, values are not
        finite, nothing is matched at the price of the solver, or `key_added` is the name of
        something else in `query`.

    Warns
    -----
    UserWarning
        When less than half of the query cells lie among reference cells.

    Examples
    --------
    >>> sg.tl.embed(reference)
    >>> sg.tl.transfer(query, reference, "cell_type")
    >>> query.obs["genot_transferred_cell_type"].value_counts()
    """
    check_anndata(query, "query")
    check_anndata(reference, "reference")
    check_writable(query, copy, "query")
    check_column(reference, column, "column", "reference")
    check_key(query, key_added)
    labels, values = read_values(reference, column)
    where = {"device": usable_device(device), "seed": seed_of(rng)}
    plan, how = couple(read_pair(query, reference, use_rep), solver, **where)
    found, kept = carry_to_query(plan, values)
    name = key_added or Keys().transferred(column)
    obs = carried(found, labels, reference.obs[column], name, kept)
    obsm = {} if labels is None else {name: probabilities(found, labels, kept, query.obs_names)}
    out = copy_of(query) if copy else query
    write_slots(out, obs=obs, obsm=obsm, uns={name: how})
    return out if copy else None
