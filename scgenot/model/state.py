"""Where a training run stands: all that is needed to continue it, bit by bit."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from scgenot._check import usable_device
from scgenot._outcome import Outcome
from scgenot._typed import typed
from scgenot.model.files import write_file
from scgenot.model.genot import Genot
from scgenot.model.state_storage import STATE_GROUPS, read_state
from scgenot.model.storage import check_weights

Weights = dict[str, Tensor]


@dataclass
class TrainState:
    """State of a training run. Random numbers are determined by its seed and step.

    Parameters
    ----------
    seed
        Seed of the run.
    losses
        Loss of each step, shape `(steps,)`; NaN for future steps.
    step
        Number of completed steps.
    history
        For each validation: `step`, `loss` (mean since the previous one), `validation` (loss on
        held-out cells, if any) and, for the last one, `divergence`.
    weights, average, best
        Weights of the model, their moving average, and the average with the best validation loss
        (empty before the first validation).
    moments
        State of the optimizer.
    generators
        States of PyTorch's global generators, for fields that draw from them, such as by dropout.
    work
        Digest of what is trained, of a :class:`~scgenot.model.Checkpoint`.
    outcome
        How the training ended; None before the end, and not stored.

    Examples
    --------
    >>> learner = sg.model.FlowMatching(steps=20)
    >>> state = sg.model.train(model, [pair], [coupling], learner, progress=False)
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
    generators: Weights = field(default_factory=dict, repr=False)
    work: str = ""
    outcome: Outcome | None = None

    def capture(self, model: Genot, average: Genot, optimizer: torch.optim.Optimizer) -> None:
        """Copy weights and optimizer into the state."""
        self.weights, self.average = weights_of(model), weights_of(average)
        self.generators = {"cpu": torch.get_rng_state()}
        if model.device.type == "cuda":
            self.generators["cuda"] = torch.cuda.get_rng_state(model.device)
        self.moments = {
            f"{i}.{name}": value.clone()
            for i, entry in optimizer.state_dict()["state"].items()
            for name, value in entry.items()
        }

    def restore(self, model: Genot, average: Genot, optimizer: torch.optim.Optimizer) -> None:
        """Copy the state back; without effect before the first step."""
        if not self.weights:
            return
        expected = model.state_dict()
        for weights in (self.weights, self.average, self.best or self.average):
            check_weights(weights, expected, "the state")
        parameters = dict(enumerate(optimizer.param_groups[0]["params"]))
        moments = {
            f"{i}.{name}": torch.zeros(()) if name == "step" else value
            for i, value in parameters.items()
            for name in ("step", "exp_avg", "exp_avg_sq")
        }
        check_weights(self.moments, moments if self.moments else {}, "the optimizer's state")
        model.load_state_dict(self.weights)
        average.load_state_dict(self.average)
        entries: dict[int, Weights] = {}
        for key, value in self.moments.items():
            i, name = key.split(".")
            entries.setdefault(int(i), {})[name] = value.clone()
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": entries, "param_groups": groups})

    def restore_generators(self, model: Genot) -> None:
        """Put PyTorch's global generators where they were."""
        if "cpu" in self.generators:
            torch.set_rng_state(self.generators["cpu"].cpu())
        if "cuda" in self.generators and model.device.type == "cuda":
            torch.cuda.set_rng_state(self.generators["cuda"].cpu(), model.device)

    @typed
    def save(self, path: str | Path) -> None:
        """Write the state to one safetensors file.

        Parameters
        ----------
        path
            File to write. An existing file is replaced completely or not at all.
        """
        arrays = {"losses": self.losses.cpu().numpy()}
        for group in STATE_GROUPS:
            for name, value in getattr(self, group).items():
                arrays[f"{group}:{name}"] = value.cpu().numpy()
        config = {name: getattr(self, name) for name in ("seed", "step", "history", "work")}
        write_file(path, "training state", config, arrays)

    @classmethod
    @typed
    def load(cls, path: str | Path, *, device: str | torch.device = "cpu") -> "TrainState":
        """Read a state from a file written by :meth:`save`.

        Parameters
        ----------
        path
            File to read.
        device
            Device of the model that continues.

        Returns
        -------
        The state, with the same bits.

        Raises
        ------
        ModelFileError
            When the file is damaged, or is not a training state.
        """
        config, groups = read_state(path)
        device = usable_device(device)
        (losses,) = groups.pop("losses").values()
        tensors = {
            group: {name: torch.tensor(array, device=device) for name, array in arrays.items()}
            for group, arrays in groups.items()
        }
        return cls(losses=torch.tensor(losses, device=device), **config, **tensors)


def weights_of(model: Genot) -> Weights:
    """Copies of all weights and buffers of a model, by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
