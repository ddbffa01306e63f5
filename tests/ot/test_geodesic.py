"""Costs along a graph of cells, on curves and sheets whose distances are known."""

from functools import cache

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.sparse.csgraph import connected_components
from scipy.stats import spearmanr

from scgenot import metrics
from scgenot.ot import Geodesic, GromovWasserstein, Sinkhorn, euclidean
from scgenot.ot.geodesic import correlation_rows
from scgenot.ot.graph import SMALLEST_AFFINITY, affinities, median_hops, neighbour_graph
from scgenot.pair import Pair

KINDS = ("heat", "shortest_path", "hops")


def tensor(values):
    return torch.as_tensor(np.asarray(values, dtype=np.float64))


def between(cells, **options):
    """All costs within some cells."""
    cells = tensor(cells)
    return Geodesic(**options).fit(cells, cells)(cells, cells).cpu().numpy()


def test_few_cells_have_fewer_neighbours_than_asked_for():
    cells = np.random.default_rng(0).normal(size=(6, 2))
    assert np.array_equal(between(cells, n_neighbors=30), between(cells, n_neighbors=5))


def circle(n):
    angle = 2 * np.pi * np.arange(n) / n
    return np.c_[np.cos(angle), np.sin(angle)]


@cache
def swiss_roll(n):
    """Cells on a roll, and where they lie when it is unrolled, (arc length, height).

    Even along the arc, so that no gap is wider than that between the layers; a wedge that is denser
    on one side, which does not look the same when it is flipped.
    """
    rng = np.random.default_rng(0)
    along = ((np.arange(n) + rng.uniform(size=n)) / n) ** 1.25
    height = 10 * rng.uniform(size=n) ** 2 * (1 - 0.7 * along)
    angle = np.pi * (1.5 + 3 * along)
    arc = (angle * np.sqrt(1 + angle**2) + np.arcsinh(angle)) / 2
    return np.c_[angle * np.cos(angle), height, angle * np.sin(angle)], np.c_[arc, height]


@cache
def misplaced(cost, flat_cost):
    """FOSCTTM of a roll aligned to its unrolled self by distances within each."""
    roll, flat = swiss_roll(200)
    costs = {"intra_cost": (cost, flat_cost), "geometry": "centred"}
    coupling = GromovWasserstein(epsilon=0.02, **costs, n_starts=6, device="cpu")(Pair(roll, flat))
    return metrics.foscttm(coupling.barycenter().cpu().numpy(), flat)


class TestShortestPath:
    def test_line(self):
        place = np.array([0.0, 1, 3, 4, 8, 9.5])
        found = between(place[:, None], kind="shortest_path", n_neighbors=2)
        np.testing.assert_allclose(found, np.abs(place[:, None] - place), atol=1e-12)

    def test_circle(self):
        steps = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
        chord = 2 * np.sin(np.pi / 12)
        found = between(circle(12), kind="shortest_path", n_neighbors=2)
        np.testing.assert_allclose(found, np.minimum(steps, 12 - steps) * chord, atol=1e-12)

    def test_square_grid(self):
        # the 8 cells around each inner cell are its neighbours: a king's moves, diagonal ones of
        # length sqrt(2)
        cells = np.stack(np.meshgrid(np.arange(7.0), np.arange(7.0)), -1).reshape(-1, 2)
        inner = (cells.min(1) > 0) & (cells.max(1) < 6)
        found = between(cells, kind="shortest_path", n_neighbors=8)
        far, near = np.sort(np.abs(cells[:, None] - cells), axis=2)[..., ::-1].transpose(2, 0, 1)
        expected = far - near + np.sqrt(2) * near
        # cells of the rim look for their eight neighbours further in, which opens straight ways
        # along it
        np.testing.assert_allclose(found[inner][:, inner], expected[inner][:, inner], atol=1e-12)
        assert (found <= expected + 1e-12).all()

    def test_parts_are_joined_by_their_shortest_edges(self):
        # three groups on a line: the gaps 5 and 20 are bridged where they are narrowest
        place = np.array([0.0, 1, 2, 7, 8, 9, 29, 30, 31])
        with pytest.warns(UserWarning, match="graph of 9 cells has 3 parts"):
            found = between(place[:, None], kind="shortest_path", n_neighbors=1)
        np.testing.assert_allclose(found, np.abs(place[:, None] - place), atol=1e-12)


class TestHops:
    def test_line_and_circle(self):
        place = np.array([0.0, 1, 3, 4, 8, 9.5])[:, None]
        # pairs 0-1, 2-3 and 4-5 are each other's neighbours, and are joined by their shortest edges
        with pytest.warns(UserWarning, match="graph of 6 cells has 3 parts"):
            found = between(place, kind="hops", n_neighbors=1)
        np.testing.assert_array_equal(found, np.abs(np.subtract.outer(*[np.arange(6)] * 2)))
        steps = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
        found = between(circle(12), kind="hops", n_neighbors=2)
        np.testing.assert_array_equal(found, np.minimum(steps, 12 - steps))

    def test_correlation_sees_neither_scale_nor_shift_of_a_row(self):
        rng = np.random.default_rng(0)
        cells = rng.normal(size=(30, 6))
        other = cells * rng.uniform(0.1, 9, (30, 1)) + rng.normal(0, 5, (30, 1))
        options = {"kind": "hops", "metric": "correlation", "n_neighbors": 4}
        cost = Geodesic(**options).fit(tensor(cells), tensor(cells))
        np.testing.assert_array_equal(between(other, **options), between(cells, **options))
        # a new cell that is a cell of the graph on another scale is attached to it
        found = cost(tensor(other[:3]), tensor(cells)).numpy()
        np.testing.assert_allclose(found, cost(tensor(cells[:3]), tensor(cells)), atol=1e-3)
        assert not np.array_equal(between(other, kind="hops"), between(cells, kind="hops"))

    @pytest.mark.filterwarnings("ignore:The graph of 24 cells")
    def test_equal_rows_are_neighbours_of_each_other(self):
        cells = np.repeat(np.random.default_rng(0).normal(size=(8, 4)), 3, axis=0)
        rows = correlation_rows(tensor(cells * np.arange(1, 25)[:, None]))
        assert neighbour_graph(rows, 2).diagonal().max() == 0

    def test_the_metric_is_checked(self):
        with pytest.raises(ValueError, match="of 2 columns is 0 or 1"):
            between(np.random.default_rng(0).normal(size=(9, 2)), metric="correlation")
        with pytest.raises(
            ValueError, match=r"`metric` is 'cosine': choose one of euclidean, corr"
        ):
            Geodesic(metric="cosine")


class TestHeat:
    @pytest.mark.parametrize("n_steps", [1, 3, 16])
    @pytest.mark.parametrize("t", [0.5, 20.0])
    def test_circle_against_dense_functions(self, t, n_steps):
        # every edge is as long, so that all affinities are exp(-1) and L = 1 - (shift + shift') / 2
        shift = np.roll(np.eye(10), 1, axis=0)
        laplacian = np.eye(10) - (shift + shift.T) / 2
        kernel = scipy.linalg.fractional_matrix_power(
            np.eye(10) + t / n_steps * laplacian, -n_steps
        ).real
        expected = -t * np.log(
            kernel / kernel[0, 0]
        )  # all cells are alike, so that the diagonal is one number
        np.testing.assert_allclose(
            between(circle(10), t=t, n_steps=n_steps, n_neighbors=2), expected, atol=1e-8 * t
        )

    def test_many_steps_are_the_exponential(self):
        place = np.array([0.0, 1, 3, 4, 8, 9.5])[:, None]
        weights = affinities(neighbour_graph(tensor(place), 2)).toarray()
        root = 1 / np.sqrt(weights.sum(0))
        kernel = scipy.linalg.expm(-2 * (np.eye(6) - root[:, None] * weights * root))
        own = np.sqrt(np.diag(kernel))
        expected = -2 * np.log(kernel / own[:, None] / own)
        np.testing.assert_allclose(
            between(place, t=2, n_steps=2**16, n_neighbors=2), expected, rtol=1e-3, atol=1e-9
        )

    def test_affinities_by_hand(self):
        # edges 0-1 of length 1 and 1-2 of length 3: median lengths of the cells' edges are 1, 2, 3
        graph = neighbour_graph(tensor([[0.0], [1], [4]]), 1)
        expected = np.array(
            [[0, np.exp(-1 / 2), 0], [np.exp(-1 / 2), 0, np.exp(-9 / 6)], [0, np.exp(-9 / 6), 0]]
        )
        np.testing.assert_allclose(affinities(graph).toarray(), expected)

    def test_two_parts_stay_finite(self):
        cells = np.r_[circle(8), circle(8) + 1e4]
        with pytest.warns(UserWarning, match="2 parts"):
            graph = neighbour_graph(tensor(cells), 2)
        assert connected_components(graph)[0] == 1
        assert affinities(graph).data.min() == SMALLEST_AFFINITY
        with pytest.warns(UserWarning, match="2 parts"):
            found = between(cells, n_neighbors=2)
        assert np.isfinite(found).all()
        assert found[:8, 8:].min() > found[:8, :8].max()

    def test_long_chain_stays_finite(self):
        found = between(np.arange(400.0)[:, None], n_neighbors=1, t=0.1)
        assert np.isfinite(found).all()
        assert (np.diff(found[0, :60]) > 0).all()

    def test_time_is_the_square_of_the_median_path(self):
        graph = neighbour_graph(tensor(circle(11)), 2)
        assert median_hops(graph) == 3  # 1, 1, 2, 2, ... 5, 5 edges to the others
        np.testing.assert_array_equal(
            between(circle(11), n_neighbors=2), between(circle(11), n_neighbors=2, t=9.0)
        )

    def test_plan_is_that_of_the_plain_heat_kernel(self):
        # -t log K differs by terms of a row or of a column, which the potentials take up
        cells = np.random.default_rng(0).normal(size=(40, 2))
        t, graph = 4.0, neighbour_graph(tensor(cells), 5)
        weights = affinities(graph).toarray()
        root = 1 / np.sqrt(weights.sum(0))
        step = np.eye(40) + t / 16 * (np.eye(40) - root[:, None] * weights * root)
        plain = tensor(-t * np.log(np.linalg.matrix_power(np.linalg.inv(step), 16)))
        pair, options = (
            Pair(cells[:20], cells[20:]),
            {"device": "cpu", "relative": False, "dtype": torch.float64, "tolerance": 1e-9},
        )
        index = {tuple(cell): i for i, cell in enumerate(cells)}

        def cost(x, y):
            i, j = ([index[tuple(cell)] for cell in cells.tolist()] for cells in (x, y))
            return plain[i][:, j]

        expected = Sinkhorn(epsilon=1.0, cost=cost, **options)(pair).rows()
        found = Sinkhorn(epsilon=1.0, cost=Geodesic(n_neighbors=5, t=t), **options)(pair).rows()
        np.testing.assert_allclose(found.cpu(), expected.cpu(), atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
class TestBoth:
    def test_symmetric_and_zero_to_itself(self, kind):
        cells = np.random.default_rng(0).normal(size=(60, 4))
        found = between(cells, kind=kind)
        np.testing.assert_array_equal(found, found.T)
        np.testing.assert_array_equal(np.diag(found), 0)
        assert (found[~np.eye(60, dtype=bool)] > 0).all()

    def test_identical_cells_are_one(self, kind):
        cells = np.random.default_rng(0).normal(size=(30, 2))
        x, y = tensor(np.r_[cells, cells[:5]]), tensor(cells[::-1].copy())
        found = Geodesic(kind=kind, n_neighbors=4).fit(x, y)(x, y).cpu().numpy()
        np.testing.assert_array_equal(
            found, between(cells, kind=kind, n_neighbors=4)[np.r_[:30, :5]][:, ::-1]
        )

    def test_one_graph_for_both_populations(self, kind):
        # x and y take turns along a line: the way from one x to the next leads over y
        place = np.arange(10.0)[:, None]
        x, y = tensor(place[::2]), tensor(place[1::2])
        found = Geodesic(kind=kind, n_neighbors=2).fit(x, y)(x, y).cpu().numpy()
        np.testing.assert_array_equal(found, between(place, kind=kind, n_neighbors=2)[::2, 1::2])

    def test_new_cells(self, kind):
        cells = tensor(circle(40))
        cost = Geodesic(kind=kind, n_neighbors=2).fit(cells, cells)
        whole = cost(cells, cells)
        # a cell that is there up to rounding has that cell's row
        torch.testing.assert_close(
            cost(cells[3:5] + 1e-9, cells), whole[3:5], atol=1e-5 * float(whole.max()), rtol=0
        )
        # one halfway between two cells the mean of theirs, on either side, and beside cells that
        # are there
        angle = 2 * np.pi * 3.5 / 40
        middle = tensor([[np.cos(angle), np.sin(angle)]])
        expected = (whole[3] + whole[4]) / 2
        torch.testing.assert_close(
            cost(torch.cat([cells[:1], middle]), cells), torch.stack([whole[0], expected])
        )
        torch.testing.assert_close(cost(cells, middle)[:, 0], expected)
        torch.testing.assert_close(cost(middle, middle)[0, 0], (expected[3] + expected[4]) / 2)

    def test_dtype_and_fresh_memory(self, kind):
        cells = torch.as_tensor(circle(20), dtype=torch.float32)
        cost = Geodesic(kind=kind, n_neighbors=2).fit(cells, cells)
        found = cost(cells, cells)
        assert found.dtype == torch.float32
        before = found.clone()
        found.zero_()  # solvers write into what a cost returns
        torch.testing.assert_close(cost(cells, cells), before)
        assert cost(cells.double(), cells.double()).dtype == torch.float64

    def test_fitted_on_some_cells(self, kind):
        cells = np.random.default_rng(0).normal(size=(300, 2))
        x, y = cells[:150], cells[150:]
        cost = Geodesic(kind=kind).fit(tensor(x[:100]), tensor(y[:100]))
        coupling = Sinkhorn(cost=cost, device="cpu")(Pair(x, y))
        assert coupling.diagnostics.converged
        assert coupling.shape == (150, 150)

    def test_sinkhorn(self, kind):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(200, 5)), rng.normal(size=(200, 5)) + 0.5
        coupling = Sinkhorn(cost=Geodesic(kind=kind), device="cpu")(Pair(x, y))
        assert coupling.diagnostics.converged
        assert coupling.barycenter(tensor(rng.normal(size=(7, 5)))).isfinite().all()

    def test_orders_a_swiss_roll(self, kind):
        roll, flat = swiss_roll(400)
        truth = np.linalg.norm(flat[:, None] - flat, axis=2)
        found, straight = (
            between(roll, kind=kind, n_neighbors=8),
            np.linalg.norm(roll[:, None] - roll, axis=2),
        )
        above = np.triu_indices(400, 1)
        assert spearmanr(truth[above], straight[above])[0] < 0.5
        assert spearmanr(truth[above], found[above])[0] > 0.95

    @pytest.mark.slow
    def test_unrolls_a_swiss_roll(self, kind):
        graph = Geodesic(kind=kind, n_neighbors=6)
        assert misplaced(graph, graph if kind == "heat" else euclidean) < 0.05
        assert misplaced(euclidean, euclidean) > 0.3


class TestErrors:
    def test_options(self):
        with pytest.raises(ValueError, match="`kind` is 'edges'"):
            Geodesic(kind="edges")
        with pytest.raises(ValueError, match="`n_neighbors` is 0"):
            Geodesic(n_neighbors=0)
        with pytest.raises(ValueError, match="`t` is -1"):
            Geodesic(t=-1)

    def test_cells(self):
        x = tensor(np.random.default_rng(0).normal(size=(30, 2)))
        with pytest.raises(ValueError, match="60 different cells, over `max_cells`=50"):
            Geodesic(max_cells=50).fit(x, x + 1)
        Geodesic(max_cells=50).fit(x, x.clone())
        with pytest.raises(ValueError, match="`x` has 2 columns, `y` 1"):
            Geodesic().fit(x, x[:, :1])
        with pytest.raises(ValueError, match="All cells of `x` and `y` are the same"):
            Geodesic().fit(x[:1], x[:1])
        with pytest.raises(ValueError, match="NaN"):
            Geodesic().fit(x, x * torch.nan)
