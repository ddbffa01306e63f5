"""AnnData in, arrays out, and back."""

from scgenot.cells.read import matrix, representation
from scgenot.cells.tasks.translation import by_modality

__all__ = ["by_modality", "matrix", "representation"]
