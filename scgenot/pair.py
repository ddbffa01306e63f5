"""A pair: a source population, a target population, and the condition that links them."""

from dataclasses import dataclass, field

import numpy as np

from scgenot._check import check_matrix, check_weights
from scgenot._typed import check_fields


@dataclass(frozen=True)
class Pair:
    """Two populations of cells as arrays.

    Parameters
    ----------
    source
        Source cells, shape `(n, p)`.
    target
        Target cells, shape `(m, q)`; `p` and `q` may differ.
    source_shared, target_shared
        Features of both populations in a common space, shapes `(n, r)` and `(m, r)`; None without
        shared features.
    source_weights, target_weights
        Non-negative weights, shapes `(n,)` and `(m,)`, scaled to sum 1; None for uniform.
    condition
        Condition of all cells of the pair, shape `(c,)`; None if there is a single condition.
    name
        Name of the pair in tables and messages.

    Raises
    ------
    TypeError
        When an argument has a wrong type.
    ValueError
        When an array is empty, not finite or of the wrong shape, or a weight is negative; the
        message names it.

    Examples
    --------
    >>> pair = sg.Pair(source, target)
    >>> plan = sg.ot.Sinkhorn(epsilon=0.05)(pair)
    """

    source: np.ndarray
    target: np.ndarray
    source_shared: np.ndarray | None = None
    target_shared: np.ndarray | None = None
    source_weights: np.ndarray | None = None
    target_weights: np.ndarray | None = None
    condition: np.ndarray | None = None
    name: str = "source to target"

    def __post_init__(self):
        check_fields(self)
        for side in ("source", "target"):
            cells = check_matrix(getattr(self, side), side)
            object.__setattr__(self, side, cells)
            name = f"{side}_weights"
            weights = check_weights(getattr(self, name), len(cells), name)
            object.__setattr__(self, name, weights / weights.sum())
            shared = getattr(self, f"{side}_shared")
            if shared is not None:
                shared = check_matrix(shared, f"{side}_shared")
                if len(shared) != len(cells):
                    raise ValueError(
                        f"`{side}_shared` has {len(shared)} rows, `{side}` {len(cells)}: "
                        "one row per cell is needed."
                    )
                object.__setattr__(self, f"{side}_shared", shared)
        self._check_shared()

    def _check_shared(self):
        shared = self.source_shared, self.target_shared
        if (shared[0] is None) != (shared[1] is None):
            raise ValueError(
                "`source_shared` and `target_shared` go together: one of them is missing."
            )
        if shared[0] is not None and shared[0].shape[1] != shared[1].shape[1]:
            raise ValueError(
                f"`source_shared` has {shared[0].shape[1]} columns, `target_shared` "
                f"{shared[1].shape[1]}: both need the same features in the same order."
            )


@dataclass(frozen=True)
class Link:
    """A pair, the rows of its cells in AnnData, and its plan; created by a task.

    Parameters
    ----------
    pair
        The two populations as arrays.
    source_rows, target_rows
        Positions of the cells in their AnnData, shapes `(n,)` and `(m,)`; None without AnnData.
    labels
        Labels of the pair, such as `{"source_time": 2.0, "target_time": 4.0}`: the columns of the
        table of pairs.
    stratum
        Values of the covariates that all cells of the pair share, by column of obs; pooled strata
        have fewer of them.
    within
        Whether source and target rows are rows of one AnnData.
    plan
        Plan found by a solver; None before.

    See Also
    --------
    scgenot.tl.fit : fits a task, which creates links.
    """

    pair: Pair
    source_rows: np.ndarray | None = None
    target_rows: np.ndarray | None = None
    labels: dict[str, object] = field(default_factory=dict)
    stratum: dict[str, object] = field(default_factory=dict)
    within: bool = True
    plan: object | None = None


@dataclass(frozen=True)
class Question:
    """Request for a prediction: the source cells and their condition, returned by `ask` of a task.

    Parameters
    ----------
    rows
        Positions of the source cells in their AnnData, shape `(n,)`.
    condition
        Condition of each source cell, shape `(n, c)`; None without conditions.
    answer
        Values of columns of obs for the predicted cells: one value, or one per source cell.
    name
        Suffix of the names of simulated cells.

    See Also
    --------
    scgenot.tl.predict : answers a question.
    """

    rows: np.ndarray
    condition: np.ndarray | None = None
    answer: dict[str, object] = field(default_factory=dict)
    name: str = "target"
