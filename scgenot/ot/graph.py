"""Graphs of neighbouring cells: edges, affinities, path lengths."""

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components, shortest_path
from torch import Tensor

from scgenot._warn import warn_user
from scgenot.ot.blocks import row_blocks
from scgenot.ot.cost import spaced

# affinity of an edge that is long beside its cells' other edges: heat has to pass, or costs would
# be infinite
SMALLEST_AFFINITY = 1e-6


def nearest(x: Tensor, cells: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Nearest of some cells."""
    found = [
        distances(x[rows], cells).topk(k, dim=1, largest=False)
        for rows in row_blocks(len(x), len(cells))
    ]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances, shape `(n, m)`; from differences, exact for close cells."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def neighbour_graph(cells: Tensor, k: int) -> sp.csr_matrix:
    """Symmetric graph of the `k` nearest neighbours, in one piece."""
    cells, n = cells.double(), len(cells)
    length, neighbour = nearest(cells, cells, k + 1)
    # of k + 1 neighbours the cell itself, or the last one where that is not among those as close
    own = neighbour == torch.arange(n)[:, None]
    own[~own.any(1), -1] = True
    end, length = (part[~own].numpy() for part in (neighbour, length))
    graph = _symmetric(np.arange(n).repeat(k), end, length, n)
    n_parts, part = connected_components(graph, directed=False)
    if n_parts > 1:
        warn_user(
            f"The graph of {n} cells has {n_parts} parts: they are joined by their shortest edges. "
            "Costs between them are arbitrary: raise `n_neighbors`, or couple the parts separately."
        )
    while n_parts > 1:
        graph = graph.maximum(_bridges(cells, torch.as_tensor(part)))
        n_parts, part = connected_components(graph, directed=False)
    return graph


def _bridges(cells: Tensor, part: Tensor) -> sp.csr_matrix:
    """Shortest edge of each part to any other (a round of Boruvka's spanning tree)."""
    shortest, end = torch.empty_like(cells[:, 0]), torch.empty_like(part)
    for rows in row_blocks(len(cells), len(cells)):
        between = distances(cells[rows], cells).masked_fill_(part[rows, None] == part, torch.inf)
        shortest[rows], end[rows] = between.min(1)
    order = np.lexsort([shortest.numpy(), part.numpy()])
    start = order[np.unique(part.numpy()[order], return_index=True)[1]]
    return _symmetric(start, end.numpy()[start], shortest.numpy()[start], len(cells))


def _symmetric(start: np.ndarray, end: np.ndarray, length: np.ndarray, n: int) -> sp.csr_matrix:
    # a sparse matrix has no edge of length zero
    graph = sp.csr_matrix((np.maximum(length, np.finfo(float).tiny), (start, end)), shape=(n, n))
    return graph.maximum(graph.T).tocsr()


def path_lengths(graph: sp.csr_matrix) -> np.ndarray:
    """Length of the shortest path between any two cells, shape `(N, N)`."""
    length = shortest_path(graph, method="D", directed=False)
    return (length + length.T) / 2  # sums of the same edges in another order


def numbers_of_edges(graph: sp.csr_matrix) -> np.ndarray:
    """Fewest edges between any two cells, shape `(N, N)`."""
    return shortest_path(graph, method="D", directed=False, unweighted=True)


def median_hops(graph: sp.csr_matrix) -> float:
    """Median number of edges on the way from evenly spaced cells to any other."""
    start = spaced(graph.shape[0], 100).numpy()
    hops = shortest_path(graph, method="D", directed=False, unweighted=True, indices=start)
    return float(np.median(hops[hops > 0]))


def affinities(graph: sp.csr_matrix) -> sp.csr_matrix:
    """Affinities `exp(-d_ij^2 / (s_i s_j))`; `s_i` is the median length of the edges of cell i."""
    edges = graph.tocoo()
    spread = np.array([np.median(length) for length in np.split(graph.data, graph.indptr[1:-1])])
    weight = np.exp(-edges.data / spread[edges.row] * (edges.data / spread[edges.col]))
    edges.data = np.maximum(weight, SMALLEST_AFFINITY)
    return edges.tocsr()
