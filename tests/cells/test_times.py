"""Times of cells: what numbers, text and categories mean, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

from scgenot.cells.times import TimeScale


def cells(times) -> AnnData:
    index = [f"c{i}" for i in range(len(times))]
    return AnnData(obs=pd.DataFrame({"time": pd.Series(times, index=index)}))


def read(column) -> TimeScale:
    return TimeScale.read(cells(column), "time")[0]


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
        (["day -1", "day 0", "day 2"], [-1, 0, 2]),
        (["\N{MINUS SIGN}1", "0", "+2"], [-1, 0, 2]),
        (["1e3", "2e2"], [1000, 200]),
        ([".5 h", ".25 h"], [0.5, 0.25]),
        (["2 h", "10 h", "0 h"], [2, 10, 0]),
        (["1-cell", "2-cell", "16-cell"], [1, 2, 16]),
        (["day.5", "day.10"], [5, 10]),
        (pd.array([1.5, 0], dtype="Float64"), [1.5, 0]),
        # categories without an order are text, or numbers
        (pd.Categorical(["d7", "d0", "d7"], categories=["d7", "d3", "d0"]), [7, 0, 7]),
        (pd.Categorical([4, 0, 4]), [4, 0, 4]),
        # an order that the numbers follow: the numbers count, for steps are unlike in length
        (ordered(["d7", "d0", "d2"], ["d0", "d2", "d7"]), [7, 0, 2]),
        (ordered([4.0, 0.5, 4.0], [0.5, 4.0]), [4, 0.5, 4]),
        # no numbers: positions among the categories that are there
        (ordered(["adult", "embryo", "adult"], ["embryo", "fetus", "adult"]), [1, 0, 1]),
    ],
)
def test_what_times_mean(column, expected):
    _, times = TimeScale.read(cells(column), "time")
    assert times.dtype == float
    np.testing.assert_array_equal(times, expected)


@pytest.mark.parametrize(
    ("labels", "categories"),
    [
        (["adult", "P0", "P7"], ["P0", "P7", "adult"]),
        (["P7", "E14.5", "P0"], ["E14.5", "P0", "P7"]),
        (["D0", "D7", "D-1"], ["D-1", "D0", "D7"]),
        (["t2", "t10"], ["t10", "t2"]),
        (["wt 0", "ko 0"], ["ko 0", "wt 0"]),
    ],
)
def test_positions_in_place_of_numbers_are_announced(labels, categories):
    column = ordered(labels, categories)
    with pytest.warns(UserWarning, match="treated as equidistant, at 0 to") as record:
        scale, times = TimeScale.read(cells(column), "time")
    assert record[0].filename == __file__
    assert times.tolist() == [categories.index(label) for label in labels]
    assert scale.labels.tolist() == categories
    # positions stay those of the fit; numbers in labels are no times
    later = pd.Series(ordered(labels[:2], categories)).cat.remove_unused_categories()
    assert scale.times_of(later).tolist() == times[:2].tolist()
    assert np.isnan(scale.times_of(pd.Series(["P1", "x"]))).all()


def test_numbers_of_ordered_categories_are_logged(caplog):
    caplog.set_level("INFO", logger="scgenot")
    read(ordered(["d7", "d0"], ["d0", "d7"]))
    assert "times are the numbers of the ordered categories, 0, 7" in caplog.text
    caplog.clear()
    read(ordered(["old", "young"], ["young", "old"]))
    assert "equidistant, at 0 to 1" in caplog.text


@pytest.mark.parametrize(
    "labels",
    [
        ["E14.5", "E18.5", "P0", "P7"],
        ["24hpf", "48hpf", "5dpf"],
        ["0min", "1h"],
        ["12h", "3d"],
        ["0.5d", "12h"],
        ["Day 7", "Month 1"],
        ["D\N{MINUS SIGN}1", "D0"],
        ["T1 pre", "T2 post"],
        ["5m", "3M"],
        ["8h", "8H"],
        ["5", "D7"],
        ["0h", "0h drug"],
    ],
)
@pytest.mark.parametrize("store", [list, pd.Categorical, lambda x: pd.array(x, dtype="string")])
def test_units_are_not_mixed(labels, store):
    with pytest.raises(ValueError, match=r"differ in more than a number.*ordered=True") as error:
        read(store(labels))
    assert sum(repr(label) in str(error.value) for label in labels) == 2


@pytest.mark.parametrize(
    "labels", [["D-1", "D0"], ["D-1", "D-3"], ["day - 2", "day - 4"], ["e-2", "e-3"]]
)
def test_a_hyphen_may_be_a_minus(labels):
    with pytest.raises(ValueError, match="may be a minus or a hyphen") as error:
        read(labels)
    assert all(label in str(error.value) for label in labels)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["week 1 day 3", "week 1 day 4"], "no single number"),
        (["Day1_rep1", "Day1_rep2"], "no single number"),
        (["0-2h", "2-4h"], "no single number"),
        (["8,5", "9,5"], "no single number"),
        (["P0", "adult"], r"no single number in \['adult'\]"),
        (pd.array([True, False], dtype="boolean"), "no single number"),
        (pd.Categorical([True, False]), "no single number"),
        (pd.to_timedelta([1, 2], unit="D"), "dates or durations"),
        (["d1", "d01"], "two labels stand for one time, 'd01' and 'd1'"),
        (["day 2", "adult", "late"], r"no single number in \['adult', 'late'\].*ordered=True"),
        (["day 2 of 7"], r"no single number in \['day 2 of 7'\]"),
        (pd.Categorical(["early", "late"]), r"no single number in \['early', 'late'\]"),
        (["day 2", "d2", "d3"], "'d2' and 'day 2' differ"),
        ([True, False], r"no single number in \['False', 'True'\]"),
        (pd.to_datetime(["2024-01-02", "2024-01-03"]), "dates or durations"),
        ([0.0, np.inf], "infinite times in 1 cells"),
        ([0.0, np.nan, 2.0, np.nan], r"missing in 2 of 4 cells \(c1, c3\)"),
        (["day 0", None], r"missing in 1 of 2 cells \(c1\)"),
        (pd.array([1, None], dtype="Int64"), r"missing in 1 of 2 cells \(c1\)"),
        (ordered(["a", None], ["a", "b"]), r"missing in 1 of 2 cells \(c1\)"),
    ],
)
def test_what_no_times_are(column, message):
    with pytest.raises(ValueError, match=f"`time_key='time'`.*{message}"):
        read(column)


def test_no_column_and_no_anndata():
    with pytest.raises(KeyError, match=r"`time_key='day'` is not in obs; found \['time'\]"):
        TimeScale.read(cells([0, 1]), "day")
    with pytest.raises(TypeError, match="`adata` must be an AnnData; found DataFrame"):
        TimeScale.read(cells([0, 1]).obs, "time")


def test_labels_follow_time_not_the_alphabet():
    assert read(["d10", "d2", "d0", "d2"]).texts == ["d0", "d2", "d10"]
    assert read(ordered(["old", "young", "old"], ["young", "old"])).texts == ["young", "old"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("E8.5", 8.5), (8.5, 8.5), ("8.5", 8.5), (10, 10.0), (np.float32(10), 10.0), ("E10.0", 10.0)],
)
@pytest.mark.parametrize("store", [list, pd.Categorical, np.array])
def test_a_time_is_found_by_number_and_by_label(wanted, expected, store):
    assert read(store(["E0", "E8.5", "E10"])).find(wanted, "target") == expected


def test_the_nearest_of_close_times_is_found():
    known = [100_000.0, 100_000.5]  # closer to each other than what counts as one number
    found = [read(known).find(time, "target") for time in (*known, 100_000.4)]
    assert found == [100_000.0, 100_000.5, 100_000.5]


@pytest.mark.parametrize("wanted", [9, "E9", "P10", "10 h", "adult", None, np.nan, "E8.5 or E10"])
def test_a_time_that_was_not_sampled(wanted):
    with pytest.raises(
        ValueError, match=r"`target=.* is not among the sampled times \['E8.5', 'E10'\]"
    ):
        read(["E8.5", "E10"]).find(wanted, "target")


@pytest.mark.parametrize(
    ("column", "known", "new"),
    [
        (np.array([5, 11], dtype=np.int32), np.int32(11), 8),
        ([5.0, 11.0], 11.0, 8.0),
        (pd.Categorical([5.0, 11.0]), 11.0, 8.0),
        (pd.Categorical([5, 11]), 11, 8),
        (pd.array([5, 11], dtype="Int64"), 11, 8),
        (["d5", "d11"], "d11", "d8"),
        (ordered(["5 h", "11 h"], ["5 h", "11 h"]), "11 h", "8 h"),
    ],
)
def test_labels_are_those_of_the_column(column, known, new):
    scale = read(column)
    for again in (scale, TimeScale.from_dict(scale.to_dict())):
        found = again.label(11.0), again.label(8.0)
        assert found == (known, new)
        assert [np.asarray(label).dtype.kind for label in found] == [
            np.asarray(label).dtype.kind for label in (known, new)
        ]
        np.testing.assert_array_equal(again.times_of(cells(column).obs["time"]), [5, 11])
    assert read([5, 11]).label(8.5) == 8.5


def test_times_after_the_fit():
    scale = read(["d5", "d11"])
    later = pd.Series(["d11", "d8", None, "5", "h5", 11])
    np.testing.assert_array_equal(scale.times_of(later), [11, np.nan, np.nan, 5, np.nan, 11])
    np.testing.assert_array_equal(scale.times_of(later, new=True), [11, 8, np.nan, 5, np.nan, 11])
    assert read([0.1, 0.7]).times_of(pd.Series(np.float32([0.7]))).tolist() == [0.7]


@pytest.mark.parametrize("column", [[5, 11], [0.5, 2], ["d5", "d11"], ["a", "b"]])
def test_a_scale_survives_a_file(column, tmp_path):
    scale = read(ordered(column, column) if column[0] == "a" else column)
    adata = cells(column)
    adata.uns["scale"] = scale.to_dict()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    again = TimeScale.from_dict(read_h5ad(tmp_path / "cells.h5ad").uns["scale"])
    assert again.labels.dtype == scale.labels.dtype
    assert again.labels.tolist() == scale.labels.tolist()
    assert (again.prefix, again.suffix, again.ordinal) == (
        scale.prefix,
        scale.suffix,
        scale.ordinal,
    )
    np.testing.assert_array_equal(again.times, scale.times)


@pytest.mark.parametrize(
    "change",
    [
        {"times": [2, 1]},
        {"times": [1, np.nan]},
        {"times": [1]},
        {"times": ["x", "y"]},
        {"labels": 3},
    ],
)
def test_damaged_scales(change):
    with pytest.raises(ValueError, match="the stored times are damaged"):
        TimeScale.from_dict(read([1, 2]).to_dict() | change)
    with pytest.raises(ValueError, match="the stored times are damaged"):
        TimeScale.from_dict({})


def test_an_integer_beyond_all_numbers_is_no_time():
    with pytest.raises(ValueError, match="`end=1000"):
        read([1, 2]).find(10**400, "end")
