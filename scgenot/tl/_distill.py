"""Distill the model of a fit."""

from anndata import AnnData

from scgenot._check import check_count
from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.read import check_writable, copy_of
from scgenot.fit.distilled import distilled, write
from scgenot.fit.fit import open_fit


@typed
def distill(
    adata: AnnData,
    *,
    steps: int = 1,
    training_steps: int = 1000,
    key: str = "genot",
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Distill the model of a fit into a sampler of one step, about ten times as fast.

    A second network, the student, learns to map noise to the samples of the flow, for the source
    cells and conditions of the fit; see :func:`scgenot.model.distill`. All functions that sample,
    such as :func:`predict` and :func:`simulate`, then use the student, which is logged. Conditions
    that were not fitted, such as new drugs, the control end of doses below the smallest, and calls
    with `guidance` or an `integrator` use the original model: pass
    `integrator=sg.flow.ODE("midpoint", steps=6)` for the previous samples. Distillation takes about
    as long as a fit and is useful for very many cells.

    Parameters
    ----------
    adata
        Cells with a fit.
    steps
        Network evaluations per sample; 12 without distillation.
    training_steps
        Number of optimization steps.
    key
        The `key_added` of the fit.
    rng
        Seed. Results are reproducible on the same machine with the same number of threads.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    progress
        Whether to show a progress bar.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy. Adds the student to the model in `uns[key]`. Regions of :func:`calibrate`,
    which were computed from other samples, are removed; previous predictions are kept.
    `sg.get.model(adata).distilled` has the number of steps, and the difference between student and
    teacher on held-out source cells.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit.
    ValueError
        When the model does not sample in steps (a map, a mixture), a number is out of range, there
        are fewer than 5 source cells, or the student is less accurate than its teacher on held-out
        source cells; the fit is then not changed.

    Warns
    -----
    UserWarning
        When the fit was calibrated.

    See Also
    --------
    scgenot.model.distill : the same for a model on arrays.

    Examples
    --------
    >>> sg.tl.distill(adata)  # doctest: +SKIP
    >>> sg.tl.predict(many_cells, model=adata)  # doctest: +SKIP
    """
    check_count("steps", steps, 1)
    check_count("training_steps", training_steps, 1)
    check_writable(adata, copy=copy)
    out = copy_of(adata) if copy else adata
    options = {"steps": steps, "training_steps": training_steps, "rng": rng, "progress": progress}
    write(distilled(open_fit(out, key, device=device), **options))
    return out if copy else None
