"""Measured treated cells under another drug or dose."""

from anndata import AnnData

from scgenot._check import check_dose
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.tasks import Screen
from scgenot.fit.counterfactual import counterfactuals
from scgenot.fit.decoder import Decoder
from scgenot.fit.fit import ModelSource, open_fit


@typed
def counterfactual(
    adata: AnnData,
    target: object = None,
    *,
    dose: float | None = None,
    key: str = "genot",
    model: ModelSource = None,
    use_rep: str | None = None,
    decoder: Decoder | None = None,
    clip: bool = True,
    rng: Rng = 0,
    device: str | None = None,
) -> AnnData:
    """Tell what measured treated cells would be under another drug or dose.

    A control cell is drawn for each treated cell from the plan given that cell; the model's flow
    under the cell's own drug is followed backward to its noise, and forward from there under
    `target`. What a cell has of its own is kept, which :func:`simulate` draws anew. *This assumes
    that cells keep their rank*: of two cells with one untreated state, the one that responds more
    to one drug responds more to the other. No data of cells that were measured once can tell
    whether that holds; the population under `target` does not depend on it.

    Parameters
    ----------
    adata
        Measured cells, of which the treated ones under conditions of the fit are used. Pass some of
        them with the fitted AnnData as `model` for those under one drug only.
    target, dose
        Perturbation, and its dose, as in :func:`predict`.
    key
        The `key_added` of the fit.
    model
        As in :func:`predict`; other cells than the fitted ones need the fitted AnnData here.
    use_rep
        Representation of `adata`; None takes that of the fit.
    decoder, clip
        As in :func:`simulate`.
    rng
        Seed of the control cells that are drawn.
    device
        Where to compute; None for CUDA when there is one.

    Returns
    -------
    New cells, one for each treated cell in their order, as those of :func:`simulate`, and

    `obs["source_cell"]`
        Name of the treated cell.
    `obs["control_cell"]`
        Name of the control cell that was drawn for it.
    `obs["<key>_origin"]`
        "counterfactual".

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, or a column or the representation is not there.
    ValueError
        When the fit is not from :func:`fit_perturbation`, nothing turns states into features (pass
        `decoder`), or as for :func:`score_cells` and :func:`predict`.

    Examples
    --------
    >>> given_a = adata[adata.obs["drug"] == "A"]  # doctest: +SKIP
    >>> under_b = sg.tl.counterfactual(given_a, "B", model=adata)  # doctest: +SKIP
    """
    check_dose(dose)
    fit = open_fit(adata, key, model, device)
    fit.needs(Screen, "counterfactual")
    options = {"use_rep": use_rep, "decoder": decoder, "clip": clip, "seed": seed_of(rng)}
    return counterfactuals(fit, adata, target, dose, **options)
