"""Every object of `docs/extending.md` goes through predict, evaluate, coupling, a file and back."""

import re
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

import scgenot as sg
from scgenot.fit import storage, stored_model

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
KEYS = ("manhattan", "one_update", "independent", "shift", "small", "bounded", "batch")
# how each is read in a session that has not fitted it
OWN = {
    "shift": {"model": "Shift"},
    "small": {"field": "Small"},
    "bounded": {"encoder": "Bounded"},
    "batch": {"task": "BatchToBatch"},
}


@pytest.fixture(scope="module")
def names():
    """What the code of the page leaves, with few steps of training."""
    made = sg.model.FlowMatching.__init__
    defaults = made.__defaults__
    made.__defaults__ = (20, *defaults[1:])
    found = {}
    try:
        for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S):
            exec(block, found)
    finally:
        made.__defaults__ = defaults
    return found


@pytest.fixture
def held_out(names):
    adata = sg.datasets.branching(60, rng=1)
    adata.obs_names = [f"new {name}" for name in adata.obs_names]
    adata.obs["batch"] = np.where(adata.obs["fate_A"] > 0.5, "A", "B")
    return adata


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.slow
def test_an_object_of_ones_own_goes_all_the_way(names, held_out, key, tmp_path, monkeypatch):
    adata = names["cells"].copy()
    sg.tl.predict(adata, key=key)
    expected = adata.obsm[f"X_{key}"]
    assert np.isfinite(expected).all(1).sum() in (120, (adata.obs["batch"] == "A").sum())
    table = sg.tl.evaluate(adata, held_out, key=key, n_resamples=2)
    assert np.isfinite(table.loc[table["method"] == "GENOT", "edistance"]).all()
    if key == "independent":
        with pytest.raises(sg.ot.UnsupportedPlan, match="Independent offers `sample_pairs` only"):
            sg.tl.coupling(adata, key=key)
    else:
        sg.tl.coupling(adata, key=key)
        n_steps = 1 if key == "batch" else 2
        assert adata.obsp[f"{key}_coupling"].sum() == pytest.approx(n_steps, abs=0.02)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    monkeypatch.setattr(stored_model, "OWN", {})
    monkeypatch.setattr(storage, "OWN", stored_model.OWN)  # another session
    own = {name: names[value] for name, value in OWN.get(key, {}).items()}
    if own:
        with pytest.raises(ValueError, match=next(iter(OWN[key].values()))):
            sg.tl.predict(again, key=key)
    fit = sg.get.fit(again, key, **own)
    sg.tl.predict(again, key=key, model=fit)
    np.testing.assert_array_equal(again.obsm[f"X_{key}"], expected)
    evaluated = sg.tl.evaluate(again, held_out, key=key, model=fit, n_resamples=2)
    assert evaluated["edistance"].tolist() == pytest.approx(
        table["edistance"].tolist(), nan_ok=True
    )


class NoAsk:
    def links(self, adata):
        return []


class NoLinks(NoAsk):
    def ask(self, adata, target=None, *, dose=None):
        return None


class Short(NoLinks):
    def links(self, adata):
        cells = adata.obsm["X_pca"]
        return [sg.Link(sg.Pair(cells, cells), np.arange(3), np.arange(len(cells)))]


class Answers(Short):
    def links(self, adata):
        rows, cells = np.arange(adata.n_obs), adata.obsm["X_pca"]
        return [sg.Link(sg.Pair(cells, cells), rows, rows)]


def no_plan(pair):
    return "plan"


def no_model(links, run):
    return "model"


class Flat:
    def sample(self, source, condition=None, *, n_samples=1, rng=0):
        return source

    def to_arrays(self):
        return {}, {}


FEW = sg.model.FlowMatching(steps=2, validation_fraction=0.0)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (NoAsk(), {}, "an object with `links` and `ask`; found"),
        (
            NoLinks(),
            {},
            "`links` of the task 'NoLinks' must return a list of `sg.Link`; found none",
        ),
        (Short(), {}, "`source_rows` of the link.*'Short'.*60 cells.*found 3 rows"),
        (Answers(), {"learner": FEW}, "`ask` of the task 'Answers' must return a `sg.Question`"),
        (Answers(), {"solver": no_plan}, "`solver=no_plan` must return a plan.*found str"),
        (Answers(), {"solver": 3}, "`solver=3`"),
        (Answers(), {"learner": no_model}, "must return a model with `sample`.*str lacks"),
        (Answers(), {"learner": 3}, "`learner=3`"),
        (sg.tasks.TimeCourse("time"), {"learner": lambda links, run: Flat()}, "draws of shape"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_an_object_lacks_is_said_and_nothing_is_changed(task, options, message):
    adata = sg.datasets.branching(20)
    before = adata.copy()
    with pytest.raises((TypeError, ValueError), match=message):
        sg.tl.fit(adata, task, progress=False, **options)
    assert list(adata.uns) == list(before.uns)
    assert list(adata.obs) == list(before.obs)
    assert list(adata.obsm) == list(before.obsm)


@pytest.mark.slow
def test_parts_that_were_passed_once_are_found_from_then_on(names, held_out, monkeypatch):
    adata = names["cells"].copy()
    monkeypatch.setattr(stored_model, "OWN", {})
    monkeypatch.setattr(storage, "OWN", stored_model.OWN)
    for key, own in OWN.items():
        with pytest.raises(ValueError, match=rf"read it once with `sg\.get\.fit\(adata, '{key}', "):
            sg.tl.predict(adata, key=key)
        if key != "batch":
            sg.tl.coupling(adata, key=key)  # needs no model
        sg.get.fit(adata, key, **{part: names[name] for part, name in own.items()})
        sg.tl.predict(adata, key=key)
        sg.tl.evaluate(adata, held_out, key=key, n_resamples=2)


@pytest.mark.medium
def test_an_object_that_is_no_task_is_told_what_it_lacks(names):
    with pytest.raises(TypeError, match="`task` must be an object with `links` and `ask`"):
        sg.tl.fit(names["cells"], object())
