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
    """Fit a model that translates cells of one modality into another; the cells need not be paired.

    The two populations are coupled as a whole, by a quadratic (Gromov-Wasserstein) coupling of
    distances within each modality, or by a fused one when features of both in one common space are
    given. A GENOT model (arXiv 2310.09254) then learns the conditional law of the coupling, so that
    new cells can be translated too.

    Parameters
    ----------
    adata_source, adata_target
        The modality to translate from, `n` cells, and to, `m` cells. Cells, their number and the
        number of features may differ. Only `adata_source` is written to. Or a MuData and the name
        of its source modality, to which results are written.
    target_modality
        Name of the target modality of a MuData.
    use_rep
        Representation of each side, a key of `obsm` or "X"; one name for both or `(source,
        target)`. None takes the first of `X_pca`, `X_lsi`, `X_clr` that is there; :func:`embed`
        makes them.
    shared_rep
        Representation of both in one common space, such as gene activities and genes: a key for
        both or a pair.
    solver
        Turns a :class:`~scgenot.pair.Pair` into a :class:`~scgenot.ot.Coupling`. None for
        :class:`~scgenot.ot.GromovWasserstein`, or :class:`~scgenot.ot.FusedGromovWasserstein` with
        `shared_rep`. One only: between two AnnData the truth about held-out cells is not known, so
        that a fit cannot choose between several.
    source_weights, target_weights
        Columns of `obs` with non-negative weights of the cells; None for equal weights.
    learner
        Turns links into a model; None for `sg.model.FlowMatching()`, whose fields left at None take
        the defaults of the task: 3000 steps.
    predict
        Whether to write what :func:`predict` writes of the source cells, with its defaults, at
        once. None: unless there are more than 50,000 source cells.
    key_added
        Name of the fit in `uns`, and prefix of what :func:`predict` and :func:`coupling` write.
    rng
        Seed. The same seed gives the same result on one machine and thread count.
    device
        Where to compute; None for CUDA when there is one.
    progress
        Whether to show progress bars.
    copy
        Return a copy with the results in place of writing to `adata_source`.

    Returns
    -------
    None, or the copy. Sets the following fields of `adata_source`:

    `uns[key_added]["params"]`
        Enough to repeat the fit.
    `uns[key_added]["model"]`
        Configuration and weights; :func:`scgenot.get.model` makes a model of them.
    `uns[key_added]["history"]`
        Loss and validation by step.
    `obsm["X_<key_added>"]` and others
        What :func:`predict` writes, unless `predict=False`.
    `uns[key_added]["pairs"]`
        Sizes, epsilon, marginal error, convergence, effective targets and mass of the coupling.
    `uns[key_added]["confidence"]`
        For a search over starts: how many starts reach the best answer, the gap to the next
        distinct one, and whether two subsets of the cells agree.
    `uns[key_added]["links"]`
        The fitted cells by name and their couplings, which other functions read.

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
        When near-equal answers of the search disagree: the translation may be wrong as a whole.

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
