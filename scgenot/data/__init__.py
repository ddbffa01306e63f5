"""AnnData in, arrays out, and back."""

from scgenot.data.pairs import by_modality
from scgenot.data.read import matrix, representation

__all__ = ["by_modality", "matrix", "representation"]
