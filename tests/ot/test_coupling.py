"""What a coupling answers: rows, potentials, samples, sparse matrices.

For cells of the fit and for new ones.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scgenot.ot import FusedGromovWasserstein, GromovWasserstein, Sinkhorn, squared_euclidean
from scgenot.pair import Pair
from truth.cells import random_pair
from truth.plans import check_frequencies, dense

TIGHT = {"tolerance": 1e-10, "dtype": torch.float64}
SOLVERS = {
    "linear": Sinkhorn(**TIGHT),
    "unbalanced": Sinkhorn(tau=(0.9, 0.7), **TIGHT),
    "quadratic": GromovWasserstein(n_starts=1, epsilon=0.05, **TIGHT),
    "dense quadratic": GromovWasserstein(
        n_starts=1, epsilon=0.05, intra_cost=squared_euclidean, **TIGHT
    ),
    "fused": FusedGromovWasserstein(epsilon=0.05, **TIGHT),
    "extended": Sinkhorn(max_cells=40, **TIGHT),
}


@pytest.fixture(params=SOLVERS, scope="module")
def coupling(request):
    return SOLVERS[request.param](random_pair(shared=0 if "linear" in request.param else 2))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["rows", "potential", "barycenter", "effective_targets", "sample"])
def test_new_cells_of_another_space_are_named(coupling, name):
    options = {"generator": generator()} if name == "sample" else {}
    for shape in ((3, coupling.x.shape[1] + 1), (2, 3, 4)):
        with pytest.raises(ValueError, match=r"`cells` has shape .*: give indices of source cells"):
            getattr(coupling, name)(torch.ones(shape), **options)


def test_new_cells_agree_with_cells_of_the_fit(coupling):
    """A new cell that stands where a cell of the fit does has its row, potential and growth.

    Through the dual alone.
    """
    some = torch.tensor([3, 0, 17])
    # matrix products of other shapes round otherwise, by 1e-16 of costs of about 100 epsilon
    near = {"rtol": 1e-10, "atol": 0}
    for answer in (
        coupling.rows,
        coupling.potential,
        coupling.growth,
        coupling.barycenter,
        coupling.effective_targets,
    ):
        assert torch.allclose(answer(coupling.x[some]), answer(some), **near)
        assert torch.allclose(answer()[some], answer(some), **near)


def test_transposed_rows_are_the_columns(coupling):
    """Of the fitted target cells by index or as new cells; a law of sources for each target."""
    mass = dense(coupling)
    expected = (mass / mass.sum(0)).T
    back = coupling.transposed()
    np.testing.assert_allclose(back.rows().cpu().numpy(), expected, atol=1e-10)
    np.testing.assert_allclose(back.rows(coupling.y[:5]).cpu().numpy(), expected[:5], atol=1e-10)


def test_potential_is_f(coupling):
    assert torch.allclose(
        coupling.potential(), coupling.f, atol=1e-8 * float(coupling.f.abs().max())
    )


def test_rows_are_those_of_the_plan(coupling):
    plan = dense(coupling)
    assert np.allclose(coupling.rows().cpu().numpy(), plan / plan.sum(1, keepdims=True), atol=1e-12)
    source, target = (side.cpu() for side in coupling.marginals())
    assert np.allclose(source, plan.sum(1), atol=1e-14)
    assert np.allclose(target, plan.sum(0), atol=1e-14)
    # f is the dual update up to the solver's tolerance
    assert np.allclose((coupling.growth() * coupling.a).cpu(), plan.sum(1), rtol=1e-8)
    rows = coupling.rows()
    assert torch.allclose(coupling.barycenter(), rows @ coupling.y, atol=1e-12)
    values = torch.randn(45, 2, generator=generator(), dtype=torch.float64).to(rows)
    assert torch.allclose(coupling.barycenter(values=values), rows @ values, atol=1e-12)
    assert torch.allclose(coupling.effective_targets(), 1 / rows.square().sum(1))


def test_sampled_targets_have_the_frequencies_of_the_row(coupling):
    cells = torch.tensor([1, 5, 8])
    draws = coupling.sample(cells, n_samples=20_000, generator=generator()).cpu().numpy()
    for row, found in zip(coupling.rows(cells).cpu().numpy(), draws, strict=True):
        check_frequencies(np.bincount(found, minlength=45), row)


def test_rows_are_drawn_independently(coupling):
    """Two copies of a cell agree as often as chance says.

    Sum_j p_j^2, within five standard errors.
    """
    draws = coupling.sample(torch.tensor([2, 2]), n_samples=20_000, generator=generator())
    chance = float(coupling.rows(torch.tensor([2])).square().sum())
    agree = float((draws[0] == draws[1]).double().mean())
    assert abs(agree - chance) < 5 * np.sqrt(chance * (1 - chance) / 20_000)


def test_sampled_pairs_have_the_frequencies_of_the_plan(coupling):
    n_pairs = 100_000
    source, target = (
        side.cpu().numpy() for side in coupling.sample_pairs(n_pairs, generator=generator())
    )
    plan = dense(coupling)
    # sources are stratified: at most one off their expected number
    expected = n_pairs * plan.sum(1) / plan.sum()
    assert np.abs(np.bincount(source, minlength=60) - expected).max() < 1 + 1e-6
    counts = np.zeros_like(plan)
    np.add.at(counts, (source, target), 1)
    check_frequencies(counts, plan)
    # and in random order: the first tenth is a sample too
    check_frequencies(np.bincount(source[:10_000], minlength=60), plan.sum(1))


def test_same_seed_same_bits(coupling):
    for draw in (
        lambda g: coupling.sample(n_samples=3, generator=g),
        lambda g: coupling.sample_pairs(100, generator=g)[1],
    ):
        assert torch.equal(draw(generator(1)), draw(generator(1)))
        assert not torch.equal(draw(generator(1)), draw(generator(2)))


def test_sparse_holds_the_largest_entries(coupling):
    plan, sparse = dense(coupling), coupling.to_sparse(top_k=5)
    assert sparse.shape == (60, 45)
    assert sparse.has_sorted_indices
    kept = np.sort(plan, axis=1)[:, -5:]
    assert np.allclose(np.sort(sparse.data.reshape(60, 5), axis=1), kept, atol=1e-15)
    assert np.allclose(sparse.toarray()[sparse.nonzero()], plan[sparse.nonzero()], atol=1e-15)
    assert np.allclose(coupling.to_sparse(top_k=1000).toarray(), plan, atol=1e-15)


def test_pairs_of_a_sharp_coupling_in_single_precision():
    """f / eps is in the hundreds, beyond what the exponential of a float32 can hold."""
    pair = random_pair(n=300, m=300, weights=False)
    coupling = Sinkhorn(epsilon=0.002, dtype=torch.float32)(pair)
    assert float((coupling.f / coupling.epsilon).abs().max()) > 89
    source, target = coupling.sample_pairs(30_000, generator=generator())
    assert torch.equal(torch.bincount(source.cpu(), minlength=300), torch.full((300,), 100))
    # columns are the weights to within the solver's tolerance, 1e-4, far below the counts' own
    # noise
    check_frequencies(torch.bincount(target, minlength=300).cpu().numpy(), coupling.b.cpu().numpy())


@pytest.mark.medium
def test_pairs_of_a_cell_with_most_of_the_mass():
    """Memory follows the number of pairs.

    Not the number of cells times the draws of the luckiest one.
    """
    pair = random_pair(n=5000, m=50)
    weights = np.ones(5000)
    weights[7] = 5000
    coupling = Sinkhorn()(replace(pair, source_weights=weights))
    source, _ = coupling.sample_pairs(1_000_000, generator=generator())
    assert (
        abs(int((source == 7).sum()) - 1e6 * 5000 / 9999) < 10
    )  # float32 weights: 1e-6 of the mass


@pytest.mark.parametrize("tau", [(1.0, 1.0), (0.9, 0.7)])
def test_pairs_of_skewed_weights_have_the_frequencies_of_the_plan(tau, monkeypatch):
    """Where one cell has most of the pairs, all rows are inverted as one, in double precision."""
    pair = random_pair()
    weights = np.ones(60)
    weights[7] = 600
    coupling = Sinkhorn(tau=tau)(replace(pair, source_weights=weights))
    joined = []
    searchsorted = torch.searchsorted

    def spied(sorted_sequence, *args, **kwargs):
        joined.append((sorted_sequence.ndim, len(sorted_sequence)))
        return searchsorted(sorted_sequence, *args, **kwargs)

    monkeypatch.setattr(torch, "searchsorted", spied)
    source, target = coupling.sample_pairs(100_000, generator=generator())
    assert (1, 60 * 45) in joined
    counts = np.zeros((60, 45))
    np.add.at(counts, (source.cpu().numpy(), target.cpu().numpy()), 1)
    check_frequencies(counts, dense(coupling))


def test_zero_mass_targets_are_never_drawn():
    pair = random_pair(weights=False)
    weights = np.ones(45)
    weights[[0, 20, 44]] = 0
    coupling = Sinkhorn()(replace(pair, target_weights=weights))
    draws = coupling.sample(n_samples=2000, generator=generator())
    pairs = coupling.sample_pairs(100_000, generator=generator())[1]
    for cell in (0, 20, 44):
        assert not (draws == cell).any()
        assert not (pairs == cell).any()


def test_blocks_of_rows_join_without_a_seam(monkeypatch):
    pair = random_pair()
    whole = Sinkhorn(**TIGHT)(pair)
    monkeypatch.setattr("scgenot.ot.blocks.BLOCK_ELEMENTS", 7 * 45)
    cut = Sinkhorn(**TIGHT)(pair)
    assert np.allclose(dense(whole), dense(cut), atol=1e-12)
    assert torch.equal(*(c.sample(n_samples=4, generator=generator()) for c in (whole, cut)))
    assert torch.equal(
        *(torch.stack(c.sample_pairs(500, generator=generator())) for c in (whole, cut))
    )
    assert (whole.to_sparse(3) != cut.to_sparse(3)).nnz <= 180  # equal up to rounding of the masses
    assert np.allclose(whole.to_sparse(3).toarray(), cut.to_sparse(3).toarray(), atol=1e-12)


def test_two_cells():
    coupling = Sinkhorn()(Pair(np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]])))
    assert coupling.rows().argmax(1).tolist() == [0, 1]
