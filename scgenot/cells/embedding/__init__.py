"""Representations that new cells can be projected to and that decode back to features."""

from scgenot.cells.embedding.embedding import Embedding
from scgenot.cells.embedding.place import check_same, embedding_of, place, target_embedding_of
from scgenot.cells.embedding.scanpy_adjust import adjusted_cells, read_slot
from scgenot.cells.embedding.scanpy_pca import ScanpyPCA
from scgenot.cells.keys import embedding_key

__all__ = [
    "Embedding",
    "ScanpyPCA",
    "adjusted_cells",
    "check_same",
    "embedding_key",
    "embedding_of",
    "place",
    "read_slot",
    "target_embedding_of",
]
