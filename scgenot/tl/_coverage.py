"""Count treated cells in calibrated regions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot._check import check_guidance
from scgenot._random import Rng, seed_of
from scgenot._typed import typed
from scgenot.cells.tasks import Screen
from scgenot.fit.calibration import counted
from scgenot.fit.fit import ModelSource, open_fit


@typed
def coverage(
    adata: AnnData,
    target: object = None,
    *,
    held_out: np.ndarray | str | None = None,
    dose: float | Sequence[float] | None = None,
    guidance: float = 1.0,
    key: str = "genot",
    model: ModelSource = None,
    use_rep: str | None = None,
    rng: Rng = 0,
    device: str | None = None,
) -> pd.DataFrame:
    """Compute the coverage of calibrated regions on treated cells that were not used to calibrate.

    Parameters
    ----------
    adata
        Control and treated cells, as in :func:`calibrate`. For an unbiased estimate, use cells that
        were neither fitted nor used to calibrate.
    target, dose, held_out
        As in :func:`calibrate`.
    guidance, key, model, use_rep, rng, device
        As in :func:`calibrate`, whose result is stored with the fit.

    Returns
    -------
    One row per level for the region of all features (`feature` is "region") and for each feature:
    `feature`, `level`, `raw_coverage`, share of treated cells in the raw region; `coverage`, share
    in the corrected region; `n`, number of treated cells; `error`, binomial standard error of a
    share of `n` cells at the level.

    Raises
    ------
    TypeError, ValueError
        As for :func:`calibrate`.
    KeyError
        Likewise, and when the fit was not calibrated.

    Warns
    -----
    UserWarning
        When cells with these names were fitted, or used to calibrate.

    Examples
    --------
    >>> table = sg.tl.coverage(new_donor, model=fitted)  # doctest: +SKIP
    >>> table[(table["feature"] == "region") & (table["level"] == 0.9)]  # doctest: +SKIP
    """
    check_guidance(guidance)
    fit = open_fit(adata, key, model, device)
    fit.needs(Screen, "coverage")
    options = {"guidance": guidance, "use_rep": use_rep, "seed": seed_of(rng)}
    return counted(fit, adata, held_out, target, dose, **options)
