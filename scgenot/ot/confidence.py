"""How far the orientation of a quadratic coupling can be trusted."""

from dataclasses import asdict, dataclass

# optima whose barycenters correlate less than this are different answers
SAME_OPTIMUM = 0.9
# a runner-up whose objective is within this fraction of the best is a near-equal optimum
CLEAR_GAP = 0.05


@dataclass(frozen=True)
class Confidence:
    """Reliability of the orientation of a quadratic coupling; no labels or pairs are used.

    Parameters
    ----------
    n_starts
        Number of starts on the first subset.
    n_best
        Number of starts that reached the best optimum.
    gap
        Objective of the next distinct optimum divided by that of the best one, minus 1; infinite if
        there is only one.
    agreement
        Correlation between the solutions that two subsets of the cells prefer.

    See Also
    --------
    :class:`~scgenot.ot.GromovWasserstein` : the search.
    """

    n_starts: int
    n_best: int
    gap: float
    agreement: float

    @property
    def ambiguous(self) -> bool:
        """Whether near-equal optima, or two subsets of the cells, disagree."""
        return self.gap < CLEAR_GAP or self.agreement < SAME_OPTIMUM

    def to_dict(self) -> dict:
        """Return the fields, and whether the coupling is ambiguous, as a plain dictionary."""
        return {**asdict(self), "ambiguous": self.ambiguous}
