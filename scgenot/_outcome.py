"""How a solve or a training can end: one enumeration, each member with its message and remedy."""

from enum import Enum


class Outcome(Enum):
    """A way to end; the value is what is stored, such as "converged"."""

    CONVERGED = (
        "converged",
        "the solver reached its tolerance",
        "",
    )
    NOT_CONVERGED = (
        "not converged",
        "the coupling did not reach its tolerance",
        "raise `epsilon`, `max_iterations` or `tolerance` of the solver",
    )
    BLURRED = (
        "blurred",
        "the median cell has so many effective targets that the coupling is not informative about "
        "single cells",
        "lower `epsilon` of the solver",
    )
    EXTENDED = (
        "extended",
        "the coupling was solved on a subset of the cells: its marginals have a sampling error",
        "raise `max_cells` of the solver",
    )
    AMBIGUOUS = (
        "ambiguous",
        "near-equal solutions of the quadratic coupling disagree",
        "pass features that both modalities share (`shared_rep`), or raise `n_starts`",
    )
    COLLAPSED = (
        "collapsed",
        "most of the mass was lost, or the solution is the product of the marginals",
        "raise `tau` towards 1, or change `epsilon`",
    )
    COLUMNS_OFF = (
        "columns off",
        "the column sums of the sparse plan deviate from the weights of the target cells",
        "raise `max_targets` or `max_iterations` of the solver, or lower `gamma`",
    )
    UNMATCHED = (
        "unmatched",
        "less than half of the mass of each source cell is matched, so all cells are unassigned",
        "raise `price` or `keep` of the solver, or lower `epsilon`",
    )
    COMPLETED = (
        "completed",
        "the training ran all its steps",
        "",
    )
    STOPPED_EARLY = (
        "stopped early",
        "the validation loss stopped improving and the best weights were kept",
        "",
    )
    INTERRUPTED = (
        "interrupted",
        "the training was interrupted by the user before its last step",
        "fit again without interruption",
    )
    FEW_STEPS = (
        "few steps",
        "the training had too few steps for its networks to learn the coupling",
        "raise `steps` of the learner",
    )
    TOO_DENSE = (
        "too dense",
        "more features changed than requested, and some large changes were set to 0",
        "raise `steps` of `sg.model.MongeMap`, or `n_features` of its `sparsity`",
    )

    def __init__(self, label: str, message: str, remedy: str):
        self.label, self.message, self.remedy = label, message, remedy

    @property
    def is_problem(self) -> bool:
        """Whether there is something to do about it."""
        return bool(self.remedy)

    @property
    def sentence(self) -> str:
        """Message and remedy as one sentence."""
        text = self.message[0].upper() + self.message[1:]
        return f"{text}: {self.remedy}." if self.remedy else f"{text}."

    @classmethod
    def of(cls, label: str) -> "Outcome":
        """Return the member with a stored label."""
        found = [member for member in cls if member.label == label]
        if not found:
            raise ValueError(f"outcome {label!r} is not one of {[each.label for each in cls]}.")
        return found[0]
