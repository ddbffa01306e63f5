"""Conditions as numbers: the same however a treatment is written, nothing for the control."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

from scgenot.cells.tasks.conditions import Conditions, make_tokens, same_dose, tidy_doses
from scgenot.cells.tasks.names import Names
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
    names = Names("ctrl", separator, frozenset("3"))
    assert names.parts(name) == parts
    assert names.is_control(name) == (not parts)


@pytest.mark.parametrize(
    ("name", "separator"),
    [
        ("(+)-JQ1", "+"),
        ("flurbiprofen-(+|-)", "+"),
        ("flurbiprofen-(+|-)", "|"),
        ("Na+/K+-ATPase inhibitor", "+"),
        ("CD4+", "+"),
        ("+A", "+"),
        ("A++B", "+"),
        ("+", "+"),
        ("A(+B", "+"),
        ("NAD+ precursor", "+"),
        ("1,2-x", ","),
        ("2,4-D", ","),
        ("_A", "_"),
    ],
)
def test_names_that_only_look_like_combinations_stay_whole(name, separator, caplog):
    caplog.set_level("INFO", logger="scgenot")
    assert Names("ctrl", separator).parts(name) == [name]
    names = Names.read(pd.Series(["ctrl", "A", name, name]), "ctrl", separator)
    assert names.parts(name) == [name]
    assert f"[{name!r}] are taken as single perturbations" in caplog.text
    assert len(caplog.records) == 1
    # the vocabulary of the fit says the same
    tokens = make_tokens(["A", name], None)
    conditions = Conditions("ctrl", tokens, ["A", name], n_slots=2, separator=separator)
    assert conditions.parts(name) == [name]
    both = f"A{separator}{name}"
    if name not in ("CD4+", "+A", "A++B", "+", "A(+B", "_A"):
        assert Names.read([name, "A", "ctrl"], "ctrl", separator).parts(both) == ["A", name] or (
            separator == "," or "/" in name or " " in name
        )


def test_a_name_that_is_known_stays_whole():
    assert Names("ctrl", "+", frozenset(["A+B"])).parts("A+B") == ["A+B"]
    assert Names.read(["ctrl", "A+B"], "ctrl", "+", rows=["A+B", "C"]).parts("A+B") == ["A+B"]
    assert Names.read(["ctrl", "A+B"], "ctrl", "+", rows=["A", "B"]).parts("A+B") == ["A", "B"]
    # parts that are known make a combination of what looks odd
    assert Names.read([0, 1, 2, "1+2"], 0, "+").parts("1+2") == ["1", "2"]
    assert Names.read(["ctrl", "-z", "A", "A+-z"], "ctrl", "+").parts("A+-z") == ["A", "-z"]
    assert Names("ctrl").parts("(+)-JQ1 + B") == ["(+)-JQ1", "B"]


@pytest.mark.parametrize("separator", ["|", "_", " & ", "/", "+"])
def test_control_within_names(separator):
    names = Names("ctrl", separator)
    column = pd.Series(
        [
            separator.join(parts)
            for parts in (["A", "ctrl"], ["ctrl", "A"], ["ctrl"] * 2, ["A", "B"])
        ]
        + ["A", "ctrl", None],
        dtype="category",
    )
    assert names.are_control(column).tolist() == [False, False, True, False, False, True, False]
    assert names.are(column, "A").tolist() == [True, True, False, False, True, False, False]
    assert names.are(column, separator.join("BA")).tolist() == [False] * 3 + [True] + [False] * 3


def test_a_control_may_be_a_number_have_a_separator_or_not_exist():
    assert Names.read([0, 1], 0, "+").parts("0+1") == ["1"]
    assert Names.read([0.0, 1.0], 0, "+").is_control("0")
    assert Names("water+salt").parts("water+salt") == []
    assert Names(None).parts("A") == ["A"]
    assert Names("ctrl", None).parts("CD4+") == ["CD4+"]
    assert not Names("ctrl").is_control("")
    assert not Names(None).is_control("")


def test_doses_are_compared_with_tolerance():
    conditions = vocabulary(
        doses=(0.1, float(np.float32(0.7))), largest={"A": float(np.float32(0.7))}
    )
    assert not conditions.is_above("A", 0.7)
    assert conditions.is_above("A", 0.7001)
    np.testing.assert_array_equal(same_dose(np.float32([0.7, 0.1, 0]), 0.7), [True, False, False])
    assert same_dose(np.array([0.0, 1e-9]), 0.0).tolist() == [True, False]
    found = tidy_doses(np.array([0.3, 0.1 + 0.2, 1e-17, 0, 0.01]))
    assert found.tolist() == [0.3, 0.3, 0, 0, 0.01]
    tiny = np.array([1e-12, 1e-9, 1e-3, 0])  # in mole per litre
    np.testing.assert_array_equal(tidy_doses(tiny), tiny)


DAMAGE = {
    "tokens": np.full((3, 3), np.nan),
    "names": ["A"],
    "known": ["A", "Z"],
    "n_slots": 0,
    "doses": [np.nan, 1.0],
    "category_sizes": [9],
    "number_units": [[0.0, 0.0]],
    "largest_doses": ["x"],
}


@pytest.mark.parametrize("entry", [*DAMAGE, None])
def test_damaged_conditions(entry):
    stored = vocabulary(
        doses=(0.1, 1.0), largest={"A": 1.0}, categories={"s": ["f"]}, numbers={"age": (4.0, 1.0)}
    ).to_dict()
    if entry is not None:
        with pytest.raises(ValueError, match="the stored conditions are damaged"):
            Conditions.from_dict(stored | {entry: DAMAGE[entry]})
        stored.pop(entry)
        if entry in ("doses", "largest_doses"):  # of a fit without doses
            return
    with pytest.raises(ValueError, match="the stored conditions are damaged"):
        Conditions.from_dict({} if entry is None else stored)


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
        ValueError, match=r"`target='A\+B\+C'` combines 3 perturbations, but the fit has at most 2"
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
    # in units of the seen perturbations: mean (1, 1), standard deviation (1, 0, taken as 1)
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


@pytest.mark.medium
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
