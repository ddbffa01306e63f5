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
    """Compute the p-value of measured target cells under the model.

    For each target cell, a source cell is drawn from the plan given that cell, and the flow of the
    model is integrated backward to the noise from which the model would generate the cell, its
    latent code. Under a correct model of a balanced plan, fitted without source noise, codes are
    standard normal and p-values are uniform, also for new cells. Many small p-values indicate cells
    that the model does not generate, such as other cell types, doublets or a poorly learned
    population. P-values that accumulate at 1 indicate a distribution that is too wide, for example
    because of source noise.

    Codes of fitted cells are too short, and a model of few cells in many components is too narrow
    for new cells: on `kang_ifnb`, .05 of the fitted and .30 of new cells have p-values below .05.
    Pass `held_out` cells to compare with these instead.

    Parameters
    ----------
    adata
        Measured cells: treated ones after :func:`fit_perturbation`, those of later times after
        :func:`fit_trajectory`, target cells (with the source cells as `model`) after
        :func:`fit_translation`. Cells under conditions that were not fitted get NaN.
    held_out
        Measured cells for comparison, neither fitted nor scored. The p-value of a cell is then its
        rank among them, which is uniform for cells from the same distribution even if the model is
        wrong. With n held-out cells under the condition, it is at least 1 / (n + 1); cells under
        conditions without held-out cells get NaN.
    key
        The `key_added` of the fit.
    model
        As in :func:`predict`. Cells that were not fitted require the fitted AnnData here.
    use_rep
        Representation of `adata`; None for that of the fit.
    rng
        Seed of the source cells that are drawn.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following field, for `key="genot"`:

    `obs["genot_p_value"]`
        Probability that the model generates a cell with a longer code or, with `held_out`, the
        share of these cells and the cell itself with a code at least as long; NaN for cells that
        are not target cells of the fit.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, or a column or the representation is not there.
    ValueError
        When the model cannot encode cells, `model` has no fit, the plan does not extend to new
        cells, or no cell is a target cell.

    Warns
    -----
    UserWarning
        When names of `held_out` cells are names of fitted cells.

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
