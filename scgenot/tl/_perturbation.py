"""Fit how cells respond to perturbations."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
from anndata import AnnData

from scgenot._check import check_hidden_share
from scgenot._random import Rng, seed_of
from scgenot.cells.keys import Keys
from scgenot.cells.read import named_rep, representation
from scgenot.cells.tasks.screen import by_perturbation
from scgenot.cells.write import write_fit
from scgenot.fit.fit import Solver, describe, fit_pairs
from scgenot.fit.linked import pair_labels, store_couplings
from scgenot.fit.seen import sample_seen
from scgenot.flow import SetEncoder
from scgenot.model import TrainSettings
from scgenot.ot import Sinkhorn

# share of training cells whose condition is hidden, where there are several conditions to guide between
CONDITION_DROPOUT = 0.1
# smaller couples types and donors that differ little less with one another
EPSILON = 0.02
# longer only fits the noise of couplings; source noise is for cells unlike those fitted: new types, new donors
SETTINGS = TrainSettings(steps=1500, source_noise=0.3)


def fit_perturbation(
    adata: AnnData,
    perturbation_key: str,
    control: str | None,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    dose_key: str | None = None,
    embedding: pd.DataFrame | None = None,
    separator: str | None = "+",
    covariates: Sequence[str] = (),
    network_covariates: Sequence[str] = (),
    solver: Solver | None = None,
    displacement: bool = True,
    condition_dropout: float | None = None,
    settings: TrainSettings | None = None,
    key_added: str = "genot",
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Fit one model of how control cells respond to every perturbation, dose and combination.

    Control and treated cells are coupled once for each condition, as whole populations and within the strata of
    `covariates`. One GENOT model (arXiv 2310.09254) then learns the conditional laws of all couplings, given the
    control cell and the condition: what *this* cell would become.

    Parameters
    ----------
    adata
        Control and treated cells.
    perturbation_key
        Column of `obs` with the perturbation.
    control
        Its label of control cells; None when dose 0 alone marks them.
    use_rep
        Representation to compare and generate cells in, a key of `obsm` or "X". None takes the first of `X_pca`,
        `X_lsi`, `X_clr` that is there.
    layer
        A key of `layers` to use in place of a representation.
    dose_key
        Column of `obs` with the dose, on any linear scale; the network sees its logarithm. Dose 0 is control, whatever
        the perturbation is called; control cells may have none.
    embedding
        A row of numbers for each perturbation, measured or not: fingerprints, gene embeddings, mechanisms. With it,
        perturbations that were not measured can be predicted. None: each perturbation has a learned vector.
    separator
        What separates the parts in the name of a combination, such as "A+B", whose order does not matter; None when
        names are never combinations.
    covariates
        Columns of `obs`, such as cell type and donor: cells are coupled within these. Strata of under 10 cells on a
        side are pooled, first with those that differ in the last column alone: name the one that matters most first.
        The network is not told, so that cells of a new donor can be predicted.
    network_covariates
        Columns of `obs` that the network is told as well; numbers as they are, categories one by one. Cells are coupled
        within these too, so numbers should have few values; of a pooled stratum it is told the mean of a number, and no
        category.
    solver
        Turns a :class:`~scgenot.pair.Pair` into a :class:`~scgenot.ot.Coupling`; None for
        `sg.ot.Sinkhorn(epsilon=0.02)`. With `tau=(0.9, 1)` control cells may have no descendants, as under a drug that
        kills.
    displacement
        Whether the model generates the change of the control cell in place of the treated cell: the same law in other
        coordinates, which carry over better to donors and cell types that were not treated.
    condition_dropout
        Share of training cells whose condition is hidden, so that :func:`predict` takes `guidance`; None for .1, or 0
        with a single condition.
    settings
        Of the training; None for `sg.model.TrainSettings(steps=1500, source_noise=0.3)`.
    key_added
        Name of the fit in `uns`, and prefix of what later functions write.
    rng
        Seed. The same seed gives the same result on one machine and thread count.
    device
        Where to compute; None for CUDA when there is one.
    progress
        Whether to show progress bars.
    copy
        Return a copy with the results in place of writing to `adata`.

    Returns
    -------
    None, or the copy. Sets the following fields:

    `uns[key_added]["params"]`
        Enough to repeat the fit, and the vocabulary of conditions.
    `uns[key_added]["model"]`
        Configuration and weights; :func:`scgenot.get.model` makes a model of them.
    `uns[key_added]["history"]`
        Loss and validation by step.
    `uns[key_added]["pairs"]`
        One row a pair: perturbation, dose, stratum, cells, epsilon, marginal error, convergence, effective targets and
        mass.
    `uns[key_added]["couplings"]`
        The couplings, in the form that :func:`coupling` reads.
    `uns[key_added]["seen"]`
        At most 1000 control cells, so that :func:`predict` can warn of cells unlike them.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, `embedding` not a DataFrame, `covariates` text, or an option has
        a wrong type.
    KeyError
        When a column or representation is not there.
    ValueError
        When there are no control cells or only those, a perturbation or dose is missing, a control cell has a dose,
        `embedding` lacks a perturbation, a perturbation has no stratum with enough cells, values are not finite, obs
        names are not unique, or `key_added` has a slash.

    Examples
    --------
    >>> sg.tl.embed(adata, method="pca")
    >>> sg.tl.fit_perturbation(adata, "drug", "DMSO", dose_key="dose", covariates=["donor"])
    >>> sg.tl.predict(adata, target="dexamethasone", dose=1.0)
    >>> treated = sg.tl.simulate(adata, target=["dexamethasone", "IFN"])
    """
    Keys(key_added)  # refuses a bad name before the work, not after
    check_hidden_share(condition_dropout)
    linked, conditions = by_perturbation(
        adata,
        perturbation_key,
        control,
        use_rep=use_rep,
        layer=layer,
        dose_key=dose_key,
        embedding=embedding,
        separator=separator,
        covariates=covariates,
        network_covariates=network_covariates,
    )
    seed = seed_of(rng)
    solver = solver or Sinkhorn(epsilon=EPSILON, device=device, rng=seed % 2**31)
    n_conditions = len({tuple(item.pair.condition) for item in linked})
    if condition_dropout is None:
        condition_dropout = CONDITION_DROPOUT if n_conditions > 1 else 0.0
    n_hidden = int(condition_dropout > 0)  # the column that says whether a condition is hidden
    fit = fit_pairs(
        [item.pair for item in linked],
        solver,
        settings or SETTINGS,
        rng=seed,
        device=device,
        progress=progress,
        displacement=displacement,
        encoder=partial(
            SetEncoder,
            conditions.n_slots,
            conditions.tokens.shape[1],
            conditions.n_further + n_hidden,
        ),
        condition_dropout=condition_dropout,
    )
    params = {
        "task": "perturbation",
        "perturbation_key": perturbation_key,
        "control": control,
        "dose_key": dose_key,
        "conditions": conditions.to_dict(),
        "use_rep": named_rep(adata, use_rep, layer),
        "layer": layer,
        "covariates": list(covariates),
        "network_covariates": list(network_covariates),
        "displacement": displacement,
        "condition_dropout": condition_dropout,
        "solver": describe(solver),
        "settings": describe(settings or SETTINGS),
        "rng": seed,
    }
    out = adata.copy() if copy else adata
    write_fit(
        out,
        key_added,
        params=params,
        model=fit.model.to_arrays(),
        history=fit.history,
        pairs=pair_labels(linked, fit.pairs),
        couplings=store_couplings(adata.obs_names, linked, fit.couplings),
        seen=sample_seen(representation(adata, use_rep, layer=layer), linked, seed),
    )
    return out if copy else None
