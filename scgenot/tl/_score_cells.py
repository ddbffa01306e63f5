"""How plausible measured cells are under a model."""

from anndata import AnnData

from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.keys import Keys
from scgenot.cells.read import check_writable, copy_of
from scgenot.cells.write import write_slots
from scgenot.fit.codes import p_values
from scgenot.fit.fit import ModelSource, open_fit


@typed
def score_cells(
    adata: AnnData,
    *,
    held_out: AnnData | None = None,
    key: str = "genot",
    model: ModelSource = None,
    use_rep: str | None = None,
    rng: Rng = 0,
    device: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Score measured target cells: how plausible is each under the model?

    A source cell is drawn for each target cell from the plan given that cell, and the model's flow
    is followed backward to the noise that it would make the cell of, its code. Under a right model
    of a balanced plan, fitted without source noise, codes are standard normal and the p-values
    uniform, those of cells that were not fitted too. Many small ones are cells that the model does
    not make, such as other cell types, doublets or a population that it learned badly; p-values
    that gather at 1 are of a law that is too wide, as source noise makes it.

    A model of few cells and many components is too narrow for new cells: on `kang_ifnb` a quarter
    of new cells has p-values under .05. Pass `held_out` cells to compare with these instead.

    Parameters
    ----------
    adata
        Measured cells: treated ones after :func:`fit_perturbation`, those of later times after
        :func:`fit_trajectory`, target cells (with the source cells as `model`) after
        :func:`fit_translation`. Cells under conditions that were not fitted get NaN.
    held_out
        Measured cells like those that are scored, neither fitted nor scored. The p-value of a cell
        is then its rank among them: uniform for cells like these, however wrong the model is. It
        is never under one over their number under the condition and one; cells under conditions
        that they lack get NaN.
    key
        The `key_added` of the fit.
    model
        As in :func:`predict`; other cells than the fitted ones need the fitted AnnData here.
    use_rep
        Representation of `adata`; None takes that of the fit.
    rng
        Seed of the source cells that are drawn.
    device
        Where to compute; None for CUDA when there is one.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following field, for `key="genot"`:

    `obs["genot_p_value"]`
        Probability that the model makes a cell whose code is longer, or share of held-out cells
        whose code is longer, each counted with the cell itself; NaN for cells that are not target
        cells of the fit.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, or a column or the representation is not there.
    ValueError
        When the model does not encode cells, `model` came without its fit, the plan knows the
        fitted cells only, or no cell is a target cell.

    Warns
    -----
    UserWarning
        When `held_out` cells have names of cells that were fitted.

    Examples
    --------
    >>> sg.tl.score_cells(adata)  # doctest: +SKIP
    >>> sg.pl.score_cells(adata)  # doctest: +SKIP
    >>> suspects = adata[adata.obs["genot_p_value"] < 1e-3]  # doctest: +SKIP
    """
    check_writable(adata, copy=copy)
    fit = open_fit(adata, key, model, device)
    found = p_values(fit, adata, held_out, use_rep=use_rep, seed=seed_of(rng))
    out = copy_of(adata) if copy else adata
    write_slots(out, obs={Keys(key).p_value: found}, key=key)
    return out if copy else None
