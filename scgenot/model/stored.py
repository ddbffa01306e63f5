"""Models in files: all go to one and come back by the same two methods."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scgenot._typed import typed
from scgenot.model.files import read_file, write_file


class WithFile:
    """A model that is stored as values and arrays; `kind` is what its files are called."""

    kind: str

    def to_arrays(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Return the model as values and arrays that an AnnData or a file can hold.

        Returns
        -------
        Configuration (JSON-able values) and arrays (NumPy, names without `/`).
        """
        return self._take_apart()

    @classmethod
    def from_arrays(cls, config: Mapping, arrays: Mapping[str, np.ndarray], **parts):
        """Make a model from what :meth:`to_arrays` returned.

        Parameters
        ----------
        config, arrays
            Result of :meth:`to_arrays`.
        parts
            What a file does not hold. `device`: where to compute, the CPU by default; mixture
            bridges and models of populations take none. `field`, `encoder`: what made the field of
            a :class:`~scgenot.Genot`, and its encoder, when they were not the usual ones.

        Returns
        -------
        The model, with the same bits.

        Raises
        ------
        ModelFileError
            When configuration and arrays are damaged, or of another version.
        ValueError
            When `field` is given without a custom field or the other way round.
        """
        return cls._put_together(config, arrays, **parts)

    def save(self, path: str | Path) -> None:
        """Write the model to one safetensors file.

        Parameters
        ----------
        path
            File to write; a file that is there is replaced as a whole or not at all.
        """
        write_file(path, self.kind, *self.to_arrays())

    @classmethod
    @typed
    def load(cls, path: str | Path, **parts):
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        path
            File to read.
        parts
            As in :meth:`from_arrays`.

        Returns
        -------
        The model, with the same bits.
        """
        return cls.from_arrays(*read_file(path, cls.kind), **parts)
