"""Teach the model of a fit to draw in one step."""

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
    """Teach the model of a fit to draw in one step, about ten times as fast.

    A second network learns where the flow carries each point of noise, for the source cells and
    conditions of the fit, see :func:`scgenot.model.distill`. :func:`predict`, :func:`simulate` and
    all else that draws then do so with it, and a log line says so. Conditions that were not fitted,
    such as new drugs or doses between, are left to the model itself, and so is everything with
    `guidance` or an `integrator`: pass `integrator=sg.flow.ODE("midpoint", steps=6)` for draws as
    before. It takes about as long as a fit, and is worth it for very many cells.

    Parameters
    ----------
    adata
        Cells with a fit.
    steps
        Evaluations of the network a draw; 12 without distillation.
    training_steps
        Steps of optimization.
    key
        The `key_added` of the fit.
    rng
        Seed. Results are reproducible on the same machine with the same number of threads.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    progress
        Whether to show a progress bar.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Adds the sampler to the model in `uns[key]`; regions of :func:`calibrate`,
    which were made with other draws, are removed. What was predicted before stays.
    `sg.get.model(adata).distilled` has the steps, and how far the laws are from those of the model
    on source cells held out.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit.
    ValueError
        When the model takes no steps to draw (a map, a mixture), a number is out of range, or there
        are under 5 source cells; when the sampler is not as good as its teacher on held-out source
        cells, and the fit stays as it was.

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
