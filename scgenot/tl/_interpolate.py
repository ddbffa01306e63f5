"""Predict the population at a time that was not sampled."""

import numpy as np
from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.fit.decoder import Decoder, feature_decoder
from scgenot.fit.interpolation import population_at, record
from scgenot.fit.made_up import assemble, interpolated_obs
from scgenot.fit.transport import Method, open_transport


@typed
def interpolate(
    adata: AnnData,
    time: object,  # a number; the fit says best on which scale
    *,
    n_cells: int | None = None,
    method: Method = "coupling",
    straight: bool = False,
    bridge_noise: bool = False,
    check: bool = True,
    decoder: Decoder | None = None,
    clip: bool = True,
    key: str = "genot",
    rng: Rng = 0,
    device: str | None = None,
) -> AnnData:
    """Predict the population at a time between two sampled ones.

    Pairs of a cell before and a cell after are moved along their way. Straight lines between pairs
    are no better than trivial baselines on most courses, whatever couples the cells: cells of one
    sample are not equally far, populations do not go at one pace, the course bends, and some cells
    multiply. So each pair has its own fraction of the way, given by a clock that is learned from
    all times; the mean of the population follows a monotone curve through the means of all times
    (Fritsch and Butland 1984), which cannot overshoot; and with an unbalanced fit pairs are
    weighted by growth. See :mod:`scgenot.course.interpolation`.

    Fit with an unbalanced coupling for this, `solver=sg.ot.Sinkhorn(tau=(0.8, 0.8))`, unless a time
    point has few cells.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    time
        Time to predict, in the unit of the fitted times, within a fitted step; the shortest of
        several such steps counts.
    n_cells
        Number of cells to predict; None for the mean size of the two sampled populations.
    method
        "coupling": pairs drawn from the couplings of the step; "model": source cells with generated
        targets.
    straight
        Move all pairs the same fraction along straight lines, whatever their growth, as a baseline.
    bridge_noise
        Whether to add the noise of a Brownian bridge: with straight lines of the coupling this is
        the Schrödinger bridge between the two populations. Only for couplings whose cost is the
        squared distance.
    check
        Whether to leave each inner sampled time out in turn, predict it from the others, and
        compare with answers that need no coupling; takes a second or so for each time.
    decoder, clip
        From states to features, as for :func:`simulate`.
    key
        The `key_added` of the fit.
    rng
        Seed. The same seed gives the same cells.
    device
        Where to compute.

    Returns
    -------
    New cells, with

    `X`
        Features.
    `obsm`
        States, under the name of the representation.
    `obs`
        That of the cell that each was made from, with the time that was asked for in the column of
        times.
    `obs["source_cell"]`
        Name of the cell that it was made from.
    `obs["fraction"]`
        How far it has come, from 0 to 1.
    `uns["genot_interpolation"]`, for `key="genot"`
        `time`; `step`, the sampled times around it; `fraction`, how far the population has come
        between these at the pace of the course; with `check` and three sampled times or more
        `left_out`, a table with the energy distance to each inner time from the prediction by all
        others: `interpolated`, `straight lines`, `time before`, `time after`, `mixture`,
        `random pairs`, `mean shift`, `Gaussian map`.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, `time` is not a number, or an option has a wrong type.
    KeyError
        When there is no such fit.
    ValueError
        When the time is outside all fitted steps, no cells are left at either end, nothing turns
        states into features (pass `decoder`), or noise is asked for with another cost.

    Warns
    -----
    UserWarning
        When an answer that needs no coupling meets two left-out times or more better in the mean.

    See Also
    --------
    simulate : predicts cells at a fitted time.

    Examples
    --------
    >>> day3 = sg.tl.interpolate(adata, 3)
    >>> sg.pl.interpolation({"day 3": day3}, basis="X_pca")
    """
    transport = open_transport(adata, key, method, n_samples=1, rng=rng, device=device)
    fit, rep = transport.fit, transport.fit.task.use_rep
    to_features = feature_decoder(fit, rep, decoder)
    rows, found = population_at(
        transport, time, n_cells, straight=straight, bridge_noise=bridge_noise
    )
    obs = interpolated_obs(fit, adata, rows, found.fractions, float(time))
    states = found.cells.astype(np.float32)
    out = assemble(fit, rep, states, obs, to_features, clip=clip and decoder is None)
    out.uns[fit.keys.interpolation] = record(transport, float(time), found, check=check)
    return out
