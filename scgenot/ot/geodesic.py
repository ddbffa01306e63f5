"""Distances along a graph of neighbouring cells, as a cost that is fitted to both populations."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scgenot._typed import check_fields
from scgenot.ot.graph import (
    affinities,
    median_hops,
    nearest,
    neighbour_graph,
    numbers_of_edges,
    path_lengths,
)

KINDS = ("heat", "shortest_path", "hops")
METRICS = ("euclidean", "correlation")


@dataclass(frozen=True)
class Geodesic:
    """Cost along a nearest-neighbor graph of both populations, for cells on a curve or tree.

    `kind="heat"` uses heat diffusion: `-t log(K_ij / sqrt(K_ii K_jj))`, where `K = (I + t L /
    n_steps)^-n_steps` is the heat kernel with implicit steps, `L` the normalized Laplacian of the
    affinities `exp(-d_ij^2 / (s_i s_j))`, and `s_i` the median length of the edges of cell i. The
    cost grows like a squared distance (Varadhan's formula), is smooth, and is robust to single
    shortcuts. Dividing by the diagonal of K makes the cost of a cell to itself 0; it does not
    change a balanced linear plan. `kind="shortest_path"` is the length of the shortest path, a
    distance, and `kind="hops"` the number of its edges, which does not depend on their lengths
    (SCOT).

    Disconnected components of the graph are connected by their shortest edges, one per component,
    with a warning: costs between them are finite but arbitrary.

    Parameters
    ----------
    n_neighbors
        Number of neighbors per cell; two cells share an edge if either is a neighbor of the other.
    kind
        "heat", "shortest_path" or "hops".
    metric
        Distance that determines neighbors and lengths of edges: "euclidean", or "correlation",
        which is Euclidean between rows that are centred and scaled to unit length.
    t
        Diffusion time, in steps of a random walk. None for the squared median number of edges
        between two cells, the time in which a random walk covers this distance. Smaller values
        follow every edge, including shortcuts; with much larger values all costs are similar.
    n_steps
        Number of implicit steps of the diffusion.
    max_cells
        Maximum number of distinct cells of both populations together. All costs between them are
        stored: for 5,000 cells .2 GiB in double precision, five times as much during the
        computation, which takes half a minute on one core.

    Raises
    ------
    ValueError
        When `kind` is unknown, or a number is out of range.
    TypeError
        When an option has a wrong type.

    References
    ----------
    Huguet et al. (2023), *Geodesic Sinkhorn for fast and accurate optimal transport on manifolds*,
    arXiv 2211.00805; Crane, Weischedel, Wardetzky (2013), *Geodesics in heat*, arXiv 1204.6216;
    Zelnik-Manor, Perona (2004), *Self-tuning spectral clustering* (bandwidths); Demetci et al.
    (2022), *SCOT: single-cell multi-omics alignment with optimal transport*, Journal of
    Computational Biology 29:3 (hops on a graph of correlations).

    Examples
    --------
    >>> solver = sg.ot.Sinkhorn(cost=sg.ot.Geodesic())
    >>> paths = sg.ot.Geodesic(kind="shortest_path")
    >>> solver = sg.ot.GromovWasserstein(intra_cost=paths, geometry="centred")
    >>> hops = sg.ot.Geodesic(n_neighbors=30, kind="hops", metric="correlation")
    >>> solver = sg.ot.GromovWasserstein(intra_cost=hops, geometry="raw")
    """

    n_neighbors: int = 15
    kind: str = "heat"
    t: float | None = None
    n_steps: int = 16
    max_cells: int = 5000
    metric: str = "euclidean"

    def __post_init__(self):
        check_fields(self)
        if self.kind not in KINDS:
            raise ValueError(f"`kind` is {self.kind!r}: choose one of {', '.join(KINDS)}.")
        if self.metric not in METRICS:
            raise ValueError(f"`metric` is {self.metric!r}: choose one of {', '.join(METRICS)}.")
        for name in ("n_neighbors", "n_steps"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}: give 1 or more.")
        if self.t is not None and not 0 < self.t < float("inf"):
            raise ValueError(
                f"`t` is {self.t}: give a positive number, or None for the size of the graph."
            )

    def fit(self, x: Tensor, y: Tensor) -> "GraphCost":
        """Build the graph of both populations, and compute all costs along it.

        Parameters
        ----------
        x, y
            Cells, shapes `(n, p)` and `(m, p)`; both may be the same array.

        Returns
        -------
        The cost function, for these and for new cells.

        Raises
        ------
        ValueError
            When the populations have different dimensions, fewer than 2 or more than `max_cells`
            different cells, or NaN.
        """
        cells = self._cells(x, y)
        correlated = self.metric == "correlation"
        if correlated and cells.shape[1] < 3:
            raise ValueError(
                f"`metric='correlation'` of {cells.shape[1]} columns is 0 or 1: use 'euclidean'."
            )
        rows = correlation_rows(cells) if correlated else cells
        graph = neighbour_graph(rows, min(self.n_neighbors, len(cells) - 1))
        of_kind = {"shortest_path": path_lengths, "hops": numbers_of_edges}
        find = of_kind.get(self.kind, lambda graph: self._heat_cost(affinities(graph)))
        cost = torch.as_tensor(find(graph)).to(x)
        table = {cell.tobytes(): index for index, cell in enumerate(cells.numpy())}
        return GraphCost(cells.to(x.device), cost, table, self.n_neighbors, correlated)

    def _cells(self, x: Tensor, y: Tensor) -> Tensor:
        """Different cells of both populations, on the CPU."""
        if x.shape[1] != y.shape[1]:
            raise ValueError(
                f"`x` has {x.shape[1]} columns, `y` {y.shape[1]}: a graph holds cells of one "
                "space. For two spaces use `GromovWasserstein(intra_cost=Geodesic())`."
            )
        both = (x if x is y else torch.cat([x, y])).detach().cpu()
        if not both.isfinite().all():
            raise ValueError("`x` or `y` has NaN or infinite values: drop or impute them.")
        cells = torch.unique(both, dim=0).contiguous()
        if len(cells) < 2:
            raise ValueError("All cells of `x` and `y` are the same: there is no graph to build.")
        if len(cells) > self.max_cells:
            raise ValueError(
                f"`x` and `y` have {len(cells)} different cells, over "
                f"`max_cells`={self.max_cells}: all costs between them would be stored. Subsample; "
                "or raise the limit (memory grows with its square, time with its cube); or fit on "
                "some cells, "
                "`cost=Geodesic().fit(some_x, some_y)`: others are then attached to those."
            )
        return cells

    def _heat_cost(self, weights) -> np.ndarray:
        """`-t log K`, less its diagonal, in double precision."""
        t = median_hops(weights) ** 2 if self.t is None else self.t
        root = 1 / np.sqrt(np.asarray(weights.sum(1)).ravel())
        laplacian = np.eye(len(root)) - root[:, None] * weights.toarray() * root
        step = torch.as_tensor(laplacian).mul_(t / self.n_steps)
        step.diagonal().add_(1)
        # an M-matrix: its factor, their inverses and powers have no cancellation, so that entries
        # of 1e-200 are right
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(step))
        kernel = torch.linalg.matrix_power(inverse, self.n_steps)
        log = kernel.clamp_(min=torch.finfo(kernel.dtype).tiny).log_()
        own = log.diagonal().clone()
        cost = (own[:, None] / 2 + own / 2 - log).mul_(t).clamp_(min=0)
        return ((cost + cost.T) / 2).fill_diagonal_(0).numpy()


@dataclass(frozen=True, eq=False)
class GraphCost:
    """Costs between cells of a graph; other cells take the mean of their nearest ones."""

    cells: Tensor
    cost: Tensor
    index: dict[bytes, int]
    n_neighbors: int
    correlated: bool = False

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the cost of every pair, shape `(n, m)`."""
        return self.against(y)(x)

    def against(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the cost to `y` as a function: its cells are looked up once."""
        table, columns = self.cost.to(y), self._attach(y)

        def cost(x: Tensor) -> Tensor:
            rows = self._attach(x)
            if rows.ndim == 1 and columns.ndim == 1:
                return table[rows[:, None], columns]
            left = table[rows] if rows.ndim == 1 else torch.sparse.mm(rows, table)
            if columns.ndim == 1:
                return left[:, columns]
            return torch.sparse.mm(columns, left.T.contiguous()).T.contiguous()

        return cost

    def _attach(self, cells: Tensor) -> Tensor:
        """Positions of the cells when all are in the graph; else sparse weights, shape `(n, N)`."""
        rows = cells.detach().to("cpu", self.cells.dtype).numpy()
        found = [self.index.get(cell.tobytes(), -1) for cell in rows]
        position = torch.tensor(found, device=cells.device)
        return position if (position >= 0).all() else self._weights(cells, position)

    def _weights(self, cells: Tensor, position: Tensor) -> Tensor:
        """Sparse weights of the graph cells, for cells some of which are new (position -1)."""
        known, new = (position >= 0).nonzero()[:, 0], (position < 0).nonzero()[:, 0]
        graph = self.cells.to(device=cells.device, dtype=torch.float64)
        both = cells[new].double(), graph
        both = tuple(map(correlation_rows, both)) if self.correlated else both
        length, near = nearest(*both, min(self.n_neighbors, len(graph)))
        # relative to the nearest one; where that is the cell itself up to rounding, the others
        # hardly count
        weight = torch.where(length > 0, length[:, :1] / length, 1).square()
        weight = weight / weight.sum(1, keepdim=True)
        rows = torch.cat([known, new.repeat_interleave(near.shape[1])])
        columns = torch.cat([position[known], near.flatten()])
        values = torch.cat([weight.new_ones(len(known)), weight.flatten()]).to(cells.dtype)
        entries, shape = torch.stack([rows, columns]), (len(cells), len(graph))
        with warnings.catch_warnings():
            # of some releases of PyTorch, although the checks are asked for
            warnings.filterwarnings("ignore", "Sparse invariant checks are implicitly disabled")
            return torch.sparse_coo_tensor(entries, values, shape, check_invariants=True)


def correlation_rows(cells: Tensor) -> Tensor:
    """Rows whose Euclidean distance is the correlation distance: centred and of unit length."""
    rows = cells.double()
    return torch.nn.functional.normalize(rows - rows.mean(1, keepdim=True), dim=1)
