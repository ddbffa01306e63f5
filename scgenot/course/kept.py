"""Which share of each cell has relatives along a chain of steps, after partial couplings."""

import numpy as np

from scgenot.course.chain import StepOf, ratio
from scgenot.course.steps import Path


def kept_along(step_of: StepOf, path: Path, here: np.ndarray, *, backward: bool) -> np.ndarray:
    """Return which share of each cell has relatives all the way along a path.

    Parameters
    ----------
    step_of, path
        The steps.
    here
        Which cells are where the way begins, shape `(n_cells,)`.
    backward
        Whether the way goes from the end of the path to its start.

    Returns
    -------
    Shares, shape `(n_cells,)`; 1 where the way begins, NaN for cells that are not on it.
    """
    out = np.where(here, 1.0, np.nan)
    for times in reversed(path) if backward else path:
        step = step_of(*times)
        known = np.nan_to_num(out)
        if backward:
            sent = step.expect(np.ones(len(out)))
            asked = sent if step.left is None else sent + step.left[0]
            found, cells = ratio(step.expect(known), asked), step.source
        else:
            kept = 1 if step.left is None else 1 - step.left[1]
            found, cells = kept * step.inherit(known), step.target
        # a cell without any mass has no relatives to ask, and keeps nothing
        out[cells] = np.nan_to_num(found[cells])
    return out
