"""The Sinkhorn divergence against answers worked out by hand, and another solver's."""

from math import exp, log

import numpy as np
import ot
import pytest
import torch

from scgenot.ot import mean_cost, sinkhorn_divergence, squared_euclidean


def normal(n: int, dim: int, seed: int, dtype=torch.float64):
    return torch.randn(
        n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


@pytest.fixture
def x():
    return normal(60, 3, 0)


@pytest.fixture
def y():
    return 1 + 2 * normal(40, 3, 1)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
@pytest.mark.parametrize("epsilon", [0.01, 0.05, 0.5])
class TestKnownAnswers:
    def test_identical_populations(self, epsilon, dtype, atol):
        cells = normal(200, 3, 0, dtype)
        found = sinkhorn_divergence(cells, cells.flip(0), epsilon=epsilon)
        assert found.dtype == dtype
        assert abs(float(found)) < atol

    def test_translation_gives_its_square(self, epsilon, dtype, atol):
        cells = normal(200, 3, 0, dtype)
        shift = torch.tensor([1.0, -2.0, 0.5], dtype=dtype)
        assert (
            abs(float(sinkhorn_divergence(cells + shift, cells, epsilon=epsilon)) - 5.25)
            < 5.25 * atol
        )

    def test_two_points_in_one_dimension(self, epsilon, dtype, atol):
        """Cells at -p, p and at -q, q.

        By symmetry the potentials are constant, and one line solves for their sum.
        """
        p, q = 0.5, 1.25
        absolute = epsilon * 2 * q**2  # the mean squared distance within {-q, q}

        def transport(p, q):
            return -absolute * log(
                (exp(-((p - q) ** 2) / absolute) + exp(-((p + q) ** 2) / absolute)) / 2
            )

        expected = transport(p, q) - (transport(p, p) + transport(q, q)) / 2
        cells = (torch.tensor([[-value], [value]], dtype=dtype) for value in (p, q))
        assert abs(float(sinkhorn_divergence(*cells, epsilon=epsilon)) - expected) < atol


@pytest.mark.parametrize("epsilon", [0.3, 1.0])
def test_same_value_as_pot(x, y, epsilon):
    x, y = x[:25], y[:20]
    absolute = epsilon * mean_cost(squared_euclidean, y, y)

    def transport(x, y):
        cost = squared_euclidean(x, y).cpu().numpy()
        return ot.solve(cost, reg=absolute, reg_type="KL", max_iter=100_000, tol=1e-9).value

    expected = transport(x, y) - (transport(x, x) + transport(y, y)) / 2
    assert abs(float(sinkhorn_divergence(x, y, epsilon=epsilon)) - expected) < 1e-9 * expected


def test_epsilon_is_a_twentieth_of_the_spread(x, y):
    assert sinkhorn_divergence(x, y) == sinkhorn_divergence(x, y, epsilon=0.05)


def test_symmetric(x, y):
    one, other = sinkhorn_divergence(x, y, scale=4.0), sinkhorn_divergence(y, x, scale=4.0)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=0)


def test_scale_is_the_spread_of_y(x, y):
    scale = mean_cost(squared_euclidean, y, y)
    torch.testing.assert_close(
        sinkhorn_divergence(x, y), sinkhorn_divergence(x, y, scale=scale), rtol=1e-10, atol=0
    )


@pytest.mark.medium
def test_sorted_cells_in_one_dimension():
    """For a small epsilon it is the squared Wasserstein distance, which sorting gives."""
    x, y = normal(50, 1, 0), 3 + 2 * normal(50, 1, 1)
    exact = float((x.sort(0)[0] - y.sort(0)[0]).square().mean())
    with pytest.warns(UserWarning, match="did not converge"):  # 4e-6 is what is left
        found = float(sinkhorn_divergence(x, y, epsilon=1e-4))
    assert found == pytest.approx(exact, rel=1e-3)


def test_tiny_epsilon_in_distant_clusters(x):
    """Within a population no scaling under- or overflows, however few neighbours a cell has."""
    cells = torch.cat([x, 1e3 + 10 * x])
    assert abs(float(sinkhorn_divergence(cells, cells.flip(0), epsilon=1e-6))) < 1e-6


def test_one_point():
    """All the mass of x goes to the point; within x the cost counts half."""
    x, point = torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [1.0]])
    # E|x - 1|^2 = (1 + 9) / 2; at a large epsilon E|x - x'|^2 / 2 = 4
    assert float(sinkhorn_divergence(x, point, scale=1e5)) == pytest.approx(1, abs=0.02)
    assert float(sinkhorn_divergence(point, point, scale=1.0)) == 0


def test_gives_up_aloud(x):
    with pytest.warns(UserWarning, match="did not converge"):
        sinkhorn_divergence(x, x**3, epsilon=1e-4, max_iterations=50)


def test_cells_that_are_not_finite(x):
    assert np.isnan(float(sinkhorn_divergence(x / 0, x)))


def test_errors(x):
    with pytest.raises(ValueError, match="`epsilon=0`"):
        sinkhorn_divergence(x, x, epsilon=0)
    with pytest.raises(ValueError, match="same point"):
        sinkhorn_divergence(x, torch.full((5, 3), 3.3, dtype=torch.float64))
    with pytest.raises(ValueError, match="subsample to 10000"):
        sinkhorn_divergence(torch.zeros(10_001, 1), torch.zeros(2, 1))
