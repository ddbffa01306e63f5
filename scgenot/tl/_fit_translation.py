"""Translate cells of one modality into another."""

from typing import TYPE_CHECKING

from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.cells.tasks import Translation
from scgenot.cells.tasks.translation import two_reps, two_sides
from scgenot.fit.making import Learner, Solver, moved_options
from scgenot.tl._fit import fit

if TYPE_CHECKING:
    from mudata import MuData


@typed
@moved_options
def fit_translation(
    adata_source: "AnnData | MuData",
    adata_target: AnnData | str,
    target_modality: str | None = None,
    *,
    use_rep: str | tuple[str, str] | None = None,
    shared_rep: str | tuple[str, str] | None = None,
    source_weights: str | None = None,
    target_weights: str | None = None,
    solver: Solver | None = None,
    learner: Learner | None = None,
    predict: bool | None = None,
    key_added: str = "genot",
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Fit a model that predicts one modality from another, without paired cells.

    The two populations are coupled by a quadratic (Gromov-Wasserstein) coupling of the distances
    within each modality, or by a fused one if features in a common space are given. A GENOT model
    (arXiv 2310.09254) then learns the conditional distribution of the coupling, so that new cells
    can be translated, too.

    Parameters
    ----------
    adata_source, adata_target
        Source modality with `n` cells and target modality with `m` cells. Cells, their numbers and
        the numbers of features may differ. Results are written only to `adata_source`. Or a MuData
        and the name of its source modality, to which results are written.
    target_modality
        Name of the target modality, for MuData.
    use_rep
        Representation of each side, a key of `obsm` or "X"; one name for both or `(source,
        target)`. None for the first of `X_pca`, `X_lsi`, `X_clr` that is present; see
        :func:`embed`.
    shared_rep
        Representation of both sides in a common space, such as gene activities and gene expression:
        one key for both or a pair.
    solver
        Function from a :class:`~scgenot.pair.Pair` to a :class:`~scgenot.ot.Coupling`. None for
        :class:`~scgenot.ot.GromovWasserstein`, or :class:`~scgenot.ot.FusedGromovWasserstein` with
        `shared_rep`. Lists of candidates are not supported, because the truth about held-out cells
        is not known between two AnnData.
    source_weights, target_weights
        Columns of `obs` with non-negative weights of the cells; None for equal weights.
    learner
        Function from links to a model. None for `sg.model.FlowMatching()`, whose fields left at
        None take the defaults of the task: 3000 steps.
    predict
        Whether to also predict the source cells, as :func:`predict` with default arguments. None:
        unless there are more than 50,000 source cells.
    key_added
        Name of the fit in `uns`, and prefix of the results of :func:`predict` and :func:`coupling`.
    rng
        Seed. Results are reproducible on the same machine with the same number of threads.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.
    progress
        Whether to show progress bars.
    copy
        Return a copy with the results instead of writing to `adata_source`.

    Returns
    -------
    None, or the copy. Sets the following fields of `adata_source`:

    `uns[key_added]["params"]`
        Arguments needed to repeat the fit.
    `uns[key_added]["model"]`
        Configuration and weights; :func:`scgenot.get.model` returns the model.
    `uns[key_added]["history"]`
        Training and validation loss by step.
    `obsm["X_<key_added>"]` and others
        Fields of :func:`predict`, unless `predict=False`.
    `uns[key_added]["pairs"]`
        Sizes, epsilon, marginal error, convergence, effective targets and mass of the coupling.
    `uns[key_added]["confidence"]`
        For a search over starts: how many starts reach the best solution, the gap to the next
        distinct one, whether two subsets of the cells agree, and the margin of the best solution.
    `uns[key_added]["links"]`
        Names of the fitted cells and their couplings, used by other functions.

    Raises
    ------
    TypeError
        When an argument is neither an AnnData nor modalities of a MuData, or an option has a
        wrong type.
    KeyError
        When a modality, a representation or a column is not there.
    ValueError
        When values are not finite, cells too few or all the same, shared features differ in length,
        weights are negative, or `key_added` has a slash.

    Warns
    -----
    UserWarning
        When near-equal solutions of the search disagree; the whole translation may then be wrong.

    Examples
    --------
    >>> sg.tl.embed(rna, method="pca")
    >>> sg.tl.embed(atac, method="lsi")
    >>> sg.tl.fit_translation(rna, atac)
    >>> sg.tl.predict(rna)
    >>> sg.pl.translation(rna, atac, color="cell_type")

    Or, of a MuData:

    >>> sg.tl.fit_translation(mdata, "rna", "atac")
    """
    adata_source, adata_target = two_sides(adata_source, adata_target, target_modality)
    reps, shared = two_reps(use_rep, "use_rep"), two_reps(shared_rep, "shared_rep")
    task = Translation(
        adata_target,
        use_rep=reps[0],
        target_rep=reps[1],
        shared_rep=shared[0],
        target_shared_rep=shared[1],
        source_weights=source_weights,
        target_weights=target_weights,
    )
    return fit(
        adata_source,
        task,
        solver=solver,
        learner=learner,
        predict=predict,
        key_added=key_added,
        rng=rng,
        device=device,
        progress=progress,
        copy=copy,
    )
