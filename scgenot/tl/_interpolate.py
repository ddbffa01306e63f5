"""Predict the population at a time that was not sampled."""

import numpy as np
from anndata import AnnData

from scgenot._random import Rng
from scgenot._typed import typed
from scgenot.fit.decoder import Decoder, feature_decoder
from scgenot.fit.interpolation import population_at, record
from scgenot.fit.made_up import assemble, decoding_of, interpolated_obs
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

    Pairs of an earlier and a later cell are moved along a path. On most data sets, straight lines
    between pairs are no better than simple baselines, with any coupling: cells of one sample are
    not equally advanced, populations do not change at a constant rate, their path is curved, and
    some cells divide. Therefore each pair advances by its own fraction, given by a clock that is
    learned from all times; the mean of the population follows a monotone curve through the means of
    all times (Fritsch and Butland 1984), which cannot overshoot; and with an unbalanced fit, pairs
    are weighted by growth. See :mod:`scgenot.course.interpolation`.

    For interpolation, fit with growth, `solver=sg.ot.Sinkhorn(epsilon=0.01, tau=(0.8, 1))`, unless
    a time point has few cells.

    Parameters
    ----------
    adata
        Cells with a fit of :func:`fit_trajectory`.
    time
        Time to predict, in the unit of the fitted times, within a fitted step. If several steps
        contain it, the shortest is used.
    n_cells
        Number of cells to predict; None for the mean size of the two sampled populations.
    method
        "coupling": pairs sampled from the couplings of the step; "model": source cells with
        generated target cells.
    straight
        Move all pairs by the same fraction along straight lines, without growth, as a baseline.
    bridge_noise
        Whether to add the noise of a Brownian bridge: with straight lines of the coupling this is
        the Schrödinger bridge between the two populations. Only for couplings whose cost is the
        squared distance.
    check
        Whether to leave out each inner sampled time in turn, predict it from the others, and
        compare with baselines that need no coupling; takes about a second per time. If the fit is
        balanced, also with growth (`tau=(0.8, 1)`); it is logged if that is closer to two or more
        left-out times on average.
    decoder, clip
        As in :func:`simulate`.
    key
        The `key_added` of the fit.
    rng
        Seed. The same seed gives the same cells.
    device
        Device; None for `sg.settings.device`, or else CUDA if available.

    Returns
    -------
    New cells, with

    `X`
        Features.
    `obsm`
        States, under the name of the representation.
    `obs`
        That of the source cell, with the requested time in the time column.
    `obs["source_cell"]`
        Name of the source cell.
    `obs["fraction"]`
        Fraction of the path that the cell has covered, from 0 to 1.
    `uns["genot_interpolation"]`, for `key="genot"`
        `time`; `step`, the sampled times around it; `fraction`, the fraction of the path between
        these that the population has covered; with `check` and at least three sampled times,
        `left_out`, a table of energy distances between each inner time and its predictions from all
        other times: `interpolated`, `straight lines`, `time before`, `time after`, `mixture`,
        `random pairs`, `mean shift`, `Gaussian map`, and for balanced fits `interpolated, with
        growth`.

    Raises
    ------
    TypeError
        When `adata` is not an AnnData, `time` is not a number, or an option has a wrong type.
    KeyError
        When there is no such fit.
    ValueError
        When the time is outside all fitted steps, no cells are left at either end, states cannot be
        decoded to features (pass `decoder`), or `bridge_noise` is used with another cost.

    Warns
    -----
    UserWarning
        When a baseline without coupling is on average closer to two or more left-out times.

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
    decoding = decoding_of(fit, rep, to_features, clip=clip and decoder is None)
    out = assemble(fit, rep, states, obs, decoding)
    out.uns[fit.keys.interpolation] = record(transport, float(time), found, check=check)
    return out
