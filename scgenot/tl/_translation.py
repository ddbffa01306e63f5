"""Translate cells of one modality into another."""

import warnings

import numpy as np
from anndata import AnnData

from scgenot._random import Rng, seed_of
from scgenot.cells.keys import Keys
from scgenot.cells.read import usual_rep
from scgenot.cells.tasks.translation import by_modality
from scgenot.cells.write import write_fit
from scgenot.fit.fit import Solver, describe, fit_pairs
from scgenot.model import TrainSettings
from scgenot.ot import Confidence, FusedGromovWasserstein, GromovWasserstein
from scgenot.ot.store import plan_to_arrays


def fit_translation(
    adata_source: AnnData,
    adata_target: AnnData,
    *,
    use_rep: str | tuple[str, str] | None = None,
    shared_rep: str | tuple[str, str] | None = None,
    solver: Solver | None = None,
    source_weights: str | None = None,
    target_weights: str | None = None,
    settings: TrainSettings | None = None,
    key_added: str = "genot",
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Fit a model that translates cells of one modality into another; the cells need not be paired.

    The two populations are coupled as a whole, by a quadratic (Gromov-Wasserstein) coupling of distances within each
    modality, or by a fused one when features of both in one common space are given. A GENOT model
    (arXiv 2310.09254) then learns the conditional law of the coupling, so that new cells can be translated too.

    Parameters
    ----------
    adata_source, adata_target
        The modality to translate from, `n` cells, and to, `m` cells. Cells, their number and the number of features
        may differ. Only `adata_source` is written to.
    use_rep
        Representation of each side, a key of `obsm` or "X"; one name for both or `(source, target)`. None takes the
        first of `X_pca`, `X_lsi`, `X_clr` that is there; :func:`embed` makes them.
    shared_rep
        Representation of both in one common space, such as gene activities and genes: a key for both or a pair.
    solver
        Turns a :class:`~scgenot.pair.Pair` into a :class:`~scgenot.ot.Coupling`. None for
        :class:`~scgenot.ot.GromovWasserstein`, or :class:`~scgenot.ot.FusedGromovWasserstein` with `shared_rep`.
    source_weights, target_weights
        Columns of `obs` with non-negative weights of the cells; None for equal weights.
    settings
        Of the training; None for the defaults.
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
    `uns[key_added]["pairs"]`
        Sizes, epsilon, marginal error, convergence, effective targets and mass of the coupling.
    `uns[key_added]["dual"]`
        The coupling in the form that :func:`coupling` reads.
    `uns[key_added]["confidence"]`
        For a search over starts: how many starts reach the best answer, the gap to the next distinct one, and whether
        two subsets of the cells agree.

    Raises
    ------
    TypeError
        When an argument is not an AnnData, or an option has a wrong type.
    KeyError
        When a representation or a column is not there.
    ValueError
        When values are not finite, cells too few or all the same, shared features differ in length, weights are
        negative, or `key_added` has a slash.

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
    """
    Keys(key_added)  # refuses a bad name before the work, not after
    pair = by_modality(
        adata_source,
        adata_target,
        use_rep=use_rep,
        shared_rep=shared_rep,
        source_weights=source_weights,
        target_weights=target_weights,
    )
    seed = seed_of(rng)
    if solver is None:
        default = GromovWasserstein if shared_rep is None else FusedGromovWasserstein
        solver = default(device=device, rng=seed % 2**31)
    settings = settings or TrainSettings()
    fit = fit_pairs([pair], solver, settings, rng=seed, device=device, progress=progress)
    (coupling,) = fit.couplings
    reps = use_rep if isinstance(use_rep, (tuple, list)) else (use_rep, use_rep)
    shared = shared_rep if isinstance(shared_rep, (tuple, list)) else (shared_rep, shared_rep)
    params = {
        "task": "translation",
        "use_rep": reps[0] or usual_rep(adata_source, "adata_source", "use_rep"),
        "target_rep": reps[1] or usual_rep(adata_target, "adata_target", "use_rep"),
        "shared_rep": shared[0],
        "target_shared_rep": shared[1],
        "source_weights": source_weights,
        "target_weights": target_weights,
        "solver": describe(solver),
        "settings": describe(settings),
        "rng": seed,
    }
    confidence = getattr(coupling, "confidence", None)
    out = adata_source.copy() if copy else adata_source
    write_fit(
        out,
        key_added,
        params=params,
        model=fit.model.to_arrays(),
        history=fit.history,
        pairs=fit.pairs,
        dual=plan if (plan := plan_to_arrays(coupling))["kind"] == "dual" else None,
        coupling_names=np.asarray(adata_target.obs_names, dtype=str),
        confidence=None if confidence is None else confidence.to_dict(),
    )
    warn_if_ambiguous(confidence)
    return out if copy else None


def warn_if_ambiguous(confidence: Confidence | None) -> None:
    """Warn loudly, with what to try, when near-equal optima of the search disagree."""
    if confidence is None or not confidence.ambiguous:
        return
    warnings.warn(
        f"The match between the two modalities is ambiguous: the next distinct answer's objective is only "
        f"{100 * confidence.gap:.1f} % higher, {confidence.n_best} of {confidence.n_starts} starts reach the best one, "
        f"and two subsets of the cells agree with correlation {confidence.agreement:.2f}. The translation may be "
        "wrong as a whole. Try features shared by both (`shared_rep`), another representation (`use_rep`, for "
        "example proteins scaled to one variance), another intra-cost, or more starts "
        "(`solver=sg.ot.GromovWasserstein(n_starts=200, search_cells=2000)`).",
        UserWarning,
        stacklevel=3,
    )
