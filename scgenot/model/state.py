"""Where a training run stands: all that is needed to go on with it, bit by bit."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from scgenot.model.genot import Genot
from scgenot.model.storage import read_file, write_file

Weights = dict[str, Tensor]


@dataclass
class TrainState:
    """State of a run; random numbers follow from its seed and step.

    Parameters
    ----------
    seed
        Seed of the run.
    step
        Steps made.
    losses
        Loss of each step, shape `(steps,)`; NaN where not made yet.
    history
        For each validation `step`, `loss` (mean since the one before) and the scores of
        :class:`~scgenot.model.Validation`.
    weights, average, best
        Weights of the model, their moving average, and the average that validated best (empty before any).
    moments
        State of the optimiser.

    Examples
    --------
    >>> state = sg.model.train(model, [pair], [coupling], sg.model.TrainSettings(steps=20), progress=False)
    >>> state.save("run.safetensors")
    >>> sg.model.TrainState.load("run.safetensors").step
    """

    seed: int
    losses: Tensor
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    weights: Weights = field(default_factory=dict, repr=False)
    average: Weights = field(default_factory=dict, repr=False)
    best: Weights = field(default_factory=dict, repr=False)
    moments: Weights = field(default_factory=dict, repr=False)

    def capture(self, model: Genot, average: Genot, optimizer: torch.optim.Optimizer) -> None:
        """Copy weights and optimiser into the state."""
        self.weights, self.average = weights_of(model), weights_of(average)
        moments = optimizer.state_dict()["state"]
        self.moments = {
            f"{i}.{name}": value.clone()
            for i, entry in moments.items()
            for name, value in entry.items()
        }

    def restore(self, model: Genot, average: Genot, optimizer: torch.optim.Optimizer) -> None:
        """Copy what :meth:`capture` took back; nothing to do for a run that has not begun."""
        if not self.weights:
            return
        model.load_state_dict(self.weights)
        average.load_state_dict(self.average)
        entries: dict[int, Weights] = {}
        for key, value in self.moments.items():
            i, name = key.split(".")
            entries.setdefault(int(i), {})[name] = value.clone()
        optimizer.load_state_dict(
            {"state": entries, "param_groups": optimizer.state_dict()["param_groups"]}
        )

    def save(self, path: str | Path) -> None:
        """Write the state to one safetensors file.

        Parameters
        ----------
        path
            File to write.
        """
        groups = {
            "weights": self.weights,
            "average": self.average,
            "best": self.best,
            "moments": self.moments,
        }
        arrays = {
            f"{group}:{name}": value
            for group, values in groups.items()
            for name, value in values.items()
        }
        arrays["losses"] = self.losses
        config = {"seed": self.seed, "step": self.step, "history": self.history}
        write_file(path, config, {name: value.cpu().numpy() for name, value in arrays.items()})

    @classmethod
    def load(cls, path: str | Path, *, device: str | torch.device = "cpu") -> "TrainState":
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        path
            File to read.
        device
            Device of the model that goes on.

        Returns
        -------
        The state, with the same bits.
        """
        config, arrays = read_file(path)
        tensors = {name: torch.as_tensor(array, device=device) for name, array in arrays.items()}
        state = cls(losses=tensors.pop("losses"), **config)
        for key, value in tensors.items():
            group, name = key.split(":")
            getattr(state, group)[name] = value
        return state


def weights_of(model: Genot) -> Weights:
    """Copies of all weights and buffers of a model, by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
