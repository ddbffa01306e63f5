"""Where a training is kept while it runs, so that it can be gone on with after an interruption."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from scgenot._check import check_number
from scgenot._typed import check_fields
from scgenot._warn import warn_user
from scgenot.model.genot import Genot
from scgenot.model.ranks import rank
from scgenot.model.state import TrainState
from scgenot.model.storage import digest, kind_of
from scgenot.ot.plan import Plan
from scgenot.pair import Pair

# options of a learner that do not decide about the weights
FREE = ("checkpoint", "on_interrupt")


@dataclass(frozen=True)
class Checkpoint:
    """A file that a training is kept in, and gone on with from when the fit is repeated.

    The fit then ends with the bits of one that was not interrupted, on the same machine and thread
    count. Couplings are solved again: they are not in the file. A file is replaced as a whole, so
    that a kill at any moment leaves the one before.

    Parameters
    ----------
    path
        File to write, such as `"run.safetensors"`; in a folder that is there.
    minutes
        Time between writings; 0 to write after each step.

    Raises
    ------
    TypeError
        When an option has a wrong type.
    ValueError
        When the folder is not there, the file is something else, or `minutes` is negative.

    Examples
    --------
    >>> checkpoint = sg.model.Checkpoint("run.safetensors", minutes=5)
    >>> learner = sg.model.FlowMatching(checkpoint=checkpoint)  # for any of `sg.tl.fit_*`
    """

    path: str | Path
    minutes: float = 10.0

    def __post_init__(self):
        check_fields(self)
        check_number("minutes", self.minutes, "0 or more", lambda minutes: minutes >= 0)
        path = Path(self.path)
        if not path.parent.is_dir():
            raise ValueError(f"`path={str(path)!r}` is in a folder that is not there: make it.")
        if path.exists() and kind_of(path) != "training state":
            raise ValueError(
                f"`path={str(path)!r}` exists and is not a training state: choose another name."
            )

    def read(self, work: str, device: torch.device) -> TrainState | None:
        """Return where an earlier training stood; None where there was none.

        Parameters
        ----------
        work
            Digest of what is trained.
        device
            Device of the model.

        Returns
        -------
        The state, or None.

        Raises
        ------
        ValueError
            When the file is of another fit.
        """
        if not Path(self.path).exists():
            return None
        state = TrainState.load(self.path, device=device)
        if state.work != work:
            raise ValueError(
                f"The checkpoint {str(self.path)!r} is of another fit: of other cells, another "
                "coupling, seed or learner than this one. Repeat that fit to go on, remove the "
                "file, or name another."
            )
        return state


def begun(
    new: TrainState, model: Genot, pairs: Sequence[Pair], plans: Sequence[Plan], learner
) -> TrainState:
    """Return where an earlier training stood, or the new state, marked as one of this training."""
    if learner.checkpoint is None:
        return new
    new.work = work_of(model, pairs, plans, learner, new.seed)
    found = learner.checkpoint.read(new.work, model.device)
    if found is None:
        return new
    found.restore_generators(model)
    return found


class Keeper:
    """Writes a training to its checkpoint when it is time; nothing without one."""

    def __init__(self, checkpoint: Checkpoint | None):
        self.checkpoint, self.written = checkpoint, time.monotonic()

    def __call__(self, state: TrainState, *parts, last: bool = False) -> None:
        """Keep where a training stands; its model, average and optimizer are `parts`."""
        if self.checkpoint is None or rank():  # of several processes the first writes
            return
        if not last and time.monotonic() - self.written < 60 * self.checkpoint.minutes:
            return
        state.capture(*parts)
        try:
            state.save(self.checkpoint.path)
        except OSError as error:  # a full disk ends no training of hours
            warn_user(
                f"The checkpoint {str(self.checkpoint.path)!r} could not be written ({error}): "
                "what it held before is kept, and training goes on."
            )
        self.written = time.monotonic()


def work_of(model: Genot, pairs: Sequence[Pair], plans: Sequence[Plan], learner, seed: int) -> str:
    """Digest all that decides about the weights that a training ends with."""
    arrays, known = {}, {}
    for k, (pair, plan) in enumerate(zip(pairs, plans, strict=True)):
        potential = getattr(plan, "g", None)
        parts = {"source": pair.source, "target": pair.target, "condition": pair.condition}
        parts["potential"] = None if potential is None else potential.cpu().numpy()
        for name, array in parts.items():
            if array is not None:  # the cells that pairs share are digested once
                arrays.setdefault(known.setdefault(id(array), f"{name} {k}"), array)
    options = [(one.name, _word(getattr(learner, one.name))) for one in fields(learner)]
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    words = [seed, [option for option in options if option[0] not in FREE], sorted(shapes.items())]
    return digest(arrays, repr(words))


def _word(value) -> str:
    """Return an option as text that is the same in another session."""
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)
    return getattr(value, "__qualname__", type(value).__qualname__)
