"""Plots ask the fit and its task: what they refuse, and who they take for control and treated."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

import scgenot as sg
from scgenot import pl, tl
from scgenot.fit import storage

SCREEN, COURSE, TRANSLATION = "fit_perturbation", "fit_trajectory", "fit_translation"


@pytest.fixture(scope="module")
def fits(short):
    """The same 60 cells as a screen with names as "A+ctrl" and as a course, and an embedding."""
    rng = np.random.default_rng(0)
    guide = np.repeat(["ctrl", "A+ctrl", "ctrl+B", "A+B", "ctrl+ctrl"], 12)
    adata = AnnData(
        rng.normal(size=(60, 5)).astype(np.float32),
        obs=pd.DataFrame(
            {"guide": guide, "day": np.repeat([1, 2, 3], 20)}, index=[f"c{i}" for i in range(60)]
        ),
    )
    tl.embed(adata, n_components=3)
    tl.fit_perturbation(adata, "guide", "ctrl", key_added="screen", **short)
    tl.fit_trajectory(adata, "day", key_added="course", **short)
    return adata


@pytest.fixture
def cells(fits):
    return fits.copy()


def offsets(ax):
    return [collection.get_offsets() for collection in ax.collections[:3]]


@pytest.mark.medium
def test_a_name_in_which_the_control_stands_counts_as_in_tl(cells):
    tl.predict(cells, "A", key="screen", progress=False)
    control, treated, predicted = offsets(pl.perturbation(cells, basis="pca", key="screen"))
    task = sg.get.task(cells, "screen")
    assert list(task.treated_rows(cells, "A")) == list(range(12, 24))
    assert len(treated) == 12
    assert len(control) == len(predicted) == len(task.control_rows(cells)) == 24
    simulated = tl.simulate(cells, ["A"], key="screen", progress=False)
    ax = pl.response(cells, simulated, list(cells.var_names[:1]), key="screen")
    means = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "o"]
    table = tl.response(cells, "A", key="screen", features=cells.var_names[:1])
    assert table["n_observed"].tolist() == [12]
    assert means[2] == pytest.approx(table["observed_mean"][0], rel=1e-5)
    assert means[0] == pytest.approx(table["control_mean"][0], rel=1e-5)


def test_masks_of_a_screen(cells):
    task = sg.get.task(cells, "screen")
    assert task.are_named(cells, "B+A").tolist() == (cells.obs["guide"] == "A+B").tolist()
    assert task.are_control(cells).sum() == 24
    assert not task.are_control(cells[12:24]).any()
    with pytest.raises(ValueError, match="No cell of `adata` is control"):
        task.control_rows(cells[12:24])
    del cells.obs["guide"]
    assert not task.are_control(cells).any()
    assert len(task.control_rows(cells)) == 60


DRAW = {
    "perturbation": (partial(pl.perturbation, key="course"), SCREEN, COURSE),
    "response": (lambda a: pl.response(a, a, "0", key="course"), SCREEN, COURSE),
    "dose_response": (lambda a: pl.dose_response(a, a, "0", key="course"), SCREEN, COURSE),
    "trajectory": (partial(pl.trajectory, key="screen", color="guide"), COURSE, SCREEN),
    "fate": (partial(pl.fate, key="screen"), COURSE, SCREEN),
    "translation": (lambda a: pl.translation(a, a, key="course"), TRANSLATION, COURSE),
}


@pytest.mark.parametrize("plot", DRAW)
def test_a_fit_of_another_task_is_named(cells, plot):
    draw, needed, found = DRAW[plot]
    key = "screen" if found == SCREEN else "course"
    message = f"`sg.pl.{plot}` needs a fit from `{needed}`; `key='{key}'` is from `{found}`."
    with pytest.raises(ValueError, match=re.escape(message)):
        draw(cells)


@pytest.mark.parametrize(("key", "draw"), [("screen", pl.perturbation), ("course", pl.trajectory)])
def test_cells_embedded_anew_are_refused(cells, key, draw):
    tl.predict(cells, "A" if key == "screen" else None, key=key, progress=False)
    draw(cells, basis="pca", key=key)
    cells.obsm["X_pca"] = -cells.obsm["X_pca"]
    with pytest.raises(ValueError, match=r"obsm\['X_pca'\] of `adata` has changed"):
        draw(cells, basis="pca", key=key)


@pytest.mark.medium
def test_targets_embedded_anew_are_refused(short):
    rng = np.random.default_rng(0)
    source, target = (
        AnnData(
            obs=pd.DataFrame(index=[f"{name}{i}" for i in range(12)]),
            obsm={"X_pca": rng.normal(size=(12, 2))},
        )
        for name in "st"
    )
    tl.fit_translation(source, target, use_rep="X_pca", **short)
    tl.predict(source, progress=False)
    pl.translation(source, target)
    new = target.copy()
    new.obs_names = [f"new{i}" for i in range(12)]
    new.obsm["X_pca"] += 1
    pl.translation(source, new)  # other cells than the fitted ones
    target.obsm["X_pca"] = target.obsm["X_pca"][:, ::-1].copy()
    with pytest.raises(ValueError, match=r"obsm\['X_pca'\] of `adata_target` has changed"):
        pl.translation(source, target)


def test_the_model_is_not_made_where_it_is_not_asked(cells, monkeypatch):
    simulated = tl.simulate(cells, ["A"], key="screen", progress=False)
    tl.coupling(cells, key="course")
    tl.fate(cells, "guide", key="course")
    cells.obs["course_growth"] = 1.0

    def made(*_):
        raise AssertionError("the model was made")

    monkeypatch.setattr(storage, "read_model", made)
    pl.training(cells, key="screen")
    pl.response(cells, simulated, "0", key="screen")
    pl.coupling(cells, groupby="day", key="course")
    pl.fate(cells, basis="pca", groupby="guide", key="course")
    pl.growth(cells, key="course")


def test_counts_of_groups_come_with_the_table(cells):
    table = tl.cell_transition(cells, "guide", "guide", start=1, end=2, key="course")
    assert table.attrs["n_source"] == {"A+ctrl": 8, "ctrl": 12}
    assert table.attrs["n_target"] == {"A+B": 4, "A+ctrl": 4, "ctrl+B": 12}
    texts = [text.get_text() for text in pl.transition(table).texts]
    assert {"ctrl (n=12)", "ctrl+B (n=12)", "A+B (n=4)"} <= set(texts)


class TestTask:
    @pytest.mark.medium
    def test_of_fits_and_of_made_up_cells_after_a_file(self, cells, tmp_path):
        simulated = tl.simulate(cells, ["A"], key="screen", progress=False)
        assert set(simulated.uns["screen"]) == {"params"}
        for adata in (cells, simulated):
            adata.write_h5ad(tmp_path / "cells.h5ad")
            task = sg.get.task(read_h5ad(tmp_path / "cells.h5ad"), "screen")
            assert isinstance(task, sg.tasks.Screen)
            assert task.perturbation_key == "guide"
        assert isinstance(sg.get.task(cells, "course"), sg.tasks.TimeCourse)

    def test_where_there_is_none(self, cells):
        with pytest.raises(KeyError, match=r"found \['screen', 'course'\]"):
            sg.get.task(cells)
        cells.uns["genot"] = "text"
        with pytest.raises(KeyError, match="is not a fit"):
            sg.get.task(cells)


def test_only_fit_reads_what_a_fit_stored():
    pattern = re.compile(r"\bparams(\[|\.get\()|\.uns\[key\]|\"params\"|\btask\.name\b")
    for file in Path(pl.__file__).parent.glob("*.py"):
        assert not pattern.search(file.read_text()), file.name
