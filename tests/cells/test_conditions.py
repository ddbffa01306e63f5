"""Conditions as numbers: the same for the same treatment however it is written, and nothing for the control."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

from scgenot.cells.tasks.conditions import Conditions, is_control_name, make_tokens, split_name
from scgenot.cells.write import plain, writing

KNOWN = ["A", "B", "C"]


def vocabulary(**options) -> Conditions:
    return Conditions(
        **{"control": "ctrl", "tokens": make_tokens(KNOWN, None), "known": KNOWN} | options
    )


def embedding(**rows) -> pd.DataFrame:
    return pd.DataFrame(rows).T.set_axis(["one", "two"], axis=1)


@pytest.mark.parametrize(
    ("name", "separator", "parts"),
    [
        ("A", "+", ["A"]),
        ("B + A", "+", ["B", "A"]),
        ("ctrl+KLF1", "+", ["KLF1"]),
        ("KLF1+ctrl", "+", ["KLF1"]),
        ("A+A+B", "+", ["A", "B"]),
        ("A+B", None, ["A+B"]),
        ("A+B", "/", ["A+B"]),
        ("α-MSH/β", "/", ["α-MSH", "β"]),
        ("ctrl", "+", []),
        ("ctrl+ctrl", "+", []),
        ("ctrl", None, []),
        (3, None, ["3"]),
        (3, "+", ["3"]),
    ],
)
def test_names_fall_into_parts(name, separator, parts):
    assert split_name(name, separator, "ctrl") == parts
    assert is_control_name(name, separator, "ctrl") == (not parts)


def test_a_control_may_be_a_number_have_a_separator_or_not_exist():
    assert split_name("0+1", "+", 0) == ["1"]
    assert split_name("water+salt", "+", "water+salt") == []
    assert split_name("A", "+", None) == ["A"]
    assert split_name("CD4+", None, "ctrl") == ["CD4+"]
    for name in ("CD4+", "+A", "A++B", "+"):
        with pytest.raises(
            ValueError, match=r"names nothing on one side of '\+': .* `separator=None`"
        ):
            split_name(name, "+", "ctrl")
    assert not is_control_name("", "+", "ctrl")
    assert not is_control_name("", "+", None)


def test_one_slot_a_perturbation():
    conditions = vocabulary()
    assert conditions.size == 4
    np.testing.assert_array_equal(conditions.encode("B"), [1, 0, 1, 0])
    np.testing.assert_array_equal(conditions.encode("ctrl"), np.zeros(4))


@pytest.mark.parametrize("control", ["ctrl", None, 0])
def test_combinations_are_sets(control):
    conditions = vocabulary(control=control, n_slots=3)
    expected = [1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0]
    other = [] if control is None else [f"{control}+A+C", f"C+{control}+A"]
    for name in ("A+C", "C+A", "C + A", "A+C+A", *other):
        np.testing.assert_array_equal(conditions.encode(name), expected)
    np.testing.assert_array_equal(conditions.encode("A+B+C"), conditions.encode("C+A+B"))


def test_too_large_a_combination():
    with pytest.raises(
        ValueError, match=r"`target='A\+B\+C'` combines 3 perturbations, the fit has seen at most 2"
    ):
        vocabulary(n_slots=2).encode("A+B+C")


def test_no_dose_is_the_control_exactly_and_more_is_more():
    conditions = vocabulary(n_slots=2, doses=(0.1, 10.0))
    for name in ("A", "B+C", "ctrl"):
        np.testing.assert_array_equal(conditions.encode(name, 0), np.zeros(8))
        np.testing.assert_array_equal(conditions.encode("ctrl", 3.0), np.zeros(8))
    doses = np.r_[0, np.geomspace(1e-3, 10, 20)]
    strengths = np.array([conditions.strength(dose) for dose in doses])
    assert (np.diff(strengths) > 0).all()
    np.testing.assert_allclose(strengths, np.log1p(doses / 0.01) / np.log1p(1000), rtol=1e-12)
    assert strengths[0] == 0
    assert strengths[-1] == conditions.strength(None) == 1
    # doses past the largest go on along the logarithm
    assert conditions.strength(100.0) == pytest.approx(np.log(10_001) / np.log(1001))
    np.testing.assert_array_equal(conditions.encode("A", 10.0), conditions.encode("A"))
    # the strength stands before every token, which the dose does not change
    strength = conditions.strength(0.5)
    np.testing.assert_array_equal(
        conditions.encode("B+C", 0.5), [strength, 0, 1, 0, strength, 0, 0, 1]
    )
    assert vocabulary(doses=(2.0, 2.0)).strength(2.0) == 1


@pytest.mark.parametrize("dose", [-1.0, np.nan, np.inf])
def test_unfit_doses(dose):
    with pytest.raises(ValueError, match=f"`dose={dose}` must be a number, 0 or more"):
        vocabulary(doses=(1.0, 2.0)).encode("A", dose)


@pytest.mark.parametrize("dose", [None, 0.0])
def test_an_unseen_perturbation_lists_the_known_ones(dose):
    with pytest.raises(
        KeyError,
        match=r"`target` names 'D', which the fit has not seen; known are \['A', 'B', 'C'\]",
    ):
        vocabulary(n_slots=2, doses=(1.0, 2.0)).encode("A+D", dose)


def test_an_embedding_places_the_unseen():
    table = embedding(A=[0, 1], B=[2, 1], D=[4, 3])
    tokens = make_tokens(["A", "B"], table)
    # in units of the perturbations that were seen: mean (1, 1), standard deviation (1, 0, taken as 1)
    np.testing.assert_allclose(tokens, [[-1, 0], [1, 0], [3, 2]])
    conditions = Conditions("ctrl", tokens, ["A", "B"], n_slots=2)
    np.testing.assert_allclose(conditions.encode("D"), [1, 3, 2, 0, 0, 0])
    np.testing.assert_allclose(conditions.encode("D+A"), [1, -1, 0, 1, 3, 2])
    with pytest.raises(KeyError, match=r"known are \['A', 'B'\]"):
        conditions.encode("E")


def test_an_embedding_follows_names_not_rows():
    table = embedding(D=[4, 3], B=[2, 1], A=[0, 1])
    np.testing.assert_allclose(
        make_tokens(["A", "B"], table).loc[["A", "B", "D"]], [[-1, 0], [1, 0], [3, 2]]
    )
    numbered = table.set_axis([7, 1, 0])
    np.testing.assert_allclose(
        make_tokens(["0", "1"], numbered).loc[["0", "1", "7"]], [[-1, 0], [1, 0], [3, 2]]
    )


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (
            embedding(A=[0, 1], C=[1, 1]),
            ValueError,
            r"`embedding` has no row for \['B'\]; its index has \['A', 'C'\]",
        ),
        (
            pd.concat([embedding(A=[0, 1], B=[1, 1])] * 2),
            ValueError,
            r"several rows for \['A', 'B'\]",
        ),
        (
            embedding(A=[0, 1], B=[1, 1], C=[np.nan, 1]),
            ValueError,
            r"NaN or infinite values for \['C'\]",
        ),
        (embedding(A=["x", "y"], B=["z", "w"]), ValueError, "`embedding` must be numbers; found"),
        (
            {"A": [0, 1]},
            TypeError,
            "`embedding` must be a DataFrame indexed by perturbation; found dict",
        ),
        (np.eye(2), TypeError, "found ndarray"),
    ],
)
def test_unfit_embeddings(table, error, message):
    with pytest.raises(error, match=message):
        make_tokens(["A", "B"], table)


def test_covariates():
    conditions = vocabulary(
        categories={"donor": ["d1", "d2"], "sex": ["f", "None"]}, numbers={"age": (40.0, 10.0)}
    )
    assert conditions.size == 4 + 5
    told = {"donor": "d2", "sex": "f", "age": 55}
    np.testing.assert_array_equal(
        conditions.encode("A", covariates=told), [1, 1, 0, 0, 1.5, 0, 1, 1, 0]
    )
    # unseen, missing and not given are none of them, whatever the categories are called
    for donor in ({"donor": "d3"}, {"donor": np.nan}, {"donor": None}, {}):
        np.testing.assert_array_equal(
            conditions.encode("ctrl", covariates={"age": 40, **donor})[4:], [0] * 5
        )
    # covariates stay what they are at dose 0
    np.testing.assert_array_equal(
        conditions.encode("ctrl", covariates=told), [0, 0, 0, 0, 1.5, 0, 1, 1, 0]
    )
    for age in ({"age": np.nan}, {"age": "old"}, {"age": None}, {}):
        with pytest.raises(
            ValueError, match="The covariate 'age' must be a number, as in the fit; found"
        ):
            conditions.encode("A", covariates={"donor": "d1", **age})


NAMES = ["A/B", "β-estradiol", "TNF α", "no+", "7"]
STORED = {
    "plain": vocabulary(),
    "without control and separator": vocabulary(control=None, separator=None),
    "doses": vocabulary(doses=(0.1, 3.0), n_slots=2),
    "names": vocabulary(
        tokens=make_tokens(NAMES, None), known=NAMES, separator="|", n_slots=2, control="DMSO/水"
    ),
    "embedding": Conditions(
        "0",
        make_tokens(["1", "2"], embedding(**{"1": [0, 1], "2": [3, 1], "9": [1, 7]})),
        ["1", "2"],
    ),
    "covariates": vocabulary(
        categories={"donor": ["d1"], "sex": ["f", "m"], "x/y": ["a/b", "ü"]},
        numbers={"age": (40.0, 0.1), "bmi": (25, 3)},
    ),
    "only numbers": vocabulary(numbers={"age": (40.0, 0.1)}),
}


@pytest.mark.parametrize("conditions", STORED.values(), ids=STORED.keys())
@pytest.mark.parametrize("on_disk", [False, True])
def test_what_is_stored_encodes_the_same(conditions, on_disk, tmp_path):
    stored = plain({"conditions": conditions.to_dict()})
    if on_disk:
        adata = AnnData(np.zeros((2, 1), dtype=np.float32))
        with writing():
            adata.uns["genot"] = {"params": stored}
        adata.write_h5ad(tmp_path / "cells.h5ad")
        stored = read_h5ad(tmp_path / "cells.h5ad").uns["genot"]["params"]
    again = Conditions.from_dict(stored["conditions"])
    for name in (
        "control",
        "known",
        "n_slots",
        "separator",
        "doses",
        "categories",
        "numbers",
        "size",
    ):
        assert getattr(again, name) == getattr(conditions, name)
        assert type(getattr(again, name)) is type(getattr(conditions, name))
    pd.testing.assert_frame_equal(again.tokens, conditions.tokens)
    told = {"donor": "d1", "sex": "m", "x/y": "ü", "age": 39.5, "bmi": 20}
    names = list(conditions.tokens.index)
    if conditions.n_slots > 1:
        names.append(conditions.separator.join(names[1::-1]))
    for name in names:
        for dose in (None, 0, 0.7, 5):
            np.testing.assert_array_equal(
                again.encode(name, dose, told), conditions.encode(name, dose, told)
            )
