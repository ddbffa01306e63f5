"""Predict target states of source cells, seen in the fit or not."""

from pathlib import Path

from anndata import AnnData

from scgenot._check import check_count, check_dose, check_guidance
from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.lazy import readable
from scgenot.cells.read import check_writable, copy_of
from scgenot.cells.write import write_prediction
from scgenot.fit.fit import ModelSource, open_fit
from scgenot.fit.predictions import predict_cells
from scgenot.fit.sample import Integrator
from scgenot.fit.to_store import predict_to


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
    out: str | Path | None = None,
    overwrite: bool = False,
    copy: bool = False,
) -> AnnData | None:
    """Predict target states of source cells: one sampled state, the mean of many samples, and their
    spread.

    Parameters
    ----------
    adata
        Source cells: those of the fit, or new cells with the same representation. If `model` is an
        AnnData whose representation was made by :func:`embed`, new cells need only the same
        features and are projected. Source cells are the cells before the last time after
        :func:`fit_trajectory`, and the control cells after :func:`fit_perturbation` (all cells if
        `obs` does not have the column); other cells get NaN. Backed files and cells of
        :func:`anndata.experimental.read_lazy` are read in blocks of rows.
    target
        After :func:`fit_perturbation`: the perturbation or combination; None if there is only one.
        After :func:`fit_trajectory`: a time to which the source cells have a fitted step; None for
        the next one. Not used after :func:`fit_translation`.
    dose
        Dose, after a fit with doses; None for the largest dose of the perturbation. For a dose
        between those fitted, of any perturbation, samples at the two nearest fitted doses, drawn
        with the same noise, are interpolated linearly in the logarithm of the dose (in
        `log(1 + 10 dose / smallest dose)`), where control is dose 0. Above the largest one, the
        network extrapolates.
    key
        The `key_added` of the fit: the location of the model and the prefix of the results.
    model
        Source of the model: None for `uns[key]` of `adata`, another AnnData with the fit in its
        `uns[key]`, a fit from :func:`scgenot.get.fit`, a model such as :class:`~scgenot.Genot`, or
        a file written by its `save`.
    use_rep, shared_rep
        Representations of `adata`; None for those of the fit. Required for a model without a fit.
    n_samples
        Samples per cell for mean and spread. An even number of at least 4 gives more accurate
        means, of pairs of samples with opposite noise.
    guidance
        Strength of the condition: 1 for the learned distribution, larger values to exaggerate the
        effect of a perturbation; requires a fit with condition dropout.
    integrator
        Integrator from noise to cells, such as `sg.flow.ODE("midpoint", steps=12)` or
        `sg.flow.SDE(noise=1.0, steps=50)`; None for six midpoint steps, or for the sampler of
        :func:`distill`.
    rng
        Seed. The same seed gives the same samples.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    progress
        Whether to show a progress bar, for thousands of cells.
    out
        Zarr folder to write the results to, such as `"cells.zarr"`, in chunks and in place of
        `adata`. It holds the fields below for all cells and `obs` of `adata`, without features. See
        :func:`simulate`.
    overwrite
        Whether to replace an existing `out`, once the new one is complete.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields, for `key="genot"`:

    `obsm["X_genot"]`
        One sampled target state per cell, shape `(n, q)`: a possible cell.
    `obsm["X_genot_mean"]`
        Mean of the samples, shape `(n, q)`, for alignment and label transfer. Means vary less than
        cells.
    `obs["genot_uncertainty"]`
        Variance of the samples divided by the variance of all target cells: 0 if all samples agree,
        1 if they do not depend on the cell. Neither this nor the next field is set by a map
        (:class:`~scgenot.model.MongeMap`), which has one answer per cell.
    `obs["genot_cosine_variance"]`
        If source and target cells share a space: 1 minus the mean cosine between the displacements
        of the cell (samples minus the cell) and their mean. 0: all samples move in the same
        direction; about 1: in random directions.
    `obs["genot_response"]`
        If source and target cells share a space: length of the mean displacement of the cell,
        corrected for the finite number of samples. The unit is the root mean square distance of
        target cells from their mean. It separates responding cells from others.
    `obs["genot_growth"]`
        Mass that leaves the cell divided by the mass of the cell, for an unbalanced fit.
    `obs["genot_support"]`
        For models with linear extrapolation, the default of :func:`fit_perturbation`, and without
        guidance: probability that samples of the cell come from the network, 1 if the cell is near
        the control cells that were coupled with this perturbation. The samples of cells far from
        all of them, such as cells of a type without treated cells, come from a regularized linear
        model, see :func:`scgenot.model.fit_extrapolation`. For a dose between fitted ones, it is
        the smaller value of both. It is also 1 for a perturbation or covariate that was not
        fitted, at a dose that was fitted for other perturbations only, and above all fitted doses:
        these have no linear model.
    `uns["genot_predicted"]`
        After :func:`fit_perturbation`: the predicted perturbation, `"target"`, and with doses the
        `"dose"`.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, the representation is not there, or the perturbation was not
        seen.
    ValueError
        When the representation has another dimension than that of the fit or is another embedding,
        features are missing, values are counts but were not in the fit, `n_samples` is below 2,
        `target` or `dose` does not match the task, no cell is a source cell, or for `out` as in
        :func:`simulate`.
    OSError
        When writing `out` fails, for example on a full disk; the cells written so far are kept.

    Warns
    -----
    UserWarning
        After :func:`fit_perturbation`, when source cells are unlike the fitted cells: the local
        outlier factor of more than 5 % of them exceeds that of 99 % of the fitted cells. Cells of a
        type that the embedding has not seen may be projected among other cells and remain
        unnoticed.

    Examples
    --------
    >>> sg.tl.predict(adata)
    >>> sg.tl.predict(adata, target="A", dose=1.0)  # after fit_perturbation
    >>> sg.tl.predict(new_cells, model=adata)
    >>> sg.tl.predict(atlas, model=adata, out="cells.zarr")  # doctest: +SKIP
    """
    check_count("n_samples", n_samples, 2, "for a spread")
    check_guidance(guidance)
    check_dose(dose)
    read = readable(adata)
    check_writable(read, copy=copy or out is not None)
    opened, options = open_fit(read, key, model, device), {"n_samples": n_samples, "rng": rng}
    options |= {"use_rep": use_rep, "shared_rep": shared_rep, "progress": progress}
    options |= {"guidance": guidance, "integrator": integrator}
    if out is not None:
        return predict_to(opened, read, target, dose, out=out, overwrite=overwrite, **options)
    predicted = predict_cells(opened, read, target, dose, **options)
    result = copy_of(adata) if copy else adata
    write_prediction(result, key, **predicted)
    return result if copy else None
