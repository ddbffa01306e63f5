"""Checkpoints of a training, to continue it after an interruption."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from scgenot._check import check_number
from scgenot._typed import check_fields
from scgenot._warn import warn_user
from scgenot.model.files import digest, kind_of
from scgenot.model.genot import Genot
from scgenot.model.ranks import rank
from scgenot.model.state import TrainState
from scgenot.ot.plan import Plan
from scgenot.pair import Pair

# options of a learner that do not affect the weights
FREE = ("checkpoint", "on_interrupt", "extrapolation")


@dataclass(frozen=True)
class Checkpoint:
    """A file with the state of a training, from which a repeated fit continues.

    The result is the same, to the bit, as without interruption, on the same machine with the same
    number of threads. Couplings are not stored and are solved again. The file is replaced as a
    whole, so that a killed process leaves the previous state.

    Parameters
    ----------
    path
        File to write, such as `"run.safetensors"`, in an existing folder.
    minutes
        Minutes between writes; 0 to write after each step.

    Raises
    ------
    TypeError
        When an option has a wrong type.
    ValueError
        When the folder does not exist, the file is not a training state, or `minutes` is negative.

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
            raise ValueError(f"The folder of `path={str(path)!r}` does not exist: create it first.")
        if path.exists() and kind_of(path) != "training state":
            raise ValueError(
                f"`path={str(path)!r}` exists and is not a training state: choose another name."
            )

    def read(self, work: str, device: torch.device) -> TrainState | None:
        """Return the state of an interrupted training.

        Parameters
        ----------
        work
            Digest of the training.
        device
            Device of the model.

        Returns
        -------
        The state; None if there is no file.

        Raises
        ------
        ValueError
            When the file belongs to another fit.
        """
        if not Path(self.path).exists():
            return None
        state = TrainState.load(self.path, device=device)
        if state.work != work:
            raise ValueError(
                f"The checkpoint {str(self.path)!r} belongs to another fit, with other cells, "
                "coupling, seed or learner. Repeat that fit to continue it, remove the file, or "
                "choose another name."
            )
        return state


def begun(
    new: TrainState, model: Genot, pairs: Sequence[Pair], plans: Sequence[Plan], learner
) -> TrainState:
    """Return the state of an interrupted training, or the new state with the digest of this one."""
    if learner.checkpoint is None:
        return new
    new.work = work_of(model, pairs, plans, learner, new.seed)
    found = learner.checkpoint.read(new.work, model.device)
    if found is None:
        return new
    found.restore_generators(model)
    return found


class Keeper:
    """Writes the state of a training to its checkpoint, if any, at intervals."""

    def __init__(self, checkpoint: Checkpoint | None):
        self.checkpoint, self.written = checkpoint, time.monotonic()

    def __call__(self, state: TrainState, *parts, last: bool = False) -> None:
        """Write the state of a training; its model, average and optimizer are `parts`."""
        if self.checkpoint is None or rank():  # only the first process writes
            return
        if not last and time.monotonic() - self.written < 60 * self.checkpoint.minutes:
            return
        state.capture(*parts)
        try:
            state.save(self.checkpoint.path)
        except OSError as error:  # a full disk must not end a training of hours
            warn_user(
                f"The checkpoint {str(self.checkpoint.path)!r} could not be written ({error}). "
                "Its previous state is kept, and the training continues."
            )
        self.written = time.monotonic()


def work_of(model: Genot, pairs: Sequence[Pair], plans: Sequence[Plan], learner, seed: int) -> str:
    """Return a digest of everything that determines the trained weights."""
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
