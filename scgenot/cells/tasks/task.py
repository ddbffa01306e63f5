"""What a task is: any object with `links` and `ask`; the rest has defaults."""

from typing import Protocol

from anndata import AnnData

from scgenot.pair import Link, Question


class Task(Protocol):
    """Protocol of a task: creates links from AnnData, and interprets `target`.

    Optional attributes: `name`, `use_rep`, `layer`, `shared_rep` (how source cells are read),
    `one_space` (whether source and target cells are in one space), `epsilon` (of the usual
    solver), `learning` (defaults of `FlowMatching`), `weights_are_growth`, and for files
    `to_dict()` and the class method `from_dict(stored)`.

    See Also
    --------
    scgenot.tl.fit : fits a task.
    """

    def links(self, adata: AnnData) -> list[Link]:
        """Return the pairs of populations to couple, with the rows of their cells."""
        ...

    def ask(self, adata: AnnData, target=None, *, dose: float | None = None) -> Question:
        """Return the source cells of `adata` and their condition."""
        ...


def name_of(task) -> str:
    """Return what a task is called."""
    return getattr(task, "name", type(task).__name__)


def check_kind(task, kind: type, verb: str, key: str) -> None:
    """Raise a ValueError unless the task of a fit is of the kind that a verb is for."""
    if not isinstance(task, kind):
        found = getattr(task, "made_by", None)
        made = f"is from `{found}`" if found else f"has the task {name_of(task)!r}"
        name = verb if " " in verb else f"`{verb}`"
        raise ValueError(f"{name} needs a fit from `{kind.made_by}`; `key={key!r}` {made}.")


def refuse_dose(dose: float | None, task) -> None:
    """Raise a ValueError when a task without doses is asked for one."""
    if dose is not None:
        raise ValueError(
            f"`dose={dose}` was given, but the fit '{task.name}' has no doses: leave `dose` out."
        )
