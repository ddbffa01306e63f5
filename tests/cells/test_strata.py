"""Strata: which cells are coupled with which, and what is said of those that are too few."""

import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scgenot.cells.strata import (
    MIN_CELLS,
    Strata,
    match_stratum,
    read_strata,
    stratum_text,
)


def split(adata, covariates, source, target, *, name, **options):
    """Split one pair and report."""
    strata = Strata.read(adata, covariates)
    parts = strata.split(source, target, **options)
    strata.report({name: (source, target, parts)}, **options)
    return parts


def cells(**columns) -> AnnData:
    obs = pd.DataFrame(columns)
    return AnnData(obs=obs.set_axis(obs.index.astype(str)))


def sides(source: dict, target: dict) -> tuple[AnnData, np.ndarray, np.ndarray]:
    """Cells with a donor in mixed order, and the positions of either side, for the given sizes."""
    table = [
        (label, side)
        for side, counts in enumerate((source, target))
        for label, n in counts.items()
        for _ in range(n)
    ]
    order = np.random.default_rng(0).permutation(len(table))
    side = np.array([table[i][1] for i in order])
    adata = cells(donor=[table[i][0] for i in order])
    return adata, np.flatnonzero(side == 0), np.flatnonzero(side == 1)


def split_counts(source, target, **options):
    adata, *positions = sides(source, target)
    donors = adata.obs["donor"].to_numpy()
    parts = split(adata, ["donor"], *positions, name="0 to 2", **options)
    for stratum, *found in parts:
        for rows, of_side in zip(found, positions, strict=True):
            assert set(rows) <= set(of_side)
            if stratum:
                np.testing.assert_array_equal(rows, of_side[donors[of_side] == stratum["donor"]])
    for side in (1, 2):  # no cell twice
        taken = np.concatenate([part[side] for part in parts])
        assert len(set(taken)) == len(taken)
    return {
        stratum_text(stratum, ["donor"]): (len(rows), len(columns))
        for stratum, rows, columns in parts
    }


def test_strata_are_the_values_side_by_side():
    adata = cells(
        donor=["a", "b", "a"],
        batch=pd.Categorical([1, 1, 2], categories=[2, 1, 0]),
        ok=[True, True, False],
    )
    every = np.arange(3)
    assert Strata.read(adata, []).of_rows(every) == [{}] * 3
    found = Strata.read(adata, ("donor", "batch", "ok")).of_rows(every)
    assert found[2] == {"donor": "a", "batch": 2, "ok": False}
    assert [type(value) for value in found[2].values()] == [str, np.int64, np.bool_]
    # a column that is named twice says nothing new
    assert Strata.read(adata, ["batch", "batch"]).of_rows(every) == [
        {"batch": n} for n in (1, 1, 2)
    ]
    assert read_strata(adata, ["donor", "batch"]).tolist() == ["a | 1", "b | 1", "a | 2"]
    assert len(set(read_strata(cells(x=["a | b", "a"], y=["c", "b | c"]), ["x", "y"]))) == 2


def test_unfit_covariates():
    adata = cells(donor=["a", None, "c"], batch=[1, 2, 3])
    with pytest.raises(
        TypeError, match=r"`covariates='donor'` is text: give a list .* such as \['donor'\]"
    ):
        Strata.read(adata, "donor")
    with pytest.raises(
        KeyError, match=r"`covariates` names 'sex', which is not in obs; found \['donor', 'batch'\]"
    ):
        Strata.read(adata, ["batch", "sex"])
    with pytest.raises(
        ValueError, match="`covariates` names 'donor', which is missing in 1 of 3 cells"
    ):
        Strata.read(adata, ["batch", "donor"])
    with pytest.raises(TypeError, match="`groupby='donor'` is text"):
        Strata.read(adata, "donor", argument="groupby")
    with pytest.raises(KeyError, match="`groupby` names 'sex'"):
        Strata.read(adata, ["sex"], argument="groupby")
    with pytest.raises(ValueError, match="`groupby` names 'donor'"):
        Strata.read(adata, ["donor"], argument="groupby")


def test_large_strata_are_kept_apart(caplog):
    caplog.set_level(logging.INFO, logger="scgenot")
    counts = {"b": MIN_CELLS, "a": 30}, {"a": MIN_CELLS, "b": 25}
    assert split_counts(*counts) == {"a": (30, MIN_CELLS), "b": (MIN_CELLS, 25)}
    assert caplog.text == ""


def test_one_stratum_is_never_too_small(caplog):
    assert split_counts({"a": 2}, {"a": 3}) == {"a": (2, 3)}
    assert "under 10 cells on a side, which is few for a coupling: 0 to 2 (2 and 3)" in caplog.text
    found = split(cells(x=range(5)), [], np.array([0, 3]), np.array([1, 4]), name="x")
    ((stratum, source, target),) = found
    assert (stratum, source.tolist(), target.tolist()) == ({}, [0, 3], [1, 4])


def test_small_strata_are_pooled():
    with pytest.warns(UserWarning, match="under 10 cells on a side") as record:
        found = split_counts({"a": 30, "b": 9, "c": 5, "d": 2}, {"a": 20, "b": 8, "c": 40})
    assert found == {"a": (30, 20), "pooled": (16, 48)}
    assert str(record[0].message).endswith("were pooled, 56% of the cells: 0 to 2 of b, c, d.")
    assert record[0].filename == __file__


def test_what_is_too_small_even_together_is_left_out():
    with pytest.warns(UserWarning, match=r"were left out: 0 to 2 of b, c \(9 and 50 cells\)\.$"):
        assert split_counts({"a": 30, "b": 9}, {"a": 20, "c": 50}) == {"a": (30, 20)}


def test_small_donors_are_pooled_within_their_type_before_types_are():
    sizes = {("T", "d1"): 20, ("T", "d2"): 6, ("T", "d3"): 6, ("B", "d1"): 7, ("B", "d2"): 4}
    sizes |= {("NK", "d1"): 4, ("DC", "d3"): 9}
    rows = [pair for pair, n in sizes.items() for _ in range(n)]
    adata = cells(type=[kind for kind, _ in rows] * 2, donor=[donor for _, donor in rows] * 2)
    source, target = np.arange(len(rows)), len(rows) + np.arange(len(rows))
    with pytest.warns(UserWarning, match="pooled") as record:
        parts = split(adata, ["type", "donor"], source, target, name="A")
    assert [(stratum, len(controls), len(treated)) for stratum, controls, treated in parts] == [
        ({"type": "T", "donor": "d1"}, 20, 20),
        ({"type": "B"}, 11, 11),
        ({"type": "T"}, 12, 12),
        ({}, 13, 13),
    ]
    for stratum, controls, treated in parts[1:3]:
        assert set(adata.obs["type"].iloc[np.r_[controls, treated]]) == {stratum["type"]}
    assert "A of B | d1, B | d2; A of T | d2, T | d3; A of DC | d3, NK | d1" in str(
        record[0].message
    )
    # what is named last is given up first
    parts = Strata.read(adata, ["donor", "type"]).split(source, target)
    assert [stratum for stratum, *_ in parts] == [
        {"donor": "d1", "type": "T"},
        {"donor": "d1"},
        {"donor": "d2"},
        {"donor": "d3"},
    ]


def test_the_limit_is_an_option():
    counts = {"a": 4, "b": 3}, {"a": 3, "b": 5}
    assert split_counts(*counts, min_cells=3) == {"a": (4, 3), "b": (3, 5)}
    with pytest.warns(UserWarning, match="pooled"):
        assert split_counts(*counts, min_cells=4) == {"pooled": (7, 8)}


def test_nothing_left():
    adata, *positions = sides({"a": 9, "b": 30}, {"a": 9})
    with pytest.raises(
        ValueError, match=r"no stratum of `covariates` has 10 cells on both sides.*0 to 2.*fewer"
    ):
        split(adata, ["donor"], *positions, name="0 to 2")


def test_labels_of_the_user_collide_with_nothing():
    labels = ["pooled", "", "T | x", "0.5", "few1", "few2"]
    counts = dict(zip(labels, [20, 20, 20, 20, 6, 6], strict=True))
    adata, *positions = sides(counts, counts)
    strata = Strata.read(adata, ["donor"])
    parts = strata.split(*positions)
    assert sorted(len(part[1]) for part in parts) == [12, 20, 20, 20, 20]
    fitted = [stratum for stratum, *_ in parts]
    assert fitted[-1] == {}
    own = [match_stratum({"donor": label}, fitted).tolist() for label in labels]
    assert own == [[fitted.index({"donor": label})] for label in labels[:4]] + [[4], [4]]


def test_a_cell_takes_the_nearest_stratum_that_holds_it():
    fitted = [{"type": "T", "donor": 1}, {"type": "T"}, {"type": "TB", "donor": 1}, {}]
    for stratum, expected in [
        ({"type": "T", "donor": 1}, [0]),
        ({"type": "T", "donor": "1"}, [0]),
        ({"type": "T", "donor": 9}, [0, 1]),
        ({"type": "TB", "donor": 9}, [2]),
        ({"type": "T"}, [0, 1]),
        ({"type": "DC", "donor": 1}, [3]),
        ({}, [3]),
    ]:
        assert match_stratum(stratum, fitted).tolist() == expected
    assert match_stratum({"type": "DC"}, fitted[:3]).tolist() == [0, 1, 2]


@pytest.mark.medium
@pytest.mark.parametrize("seed", range(20))
def test_every_split_is_a_partition_by_nested_labels(seed):
    """Against the definition, cell by cell."""
    rng = np.random.default_rng(seed)
    adata = cells(a=rng.integers(3, size=150), b=rng.choice(["x", "y", "z"], size=150))
    side = rng.random(150) < 0.5
    source, target = np.flatnonzero(side), np.flatnonzero(~side)
    rest, expected = set(range(150)), {}
    for keys in (["a", "b"], ["a"], []):
        values = [tuple(adata.obs[keys].iloc[row]) for row in range(150)]
        for value in sorted(set(values)):
            rows = {row for row in rest if values[row] == value}
            both = [sorted(rows & set(some)) for some in (source.tolist(), target.tolist())]
            if min(map(len, both)) >= 10:
                expected[tuple(zip(keys, value, strict=True))] = both
        taken = {row for both in expected.values() for some in both for row in some}
        rest -= taken
    parts = Strata.read(adata, ["a", "b"]).split(source, target)
    found = {tuple(stratum.items()): [x.tolist(), y.tolist()] for stratum, x, y in parts}
    assert found == expected
