"""Simulate cells: new ones, in a new AnnData, in genes."""

from collections.abc import Sequence
from pathlib import Path

from anndata import AnnData

from scgenot._check import check_count, check_dose, check_guidance
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.lazy import readable
from scgenot.fit.decoder import Decoder
from scgenot.fit.fit import ModelSource, open_fit
from scgenot.fit.made_up import simulated
from scgenot.fit.sample import Integrator


@typed
def simulate(
    adata: AnnData,
    target: object = None,
    *,
    dose: float | Sequence[float] | None = None,
    n_samples: int = 1,
    key: str = "genot",
    model: ModelSource = None,
    use_rep: str | None = None,
    guidance: float = 1.0,
    integrator: Integrator | None = None,
    decoder: Decoder | None = None,
    clip: bool = True,
    residuals: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
) -> AnnData | None:
    """Simulate target cells for source cells, as a new AnnData.

    Parameters
    ----------
    adata
        Source cells, as in :func:`predict`; after :func:`fit_perturbation` the control cells.
    target
        As in :func:`predict`, or several targets. The cells of all targets are generated from the
        same noise, so that they differ only by the target.
    dose
        Dose, after a fit with doses; None for the largest dose of the perturbation. With several
        doses, each target is simulated at each dose.
    n_samples
        Cells per source cell and target.
    key, model, guidance, integrator
        As in :func:`predict`.
    use_rep
        Representation of `adata`; None for that of the fit.
    decoder
        Function from generated states, an array `(n, q)`, to features: a DataFrame, or an array
        with one column per name in `var_names`. None inverts the embedding that made the
        representation, see :func:`decode`, or the PCA of Scanpy; after a translation the embedding
        of the target cells, which is stored in the fit.
    clip
        Whether to set negative values to 0 if the fitted features have none: the inverse of an
        embedding can return negative expression. The share of these values is logged.
    residuals
        Whether to add the variation of features that states do not contain, so that decoded cells
        vary as measured cells do. The residuals (features minus decoded state) are those of a
        measured target cell near the generated cell. Without residuals, simulated cells lack the
        noise of single genes, and tests between simulated and measured cells call nearly every gene
        significant. With `clip`, values below half of the smallest positive value of that measured
        cell become 0. Requires a PCA or `X` as representation, and the AnnData with the fitted
        cells.
    out
        Zarr folder to write the cells to, such as `"screen.zarr"`, in chunks, for more cells than
        fit in memory. Read it with :func:`anndata.read_zarr` or
        :func:`anndata.experimental.read_lazy`. The folder is named `"<out>.partial"` until it is
        complete; repeat an interrupted call to continue it. Requires zarr 3.
    overwrite
        Whether to replace an existing `out`, once the new one is complete.
    rng
        Seed. The same seed gives the same cells; the cells of a target do not depend on the other
        targets.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    progress
        Whether to show a progress bar, for several targets or thousands of cells.

    Returns
    -------
    New cells, ordered by target, dose, sample and source cell, ready for :func:`anndata.concat`
    with `adata`, or None where they go to `out`:

    `X`
        Features, in the units of the fitted features.
    `obs`
        That of the source cell, without the results of :func:`predict`, and with the perturbation
        and dose, or the time, of the target.
    `obs["source_cell"]`
        Name of the source cell.
    `obs["<key>_growth"]`
        Mass that leaves the source cell divided by its mass, for an unbalanced fit: the weights of
        the cells in the simulated population.
    `obsm`
        Generated states, under the name of the representation of the target cells.
    `uns`
        The embedding, for :func:`decode` and :func:`project`, and the parameters of the fit.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When there is no such fit, the representation is not there, or a perturbation was not seen;
        the known ones are listed.
    ValueError
        When states cannot be decoded to features (pass `decoder`), `n_samples` is below 1, `out`
        exists or cannot be created, the partial result of an earlier call is damaged or of another
        call, or as for :func:`predict`.
    OSError
        When writing `out` fails, for example on a full disk; the cells written so far are kept.

    Warns
    -----
    UserWarning
        As for :func:`predict`.

    Examples
    --------
    >>> treated = sg.tl.simulate(adata, target="IFN", model=fitted)  # doctest: +SKIP
    >>> sg.pl.response(adata, treated, ["ISG15", "CXCL10"])  # doctest: +SKIP

    Cells that may be tested against measured ones:

    >>> treated = sg.tl.simulate(adata, target="IFN", residuals=True)  # doctest: +SKIP

    More cells than memory holds:

    >>> sg.tl.simulate(atlas, target=drugs, model=adata, out="screen.zarr")  # doctest: +SKIP
    >>> screen = ad.experimental.read_lazy("screen.zarr")  # doctest: +SKIP
    """
    check_count("n_samples", n_samples, 1)
    check_guidance(guidance)
    check_dose(dose)
    read = readable(adata)
    return simulated(
        open_fit(read, key, model, device),
        read,
        target,
        dose,
        n_samples=n_samples,
        use_rep=use_rep,
        decoder=decoder,
        clip=clip,
        residuals=residuals,
        out=out,
        overwrite=overwrite,
        progress=progress,
        guidance=guidance,
        integrator=integrator,
        seed=seed_of(rng),
    )
