"""How far the orientation of a quadratic coupling can be trusted."""

from dataclasses import asdict, dataclass

# optima whose barycenters correlate less than this are different answers
SAME_OPTIMUM = 0.9
# below this margin, wrong matches won as often as right ones: simulated pairs of spaces, distorted
# more and more, and pairs without a common structure; real sets with a right match had .22 and .45
CLEAR_MARGIN = 0.15
# a runner-up whose objective is within this fraction of the best is a near-equal optimum
CLEAR_GAP = 0.05
# two searches that correlate less came to different answers; one that stops at a similar, worse
# answer is not rare, and says nothing of the best
SAME_ANSWER = 0.5


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
        Correlation between the solutions of two searches, each on its own subset of the cells;
        among the solutions of a search, the best one is selected on all cells, or on a larger
        subset.
    margin
        Smallest, over all other distinct optima, of the relative difference of the objective from
        the best one, divided by 1 minus the correlation of the solutions: an opposite solution must
        be worse by more than a similar one. Infinite if there is only one.

    See Also
    --------
    :class:`~scgenot.ot.GromovWasserstein` : the search.
    """

    n_starts: int
    n_best: int
    gap: float
    agreement: float
    margin: float

    @property
    def ambiguous(self) -> bool:
        """Whether margin, gap or agreement are below .15, .05 and .5."""
        is_near = self.margin < CLEAR_MARGIN or self.gap < CLEAR_GAP
        return is_near or self.agreement < SAME_ANSWER

    def to_dict(self) -> dict:
        """Return the fields, and whether the coupling is ambiguous, as a plain dictionary."""
        return {**asdict(self), "ambiguous": self.ambiguous}
