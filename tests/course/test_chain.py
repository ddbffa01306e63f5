"""Chains of steps against small exact ones.

Seven cells: 0 and 1 at time 0, 2 to 4 at time 1, 5 and 6 at time 2. Cell 1 has three times the
descendants of cell 0; cell 4 has no descendants.
"""

import numpy as np
import pytest
from scipy import sparse

from scgenot._random import systematic
from scgenot.course.chain import (
    Step,
    assign,
    carry,
    fates,
    follow,
    mean_over_descendants,
    relative_entropy,
    step_of_draws,
    transitions,
)
from scgenot.course.interpolation import growth_of_mass

N = 7
TIMES = [np.array([0, 1]), np.array([2, 3, 4]), np.array([5, 6])]
FIRST = np.array([[0.25, 0.25, 0.0], [0.5, 0.5, 0.5]])
SECOND = np.array([[1.0, 0.5], [0.0, 1.5], [0.0, 0.0]])
PATH = [(0, 1), (1, 2)]


def as_rows(step):
    """One dense block per source cell."""
    source, target, matrix = step
    return lambda: ((source[[i]], target, matrix[[i]]) for i in range(len(source)))


def as_sparse(step):
    source, target, matrix = step
    return lambda: [(source, target, sparse.csr_array(matrix))]


@pytest.fixture(params=[as_rows, as_sparse])
def step_of(request):
    steps = {
        (0, 1): (TIMES[0], TIMES[1], FIRST),
        (1, 2): (TIMES[1], TIMES[2], SECOND),
    }

    def make(earlier, later):
        source, target, _ = steps[earlier, later]
        return Step(N, source, target, request.param(steps[earlier, later]))

    return make


def at(time, values):
    """Values of the cells of a time, 0 elsewhere."""
    values = np.asarray(values, dtype=float)
    out = np.zeros((N, *values.shape[1:]))
    out[TIMES[time]] = values
    return out


def test_the_four_products_are_those_of_the_matrix(step_of):
    step, rng = step_of(0, 1), np.random.default_rng(0)
    for shape in ((), (2,)):
        w, v = rng.normal(size=(2, *shape)), rng.normal(size=(3, *shape))
        np.testing.assert_allclose(step.expect(at(1, v)), at(0, FIRST @ v))
        np.testing.assert_allclose(step.push(at(0, w)), at(1, FIRST.T @ w))
        received = FIRST / FIRST.sum(0)
        np.testing.assert_allclose(step.pull(at(1, v)), at(0, received @ v))
        np.testing.assert_allclose(step.inherit(at(0, w)), at(1, received.T @ w))


def test_pull_conserves_mass_and_push_multiplies_it_by_growth(step_of):
    step = step_of(0, 1)
    mass = at(1, [0.2, 0.5, 0.3])
    assert step.pull(mass).sum() == pytest.approx(1)
    # cells 0 and 1 have 0.5 and 1.5 descendants
    assert step.push(at(0, [0.4, 0.6])).sum() == pytest.approx(0.4 * 0.5 + 0.6 * 1.5)
    received = FIRST.sum(0)  # goes back to where it came from
    np.testing.assert_allclose(step.pull(at(1, received)), at(0, FIRST.sum(1)))


def test_inherit_is_the_reverse_by_bayes(step_of):
    """P(i | j) = P(j | i) P(i) / P(j), with P(i) the share of descendants of i."""
    growth = FIRST.sum(1)
    prior, forward = growth / growth.sum(), FIRST / growth[:, None]
    joint = prior[:, None] * forward
    posterior = joint / joint.sum(0)
    found = step_of(0, 1).inherit(at(0, np.eye(2)))
    np.testing.assert_allclose(found[TIMES[1]], posterior.T)
    np.testing.assert_allclose(found[TIMES[1]].sum(1), 1)


def test_two_steps_are_the_product_of_the_matrices(step_of):
    pushed = follow(step_of, PATH, at(0, [1, 1])[:, None], backward=False)[:, 0]
    direct = np.array([0.5, 0.5]) @ FIRST @ SECOND
    np.testing.assert_allclose(pushed[TIMES[2]], direct / direct.sum())
    np.testing.assert_allclose(pushed[TIMES[1]], [3 / 8, 3 / 8, 2 / 8])
    np.testing.assert_allclose(pushed[TIMES[0]], 0.5)
    # cell 5 comes from 2, which has 1/3 from cell 0; cell 6 by 1/4 from 2 and 3/4 from 3, alike
    pulled = follow(step_of, PATH, at(2, [1, 1])[:, None], backward=True)[:, 0]
    np.testing.assert_allclose(pulled[TIMES[1]], [5 / 8, 3 / 8, 0])
    np.testing.assert_allclose(pulled[TIMES[0]], [1 / 3, 2 / 3])
    carried = carry(step_of, PATH, at(2, np.eye(2)), backward=True)
    np.testing.assert_allclose(carried[TIMES[0]], FIRST @ SECOND)
    np.testing.assert_allclose(carried[TIMES[2]], np.eye(2))


def test_inherited_values_are_means_of_ancestors(step_of):
    values = at(0, [[3.0, 1.0], [9.0, 1.0]])
    total, weight = carry(step_of, PATH, values, backward=False).T
    np.testing.assert_allclose(weight, 1)
    np.testing.assert_allclose(total[TIMES[1]], [7, 7, 9])  # a third of 3 and two thirds of 9
    np.testing.assert_allclose(total[TIMES[2]], [7, 7])


@pytest.mark.parametrize("lineage", [False, True])
def test_fates_sum_to_one_and_are_known(step_of, lineage):
    ends = np.full((N, 2), np.nan)
    ends[TIMES[2]] = np.eye(2)
    found = fates(step_of, {1: 2, 0: 1}, ends, lineage=lineage)
    living = np.delete(np.arange(N), 4)
    np.testing.assert_allclose(found[living].sum(1), 1)
    assert np.isnan(found[4]).all()  # without descendants
    np.testing.assert_allclose(found[TIMES[1][:2]], [[2 / 3, 1 / 3], [0, 1]])
    # cell 0 has 1/4 of cells 2 and 3 each: 1/4 and 1/2 descendants; a lineage takes either alike
    first = [1 / 3, 2 / 3] if not lineage else [(2 / 3) / 2, 1 - (2 / 3) / 2]
    np.testing.assert_allclose(found[0], first)
    np.testing.assert_allclose(found[TIMES[2]], np.eye(2))


def test_a_lineage_differs_from_descendants_when_branches_grow():
    """Cell 0 goes to 1 and 2 alike; 1 has one descendant, 2 has three."""
    matrices = {(0, 1): ([0], [1, 2], [[0.5, 0.5]]), (1, 2): ([1, 2], [3, 4], [[1, 0], [0, 3]])}

    def step_of(earlier, later):
        source, target, matrix = map(np.array, matrices[earlier, later])
        return Step(5, source, target, lambda: [(source, target, matrix)])

    ends = np.full((5, 2), np.nan)
    ends[3:] = np.eye(2)
    counted = fates(step_of, {1: 2, 0: 1}, ends, lineage=False)
    single = fates(step_of, {1: 2, 0: 1}, ends, lineage=True)
    np.testing.assert_allclose(counted[0], [1 / 4, 3 / 4])
    np.testing.assert_allclose(single[0], [1 / 2, 1 / 2])


def test_transitions_are_followed_groups(step_of):
    sources, targets = at(0, np.eye(2)).astype(bool), at(2, np.eye(2)).astype(bool)
    forward = transitions(step_of, PATH, sources, targets, backward=False)
    chain = FIRST @ SECOND
    np.testing.assert_allclose(forward, chain / chain.sum(1, keepdims=True))
    backward = transitions(step_of, PATH, sources, targets, backward=True)
    np.testing.assert_allclose(backward, [[1 / 3, 1 / 3], [2 / 3, 2 / 3]])


def test_a_group_without_descendants_has_zeros(step_of):
    groups = at(1, np.eye(3)).astype(bool)
    found = transitions(step_of, PATH[1:], groups, at(2, np.eye(2)).astype(bool), backward=False)
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [0, 1], [0, 0]])
    # nor do cells of another time count
    none = np.column_stack([groups[:, 0], at(0, [1, 1]).astype(bool)])
    found = transitions(step_of, PATH[1:], none, at(2, np.eye(2)).astype(bool), backward=False)
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [0, 0]])


def test_sets_without_cells_or_relatives_are_refused(step_of):
    with pytest.raises(ValueError, match="no cell of the set is at `start=0`"):
        follow(step_of, PATH, at(1, [1, 1, 1])[:, None], backward=False)
    with pytest.raises(ValueError, match="no cell of the set is at `end=2`"):
        follow(step_of, PATH, at(0, [1, 1])[:, None], backward=True)
    with pytest.raises(ValueError, match="the set has no descendants at 2"):
        follow(step_of, PATH[1:], at(1, [0, 0, 1])[:, None], backward=False)


def test_the_mean_place_of_descendants(step_of):
    places = at(2, [[1.0, 10.0], [4.0, 40.0]])
    found = mean_over_descendants(step_of(1, 2), places)
    np.testing.assert_allclose(found[:2], [[2, 20], [4, 40]])
    assert np.isnan(found[2]).all()


def test_entropy_is_0_when_decided_and_1_when_open():
    found = relative_entropy(np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [np.nan] * 4]))
    np.testing.assert_allclose(found, [0, 1, 0.5, np.nan])
    np.testing.assert_array_equal(relative_entropy(np.ones((2, 1))), 0)


def test_draws_count_as_the_nearest_cells():
    cells = np.array([[0.0], [1.0], [5.0]])
    draws = np.array([[[-3.0], [0.4], [0.2], [0.9]], [[1.2], [0.8], [1.0], [1.1]]])
    shares = assign(draws, cells).toarray()
    np.testing.assert_allclose(shares[:, :2], [[3 / 4, 1 / 4], [0, 1]])
    # no draw is near the last cell: its nearest draw is the second cell's, with a negligible share
    assert shares[0, 2] == 0
    assert 0 < shares[1, 2] < 1e-9


def test_a_step_of_draws_has_their_growth():
    cells = np.array([[9.0], [0.0], [1.0], [8.0]])
    draws = np.array([[[0.1], [0.8]], [[1.1], [1.2]]])
    step = step_of_draws(cells, np.array([0, 3]), np.array([1, 2]), draws, np.array([0.5, 1.5]))
    np.testing.assert_allclose(
        step.expect(np.eye(4)), [[0, 0.25, 0.25, 0], [0] * 4, [0] * 4, [0, 0, 1.5, 0]]
    )


def test_systematic_draws_are_the_expected_numbers_give_or_take_one():
    rng = np.random.default_rng(0)
    for n in (1, 7, 1000):
        weights = rng.uniform(size=40) * (rng.uniform(size=40) < 0.7)
        weights[-3:] = 0
        counts = np.bincount(systematic(weights, n, rng), minlength=40)
        assert counts.sum() == n
        assert (abs(counts - n * weights / weights.sum()) < 1).all()
        assert (counts[weights == 0] == 0).all()
    exact = systematic(np.array([1, 2, 5]), 8)
    np.testing.assert_array_equal(exact, [0, 1, 1, 2, 2, 2, 2, 2])


def test_growth_has_mean_1_and_is_positive():
    mass = np.array([0.0, 1.0, 2.0, 1.0])
    np.testing.assert_allclose(growth_of_mass(3 * mass)[1:], mass[1:])
    assert 0 < growth_of_mass(mass)[0] < 1e-3
