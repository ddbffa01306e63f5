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
    """Predict the state of measured treated cells under another drug or dose.

    For each treated cell, a control cell is drawn from the plan given that cell. The flow of the
    model is integrated backward under the cell's own drug, to its latent code, and forward from
    there under `target`. Cell-specific variation is kept, whereas :func:`simulate` draws it anew.
    *This assumes that cells keep their rank*: of two cells with the same untreated state, the one
    that responds more strongly to one drug also responds more strongly to the other. Snapshot data
    cannot confirm this assumption; the population under `target` does not depend on it.

    Parameters
    ----------
    adata
        Measured cells. Those treated with conditions of the fit are used. To restrict them, for
        example to one drug, pass a subset and the fitted AnnData as `model`.
    target, dose
        Perturbation, and its dose, as in :func:`predict`.
    key
        The `key_added` of the fit.
    model
        As in :func:`predict`. Cells that were not fitted require the fitted AnnData here.
    use_rep
        Representation of `adata`; None for that of the fit.
    decoder, clip
        As in :func:`simulate`.
    rng
        Seed of the control cells that are drawn.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    New cells, one per treated cell and in the same order, with the fields of :func:`simulate` and

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
