"""A time course: which cells are linked, with which weights, and what the network is told."""

import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

from scgenot.cells.tasks import TimeCourse

DAYS = np.array([4, 0, 2, 0, 4, 2, 0, 7, 7, 2])  # unsorted, and steps unlike in length


def course(times=DAYS, **columns) -> AnnData:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"day": times, **columns})
    adata = AnnData(
        rng.poisson(2, (len(obs), 4)).astype(np.float32),
        obs=obs.set_axis([f"c{i}" for i in range(len(obs))]),
    )
    adata.obsm["X_pca"] = rng.normal(size=(len(obs), 3)).astype(np.float32)
    return adata


def links_of(adata, **options) -> list:
    return TimeCourse("day", **options).links(adata)


def steps(linked) -> list[tuple[float, float]]:
    return [(item.labels["source_time"], item.labels["target_time"]) for item in linked]


def test_consecutive_times_are_paired_whole_and_in_order():
    adata = course()
    linked = links_of(adata)
    assert steps(linked) == [(0, 2), (2, 4), (4, 7)]
    assert [item.pair.name for item in linked] == ["0 to 2", "2 to 4", "4 to 7"]
    for item in linked:
        for side in ("source", "target"):
            rows = np.flatnonzero(item.labels[f"{side}_time"] == DAYS)
            np.testing.assert_array_equal(getattr(item, f"{side}_rows"), rows)
            np.testing.assert_array_equal(getattr(item.pair, side), adata.obsm["X_pca"][rows])
            np.testing.assert_array_equal(getattr(item.pair, f"{side}_weights"), 1 / len(rows))
    # source time and step over the length of the course, 7 days
    expected = [[0, 2 / 7], [2 / 7, 2 / 7], [4 / 7, 3 / 7]]
    np.testing.assert_allclose([item.pair.condition for item in linked], expected, rtol=1e-15)


def test_the_condition_does_not_depend_on_where_time_begins():
    early, late = (
        links_of(course(times)) for times in (DAYS - 2.5, [f"E{8 + day}" for day in DAYS])
    )
    for one, other in zip(early, late, strict=True):
        np.testing.assert_allclose(one.pair.condition, other.pair.condition, rtol=1e-15)
    assert steps(early)[0] == (-2.5, -0.5)
    assert steps(late)[0] == (8, 10)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(0, 4)], [(0, 4)]),
        ([(2, 7), (0, 2)], [(2, 7), (0, 2)]),
        ([("day 0", "day 7"), ("2", 4.0)], [(0, 7), (2, 4)]),
        ([[0, 2], [0, 4], [0, 2]], [(0, 2), (0, 4)]),  # a pair counts once
        (np.array([[0, 2], [2, 4]]), [(0, 2), (2, 4)]),
    ],
)
def test_pairs_that_are_asked_for(pairs, expected):
    adata = course([f"day {day}" for day in DAYS])
    linked = links_of(adata, pairs=pairs)
    assert steps(linked) == expected
    for item, (earlier, later) in zip(linked, expected, strict=True):
        np.testing.assert_array_equal(item.target_rows, np.flatnonzero(later == DAYS))
        # over the length of the course that was sampled, not of the pairs
        np.testing.assert_allclose(item.pair.condition, [earlier / 7, (later - earlier) / 7])


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(2, 0)], r"must be \(earlier, later\) times; found \[\(2.0, 0.0\)\]"),
        ([(0, 2), (4, 4)], r"must be \(earlier, later\) times; found \[\(4.0, 4.0\)\]"),
        ([(0, 3)], r"`pairs=3` is not among the sampled times \['0', '2', '4', '7'\]"),
        ([(0, "adult")], "`pairs='adult'` is not among"),
        ([(0, 2, 4)], r"must be a list of \(earlier, later\) times; found \[\(0, 2, 4\)\]"),
        ((0, 2), r"must be a list of \(earlier, later\) times; found \[0, 2\]"),
        ([], r"must be a list of \(earlier, later\) times; found none"),
    ],
)
def test_unfit_pairs(pairs, message):
    with pytest.raises(ValueError, match=message):
        links_of(course(), pairs=pairs)


def test_one_time_is_no_course():
    with pytest.raises(ValueError, match=r"`time_key='day'` has the times \[3\] only in obs of"):
        links_of(course([3, 3, 3]))
    with pytest.raises(ValueError, match=r"`time_key='day'` has the times \[\] only"):
        links_of(course()[:0].copy())


def test_a_time_with_one_cell_can_be_passed_over():
    adata = course([0, 0, 1, 2, 2])
    with pytest.raises(
        ValueError, match=r"has a single cell at \[1.0\]: drop that time or choose `pairs`"
    ):
        links_of(adata)
    (item,) = links_of(adata, pairs=[(0, 2)])
    assert (item.source_rows.tolist(), item.target_rows.tolist()) == ([0, 1], [3, 4])


def test_weights_are_the_descendants_that_the_rates_promise():
    rates = np.array([0.5, 0.0, -0.3, 0.7, np.log(2), 0.1, -1.0, 9.0, 9.0, 0.0])
    adata = course(rate=rates)
    for item, step in zip(links_of(adata, growth_key="rate"), (2, 2, 3), strict=True):
        # by hand: 0 is one descendant, a negative rate fewer; log 2 over three days is eight
        descendants = np.exp(rates[item.source_rows] * step)
        np.testing.assert_allclose(
            item.pair.source_weights, descendants / descendants.sum(), rtol=1e-12
        )
        np.testing.assert_array_equal(item.pair.target_weights, 1 / len(item.target_rows))
    last = links_of(adata, growth_key="rate")[-1]
    assert last.source_rows.tolist() == [0, 4]
    np.testing.assert_allclose(
        last.pair.source_weights, np.array([np.exp(1.5), 8]) / (np.exp(1.5) + 8), rtol=1e-12
    )


def test_weights_of_any_rate_are_finite():
    rates = np.where(np.arange(10) % 2, 2000.0, -2000.0)  # exp of them is neither
    for item in links_of(course(rate=rates), growth_key="rate"):
        grows = rates[item.source_rows] > 0
        expected = np.where(grows, 1, 0) if grows.any() else np.ones(len(grows))
        np.testing.assert_allclose(item.pair.source_weights, expected / expected.sum())


@pytest.mark.parametrize("kind", ["int64", "float32", "bool", "Int64"])
def test_rates_of_any_kind_of_number(kind):
    rates = np.arange(10) % 2
    linked = links_of(course(rate=pd.array(rates, dtype=kind)), growth_key="rate")
    expected = links_of(course(rate=rates.astype(float)), growth_key="rate")
    for one, other in zip(linked, expected, strict=True):
        np.testing.assert_allclose(one.pair.source_weights, other.pair.source_weights)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (
            np.where(np.arange(10) < 2, np.nan, 0.1),
            "`growth_key='rate'` is missing or infinite in 2 cells",
        ),
        (
            np.where(np.arange(10) < 3, np.inf, 0.1),
            "`growth_key='rate'` is missing or infinite in 3 cells",
        ),
        (
            pd.array([None] + [1] * 9, dtype="Int64"),
            "`growth_key='rate'` is missing or infinite in 1 cells",
        ),
        (["fast"] * 10, "`growth_key='rate'` must be numbers; found"),
        (pd.Categorical(["1"] * 10), "`growth_key='rate'` must be numbers; found category"),
    ],
)
def test_unfit_rates(rates, message):
    with pytest.raises(ValueError, match=message):
        links_of(course(rate=rates), growth_key="rate")


def test_no_rates():
    with pytest.raises(
        KeyError,
        match=r"`growth_key='rate'` is not in obs; found \['day'\]. See `sg.tl.score_growth`",
    ):
        links_of(course(), growth_key="rate")


def test_pairs_are_within_strata_and_rates_relative_to_them():
    rng = np.random.default_rng(0)
    n = 300
    days, donors = rng.integers(3, size=n), rng.choice(["a", "b", "c"], size=n, p=[0.6, 0.35, 0.05])
    adata = course(days, donor=donors, rate=rng.normal(size=n))
    with pytest.warns(UserWarning, match="left out: 0 to 1 of c .*; 1 to 2 of c"):
        linked = links_of(adata, covariates=["donor"], growth_key="rate")
    assert [(item.labels["source_time"], item.stratum["donor"]) for item in linked] == [
        (day, donor) for day in (0, 1) for donor in ("a", "b")
    ]
    assert [item.pair.name for item in linked][:2] == ["0 to 1, a", "0 to 1, b"]
    for item in linked:
        for rows in (item.source_rows, item.target_rows):
            assert set(donors[rows]) == {item.stratum["donor"]}
        descendants = np.exp(adata.obs["rate"].to_numpy()[item.source_rows])
        np.testing.assert_allclose(
            item.pair.source_weights, descendants / descendants.sum(), rtol=1e-12
        )
    # the network is not told
    assert np.array_equal(linked[0].pair.condition, linked[1].pair.condition)


def test_any_representation_will_do():
    adata = course()
    adata.layers["raw"] = adata.X + 1
    dense = links_of(adata, use_rep="X")[1]
    np.testing.assert_array_equal(dense.pair.source, adata.X[DAYS == 2])
    adata.X = sparse.csr_matrix(adata.X)
    sparse_link = links_of(adata, use_rep="X")[1]
    layer_link = links_of(adata, layer="raw")[1]
    np.testing.assert_array_equal(sparse_link.pair.source, dense.pair.source)
    np.testing.assert_array_equal(layer_link.pair.source, dense.pair.source + 1)


def test_a_view_is_read_as_its_copy():
    view = course()[[0, 1, 3, 4, 6]]
    for one, other in zip(links_of(view), links_of(view.copy()), strict=True):
        np.testing.assert_array_equal(one.pair.source, other.pair.source)
        np.testing.assert_array_equal(one.target_rows, other.target_rows)
    assert view.is_view


def test_names_must_be_unique():
    adata = course()
    adata.obs_names = ["c"] * 10
    with pytest.raises(ValueError, match="obs names of `adata` are not unique: call"):
        links_of(adata)


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ([True, False], {True, False}),
        ([1, 2], {1, 2}),
        ([1.0, 0.5], {1.0, 0.5}),
        (["pooled", "0.5"], {"pooled", "0.5"}),
        (["a | b", "a"], {"a | b", "a"}),
    ],
)
def test_a_stratum_has_the_value_of_its_column(labels, values):
    adata = course(np.repeat([0, 1], 40), donor=np.tile(labels, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        linked = links_of(adata, covariates=["donor"])
    assert {item.stratum["donor"] for item in linked} == values
    for item in linked:
        for rows in (item.source_rows, item.target_rows):
            assert (adata.obs["donor"].iloc[rows] == item.stratum["donor"]).all()
    assert sum(len(item.source_rows) for item in linked) == 40


def test_strata_that_are_few_are_pooled_with_one_warning_at_the_line_of_the_caller():
    # too few of donor a in batch 2, and of donor c
    donor, batch = (np.repeat(list(labels), [20, 8, 20, 8]) for labels in ("aabc", "1211"))
    adata = course(np.repeat([0, 1], 56), donor=np.tile(donor, 2), batch=np.tile(batch, 2))
    with pytest.warns(UserWarning, match=r"pooled, .* of the cells: 0 to 1 of ") as record:
        linked = links_of(adata, covariates=["donor", "batch"])
    assert [warning.filename for warning in record] == [__file__]
    covered = np.sort(np.concatenate([item.source_rows for item in linked]))
    np.testing.assert_array_equal(covered, np.flatnonzero(adata.obs["day"] == 0))
    for item in linked:
        for column, value in item.stratum.items():
            for rows in (item.source_rows, item.target_rows):
                assert (adata.obs[column].iloc[rows] == value).all()


def fitted_task(times=DAYS, **options) -> TimeCourse:
    task = TimeCourse("day", **options)
    task.links(course(times))
    return task


def test_each_cell_is_asked_for_its_next_time():
    question = fitted_task().ask(course())
    np.testing.assert_array_equal(question.rows, np.flatnonzero(DAYS < 7))
    told = {0: [0, 2 / 7], 2: [2 / 7, 2 / 7], 4: [4 / 7, 3 / 7]}
    expected = [told[day] for day in DAYS[question.rows]]
    np.testing.assert_allclose(question.condition, expected, rtol=1e-15)
    later = {0: 2, 2: 4, 4: 7}
    reached = [later[day] for day in DAYS[question.rows]]
    np.testing.assert_array_equal(question.answer["day"], reached)


def test_the_nearest_of_several_steps_counts_unless_another_is_asked_for():
    task = fitted_task(pairs=[(0, 7), (2, 4), (0, 2)])
    first = np.flatnonzero(DAYS == 0)
    question = task.ask(course())
    assert set(np.asarray(question.answer["day"])[np.isin(question.rows, first)]) == {2}
    for target in (7, 7.0, "7"):
        question = task.ask(course(), target)
        np.testing.assert_array_equal(question.rows, first)
        np.testing.assert_array_equal(question.condition, [[0, 1]] * len(first))


@pytest.mark.medium
@pytest.mark.parametrize(
    "column",
    [
        DAYS,
        DAYS / 2,
        pd.array(DAYS, dtype="Int64"),
        pd.Categorical(DAYS),
        pd.Categorical(DAYS.astype(float)),
        [f"E{day}.5" for day in DAYS],
        pd.array([f"{day} h" for day in DAYS], dtype="string"),
        pd.Categorical([f"d{day}" for day in DAYS]),
    ],
)
def test_an_answer_is_a_value_of_the_column_after_a_file_too(column, tmp_path):
    task, adata = fitted_task(column), course(column)
    kept = {name: value for name, value in task.to_dict().items() if value is not None}
    AnnData(uns={"task": kept}).write_h5ad(tmp_path / "task.h5ad")
    again = TimeCourse.from_dict(read_h5ad(tmp_path / "task.h5ad").uns["task"])
    for one in (task, again):
        question = one.ask(adata)
        values = set(adata.obs["day"].tolist())
        assert set(question.answer["day"]) <= values
        np.testing.assert_array_equal(question.condition, task.ask(adata).condition)
    assert again.steps == task.steps


def test_what_cannot_be_asked():
    task = fitted_task()
    with pytest.raises(ValueError, match="has no doses"):
        task.ask(course(), dose=0.0)
    with pytest.raises(ValueError, match=r"`target=3` is not among the sampled times"):
        task.ask(course(), 3)
    with pytest.raises(ValueError, match=r"source time of a fitted step to 0: .*cells are at \["):
        task.ask(course(), 0)
    with pytest.raises(KeyError, match=r"'day'.* is not in obs"):
        task.ask(AnnData(obs=course().obs.drop(columns="day")))


def test_cells_at_no_time_of_the_fit_are_not_asked():
    adata = course()
    adata.obs["day"] = adata.obs["day"].astype(float)
    adata.obs.iloc[1, 0], adata.obs.iloc[3, 0] = np.nan, 1.0
    question = fitted_task().ask(adata)
    np.testing.assert_array_equal(question.rows, np.setdiff1d(np.flatnonzero(DAYS < 7), [1, 3]))
