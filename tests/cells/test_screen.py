"""A screen into pairs: which cells, under which condition, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scgenot.cells.tasks import Screen
from scgenot.cells.tasks.conditions import Conditions


def screen(drugs, **columns) -> AnnData:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"drug": drugs, **columns})
    adata = AnnData(
        rng.poisson(2, (len(obs), 4)).astype(np.float32),
        obs=obs.set_axis([f"c{i}" for i in range(len(obs))]),
    )
    adata.obsm["X_pca"] = rng.normal(size=(len(obs), 3)).astype(np.float32)
    return adata


def links_of(adata, perturbation_key="drug", control="ctrl", **options) -> tuple[list, Conditions]:
    """The links of a screen, and the vocabulary that it made of them."""
    task = Screen(perturbation_key, control, **options)
    links = task.links(adata)
    return links, task.conditions


def found(links) -> list[tuple]:
    """Labels of each link and the values of its stratum."""
    return [(*link.labels.values(), *link.stratum.values()) for link in links]


DRUGS = ["B", "ctrl", "A", "ctrl", "A", "B", "B", "ctrl"]


def test_control_is_paired_with_each_perturbation():
    adata = screen(DRUGS)
    links, conditions = links_of(adata, "drug", "ctrl")
    assert found(links) == [("A",), ("B",)]
    assert [item.pair.name for item in links] == ["A", "B"]
    for item, target in zip(links, ([2, 4], [0, 5, 6]), strict=True):
        assert item.source_rows.tolist() == [1, 3, 7]
        assert item.target_rows.tolist() == target
        np.testing.assert_array_equal(item.pair.source, adata.obsm["X_pca"][[1, 3, 7]])
        np.testing.assert_array_equal(item.pair.target, adata.obsm["X_pca"][target])
    np.testing.assert_array_equal([item.pair.condition for item in links], [[1, 1, 0], [1, 0, 1]])
    assert (conditions.known, conditions.n_slots, conditions.control) == (["A", "B"], 1, "ctrl")
    # control cells are held once, however many perturbations there are
    assert links[0].pair.source is links[1].pair.source


def test_doses_are_conditions_and_the_control_is_one_at_dose_0():
    doses = [10, 0, 1, np.nan, 1, 1, 10, 0]  # cells that are called control need no dose
    drugs = [
        "B",
        "ctrl",
        "A",
        "ctrl",
        "A",
        "B",
        "B",
        "A",
    ]  # and cells of dose 0 are control, whatever they are called
    adata = screen([*drugs, "B"], dose=[*doses, 1])
    links, conditions = links_of(adata, "drug", "ctrl", dose_key="dose")
    assert found(links) == [("A", 1), ("B", 1), ("B", 10), ("ctrl", 0)]
    assert [item.target_rows.tolist() for item in links] == [[2, 4], [5, 8], [0, 6], [1, 3, 7]]
    assert all(item.source_rows.tolist() == [1, 3, 7] for item in links)
    assert conditions.doses == (1, 10)
    low = np.log1p(1 / 0.1) / np.log1p(10 / 0.1)  # the unit of dose is a tenth of the smallest
    expected = [[low, 1, 0], [low, 0, 1], [1, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose([item.pair.condition for item in links], expected)


def test_dose_0_alone_may_be_control():
    adata = screen(["A", "A", "A", "A", "B", "B"], dose=[0, 0, 1, 1, 3, 3])
    links, conditions = links_of(adata, "drug", None, dose_key="dose")
    assert found(links) == [("A", 1), ("B", 3), ("control", 0)]
    assert conditions.control is None
    assert [item.source_rows.tolist() for item in links] == [[0, 1]] * 3
    np.testing.assert_array_equal(links[-1].pair.condition, [0, 0, 0])


def test_a_combination_is_one_condition_however_it_is_written():
    names = ["ctrl", "B+A", "A+B", "ctrl+A", "A", "A + ctrl", "ctrl", "ctrl+ctrl", "B", "B"]
    links, conditions = links_of(screen(names), "drug", "ctrl")
    assert [item.target_rows.tolist() for item in links] == [[3, 4, 5], [1, 2], [8, 9]]
    assert [item.pair.name for item in links] == ["A", "A+B", "B"]
    assert all(item.source_rows.tolist() == [0, 6, 7] for item in links)
    assert (conditions.known, conditions.n_slots) == (["A", "B"], 2)
    np.testing.assert_array_equal(links[1].pair.condition, [1, 1, 0, 1, 0, 1])
    whole, conditions = links_of(
        screen(["ctrl", "ctrl", "A+B", "A+B", "B+A", "B+A"]), "drug", "ctrl", separator=None
    )
    assert [item.pair.name for item in whole] == ["A+B", "B+A"]
    assert conditions.n_slots == 1


@pytest.mark.parametrize(
    ("names", "control", "expected"),
    [
        ([0, 1, 2, 0, 1, 2], 0, ["1", "2"]),
        (pd.Categorical([0, 1, 2, 0, 1, 2]), 0, ["1", "2"]),
        (["DMSO/水", "α/β", "x", "DMSO/水", "α/β", "x"], "DMSO/水", ["x", "α/β"]),
        ([True, False, True, False], False, ["True"]),
    ],
)
def test_names_of_any_kind(names, control, expected):
    adata = screen(names)
    links, conditions = links_of(adata, "drug", control)
    assert conditions.known == expected
    assert [item.labels["perturbation"] for item in links] == expected
    assert conditions.control == str(control)
    np.testing.assert_array_equal(conditions.encode(control), np.zeros(conditions.size))
    np.testing.assert_array_equal(conditions.encode(expected[0]), links[0].pair.condition)


def test_what_is_left_out_is_unknown(caplog):
    adata = screen([*DRUGS, "C", "A"], dose=[1, 0, 1, 0, 1, 1, 1, 0, 1, 100])
    with pytest.warns(UserWarning, match="under 10 cells") as record:
        _, conditions = links_of(adata, "drug", "ctrl", dose_key="dose")
    assert len(record) == 1
    assert str(record[0].message).endswith("left out: A 100 (1 cell); C 1 (1 cell).")
    assert caplog.messages == [
        "under 10 cells on a side, which is few for a coupling: A 1 (3 and 2), B 1 (3 and 3)."
    ]
    assert conditions.known == ["A", "B"]
    assert conditions.doses == (1, 1)
    with pytest.raises(KeyError, match=r"known are \['A', 'B'\]"):
        conditions.encode("C")


def large(n=400, **columns) -> AnnData:
    rng = np.random.default_rng(1)
    return screen(
        rng.choice(["ctrl", "A", "B"], size=n),
        donor=rng.choice(["d1", "d2", "d3"], size=n, p=[0.5, 0.42, 0.08]),
        sex=pd.Categorical(rng.choice(["f", "m"], size=n)),
        hours=rng.choice([6, 24], size=n),
        **columns,
    )


def test_pairs_are_within_strata_and_the_network_is_told_of_some():
    adata = large()
    links, conditions = links_of(
        adata, "drug", "ctrl", covariates=["sex"], network_covariates=["hours", "sex"]
    )
    assert len(links) == 2 * 4
    hours = adata.obs["hours"]
    assert conditions.numbers == {"hours": (hours.mean(), hours.std(ddof=0))}
    assert conditions.categories == {"sex": ["f", "m"]}
    for item in links:
        cells = adata.obs.iloc[np.r_[item.source_rows, item.target_rows]]
        ((sex, time),) = {(row.sex, row.hours) for row in cells.itertuples()}
        assert item.stratum == {"sex": sex, "hours": time}
        expected = [(time - hours.mean()) / hours.std(ddof=0), sex == "f", sex == "m"]
        np.testing.assert_allclose(item.pair.condition[-3:], expected)
    for target in (0, 4):  # every control cell once a perturbation
        rows = np.concatenate([item.source_rows for item in links[target : target + 4]])
        assert sorted(rows) == np.flatnonzero(adata.obs["drug"] == "ctrl").tolist()


def groups_of(**sizes) -> AnnData:
    """A screen of so many cells of each drug and donor, named "drug_donor"."""
    labels = [name.split("_") for name, size in sizes.items() for _ in range(size)]
    return screen([drug for drug, _ in labels], donor=[donor for _, donor in labels])


def test_control_of_a_donor_that_was_not_treated_is_in_no_pair():
    adata = groups_of(ctrl_d1=20, ctrl_d2=20, ctrl_d3=5, A_d1=20, A_d3=20, B_d2=20)
    with pytest.warns(UserWarning, match="left out") as record:
        links, _ = links_of(adata, "drug", "ctrl", covariates=["donor"])
    assert [
        (*one, len(item.source_rows)) for one, item in zip(found(links), links, strict=True)
    ] == [
        ("A", "d1", 20),
        ("B", "d2", 20),
    ]
    # the cells of d3 are lost, which is said; that d2 did not get A is not
    assert str(record[0].message).endswith("left out: A of d3 (5 and 20 cells).")


def test_treated_cells_of_a_donor_without_control_are_paired_with_all_control_cells():
    adata = groups_of(ctrl_d1=20, ctrl_d2=20, A_d3=20)
    with pytest.warns(UserWarning, match="pooled, 100% of the cells: A of d1, d2, d3"):
        ((item,), _) = links_of(adata, "drug", "ctrl", covariates=["donor"])
    assert (item.stratum, len(item.source_rows), len(item.target_rows)) == ({}, 40, 20)


def test_of_a_pooled_stratum_no_donor_is_told():
    adata = large()
    few = ((adata.obs["donor"] == "d2") & (adata.obs["drug"] == "A")).to_numpy().nonzero()[0][5:]
    adata = adata[np.setdiff1d(np.arange(adata.n_obs), few)].copy()  # 5 cells of d2 under A
    adata.obs["age"] = adata.obs["donor"].map({"d1": 30, "d2": 40, "d3": 60})
    with pytest.warns(UserWarning, match="pooled"):
        links, conditions = links_of(adata, "drug", "ctrl", network_covariates=["donor", "age"])
    pooled = [item for item in links if item.stratum == {}]
    assert [item.labels["perturbation"] for item in pooled] == ["A"]
    assert conditions.categories == {"donor": ["d1", "d2", "d3"]}
    cells = adata.obs.iloc[np.r_[pooled[0].source_rows, pooled[0].target_rows]]
    assert set(cells["donor"]) == {"d2", "d3"}
    mean, std = conditions.numbers["age"]
    expected = [(cells["age"].mean() - mean) / std, 0, 0, 0]
    np.testing.assert_allclose(pooled[0].pair.condition[-4:], expected)
    for item in links:
        if item is not pooled[0]:
            assert item.pair.condition[-3:].sum() == 1


def test_how_many_cells_were_pooled_is_said():
    adata = groups_of(ctrl_d1=20, ctrl_d2=8, ctrl_d3=8, A_d1=20, A_d2=12, A_d3=12)
    with pytest.warns(UserWarning, match="pooled, 50% of the cells: A of d2, d3") as record:
        links_of(adata, "drug", "ctrl", covariates=["donor"])
    assert len(record) == 1


def test_one_small_perturbation_does_not_stop_a_screen():
    adata = groups_of(ctrl_d1=20, ctrl_d2=20, A_d1=20, A_d2=20, B_d1=3, B_d2=3)
    with pytest.warns(UserWarning, match=r"left out: B of d1, d2 \(40 and 6 cells\)") as record:
        links, conditions = links_of(adata, "drug", "ctrl", covariates=["donor"])
    assert len(record) == 1
    assert found(links) == [("A", "d1"), ("A", "d2")]
    assert conditions.known == ["A"]


def test_an_embedding_gives_the_tokens():
    table = pd.DataFrame({"x": [0.0, 2.0, 9.0]}, index=["A", "B", "new"])
    links, conditions = links_of(screen(DRUGS), "drug", "ctrl", embedding=table)
    np.testing.assert_allclose([item.pair.condition for item in links], [[1, -1], [1, 1]])
    np.testing.assert_allclose(conditions.encode("new"), [1, 8])
    assert conditions.known == ["A", "B"]
    with pytest.raises(ValueError, match=r"`embedding` has no row for \['B'\]"):
        links_of(screen(DRUGS), "drug", "ctrl", embedding=table.drop(index="B"))


def test_any_representation_will_do():
    adata = screen(DRUGS)
    adata.layers["raw"] = adata.X + 1
    dense = links_of(adata, "drug", "ctrl", use_rep="X")[0][0].pair
    np.testing.assert_array_equal(dense.target, adata.X[[2, 4]])
    adata.X = sparse.csr_matrix(adata.X)
    np.testing.assert_array_equal(
        links_of(adata, "drug", "ctrl", use_rep="X")[0][0].pair.target, dense.target
    )
    np.testing.assert_array_equal(
        links_of(adata, "drug", "ctrl", layer="raw")[0][0].pair.target, dense.target + 1
    )
    view = adata[[1, 2, 3, 4]]
    ((item,), _) = links_of(view, "drug", "ctrl")
    np.testing.assert_array_equal(item.pair.source, adata.obsm["X_pca"][[1, 3]])
    assert view.is_view


DOSES = [1.0, 0, 1, 0, 1, 1, 1, 0]


def test_the_largest_dose_is_that_of_the_perturbation():
    drugs = ["ctrl", "ctrl", "A", "A", "A", "A", "B", "B", "B+A", "A+B"]
    adata = screen(drugs, dose=[0, 0, 0.01, 0.01, 0.001, 0.001, 1000, 1000, 5, 5])
    _, conditions = links_of(adata, "drug", "ctrl", dose_key="dose")
    for known in (conditions, Conditions.from_dict(conditions.to_dict())):
        assert [known.largest_dose(name) for name in ("A", "B", "A+B", "B + A", "ctrl")] == [
            0.01,
            1000,
            5,
            5,
            0,
        ]
    older = {
        key: value for key, value in conditions.to_dict().items() if not key.startswith("largest")
    }
    assert Conditions.from_dict(older).largest_dose("A") == 1000


@pytest.mark.parametrize(("n_cells", "expected"), [(40, 500), (400, 600), (2000, 1500)])
def test_few_cells_are_learned_with_few_steps(n_cells, expected):
    task = Screen("drug", "ctrl", use_rep="X")
    task.links(screen(["ctrl", "A"] * (n_cells // 2)))
    assert task.n_cells == n_cells
    assert task.learning["steps"] == expected


def test_cells_that_are_left_out_of_the_fit_do_not_count():
    few = ["x"] * 100 + ["y"] * 2
    task = Screen("drug", "ctrl", use_rep="X", covariates=["donor"])
    with pytest.warns(UserWarning, match="were left out"):
        task.links(screen(["ctrl", "A"] * 50 + ["A", "B"], donor=few))
    assert task.n_cells == 100


def spoiled(**changes) -> AnnData:
    return screen(**({"drugs": DRUGS, "dose": DOSES} | changes))


@pytest.mark.parametrize(
    ("adata", "options", "error", "message"),
    [
        (
            spoiled(),
            {"control": "DMSO"},
            ValueError,
            r"`control='DMSO'` is not in obs\['drug'\]; found \['A', 'B', 'ctrl'\]",
        ),
        (
            spoiled(dose=[1.0] * 8),
            {"control": None, "dose_key": "dose"},
            ValueError,
            r"`control=None` is not in obs\['drug'\], nor has any cell dose 0 in obs\['dose'\]",
        ),
        (
            spoiled(drugs=["ctrl"] * 8),
            {},
            ValueError,
            "`perturbation_key='drug'` has control cells only",
        ),
        (spoiled(dose=[0] * 8), {"dose_key": "dose"}, ValueError, "has control cells only"),
        (
            spoiled(drugs=[*DRUGS[:7], None]),
            {},
            ValueError,
            "`perturbation_key='drug'` is missing in 1 cells",
        ),
        (
            spoiled(drugs=[*list("ABCDE"), *["ctrl"] * 3]),
            {},
            ValueError,
            "No perturbation has 2 cells",
        ),
        (
            spoiled(drugs=["" if d == "A" else d for d in DRUGS]),
            {},
            ValueError,
            "perturbation without a name",
        ),
        (
            spoiled(dose=[1, 2, 1, 0, 1, 1, 1, 0]),
            {"dose_key": "dose"},
            ValueError,
            "is above 0 in 1 control cells",
        ),
        (
            spoiled(dose=[-1, *DOSES[1:]]),
            {"dose_key": "dose"},
            ValueError,
            "missing, negative or infinite in 1 treated",
        ),
        (
            spoiled(dose=[np.nan, *DOSES[1:]]),
            {"dose_key": "dose"},
            ValueError,
            "missing, negative or infinite in 1 treated",
        ),
        (
            spoiled(dose=[np.inf, *DOSES[1:]]),
            {"dose_key": "dose"},
            ValueError,
            "missing, negative or infinite in 1 treated",
        ),
        (
            spoiled(dose=["high"] * 8),
            {"dose_key": "dose"},
            ValueError,
            "`dose_key='dose'` must be numbers",
        ),
        (
            spoiled(),
            {"dose_key": "mg"},
            KeyError,
            r"`dose_key='mg'` is not in obs; found \['drug', 'dose'\]",
        ),
        (spoiled(), {"perturbation_key": "mg"}, KeyError, "`perturbation_key='mg'` is not in obs"),
        (
            spoiled(),
            {"covariates": "drug"},
            TypeError,
            r"`covariates='drug'` is text: .* \['drug'\]",
        ),
        (
            spoiled(),
            {"network_covariates": "dose"},
            TypeError,
            r"`network_covariates='dose'` is text",
        ),
        (
            spoiled(),
            {"network_covariates": ["sex"]},
            KeyError,
            "`network_covariates` names 'sex', which is not in obs",
        ),
        (
            spoiled(donor=["d", None] * 4),
            {"network_covariates": ["donor"]},
            ValueError,
            "`network_.* in 4 of 8 cells",
        ),
        (
            spoiled(donor=["d", "e"] * 4),
            {"covariates": ["donor"]},
            ValueError,
            "no stratum of `covariates` has 10",
        ),
        (
            spoiled(),
            {"embedding": pd.DataFrame(index=["A", "B"])},
            ValueError,
            "`embedding` has no columns",
        ),
        (spoiled(), {"use_rep": "X_umap"}, KeyError, "use_rep='X_umap'"),
    ],
)
def test_unfit_screens(adata, options, error, message):
    options = {"perturbation_key": "drug", "control": "ctrl"} | options
    with pytest.raises(error, match=message):
        links_of(adata, **options)


def test_names_of_cells_must_be_unique():
    adata = screen(DRUGS)
    adata.obs_names = ["c"] * 8
    with pytest.raises(ValueError, match="obs names of `adata` are not unique"):
        links_of(adata, "drug", "ctrl")
