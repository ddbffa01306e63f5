"""Steps of a time course: which way is the shortest, and what is refused."""

import pytest

from scgenot.course.steps import Steps

# 0 to 3 in one step, in two by 1, in three by 1 and 2; nothing leads from 4
FORK = Steps([(2, 3), (0, 1), (1, 2), (1, 3), (0, 3), (0, 1), (3, 4)])


def test_steps_are_sorted_and_come_once():
    assert FORK == ((0, 1), (0, 3), (1, 2), (1, 3), (2, 3), (3, 4))
    assert FORK.times == [0, 1, 2, 3, 4]
    assert str(Steps([(0, 1.5), (1.5, 10)])) == "0 to 1.5, 1.5 to 10"


@pytest.mark.parametrize(
    ("start", "end", "path"),
    [
        (0, 3, [(0, 3)]),
        (0, 4, [(0, 3), (3, 4)]),
        (0, 2, [(0, 1), (1, 2)]),
        (1, 4, [(1, 3), (3, 4)]),
        (2, 3, [(2, 3)]),
    ],
)
def test_a_path_has_the_fewest_steps(start, end, path):
    assert FORK.path(start, end) == path


def test_a_path_is_not_the_first_step_that_leads_on():
    """From 0 the longest jump, to 5, needs two more steps; by 1 it is one."""
    steps = Steps([(0, 5), (5, 6), (6, 7), (0, 1), (1, 7)])
    assert steps.path(0, 7) == [(0, 1), (1, 7)]


def test_onward_has_all_times_that_lead_to_the_end():
    assert FORK.onward(3) == {0: 3, 1: 3, 2: 3}
    assert FORK.onward(2) == {1: 2, 0: 1}
    assert Steps([(0, 1), (2, 3)]).onward(3) == {2: 3}


def test_the_shortest_step_is_around_a_time():
    assert FORK.around(0.5) == (0, 1)
    assert FORK.around(2.5) == (2, 3)
    assert FORK.around(1) == (0, 1)  # of equally short ones the earliest
    assert Steps([(0, 3), (1, 4)]).around(2) == (0, 3)


def test_the_first_steps_are_the_shortest_from_each_time():
    assert FORK.first_steps() == [(0, 1), (1, 2), (2, 3), (3, 4)]


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda: FORK.path(3, 1), ValueError, "`start` is 3 and `end` is 1: `start` must be the"),
        (lambda: FORK.path(1, 1), ValueError, "must be the earlier"),
        (
            lambda: Steps([(0, 1), (2, 3)]).path(0, 3),
            ValueError,
            "no fitted steps lead from `start=0` to `end=3`; the fitted steps are 0 to 1, 2 to 3",
        ),
        (lambda: FORK.onward(0), ValueError, "no fitted step leads to `end=0`"),
        (lambda: FORK.around(4.5), ValueError, "`time=4.5` is in no fitted step"),
        (lambda: Steps([(0, 1), (2, 3)]).around(1.5), ValueError, "in no fitted step"),
        (lambda: FORK.around("day 1"), TypeError, r"one number.*\[0.0, 1.0"),
        (lambda: FORK.around(True), TypeError, "one number"),
        (lambda: FORK.around(float("nan")), ValueError, "in no fitted step"),
        (lambda: Steps([(1, 0)]), ValueError, "the earlier time must come first"),
        (lambda: Steps([(0, float("nan"))]), ValueError, "the earlier time must come first"),
    ],
)
def test_refusals(ask, error, message):
    with pytest.raises(error, match=message):
        ask()
