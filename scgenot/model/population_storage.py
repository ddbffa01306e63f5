"""Storage of models of populations; damaged input is detected."""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from torch import nn

from scgenot.model.files import FORMAT, ModelFileError
from scgenot.model.storage import MAX_SIZE, check_weights
from scgenot.model.stored import WithFile


def put_together(make, names: Sequence[str], config: Mapping, arrays: Mapping):
    """Make a model of its sizes and arrays; `make` is the class."""
    sizes = {name: config.get(name) for name in names} if isinstance(config, Mapping) else {}
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    n_values = sum(array.size for array in arrays.values())
    right = [type(size) is int and 0 <= size < min(MAX_SIZE, n_values) for size in sizes.values()]
    if not right or not all(right):
        raise ModelFileError(f"The sizes {sizes} of the model are not those of its arrays.")
    # initial weights are made and replaced: the user's generator stays
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                shape = make(**sizes)
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError(f"The sizes {sizes} of the model are impossible.") from error
        check_weights(arrays, shape.state_dict(), "the model")
        model = make(**sizes)
    model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return model.eval()


class StoredModel(WithFile, nn.Module):
    """A model of populations that can be written to AnnData and to files.

    See Also
    --------
    :class:`~scgenot.model.PopulationFlow` : one of them.
    """

    SIZES: tuple[str, ...] = ()  # arguments that make it, attributes of the same names

    def _take_apart(self) -> tuple[dict, dict[str, np.ndarray]]:
        sizes = {name: getattr(self, name) for name in self.SIZES}
        return sizes, {name: value.cpu().numpy() for name, value in self.state_dict().items()}

    @classmethod
    def _put_together(cls, config: Mapping, arrays: Mapping[str, np.ndarray]) -> Self:
        if isinstance(config, Mapping) and config.get("format", FORMAT) != FORMAT:  # of a file
            raise ModelFileError("The model is of another version of scgenot: fit and save again.")
        return put_together(cls, cls.SIZES, config, arrays)
