"""Arrays that several links of a fit have, each kept once under a digest of what it holds."""

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np


class Shared:
    """Names and weights of cells, by digest: in a screen all links have the same control cells."""

    def __init__(self, stored: Mapping | None = None):
        self.stored = {} if stored is None else dict(stored)
        self._keys: dict[int, str] = {}  # of arrays that were put before, by identity
        self._read: dict[str, np.ndarray] = {}

    def put(self, array: np.ndarray) -> str:
        """Keep an array of names or numbers; return its digest."""
        key = self._keys.get(id(array))
        if key is None:
            key = self._keys[id(array)] = digest_of(array)
            self.stored.setdefault(key, array)
        return key

    def names(self, key) -> np.ndarray:
        """Return names that were put, after a file too; the same array each time."""
        return self._get(key, names_of)

    def weights(self, key) -> np.ndarray:
        """Return weights that were put."""
        return self._get(key, lambda stored: np.asarray(stored, dtype=float))

    def _get(self, key, read) -> np.ndarray:
        """Read an array, once; raise a ValueError where it is not what was put."""
        key = str(key)
        if key not in self._read:
            array = read(self.stored[key])
            if digest_of(array) != key:
                raise ValueError(f"shared/{key} is not what was written")
            self._read[key] = array
        return self._read[key]


def digest_of(array: np.ndarray) -> str:
    """Return a digest of names or numbers, whatever type a file gives them."""
    found = blake2b(digest_size=8)
    if array.dtype.kind in "biuf":
        found.update(b"numbers" + np.ascontiguousarray(array, dtype="<f8").tobytes())
    else:
        found.update("\n".join(map(str, array.ravel())).encode())
    return found.hexdigest()


def names_of(stored) -> np.ndarray:
    """Return names as NumPy text; zarr reads them as a dtype that is not cast to it directly."""
    names = np.asarray(stored, dtype=object)
    if names.ndim != 1:
        raise ValueError(f"names have shape {names.shape}")
    return names.astype(str)
