"""Metrics of sets of populations against answers worked out by hand and on average."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from scgenot import metrics

SIDES = np.repeat([False, True], 3)
LINE = np.abs(np.subtract.outer([0.0, 1, 2, 10, 11, 12], [0.0, 1, 2, 10, 11, 12]))


def drawn(n: int, rng, shift=0.0):
    x = rng.normal(size=(2 * n, 3))
    x[n:] += shift
    return cdist(x, x), np.repeat([False, True], n)


def test_sets_that_are_apart():
    assert metrics.nearest_neighbor_accuracy(LINE, SIDES) == 1
    assert metrics.population_coverage(LINE, SIDES) == 1 / 3
    assert metrics.population_mmd(LINE, SIDES, bandwidth=0.1) == pytest.approx(0, abs=1e-9)
    # kernels of distances 1, 1, 2 within
    within = (2 * np.exp(-0.5) + np.exp(-2)) / 3
    assert metrics.population_mmd(LINE, SIDES) == pytest.approx(2 * within, abs=1e-9)


def test_copies():
    x = np.array([0.0, 1, 2, 0, 1, 2])[:, None]
    assert metrics.nearest_neighbor_accuracy(cdist(x, x), SIDES) == 0
    assert metrics.population_coverage(cdist(x, x), SIDES) == 1


def test_ties_count_in_part():
    assert metrics.nearest_neighbor_accuracy(np.zeros((4, 4)), np.repeat([False, True], 2)) == (
        pytest.approx(1 / 3)
    )


def test_one_law():
    rng = np.random.default_rng(0)
    found = [
        [metric(*drawn(20, rng)) for _ in range(200)]
        for metric in (metrics.nearest_neighbor_accuracy, metrics.population_mmd)
    ]
    for values, expected in zip(found, (19 / 39, 0), strict=True):
        assert abs(np.mean(values) - expected) < 3 * np.std(values) / 200**0.5


def test_a_shift_is_seen():
    rng = np.random.default_rng(0)
    assert metrics.nearest_neighbor_accuracy(*drawn(50, rng, 3)) > 0.95
    assert metrics.population_mmd(*drawn(50, rng, 3)) > 0.5
    assert metrics.population_coverage(*drawn(50, rng, 3)) < 0.4


def test_compositions():
    assert metrics.composition_error(list("TTBB"), list("TTTB")) == 0.25
    assert metrics.composition_error(["T"], ["B"]) == 1
    assert metrics.composition_error([1, 2], [2, 1, 1, 2]) == 0


@pytest.mark.parametrize(
    ("distances", "generated", "message"),
    [
        (LINE[:5], SIDES, r"shape \(5, 6\), expected \(6, 6\)"),
        (LINE + np.triu(LINE), SIDES, "must be symmetric"),
        (LINE, [0, 0, 0, 1, 1, 1], "must be"),
        (LINE, [False] * 5 + [True], "1 generated and 5 measured"),
    ],
)
def test_what_is_refused(distances, generated, message):
    for metric in (metrics.nearest_neighbor_accuracy, metrics.population_mmd):
        with pytest.raises((ValueError, TypeError), match=message):
            metric(distances, generated)


def test_labels_that_are_missing():
    with pytest.raises(ValueError, match="`true` is missing for 1 of 2 cells"):
        metrics.composition_error(["T"], ["T", None])
    with pytest.raises(ValueError, match="no labels"):
        metrics.composition_error(["T"], [])
