"""Predict target states of source cells, seen in the fit or not."""

from anndata import AnnData

from scgenot._check import check_count, check_dose, check_guidance
from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.read import check_writable, copy_of
from scgenot.cells.write import write_prediction
from scgenot.fit.fit import ModelSource, open_fit
from scgenot.fit.predictions import predict_cells
from scgenot.fit.sample import Integrator


@typed
def predict(
    adata: AnnData,
    target: object = None,
    *,
    dose: float | None = None,
    key: str = "genot",
    model: ModelSource = None,
    use_rep: str | None = None,
    shared_rep: str | None = None,
    n_samples: int = 32,
    guidance: float = 1.0,
    integrator: Integrator | None = None,
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Predict target states of source cells: one possible cell, the mean of many, and how far they
    spread.

    Parameters
    ----------
    adata
        Source cells; those of the fit, or others with the same representation, or with the same
        features when `model` is an AnnData whose representation :func:`embed` made: they are then
        placed in it. In a time course the cells before the last time, among perturbed cells the
        control cells (all cells where `obs` does not tell); other cells get NaN.
    target
        After :func:`fit_perturbation`: the perturbation or combination, None where there is one.
        After :func:`fit_trajectory`: a time that the source cells have a fitted step to, None for
        the next. After :func:`fit_translation` nothing.
    dose
        After a fit with doses; None for the largest of that perturbation.
    key
        The `key_added` of the fit: where the model is looked for, and the prefix of what is
        written.
    model
        Where the model comes from: None for `uns[key]` of `adata`, another AnnData with the fit in
        its `uns[key]`, a fit of :func:`scgenot.get.fit`, a model such as
        :class:`~scgenot.Genot`, or a file that its `save` wrote.
    use_rep, shared_rep
        Representations of `adata`. None takes those of the fit; name them with a model that comes
        without a fit.
    n_samples
        Draws per cell for mean and spread.
    guidance
        Strength of the condition: 1 for the law that was learned, more to exaggerate a
        perturbation; needs a fit with condition dropout.
    integrator
        How the model moves noise to cells, such as `sg.flow.ODE("midpoint", steps=12)` or
        `sg.flow.SDE(noise=1.0, steps=50)`; None for six midpoint steps, or for the sampler that
        :func:`distill` made.
    rng
        Seed. The same seed gives the same draws.
    device
        Where to compute; None for CUDA when there is one.
    progress
        Whether to show a progress bar over thousands of cells.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obsm["X_genot"]`
        One sampled target state per cell, shape `(n, q)`: a possible cell.
    `obsm["X_genot_mean"]`
        Mean of the draws, shape `(n, q)`: for alignment and label transfer. It varies less than
        cells do.
    `obs["genot_uncertainty"]`
        Variance of the draws over the variance of all target cells: 0 is certain, 1 knows nothing
        of the cell. After a map (:class:`~scgenot.model.MongeMap`), which has one answer for a
        cell, neither this nor the next field is there.
    `obs["genot_cosine_variance"]`
        Where source and target cells are in one space: one less the mean cosine between the cell's
        displacements, draws less the cell, and their mean. 0: all go one way; about 1: anywhere.
    `obs["genot_response"]`
        Likewise: length of the cell's mean displacement; 1 is the root mean square distance of all
        target cells from their mean. What the finite number of draws adds to it is taken off. It
        tells cells that respond from others.
    `obs["genot_growth"]`
        Mass sent over mass had, for an unbalanced fit.
    `uns["genot_predicted"]`
        After :func:`fit_perturbation`: the perturbation, `"target"`, and with doses the `"dose"`,
        that were predicted.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, the representation is not there, or the perturbation was not
        seen.
    ValueError
        When the representation does not have the dimension that the model was fitted with or is
        another embedding, features are missing, counts are given where the fit had none,
        `n_samples` is under 2, `target` or `dose` does not fit the task, or no cell is a source.

    Warns
    -----
    UserWarning
        When source cells stand out from those that a screen was fitted with, by their local outlier
        factor: over 5 % of them do so more than 99 % of the fitted cells. Cells of a kind that the
        embedding was not made with may be projected among others and go unnoticed.

    Examples
    --------
    >>> sg.tl.predict(adata)
    >>> sg.tl.predict(adata, target="A", dose=1.0)  # after fit_perturbation
    >>> sg.tl.predict(new_cells, model=adata)
    """
    check_count("n_samples", n_samples, 2, "for a spread")
    check_guidance(guidance)
    check_dose(dose)
    check_writable(adata, copy=copy)
    predicted = predict_cells(
        open_fit(adata, key, model, device),
        adata,
        target,
        dose,
        use_rep=use_rep,
        shared_rep=shared_rep,
        n_samples=n_samples,
        guidance=guidance,
        integrator=integrator,
        rng=rng,
        progress=progress,
    )
    out = copy_of(adata) if copy else adata
    write_prediction(out, key, **predicted)
    return out if copy else None
