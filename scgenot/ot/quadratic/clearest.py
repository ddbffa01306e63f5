"""Choose among quadratic couplings by the margin of their match."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from scgenot._typed import check_fields
from scgenot.ot.coupling import Coupling
from scgenot.ot.quadratic.solver import GromovWasserstein
from scgenot.pair import Pair

logger = logging.getLogger("scgenot")


@dataclass(frozen=True)
class ClearestMatch:
    """Solve with several quadratic solvers, and keep the coupling whose match is clearest.

    Compares costs within populations, such as distances and hops on a graph, without knowing pairs:
    by the margin of :class:`~scgenot.ot.Confidence`, how much worse the next distinct solution of
    each solver is. Among equal margins, the first solver is kept.

    Parameters
    ----------
    solvers
        Two or more :class:`~scgenot.ot.GromovWasserstein` with several starts and with the same
        epsilon, on which margins depend.

    Raises
    ------
    TypeError
        When `solvers` is not a sequence of quadratic solvers.
    ValueError
        When there are fewer than two solvers, their epsilons differ, or one has a single start.

    Examples
    --------
    >>> hops = sg.ot.Geodesic(n_neighbors=50, kind="hops", metric="correlation")
    >>> solvers = [sg.ot.GromovWasserstein()]
    >>> solvers += [sg.ot.GromovWasserstein(intra_cost=hops, geometry="raw")]
    >>> coupling = sg.ot.ClearestMatch(solvers)(pair)
    """

    solvers: Sequence[GromovWasserstein]

    def __post_init__(self):
        check_fields(self)
        object.__setattr__(self, "solvers", tuple(self.solvers))
        if len(self.solvers) < 2:
            raise ValueError(f"`solvers` has {len(self.solvers)} entries: give two or more.")
        for solver in self.solvers:
            if not isinstance(solver, GromovWasserstein):
                raise TypeError(
                    f"`solvers` has a {type(solver).__name__}, which has no margin: pass quadratic "
                    "solvers."
                )
            if solver.n_starts < 2:
                raise ValueError(
                    "`solvers` has one with `n_starts=1`: the margin comes from several starts."
                )
        if len(found := {solver.epsilon for solver in self.solvers}) > 1:
            raise ValueError(
                f"`solvers` have the epsilons {sorted(found, key=str)}: margins can be compared at "
                "the same one only."
            )

    def __call__(self, pair: Pair) -> Coupling:
        """Solve with each, and return the coupling with the largest margin."""
        couplings = [solver(pair) for solver in self.solvers]
        margins = [coupling.confidence.margin for coupling in couplings]
        best = margins.index(max(margins))
        shown = ", ".join(f"{margin:.2f}" for margin in margins)
        logger.info("Margins of the matches: %s. Solver %d was kept.", shown, best + 1)
        return couplings[best]

    @property
    def has_orientation(self) -> bool:
        """Whether shared features say which way round the two spaces match."""
        return all(solver.has_orientation for solver in self.solvers)
