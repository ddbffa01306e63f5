"""Fit a course of development from snapshots."""

from collections.abc import Sequence

import numpy as np
from anndata import AnnData

from scgenot._random import Rng, seed_of
from scgenot.cells.keys import Keys
from scgenot.cells.read import named_rep
from scgenot.cells.tasks.time_course import by_time
from scgenot.cells.times import TimeScale
from scgenot.cells.write import write_fit
from scgenot.fit.fit import Solver, describe, fit_pairs
from scgenot.fit.linked import growth_of, pair_labels, store_couplings
from scgenot.model import TrainSettings
from scgenot.ot import Sinkhorn

# of the mean cost: on clones as much mass stays in the clone as in the exact plan, at .05 a fifth less
EPSILON = 0.01


def fit_trajectory(
    adata: AnnData,
    time_key: str,
    *,
    use_rep: str | None = None,
    layer: str | None = None,
    pairs: Sequence[tuple] | None = None,
    growth_key: str | None = None,
    covariates: Sequence[str] = (),
    solver: Solver | None = None,
    displacement: bool = True,
    settings: TrainSettings | None = None,
    key_added: str = "genot",
    rng: Rng = 0,
    device: str | None = None,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Fit a model of what cells become, from snapshots of a population at several times.

    Consecutive time points are coupled, each pair as a whole. One GENOT model (arXiv 2310.09254) then learns the
    conditional laws of all couplings, given the source cell, its time and the step, so that cells that were in no
    coupling have descendants too.

    Parameters
    ----------
    adata
        Cells of all time points.
    time_key
        Column of `obs` with the time: numbers; text with a number in it, such as "day 2"; or ordered categories, which
        are then 0, 1, 2, ... .
    use_rep
        Representation to compare and generate cells in, a key of `obsm` or "X". None takes the first of `X_pca`,
        `X_lsi`, `X_clr` that is there.
    layer
        A key of `layers` to use in place of a representation.
    pairs
        Earlier and later time of each pair; None for consecutive time points.
    growth_key
        Column of `obs` with the rate of growth, births minus deaths per unit of time; :func:`score_growth` makes one.
        0 is neither, a negative rate dies: a cell at rate `r` has `exp(r step)` descendants.
    covariates
        Columns of `obs`, such as donor or batch: cells are coupled within these. Strata of under 10 cells on a side are
        pooled, first with those that differ in the last column alone.
    solver
        Turns a :class:`~scgenot.pair.Pair` into a :class:`~scgenot.ot.Coupling`; None for
        `sg.ot.Sinkhorn(epsilon=0.01)`. With `tau=(0.8, 1)` growth is learned from the data, or corrected.
    displacement
        Whether the model generates the way from the source cell in place of the target cell: the same law in other
        coordinates.
    settings
        Of the training; None for the defaults.
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
        Enough to repeat the fit.
    `uns[key_added]["model"]`
        Configuration and weights; :func:`scgenot.get.model` makes a model of them.
    `uns[key_added]["history"]`
        Loss and validation by step.
    `uns[key_added]["pairs"]`
        One row a pair: times, stratum, cells, epsilon, marginal error, convergence, effective targets and mass.
    `uns[key_added]["couplings"]`
        The couplings, in the form that :func:`coupling`, :func:`push`, :func:`pull` and :func:`fate` read.
    `obs["<key_added>_growth"]`
        Descendants of each source cell, after prior and tau: the mass it sends, of 1 for the mean cell where none is
        lost. NaN for cells that are no source. Only with rates that differ between cells, or an unbalanced solver.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, or an option has a wrong type.
    KeyError
        When a column or representation is not there.
    ValueError
        When there is one time point only or a time has one cell, a time or rate is missing, values are not finite, a
        pair is not of two sampled times in order, obs names are not unique, or `key_added` has a slash.

    Examples
    --------
    >>> sg.tl.embed(adata, method="pca")
    >>> sg.tl.fit_trajectory(adata, "day")
    >>> sg.tl.predict(adata)
    >>> sg.tl.fate(adata, "cell_type")
    """
    Keys(key_added)  # refuses a bad name before the work, not after
    linked = by_time(
        adata,
        time_key,
        use_rep=use_rep,
        layer=layer,
        pairs=pairs,
        growth_key=growth_key,
        covariates=covariates,
    )
    seed = seed_of(rng)
    solver = solver or Sinkhorn(epsilon=EPSILON, device=device, rng=seed % 2**31)
    settings = settings or TrainSettings()
    fit = fit_pairs(
        [item.pair for item in linked],
        solver,
        settings,
        rng=seed,
        device=device,
        progress=progress,
        displacement=displacement,
        weights_are_growth=True,
    )
    scale, _ = TimeScale.read(adata, time_key)
    params = {
        "task": "trajectory",
        "time_key": time_key,
        "times": scale.times.tolist(),
        "time_labels": list(map(str, scale.labels)),
        "time_scale": scale.to_dict(),
        "steps": sorted(
            {(item.labels["source_time"], item.labels["target_time"]) for item in linked}
        ),
        "use_rep": named_rep(adata, use_rep, layer),
        "layer": layer,
        "growth_key": growth_key,
        "covariates": list(covariates),
        "displacement": displacement,
        "solver": describe(solver),
        "settings": describe(settings),
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
        growth=growth_of(adata.n_obs, linked, fit.couplings),
    )
    return out if copy else None
