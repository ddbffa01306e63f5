"""Plans of any kind: what they offer, what is said when they do not, and how they are stored."""

from copy import deepcopy

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scgenot.ot import (
    Coupling,
    FusedGromovWasserstein,
    GromovWasserstein,
    Minibatch,
    Sinkhorn,
    SparsePlan,
    UnsupportedPlan,
    euclidean,
    squared_euclidean,
)
from scgenot.ot.diagnostics import describe
from scgenot.ot.plan import require
from scgenot.ot.store import plan_from_arrays, plan_to_arrays
from truth.cells import random_pair
from truth.plans import check_frequencies, dense

# stored plans compute on the CPU
TIGHT = {"tolerance": 1e-10, "dtype": torch.float64, "device": "cpu"}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def manhattan(x, y):
    return torch.cdist(x, y, p=1)


class Exact:
    """A plan that can only be drawn from."""

    def sample_pairs(self, n_pairs, *, generator):
        i = torch.randint(0, 60, (n_pairs,), generator=generator)
        return i, i % 45


@pytest.fixture(scope="module")
def coupling():
    return Sinkhorn(tau=(0.9, 0.8), **TIGHT)(random_pair())


@pytest.fixture(scope="module")
def sparse(coupling):
    return SparsePlan(coupling.to_sparse(10_000), coupling.a.cpu().numpy())


class TestRequire:
    def test_returns_what_is_offered(self, coupling):
        assert require(coupling, "mass_blocks", "sg.tl.coupling") == coupling.mass_blocks

    def test_says_what_is_missing(self):
        with pytest.raises(
            UnsupportedPlan,
            match=r"`sg\.tl\.coupling` needs a plan with `mass_blocks`; a plan of type Exact "
            r"offers `sample_pairs` only: use a solver that returns a coupling, such as "
            r"`sg\.ot\.Sinkhorn`",
        ):
            require(Exact(), "mass_blocks", "sg.tl.coupling")

    def test_lists_what_is_offered(self):
        plan = Minibatch(Sinkhorn(), 20)(random_pair())
        with pytest.raises(
            UnsupportedPlan, match=r"MinibatchCoupling offers `sample_pairs`, `shape`, .* only"
        ):
            require(plan, "rows", "sg.tl.push")


class TestSparsePlan:
    def test_agrees_with_the_coupling(self, coupling, sparse):
        near = {"rtol": 1e-7, "atol": 1e-12}
        assert sparse.shape == coupling.shape
        some = torch.tensor([3, 0, 17])
        assert torch.allclose(sparse.rows(some), coupling.rows(some), **near)
        for one, other in zip(sparse.marginals(), coupling.marginals(), strict=True):
            assert torch.allclose(one, other, **near)
        assert torch.allclose(sparse.growth(some), coupling.growth(some), **near)
        means = sparse.barycenter(some, coupling.y), coupling.barycenter(some)
        assert torch.allclose(*means, **near)
        blocks = torch.cat([block for _, block in sparse.mass_blocks()])
        assert np.allclose(blocks, dense(coupling), rtol=1e-7)
        assert (sparse.to_sparse(5) != coupling.to_sparse(5)).nnz == 0

    def test_draws_have_the_frequencies_of_the_plan(self, coupling, sparse):
        plan, counts = dense(coupling), np.zeros((60, 45))
        source, target = sparse.sample_pairs(100_000, generator=generator())
        np.add.at(counts, (source.cpu().numpy(), target.cpu().numpy()), 1)
        check_frequencies(counts, plan)
        expected = 100_000 * plan.sum(1) / plan.sum()
        assert np.abs(np.bincount(source, minlength=60) - expected).max() < 1 + 1e-6
        check_frequencies(np.bincount(source[:10_000], minlength=60), plan.sum(1))
        draws = sparse.sample([7], n_samples=20_000, generator=generator())
        check_frequencies(np.bincount(draws[0], minlength=45), plan[7])

    def test_rows_without_mass(self):
        plan = SparsePlan(sp.csr_matrix([[0.0, 0.0], [0.25, 0.75]]))
        assert plan.rows().tolist() == [[0, 0], [0.25, 0.75]]
        assert plan.growth().tolist() == [0, 2]
        assert set(plan.sample_pairs(50, generator=generator())[0].tolist()) == {1}
        with pytest.raises(ValueError, match="no mass"):
            plan.sample([0], generator=generator())

    @pytest.mark.parametrize("entry", [-1.0, np.nan, np.inf])
    def test_bad_entries(self, entry):
        with pytest.raises(ValueError, match="`mass` must be finite and non-negative"):
            SparsePlan(sp.csr_matrix([[entry, 1.0]]))

    def test_the_matrix_that_was_given_is_not_changed(self):
        given = sp.csr_matrix(([1.0, 2.0, 0.0], [1, 1, 0], [0, 3]), shape=(1, 2))
        assert SparsePlan(given).mass.nnz == 1
        assert given.nnz == 3


STORED = {
    "linear": (Sinkhorn(**TIGHT), 0),
    "single precision": (Sinkhorn(device="cpu"), 0),
    "unbalanced": (Sinkhorn(tau=(0.9, 0.7), cost=euclidean, **TIGHT), 0),
    "extended": (Sinkhorn(max_cells=40, **TIGHT), 0),
    "quadratic": (GromovWasserstein(n_starts=1, epsilon=0.05, **TIGHT), 0),
    "dense": (GromovWasserstein(n_starts=1, epsilon=0.05, intra_cost=euclidean, **TIGHT), 0),
    "fused": (FusedGromovWasserstein(epsilon=0.05, **TIGHT), 2),
    "fused, one side dense": (
        FusedGromovWasserstein(epsilon=0.05, intra_cost=("sqeuclidean", euclidean), **TIGHT),
        2,
    ),
}


class TestStorage:
    @pytest.mark.medium
    @pytest.mark.parametrize("name", STORED)
    def test_a_dual_form_gives_the_plan_again(self, name):
        solver, shared = STORED[name]
        plan = solver(random_pair(shared=shared))
        arrays = plan_to_arrays(plan)
        assert arrays["kind"] == "dual"
        again = plan_from_arrays(arrays, plan.x.cpu().numpy(), None, plan.a.cpu().numpy())
        assert torch.equal(again.rows(), plan.rows())
        assert torch.equal(again.f, plan.f)
        assert torch.equal(again.a, plan.a)
        some = [5, 2]
        part = plan_from_arrays(
            arrays, plan.x[some].cpu().numpy(), some, plan.a[some].cpu().numpy()
        )
        assert torch.allclose(part.rows(), plan.rows(torch.tensor(some)), rtol=1e-4)
        # cells that were not there, reversed in memory, of another precision
        new = np.random.default_rng(0).normal(size=plan.x[:5].shape)[::-1]
        expected = plan.rows(torch.tensor(new.copy()))
        assert torch.allclose(plan_from_arrays(arrays, new).rows(), expected)

    def test_a_cost_of_the_users_own_is_stored_as_a_sparse_plan(self):
        plan = Sinkhorn(cost=manhattan, **TIGHT)(random_pair())
        arrays = plan_to_arrays(plan)
        assert arrays["kind"] == "sparse"
        some = [5, 2]
        again = plan_from_arrays(arrays, plan.x[some], some)
        assert np.allclose(again.mass.toarray(), dense(plan)[some], rtol=1e-7)
        assert again.growth().tolist() == pytest.approx((60 * plan.a[some]).tolist())
        with pytest.raises(ValueError, match="3 cells at 2 `rows` of 60"):
            plan_from_arrays(arrays, plan.x[:3], some)
        with pytest.raises(ValueError, match="of the source cells of its fit alone"):
            plan_from_arrays(arrays, plan.x[:1], [60])

    def test_the_largest_200_entries_are_kept(self):
        plan = Sinkhorn(cost=manhattan)(random_pair(n=5, m=300))
        assert plan_to_arrays(plan)["mass"].nnz == 1000

    def test_minibatches_are_stored_as_draws_of_their_plan(self):
        plan = Minibatch(Sinkhorn(), 20)(random_pair())
        mass = plan_to_arrays(plan)["mass"]
        assert mass.shape == (60, 45)
        assert mass.sum() == pytest.approx(1)
        expected = random_pair().source_weights
        assert np.abs(mass.sum(1).A1 - expected).max() < 5 * np.sqrt(expected.max() / (32 * 60))

    def test_a_sparse_plan(self, sparse):
        again = plan_from_arrays(plan_to_arrays(sparse), np.zeros((60, 1)))
        assert (again.mass != sparse.mass).nnz == 0

    def test_a_plan_that_offers_to_sparse(self):
        class Mine(Exact):
            def to_sparse(self, top_k):
                return sp.eye_array(60).tocoo()

        assert plan_to_arrays(Mine())["mass"].nnz == 60

    def test_a_plan_that_can_only_be_drawn_from(self):
        arrays = plan_to_arrays(Exact())
        assert arrays == {"kind": "draws", "name": "Exact"}
        again = plan_from_arrays(arrays, np.zeros((60, 3)))
        assert plan_to_arrays(again) == arrays
        for name in ("rows", "barycenter", "mass_blocks", "to_sparse"):
            with pytest.raises(UnsupportedPlan, match=rf"type Exact offers .* `{name}` needs"):
                getattr(again, name)
        with pytest.raises(UnsupportedPlan, match="of type Exact is not stored"):
            again.sample_pairs(3, generator=generator())
        assert describe(again)["outcome"] == "unknown"
        with pytest.raises(UnsupportedPlan, match=r"`sg\.tl\.push` needs a plan with `rows`"):
            require(again, "rows", "sg.tl.push")

    def test_source_cells_of_another_space(self):
        arrays = plan_to_arrays(Sinkhorn()(random_pair()))
        with pytest.raises(ValueError, match=r"`source` has shape \(4, 2\): the plan is of 3 col"):
            plan_from_arrays(arrays, np.zeros((4, 2)))


@pytest.fixture(scope="module")
def forms():
    pair = random_pair(shared=2)
    return {
        "dual": plan_to_arrays(FusedGromovWasserstein(epsilon=0.05)(pair)),
        "sparse": {"kind": "sparse", "mass": sp.eye_array(60).tocsr() / 60},
        "draws": {"kind": "draws", "name": "Exact"},
    }


DAMAGE = [
    *(("dual", (name,), None) for name in ("cost", "target", "potential", "epsilon", "tau")),
    ("dual", ("kind",), "pickle"),
    ("dual", ("target",), np.zeros(45, dtype="f4")),
    ("dual", ("target",), np.full((45, 5), "a")),
    ("dual", ("target_weights",), np.ones(44, dtype="f4")),
    ("dual", ("target_weights",), np.zeros(45, dtype="f4")),
    ("dual", ("target_weights",), -np.ones(45, dtype="f4")),
    ("dual", ("potential",), np.full(45, np.nan, dtype="f4")),
    ("dual", ("epsilon",), 0.0),
    ("dual", ("epsilon",), float("nan")),
    ("dual", ("epsilon",), "much"),
    ("dual", ("tau",), [1.0]),
    ("dual", ("tau",), [1.0, 2.0]),
    ("dual", ("cost", "kind"), "spaced"),
    ("dual", ("cost", "kind"), "__builtins__"),
    ("dual", ("cost", "linear", "kind"), "mean_cost"),
    ("dual", ("cost", "source", "kind"), "outer"),
    ("dual", ("cost", "source", "scale"), 0.0),
    ("dual", ("cost", "source", "mean"), np.zeros(2, dtype="f4")),
    ("dual", ("cost", "core"), np.zeros((2, 2), dtype="f4")),
    ("dual", ("cost", "n_shared"), 3),
    ("sparse", ("mass",), None),
    ("sparse", ("mass",), np.eye(3)),
    ("sparse", ("mass",), sp.csr_matrix([[-1.0]])),
    ("draws", ("name",), None),
    ("draws", ("kind",), None),
]


@pytest.mark.parametrize(("form", "path", "value"), DAMAGE)
def test_damaged_entries(forms, form, path, value):
    """A file is input: one error, by name, whatever is wrong with it."""
    arrays = deepcopy(forms[form])
    inner = arrays
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    with pytest.raises(ValueError, match="the stored plan is damaged"):
        plan_from_arrays(arrays, np.zeros((60, 5), dtype="f4"))


@pytest.mark.parametrize("arrays", [None, 3, {}, [], "dual"])
def test_entries_of_another_kind(arrays):
    with pytest.raises(ValueError, match="the stored plan is damaged"):
        plan_from_arrays(arrays, np.zeros((60, 5)))


def test_index_beyond_the_targets_of_a_sparse_plan():
    mass = sp.csr_matrix(([1.0], [7], [0, 1]), shape=(1, 8))
    mass._shape = (1, 3)
    with pytest.raises(ValueError, match="the stored plan is damaged"):
        plan_from_arrays({"kind": "sparse", "mass": mass}, np.zeros((1, 2)))


def test_describe():
    known = describe(Sinkhorn()(random_pair()))
    assert known["method"] == "sinkhorn"
    assert known["outcome"] == "converged"
    bare = Coupling(squared_euclidean, *(torch.ones(2, 1),) * 2, *(torch.ones(2) / 2,) * 4, 1.0)
    for plan in (Exact(), bare):
        row = describe(plan)
        assert list(row) == list(known)
        assert row["method"] == type(plan).__name__
        assert np.isnan(row["mass"])
