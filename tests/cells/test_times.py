"""Times of cells: what numbers, text and categories mean, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scgenot.cells.times import find_time, read_times, time_labels


def cells(times) -> AnnData:
    index = [f"c{i}" for i in range(len(times))]
    return AnnData(obs=pd.DataFrame({"time": pd.Series(times, index=index)}))


def ordered(labels, categories) -> pd.Categorical:
    return pd.Categorical(labels, categories=categories, ordered=True)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([4, 0, 2, 0], [4, 0, 2, 0]),
        ([0.5, -1.0, 12.25], [0.5, -1, 12.25]),
        (pd.array([4, 0, 2], dtype="Int64"), [4, 0, 2]),
        (np.array([1, 2, 3], dtype=np.uint8), [1, 2, 3]),
        (pd.Series([4, 0.5, np.int64(2)], dtype=object).to_numpy(), [4, 0.5, 2]),
        (["day 2", "day 10", "day 0"], [2, 10, 0]),
        (["E8.5", "E10.5", "E9"], [8.5, 10.5, 9]),
        (["10.5", "2", "-1"], [10.5, 2, -1]),
        (["day -1", "day 0", "day-2"], [-1, 0, 2]),
        # categories without an order are text, or numbers
        (pd.Categorical(["d7", "d0", "d7"], categories=["d7", "d3", "d0"]), [7, 0, 7]),
        (pd.Categorical([4, 0, 4]), [4, 0, 4]),
        # an order that the numbers follow: the numbers count, for steps are unlike in length
        (ordered(["d7", "d0", "d2"], ["d0", "d2", "d7"]), [7, 0, 2]),
        (ordered([4.0, 0.5, 4.0], [0.5, 4.0]), [4, 0.5, 4]),
        # no numbers, not in all, not rising, or twice the same: positions among the categories that are there
        (ordered(["adult", "embryo", "adult"], ["embryo", "fetus", "adult"]), [1, 0, 1]),
        (ordered(["adult", "P0", "P7"], ["P0", "P7", "adult"]), [2, 0, 1]),
        (ordered(["t2", "t10"], ["t10", "t2"]), [1, 0]),
        (ordered(["wt 0", "ko 0"], ["ko 0", "wt 0"]), [1, 0]),
    ],
)
def test_what_times_mean(column, expected):
    times = read_times(cells(column), "time")
    assert times.dtype == float
    np.testing.assert_array_equal(times, expected)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["day 2", "adult", "late"], r"no single number in \['adult', 'late'\].*ordered=True"),
        (["day 2 of 7"], r"no single number in \['day 2 of 7'\]"),
        (pd.Categorical(["early", "late"]), r"no single number in \['early', 'late'\]"),
        (["day 2", "d2", "d3"], "two labels stand for one time"),
        ([True, False], r"no single number in \['True', 'False'\]"),
        (pd.to_datetime(["2024-01-02", "2024-01-03"]), "no single number"),
        ([0.0, np.inf], "infinite times in 1 cells"),
        ([0.0, np.nan, 2.0, np.nan], r"missing in 2 of 4 cells \(c1, c3\)"),
        (["day 0", None], r"missing in 1 of 2 cells \(c1\)"),
        (pd.array([1, None], dtype="Int64"), r"missing in 1 of 2 cells \(c1\)"),
        (ordered(["a", None], ["a", "b"]), r"missing in 1 of 2 cells \(c1\)"),
    ],
)
def test_what_no_times_are(column, message):
    with pytest.raises(ValueError, match=f"`time_key='time'`.*{message}"):
        read_times(cells(column), "time")


def test_no_column_and_no_anndata():
    with pytest.raises(KeyError, match=r"`time_key='day'` is not in obs; found \['time'\]"):
        read_times(cells([0, 1]), "day")
    with pytest.raises(TypeError, match="`adata` must be an AnnData; found DataFrame"):
        read_times(cells([0, 1]).obs, "time")


def test_labels_follow_time_not_the_alphabet():
    adata = cells(["d10", "d2", "d0", "d2"])
    assert time_labels(read_times(adata, "time"), adata.obs["time"]) == ["d0", "d2", "d10"]
    adata = cells(ordered(["old", "young", "old"], ["young", "old"]))
    assert time_labels(read_times(adata, "time"), adata.obs["time"]) == ["young", "old"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("E8.5", 8.5), (8.5, 8.5), ("8.5", 8.5), (10, 10.0), (np.float32(10), 10.0), ("E10", 10.0)],
)
@pytest.mark.parametrize("store", [list, lambda labels: np.array(labels, dtype=object), np.array])
def test_a_time_is_found_by_number_and_by_label(wanted, expected, store):
    assert find_time(wanted, [0.0, 8.5, 10.0], store(["E0", "E8.5", "E10"]), "target") == expected


def test_the_nearest_of_close_times_is_found():
    known = [100_000.0, 100_000.5]  # closer to each other than what counts as one number
    assert [
        find_time(time, known, ["100000.0", "100000.5"], "target") for time in (*known, 100_000.4)
    ] == [
        100_000.0,
        100_000.5,
        100_000.5,
    ]


@pytest.mark.parametrize("wanted", [9, "E9", "adult", None, np.nan, "E8.5 or E10"])
def test_a_time_that_was_not_sampled(wanted):
    with pytest.raises(
        ValueError, match=r"`target=.* is not among the sampled times \['E8.5', 'E10'\]"
    ):
        find_time(wanted, [8.5, 10.0], ["E8.5", "E10"], "target")
