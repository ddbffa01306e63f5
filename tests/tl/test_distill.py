"""Distilled samplers through the verbs."""

import logging
import warnings
from importlib import import_module

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scgenot as sg

QUICK = {"progress": False, "learner": sg.model.FlowMatching(steps=30, width=16, depth=1)}
ODE = sg.flow.ODE("midpoint", steps=6)
# a flow that has hardly been trained is soon distilled
FEW = {"training_steps": 100, "steps": 6, "progress": False}


@pytest.fixture
def screen():
    adata = sg.datasets.screen(60, drugs=2, combinations=False, rng=0)
    sg.tl.fit_perturbation(adata, "drug", "control", predict=False, **QUICK)
    return adata


def as_table(values):
    return pd.DataFrame(values).add_prefix("PC")


def drawn(adata, target="D1", **options):
    sg.tl.predict(adata, target, progress=False, **options)
    return adata.obsm["X_genot"].copy()


@pytest.mark.medium
def test_predict_and_simulate_draw_with_it_and_say_so(screen, caplog, tmp_path):
    before = drawn(screen)
    assert sg.tl.distill(screen, **FEW) is None
    with caplog.at_level(logging.INFO, logger="scgenot"):
        fast = drawn(screen)
    assert "sampled by the distilled model, in 6 step(s)" in caplog.text
    assert not np.array_equal(fast, before, equal_nan=True)
    np.testing.assert_array_equal(drawn(screen, integrator=ODE), before)
    options = {"progress": False, "decoder": as_table}
    cells = [sg.tl.simulate(screen, "D1", **options, **o) for o in ({}, {"integrator": ODE})]
    assert not np.array_equal(cells[0].X, cells[1].X)
    screen.write_h5ad(tmp_path / "screen.h5ad")
    again = ad.read_h5ad(tmp_path / "screen.h5ad")
    np.testing.assert_array_equal(drawn(again), fast)
    assert sg.get.model(again).distilled == sg.get.model(screen).distilled


@pytest.mark.medium
def test_a_fit_without_the_teacher_is_refused(screen):
    sg.tl.distill(screen, **FEW)
    entry = screen.uns["genot"]["model"]
    entry["weights"] = {k: v for k, v in entry["weights"].items() if not k.startswith("field.")}
    del entry["digest"]
    with pytest.raises(sg.model.ModelFileError, match="a distilled sampler without its teacher"):
        drawn(screen)


@pytest.mark.medium
def test_what_was_not_fitted_is_left_to_the_teacher():
    adata = sg.datasets.screen(40, drugs=2, combinations=False, doses=[1.0, 10.0], rng=0)
    options = {"dose_key": "dose", "predict": False, **QUICK}
    sg.tl.fit_perturbation(adata, "drug", "control", **options)
    made = sg.tl.distill(adata, copy=True, **FEW)
    assert sg.get.model(adata).distilled is None
    assert len(sg.get.model(made).student_conditions) == 4
    for dose, same in ((30.0, True), (10.0, False), (3.0, False)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a dose is above the fitted ones
            one, other = (drawn(each, dose=dose) for each in (adata, made))
        assert np.array_equal(one, other, equal_nan=True) == same
    # a dose between fitted ones is between the samples of the student at these
    strength = sg.get.fit(made).task.conditions.strength
    place = (strength(3.0) - strength(1.0)) / (strength(10.0) - strength(1.0))
    ends = [drawn(made, dose=dose) for dose in (1.0, 10.0)]
    np.testing.assert_allclose(other, (1 - place) * ends[0] + place * ends[1], atol=1e-5)


@pytest.mark.medium
def test_a_course_and_its_steps():
    adata = sg.datasets.branching(40, rng=0)
    sg.tl.fit_trajectory(adata, "time", predict=False, **QUICK)
    sg.tl.distill(adata, **FEW)
    n_steps = len(sg.get.fit(adata).links)
    assert len(sg.get.model(adata).student_conditions) == n_steps
    sg.tl.push(adata, np.arange(adata.n_obs) < 5, method="model")


@pytest.mark.medium
def test_a_translation():
    rng = np.random.default_rng(0)
    source, target = (
        ad.AnnData(np.zeros((40, 1)), obsm={"X_pca": rng.normal(size=(40, d))}) for d in (3, 2)
    )
    solver = sg.ot.GromovWasserstein(n_starts=2, max_outer=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such a search is not to be trusted
        sg.tl.fit_translation(source, target, solver=solver, predict=False, **QUICK)
    sg.tl.distill(source, **FEW)
    sg.tl.predict(source, progress=False)
    assert np.isfinite(source.obsm["X_genot"]).all()


@pytest.mark.medium
def test_regions_of_the_teacher_are_removed(screen):
    new = sg.datasets.screen(60, drugs=2, combinations=False, rng=1)
    new.obs_names = "new " + new.obs_names
    sg.tl.calibrate(screen, "D1", held_out=new, levels=(0.5,))
    with pytest.warns(UserWarning, match="these regions are removed"):
        sg.tl.distill(screen, **FEW)
    assert not [name for name in screen.uns["genot"] if name.startswith("calibration")]


@pytest.mark.medium
def test_a_refusal_leaves_the_fit_as_it_was(screen, monkeypatch):
    monkeypatch.setattr(import_module("scgenot.model.distill"), "LIMIT", -1)
    before = screen.uns["genot"]["model"]["digest"]
    with pytest.raises(ValueError, match="is less accurate than its teacher"):
        sg.tl.distill(screen, **FEW)
    assert screen.uns["genot"]["model"]["digest"] == before


@pytest.mark.medium
def test_models_without_steps(screen):
    for learner in (sg.model.LightBridge(steps=5, n_components=2), sg.model.MongeMap(steps=2)):
        options = {"predict": False, "progress": False, "learner": learner}
        sg.tl.fit_perturbation(screen, "drug", "control", **options)
        with pytest.raises(ValueError, match="does not sample in steps"):
            sg.tl.distill(screen)
