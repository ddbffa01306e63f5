"""Strata: which cells are coupled with which, and what is said of those that are too few."""

import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scgenot.cells.strata import MIN_CELLS, nested_strata, read_strata, split


def cells(**columns) -> AnnData:
    obs = pd.DataFrame(columns)
    return AnnData(obs=obs.set_axis(obs.index.astype(str)))


def sides(source: dict[str, int], target: dict[str, int]):
    """Strata of all cells and the positions of either side, which alternate, for the given numbers of cells."""
    table = [
        (label, side)
        for side, counts in enumerate((source, target))
        for label, n in counts.items()
        for _ in range(n)
    ]
    order = np.random.default_rng(0).permutation(len(table))
    strata = np.array([table[i][0] for i in order], dtype=object)
    side = np.array([table[i][1] for i in order])
    return strata, np.flatnonzero(side == 0), np.flatnonzero(side == 1)


def within_all(strata: np.ndarray) -> list[np.ndarray]:
    """Strata of one covariate, and the one of all cells."""
    return [strata, np.full(len(strata), "", dtype=object)]


def split_counts(source, target, **options):
    strata, *positions = sides(source, target)
    parts = split(within_all(strata), *positions, name="0 to 2", **options)
    for stratum, *found in parts:
        for rows, of_side in zip(found, positions, strict=True):
            assert set(rows) <= set(of_side)
            if stratum != "pooled":
                np.testing.assert_array_equal(rows, of_side[strata[of_side] == stratum])
    for side in (1, 2):  # no cell twice
        taken = np.concatenate([part[side] for part in parts])
        assert len(set(taken)) == len(taken)
    return {stratum: (len(rows), len(columns)) for stratum, rows, columns in parts}


def test_strata_are_the_values_side_by_side():
    adata = cells(
        donor=["a", "b", "a"],
        batch=pd.Categorical([1, 1, 2], categories=[2, 1, 0]),
        ok=[True, True, False],
    )
    assert read_strata(adata, []).tolist() == ["", "", ""]
    assert read_strata(adata, ["batch"]).tolist() == ["1", "1", "2"]
    assert read_strata(adata, ("donor", "batch", "ok")).tolist() == [
        "a | 1 | True",
        "b | 1 | True",
        "a | 2 | False",
    ]
    # a column that is named twice says nothing new, and hides nothing
    assert read_strata(adata, ["donor", "batch", "donor"]).tolist() == [
        "a | 1 | a",
        "b | 1 | b",
        "a | 2 | a",
    ]


def test_unfit_covariates():
    adata = cells(donor=["a", None, "c"], batch=[1, 2, 3])
    with pytest.raises(
        TypeError, match=r"`covariates='donor'` is text: give a list .* such as \['donor'\]"
    ):
        read_strata(adata, "donor")
    with pytest.raises(
        KeyError, match=r"`covariates` names 'sex', which is not in obs; found \['donor', 'batch'\]"
    ):
        read_strata(adata, ["batch", "sex"])
    with pytest.raises(
        ValueError, match="`covariates` names 'donor', which is missing in 1 of 3 cells"
    ):
        read_strata(adata, ["batch", "donor"])
    with pytest.raises(TypeError, match="`groupby='donor'` is text"):
        read_strata(adata, "donor", argument="groupby")
    with pytest.raises(KeyError, match="`groupby` names 'sex'"):
        read_strata(adata, ["sex"], argument="groupby")
    with pytest.raises(ValueError, match="`groupby` names 'donor'"):
        read_strata(adata, ["donor"], argument="groupby")


def test_large_strata_are_kept_apart(caplog):
    caplog.set_level(logging.INFO, logger="scgenot")
    counts = {"b": MIN_CELLS, "a": 30}, {"a": MIN_CELLS, "b": 25}
    assert split_counts(*counts) == {"a": (30, MIN_CELLS), "b": (MIN_CELLS, 25)}
    assert caplog.text == ""


def test_one_stratum_is_never_too_small():
    assert split_counts({"a": 2}, {"a": 3}) == {"a": (2, 3)}
    strata = np.full(5, "", dtype=object)
    ((stratum, source, target),) = split(
        within_all(strata), np.array([0, 3]), np.array([1, 4]), name="x"
    )
    assert (stratum, source.tolist(), target.tolist()) == ("", [0, 3], [1, 4])


def test_small_strata_are_pooled_and_that_is_logged(caplog):
    caplog.set_level(logging.INFO, logger="scgenot")
    found = split_counts({"a": 30, "b": 9, "c": 5, "d": 2}, {"a": 20, "b": 8, "c": 40})
    assert found == {"a": (30, 20), "pooled": (16, 48)}
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert (
        record.message
        == "0 to 2: strata ['b', 'c', 'd'] have under 10 cells on a side and are pooled."
    )


def test_what_is_too_small_even_together_is_left_out_and_that_is_logged(caplog):
    found = split_counts({"a": 30, "b": 9}, {"a": 20, "c": 50})
    assert found == {"a": (30, 20)}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    expected = "0 to 2: 9 source and 50 target cells of the strata ['b', 'c'] are left out, under 10 on a side."
    assert record.message == expected


def test_small_donors_are_pooled_within_their_type_before_types_are(caplog):
    caplog.set_level(logging.INFO, logger="scgenot")
    sizes = {
        ("T", "d1"): 20,
        ("T", "d2"): 6,
        ("T", "d3"): 6,
        ("B", "d1"): 7,
        ("B", "d2"): 4,
        ("NK", "d1"): 4,
    }
    sizes |= {("DC", "d3"): 9}
    rows = [pair for pair, n in sizes.items() for _ in range(n)]
    adata = cells(type=[kind for kind, _ in rows] * 2, donor=[donor for _, donor in rows] * 2)
    source, target = np.arange(len(rows)), len(rows) + np.arange(len(rows))
    parts = split(nested_strata(adata, ["type", "donor"]), source, target, name="A")
    found = {stratum: (len(controls), len(treated)) for stratum, controls, treated in parts}
    assert found == {
        "T | d1": (20, 20),
        "B | pooled": (11, 11),
        "T | pooled": (12, 12),
        "pooled": (13, 13),
    }
    for stratum, controls, treated in parts[1:3]:
        assert set(adata.obs["type"].iloc[np.r_[controls, treated]]) == {stratum[0]}
    of_types = "A: strata {} have under 10 cells on a side and are pooled."
    expected = [["B | d1", "B | d2"], ["T | d2", "T | d3"], ["DC | d3", "NK | d1"]]
    assert [record.message for record in caplog.records] == [
        of_types.format(labels) for labels in expected
    ]
    # what is named last is given up first
    parts = split(nested_strata(adata, ["donor", "type"]), source, target, name="A")
    assert [stratum for stratum, *_ in parts] == [
        "d1 | T",
        "d1 | pooled",
        "d2 | pooled",
        "d3 | pooled",
    ]


def test_the_limit_is_an_option():
    counts = {"a": 4, "b": 3}, {"a": 3, "b": 5}
    assert split_counts(*counts, min_cells=3) == {"a": (4, 3), "b": (3, 5)}
    assert split_counts(*counts, min_cells=4) == {"pooled": (7, 8)}


def test_nothing_left():
    strata, *positions = sides({"a": 9, "b": 30}, {"a": 9})
    with pytest.raises(
        ValueError, match=r"0 to 2: no stratum of `covariates` has 10 cells on both sides.*fewer"
    ):
        split(within_all(strata), *positions, name="0 to 2")
