"""A fit that chooses between solvers and learners on held-out cells."""

import time
import warnings
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scgenot as sg
from scgenot.cells.tasks import Screen
from scgenot.fit.choice.candidates import Candidate, names_of, share_of_steps, shortened
from scgenot.fit.choice.folds import folds_of
from scgenot.fit.chosen import Choice, paired_interval


class Moved:
    """A model that moves all cells along the second axis."""

    target_dim = 4

    def __init__(self, by: float):
        self.by = by

    def sample(self, cells, condition=None, *, n_samples=1, rng=0):
        out = np.repeat(np.asarray(cells, dtype=float)[:, None], n_samples, axis=1)
        out[..., 1] += self.by
        return out

    def to_arrays(self):
        return {"by": self.by}, {}

    @classmethod
    def from_arrays(cls, config, arrays):
        return cls(**config)


@dataclass(frozen=True)
class Moves:
    """A learner that knows the answer, right or wrong, at once."""

    by: float

    def __call__(self, links, run):
        return Moved(self.by)


GOOD, BAD = Moves(3), Moves(0.5)
FLOW = sg.model.FlowMatching(steps=150, width=32, depth=2, validation_fraction=0)
SHARP, BLUNT = sg.ot.Sinkhorn(epsilon=0.02), sg.ot.Sinkhorn(epsilon=10.0)
QUIET = {"progress": False, "predict": False, "use_rep": "X_pca"}
TABLE = ["candidate", "kind", "fold", "metric", "value"]


def screen(n: int = 90, shift: float = 3.0, types: int = 3) -> AnnData:
    """Cells of some types, far from each other, moved across the line through these."""
    rng = np.random.default_rng(0)
    kind = np.tile(np.arange(types), 2 * n)[: 2 * n]
    cells = rng.normal(size=(2 * n, 4))
    cells[:, 0] += 6 * kind
    treated = np.arange(2 * n) >= n
    cells[treated, 1] += shift
    obs = pd.DataFrame(
        {
            "drug": np.where(treated, "drug", "control"),
            "cell_type": pd.Categorical([f"T{k}" for k in kind]),
            "donor": [f"D{k}" for k in rng.integers(4, size=2 * n)],
            "one": "only",
            "number": rng.normal(size=2 * n),
        },
        index=[f"cell-{k}" for k in range(2 * n)],
    )
    return AnnData(cells.astype(np.float32), obs, obsm={"X_pca": cells.astype(np.float32)})


def course(times=(0, 1, 2, 3), n: int = 45) -> AnnData:
    rng = np.random.default_rng(0)
    time = np.repeat(times, n).astype(float)
    cells = rng.normal(size=(len(time), 4))
    cells[:, 1] += 3 * time
    obs = pd.DataFrame({"day": time}, index=[f"cell-{k}" for k in range(len(time))])
    return AnnData(cells.astype(np.float32), obs, obsm={"X_pca": cells.astype(np.float32)})


def fit(adata: AnnData, **options):
    if "day" in adata.obs:
        return sg.tl.fit_trajectory(adata, "day", **{**QUIET, **options})
    return sg.tl.fit_perturbation(adata, "drug", "control", **{**QUIET, **options})


def said(caught) -> list[str]:
    """Warnings of the choice."""
    words = ("candidates", "the baseline")
    return [str(one.message) for one in caught if any(w in str(one.message) for w in words)]


def learner_of(adata: AnnData) -> float:
    return sg.get.params(adata)["learner"]["by"]


@pytest.mark.medium
@pytest.mark.parametrize("learners", [[GOOD, BAD], [BAD, GOOD]])
def test_a_bad_learner_is_never_chosen(learners):
    adata = screen()
    fit(adata, learner=learners)
    assert learner_of(adata) == GOOD.by
    table = sg.get.choice(adata)
    own = table[table["kind"] == "candidate"]
    assert own["chosen"].tolist() == [one is GOOD for one in learners]
    assert own["candidate"].tolist() == [f"Moves(by={one.by:g})" for one in learners]
    assert own["difference"].iloc[0] == 0
    assert {"identity", "mean shift", "Gaussian map"} <= set(table["candidate"])
    assert not table.loc[table["kind"] == "baseline", "chosen"].any()


@pytest.mark.slow
@pytest.mark.parametrize("solvers", [[SHARP, BLUNT], [BLUNT, SHARP]])
def test_a_bad_coupling_is_never_chosen(solvers):
    adata = screen(150)
    fit(adata, solver=solvers, learner=FLOW, hold_out="cell_type")
    assert sg.get.params(adata)["solver"]["epsilon"] == SHARP.epsilon


@pytest.mark.medium
def test_near_equal_candidates_keep_the_first():
    for learners in ([GOOD, Moves(3.1)], [Moves(3.1), GOOD], [Moves(2.9), GOOD]):
        adata = screen()
        fit(adata, learner=learners)
        assert learner_of(adata) == learners[0].by
        assert sg.get.choice(adata)["chosen"].tolist().index(True) == 0


@pytest.mark.medium
def test_one_candidate_is_no_choice():
    one, several = screen(30), screen(30)
    fit(one, learner=FLOW)
    fit(several, learner=[FLOW], solver=[None])
    weights = [sg.get.model(adata).field.state_dict() for adata in (one, several)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert "choice" not in one.uns["genot"]
    with pytest.raises(KeyError, match="made with one candidate"):
        sg.get.choice(one)


@pytest.mark.slow
def test_the_winner_is_what_it_would_be_alone():
    alone, chosen = screen(60), screen(60)
    fit(alone, learner=FLOW, rng=3)
    fit(chosen, learner=[BAD, FLOW], rng=3)
    weights = [sg.get.model(adata).field.state_dict() for adata in (alone, chosen)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


@pytest.mark.medium
def test_the_same_seed_chooses_the_same():
    tables = []
    for seed in (5, 5, 6):
        adata = screen(60)
        fit(adata, learner=[GOOD, BAD], rng=seed)
        tables.append(sg.get.choice(adata, folds=True))
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


def test_a_trivial_answer_that_wins_is_told_once():
    adata = screen(shift=0)
    with pytest.warns(UserWarning, match="the baseline") as caught:
        fit(adata, learner=[GOOD, Moves(4)])
    told = said(caught)
    assert len(told) == 1
    assert told[0].startswith("On held-out cells, the baseline")
    assert "sg.pl.choice(adata, key='genot')" in told[0]


def test_a_fit_that_beats_trivial_answers_says_nothing():
    adata = screen()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(adata, learner=[GOOD, BAD])
    assert not said(caught)


@pytest.mark.medium
@pytest.mark.parametrize("hold_out", ["cells", "cell_type", "donor"])
def test_held_out_cells_and_columns(hold_out):
    adata = screen()
    fit(adata, learner=[GOOD, BAD], hold_out=hold_out)
    table = sg.get.choice(adata, folds=True)
    assert list(table) == TABLE
    assert set(table["kind"]) == {"candidate", "baseline"}
    assert set(table["fold"]) == {0, 1, 2}
    assert set(table["metric"]) == {"edistance", "edistance_biased", "mmd"}
    own = table[table["kind"] == "candidate"]
    assert len(own) == 2 * 3 * 3
    assert np.isfinite(own["value"]).all()


@pytest.mark.medium
def test_held_out_doses():
    adata = sg.datasets.screen(60, drugs=2, doses=(0.5, 1.0, 2.0), combinations=False)
    with pytest.warns(UserWarning, match="the baseline 'identity' is closer"):
        fit(adata, learner=[BAD, Moves(-9)], dose_key="dose", hold_out="dose")
    table = sg.get.choice(adata, folds=True)
    assert set(table["fold"]) == {0, 1, 2}
    assert learner_of(adata) == BAD.by
    assert {"dose below", "dose above"} & set(table["candidate"])


def folds(adata, hold_out, n_folds=3, **options):
    task = Screen("drug", "control", use_rep="X_pca", **options)
    return folds_of(task, adata, task.links(adata), hold_out, n_folds, 0)


def test_held_out_doses_are_predicted_from_control_cells_that_are_not_fitted():
    adata = sg.datasets.screen(60, drugs=2, doses=(0.5, 1.0, 2.0), combinations=False)
    control = np.flatnonzero(adata.obs["drug"] == "control")
    for fold in folds(adata, "dose", dose_key="dose"):
        asked = np.intersect1d(fold.scored, control)
        assert len(asked) == len(control) // 2
        np.testing.assert_array_equal(
            np.setdiff1d(control, asked), np.intersect1d(fold.fitted, control)
        )


def test_few_control_cells_of_a_stratum_are_both_fitted_and_asked():
    adata = sg.datasets.screen(60, drugs=2, doses=(0.5, 1.0, 2.0), combinations=False)
    control = np.flatnonzero(adata.obs["drug"] == "control")
    adata.obs["donor"] = "A"
    few = np.r_[control[:12], np.flatnonzero(adata.obs["drug"] != "control")[::3]]
    adata.obs.iloc[few, adata.obs.columns.get_loc("donor")] = "B"
    for fold in folds(adata, "dose", dose_key="dose", covariates=["donor"]):
        assert set(control[:12]) <= set(fold.scored) & set(fold.fitted)
        both = np.intersect1d(fold.scored, fold.fitted)
        np.testing.assert_array_equal(both, control[:12])


@pytest.mark.medium
def test_cells_of_a_course():
    adata = course()
    fit(adata, learner=[BAD, GOOD])
    assert learner_of(adata) == GOOD.by


def test_times_in_between_are_held_out():
    adata = course()
    with pytest.warns(UserWarning, match="the baseline 'Gaussian map' is closer"):
        fit(adata, learner=[BAD, Moves(3)], hold_out="day")
    table = sg.get.choice(adata)
    assert table["value"].iloc[1] < table["value"].iloc[0]
    assert {"time before", "mixture"} <= set(table["candidate"])
    assert sg.get.choice(adata, folds=True)["fold"].nunique() == 2


def test_auto_is_a_short_list():
    adata = screen(45)
    fit(adata, solver="auto", learner=GOOD)
    table = sg.get.choice(adata)
    own = table["candidate"][table["kind"] == "candidate"].tolist()
    assert own == ["Sinkhorn(epsilon=0.02)", "Sinkhorn(epsilon=0.005)"]


@pytest.mark.slow
def test_an_automatic_learner(monkeypatch):
    monkeypatch.setattr(sg.tasks.Screen, "learning", {"steps": 20, "source_noise": 0.3})
    adata = screen(45)
    fit(adata, solver=[SHARP, None], learner="auto")
    table = sg.get.choice(adata)
    own = table["candidate"][table["kind"] == "candidate"].tolist()
    assert own[:2] == [f"Sinkhorn, FlowMatching(source_noise={noise})" for noise in (0.3, 0)]
    assert own[2:] == [f"Sinkhorn #2, FlowMatching(source_noise={noise})" for noise in (0.3, 0)]


FALLBACKS = {
    "two times": (lambda: course((0, 1)), {"hold_out": "day"}, "0 of 2 values"),
    "three times": (lambda: course((0, 1, 2)), {"hold_out": "day"}, "1 of 3 values"),
    "one stratum": (lambda: screen(60, types=1), {"hold_out": "cell_type"}, "1 of 1 values"),
    "one value": (lambda: screen(60), {"hold_out": "one"}, "1 of 1 values"),
    "the perturbation": (lambda: screen(60), {"hold_out": "drug"}, "1 of 2 values"),
    "values of one cell": (lambda: screen(30), {"hold_out": "number"}, "0 of 60 values"),
    "few cells": (lambda: screen(6), {"n_folds": 8}, "no pair has 40 cells"),
}


@pytest.mark.parametrize("name", FALLBACKS)
def test_what_cannot_be_compared_falls_back_to_the_first(name):
    make, options, why = FALLBACKS[name]
    adata = make()
    with pytest.warns(UserWarning, match="could not be compared") as caught:
        fit(adata, learner=[BAD, GOOD], **options)
    told = said(caught)
    assert len(told) == 1
    assert why in told[0]
    assert told[0].endswith("was fitted.")
    assert "The first candidate, Moves(by=0.5), " in told[0]
    assert learner_of(adata) == BAD.by
    assert "choice" not in adata.uns["genot"]


def broken(pair):
    raise FloatingPointError("this solver never works")


def half_broken(pair):
    if len(pair.source) < 90:
        raise FloatingPointError("too few for this solver")
    return SHARP(pair)


def test_a_candidate_that_fails_is_left_out_and_told():
    adata = screen()
    with pytest.warns(UserWarning, match="1 of 2 candidates failed: broken .*never works") as got:
        fit(adata, solver=[broken, SHARP], learner=GOOD)
    assert len(said(got)) == 1
    table = sg.get.choice(adata)
    lost = table[table["candidate"] == "broken"].iloc[0]
    assert "never works" in lost["note"]
    assert not lost["chosen"]
    assert np.isnan(lost["value"])
    assert sg.get.params(adata)["solver"]["epsilon"] == SHARP.epsilon


def test_candidates_that_all_fail_in_folds_fit_the_first():
    adata = screen()
    with pytest.warns(UserWarning, match="all candidates failed on a fold"):
        fit(adata, solver=[half_broken, broken], learner=GOOD)
    assert sg.get.params(adata)["solver"] == "half_broken"


def test_a_failure_leaves_adata_as_it_was():
    adata = screen()
    before = adata.copy()
    with (
        pytest.warns(UserWarning, match="all candidates failed"),
        pytest.raises(FloatingPointError),
    ):
        fit(adata, solver=[broken, broken], learner=GOOD)
    assert set(adata.uns) == set(before.uns)
    assert set(adata.obsm) == set(before.obsm)
    assert adata.obs.equals(before.obs)


WRONG = [
    ({"solver": "sinkhorn"}, TypeError, "`solver='sinkhorn'`"),
    ({"learner": "best"}, TypeError, "`learner='best'`"),
    ({"solver": [SHARP, 3]}, TypeError, "`solver`"),
    ({"learner": []}, ValueError, r"`learner=\[\]` is empty"),
    ({"solver": [SHARP, BLUNT], "hold_out": "nothing"}, KeyError, "hold_out"),
    ({"n_folds": 1}, ValueError, "n_folds"),
    ({"n_folds": 2.5}, TypeError, "n_folds"),
]


@pytest.mark.parametrize(("options", "error", "words"), WRONG)
def test_wrong_options_are_refused_by_name(options, error, words):
    adata = screen(20)
    with pytest.raises(error, match=words):
        fit(adata, **{"learner": GOOD, **options})
    assert not adata.uns


def test_a_translation_refuses_several():
    adata, other = screen(30), screen(30)
    with pytest.raises(TypeError, match="`learner`"):
        sg.tl.fit_translation(adata, other, learner=[GOOD, BAD])
    task = sg.tasks.Translation(other, use_rep="X_pca", target_rep="X_pca")
    with pytest.raises(ValueError, match="`learner` has several candidates"):
        sg.tl.fit(adata, task, learner=[GOOD, BAD], progress=False)


@pytest.mark.medium
def test_a_copy_and_a_file(tmp_path):
    adata = screen()
    out = fit(adata, learner=[BAD, GOOD], copy=True)
    assert not adata.uns
    out.write_h5ad(tmp_path / "choice.h5ad")
    again = ad.read_h5ad(tmp_path / "choice.h5ad")
    for folds in (False, True):
        left, right = (sg.get.choice(one, folds=folds) for one in (out, again))
        pd.testing.assert_frame_equal(left, right, check_dtype=False)
    assert sg.pl.choice(again).get_title().startswith("Candidates")


def test_a_new_fit_forgets_the_choice():
    adata = screen()
    fit(adata, learner=[GOOD, BAD])
    fit(adata, learner=GOOD)
    assert "choice" not in adata.uns["genot"]


def test_predictions_follow_the_choice():
    adata = screen()
    fit(adata, learner=[BAD, GOOD], predict=True)
    assert np.isfinite(adata.obsm["X_genot"][:90]).all()


def test_couplings_are_shared_between_learners():
    calls = []

    def counted(pair):
        calls.append(len(pair.source))
        return SHARP(pair)

    fit(screen(), solver=[counted], learner=[GOOD, BAD, Moves(1)])
    assert len(calls) == 3 + 1


@pytest.mark.slow
def test_the_time_of_a_choice():
    noises, options = (0.3, 0.0, 0.1), {"steps": 900, "width": 32}
    learners = [sg.model.FlowMatching(source_noise=noise, **options) for noise in noises]
    fit(screen(20), learner=[GOOD, BAD])  # what is loaded or compiled is not of the choice
    start = time.process_time()
    fit(screen(), learner=learners[0])
    one = time.process_time() - start
    start = time.process_time()
    fit(screen(), learner=learners)
    assert time.process_time() - start < 3 * one


def test_short_trainings_together_have_few_steps():
    task = sg.tasks.TimeCourse("day")
    learners = [None, sg.model.FlowMatching(steps=600), sg.model.FlowMatching(steps=2), FLOW]
    candidates = [Candidate(str(k), 0, SHARP, one) for k, one in enumerate(learners)]
    share = share_of_steps(candidates, 3, task)
    few = [shortened(one, share, task) for one in learners]
    assert [one.steps for one in few[2:]] == [2, 100]
    assert 3 * sum(one.steps for one in few) <= 2 * 3000
    assert few[0].steps > few[1].steps >= 100
    assert shortened(broken, share, task) is broken


def test_names_tell_candidates_apart():
    assert names_of([SHARP, BLUNT, broken]) == [
        "Sinkhorn(epsilon=0.02)",
        "Sinkhorn(epsilon=10)",
        "broken",
    ]
    assert names_of([SHARP, sg.ot.Sinkhorn(epsilon=0.02, rng=1)]) == ["Sinkhorn", "Sinkhorn #2"]


def test_intervals_are_wider_than_those_of_independent_folds():
    low, high = paired_interval(np.array([1.0, 2.0, 3.0]))
    assert low + high == pytest.approx(4)
    assert high - low == pytest.approx(2 * 4.3027 * np.sqrt(1 / 3 + 1 / 2), rel=1e-3)


def test_the_default_is_left_beyond_the_interval_only():
    def scores(*values):
        return pd.DataFrame(
            [(name, "candidate", fold, metric, value) for name, *own in values
             for fold, value in enumerate(own) for metric in ("edistance", "edistance_biased")],
            columns=TABLE,
        )  # fmt: skip

    clear = scores(("a", 5, 5.1, 5.2), ("b", 1, 1.1, 1.3), ("c", 2, 2.1, 2.1))
    assert Choice.of(clear, ["a", "b", "c"], {}).chosen == "b"
    noisy = scores(("a", 5, 1, 3), ("b", 1, 2, 2), ("c", 6, 7, 8))
    assert Choice.of(noisy, ["a", "b", "c"], {}).chosen == "a"
    assert Choice.of(clear[clear["candidate"] != "a"], ["a", "b", "c"], {"a": "why"}).chosen == "b"
