"""The picture of a choice, read back from the axes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

import scgenot as sg
from scgenot.pl._choice import COLORS

LONG = "Sinkhorn(epsilon=0.02), FlowMatching(source_noise=0.3, steps=3000)"
ROWS = [
    ("Sinkhorn(epsilon=0.1)", "candidate", 0.5, 0.0, 0.0, 0.0, False, ""),
    (LONG, "candidate", 0.2, -0.4, -0.6, -0.2, True, ""),
    ("broken", "candidate", np.nan, np.nan, np.nan, np.nan, False, "ValueError: no"),
    ("identity", "baseline", 9.0, 0.9, 0.7, 4.0, False, ""),
    ("mean shift", "baseline", 0.3, -0.2, -0.5, 0.1, False, ""),
]
SUMMARY = ["candidate", "kind", "value", "difference", "low", "high", "chosen", "note"]


@pytest.fixture(scope="module")
def made():
    adata = sg.datasets.screen(30, drugs=1, combinations=False)
    learner = sg.model.FlowMatching(steps=2, width=8, validation_fraction=0)
    options = {"learner": [learner, learner], "predict": False, "progress": False}
    sg.tl.fit_perturbation(adata, "drug", "control", use_rep="X_pca", **options)
    return adata


@pytest.fixture
def adata(made):
    out = made.copy()
    table = pd.DataFrame(ROWS, columns=SUMMARY)
    out.uns["genot"] = {**out.uns["genot"], "choice_summary": table}
    return out


@pytest.mark.medium
def test_candidates_and_baselines_are_sorted(adata):
    ax = sg.pl.choice(adata)
    ax.figure.canvas.draw()
    names = [label.get_text().replace("\n", " ") for label in ax.get_yticklabels()]
    assert names == [LONG, "mean shift", "Sinkhorn(epsilon=0.1)", "identity"]
    assert max(len(line) for name in ax.get_yticklabels() for line in name.get_text().split()) < 45
    assert [label.get_fontweight() for label in ax.get_yticklabels()].index("bold") == 0
    points = {line.get_ydata()[0]: line for line in ax.lines if line.get_markersize() == 5}
    points = {y: line for y, line in points.items() if line.get_marker() == "o"}
    assert [points[y].get_xdata()[0] for y in range(4)] == [-0.4, -0.2, 0.0, 0.9]
    colors = [to_rgba(points[y].get_color()) for y in range(4)]
    kinds = ["candidate", "baseline", "candidate", "baseline"]
    assert colors == [to_rgba(COLORS[kind]) for kind in kinds]


def test_intervals_stay_inside_and_distances_are_written(adata):
    ax = sg.pl.choice(adata)
    bars = {line.get_ydata()[0]: line.get_xdata() for line in ax.lines if len(line.get_xdata()) > 1}
    assert list(bars[0]) == [-0.6, -0.2]
    assert bars[3][1] == ax.get_xlim()[1]
    assert {"0.2", "0.3", "0.5", "9"} <= {text.get_text() for text in ax.texts}
    assert "failed: broken" in ax.get_title()


def test_the_chosen_one_has_a_ring(adata):
    rings = [
        line
        for line in sg.pl.choice(adata).lines
        if line.get_markersize() > 5 and line.get_marker() == "o"
    ]
    assert [(ring.get_xdata()[0], ring.get_ydata()[0]) for ring in rings] == [(-0.4, 0)]


def test_nothing_overlaps(adata):
    ax = sg.pl.choice(adata)
    renderer = ax.figure.canvas.get_renderer()
    ax.figure.canvas.draw()
    legend = ax.get_legend().get_window_extent(renderer)
    for text in ax.texts:
        assert not legend.overlaps(text.get_window_extent(renderer))


def test_axes_of_ones_own_and_fits_without_a_choice(made, adata):
    _, ax = plt.subplots()
    assert sg.pl.choice(made, ax=ax) is ax
    learner = sg.model.FlowMatching(steps=2, width=8, validation_fraction=0)
    options = {"learner": learner, "predict": False, "progress": False}
    sg.tl.fit_perturbation(adata, "drug", "control", use_rep="X_pca", key_added="one", **options)
    with pytest.raises(KeyError, match="made with one candidate"):
        sg.pl.choice(adata, key="one")
