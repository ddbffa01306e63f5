"""Whether a prediction is nearer to its own perturbation than to the others."""

from collections.abc import Sequence

import numpy as np

from scgenot._check import as_array, check_one_space
from scgenot._typed import typed

# similarities nearer than this tie, effects smaller than this part of the largest are none: means
# of equal numbers differ by rounding
ROUNDING = 1e-12


@typed
def perturbation_discrimination(
    predicted: np.ndarray, true: np.ndarray, *, rows: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    r"""Share of the other conditions whose true effect is less similar to a prediction than its
    own.

    With the cosine similarity :math:`c_{ij}` of the predicted effect of condition `i` and the true
    effect of condition `j`, the score of `i` is :math:`\frac{1}{p - 1} \sum_{j \neq i} (1[c_{ij} <
    c_{ii}] + \frac{1}{2} 1[c_{ij} = c_{ii}])` among `p` conditions: 1 best, 0.5 chance, 0 worst. A
    single prediction for all conditions has a mean score of 0.5; so does a prediction of no effect,
    which is equally similar to all conditions. The Perturbation Discrimination Score of the Virtual
    Cell Challenge is `1 - r / p`, where `r` is the number of true effects that are nearer than its
    own by the L1 distance, without the perturbed gene. The cosine, also an option of the software
    of that challenge, ignores the scale of a prediction.

    Parameters
    ----------
    predicted
        Predicted effects, mean of the predicted cells minus mean of the control cells, shape `(k,
        d)`.
    true
        True effects of all conditions, mean of the treated cells minus mean of the control cells,
        shape `(p, d)`.
    rows
        Row of `true` with the condition of each prediction, length `k`; None if both have the same
        conditions in the same order.

    Returns
    -------
    The score of each prediction, shape `(k,)`.

    Raises
    ------
    ValueError
        When an array is not finite or has a wrong shape, there are fewer than 2 conditions, or
        `rows` does not name a row of `true` for each prediction.

    References
    ----------
    Roohani et al. (2025), *Virtual Cell Challenge: toward a Turing test for the virtual cell*.

    Wu et al. (2024), *PerturBench: benchmarking machine learning models for cellular perturbation
    analysis*, arXiv 2408.10609.

    Examples
    --------
    >>> effects = np.eye(4)
    >>> sg.metrics.perturbation_discrimination(2 * effects, effects)
    array([1., 1., 1., 1.])
    """
    predicted, true = check_one_space({"predicted": predicted, "true": true})
    if len(true) < 2:
        raise ValueError(f"`true` has shape {true.shape}: at least 2 conditions are needed.")
    own = _own_rows(rows, len(predicted), len(true))
    similar = cosines(predicted, true)
    others = np.arange(len(true)) != own[:, None]
    return share_below(similar[others].reshape(len(own), -1), similar[np.arange(len(own)), own])


def cosines(effects: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosine similarity of each row with each of the others; 0 where there is no effect."""
    largest = max(np.linalg.norm(side, axis=1).max() for side in (effects, others))
    return _directions(effects, largest) @ _directions(others, largest).T


def discrimination_from(
    predicted: np.ndarray, own: np.ndarray, others: np.ndarray, control: np.ndarray
) -> np.ndarray:
    """Score the prediction for one condition `b` times, each with its own control.

    Mean profiles `predicted`, `own` and `control` have shape `(b, d)`, `others` `(p - 1, d)`.
    """
    # effects of the others by their parts: an array (b, p - 1, d) of them may not fit in memory
    moved, away = control - control[0], others - control[0]
    squares = (away**2).sum(1) - 2 * moved @ away.T + (moved**2).sum(1)[:, None]
    lengths = np.sqrt(np.maximum(squares, 0))
    effects, true = (_directions(side - control, lengths[0].max()) for side in (predicted, own))
    products = effects @ away.T - (effects * moved).sum(1)[:, None]
    similar = np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), 0)
    return share_below(similar, (effects * true).sum(1))


def share_below(others: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Share of the numbers of each row that are below its own, ties one half; NaN stays NaN."""
    ahead = own[:, None] - others
    shares = np.where(np.abs(ahead) <= ROUNDING, 0.5, ahead > 0).mean(1)
    return np.where(np.isnan(ahead).any(1), np.nan, shares)


def _directions(effects: np.ndarray, largest: float) -> np.ndarray:
    """Rows of length 1; 0 where there is no effect."""
    lengths = np.linalg.norm(effects, axis=1, keepdims=True)
    none = lengths <= ROUNDING * largest
    return np.where(none, 0, effects / np.where(none, 1, lengths))


def _own_rows(rows: Sequence[int] | np.ndarray | None, k: int, p: int) -> np.ndarray:
    """Return the row of the truth of each prediction; checked."""
    if rows is None:
        if k != p:
            raise ValueError(
                f"`predicted` has {k} conditions, `true` {p}: say with `rows` which they are."
            )
        return np.arange(p)
    own = as_array(rows, "rows")
    whole = own.shape == (k,) and np.issubdtype(own.dtype, np.integer)
    if not whole or (own < 0).any() or (own >= p).any():
        raise ValueError(f"`rows` must be {k} integers from 0 to {p - 1}, rows of `true`.")
    return own
