"""The picture of an evaluation: what is on it, read back from the axes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from scgenot import pl
from scgenot.pl._evaluation import COLORS

METHODS = {
    "GENOT": "model",
    "plain coupling": "coupling",
    "identity": "baseline",
    "mean shift": "baseline",
}


def rows(condition, distances, scores):
    kinds = [*METHODS.values(), "ceiling"]
    table = pd.DataFrame(
        {"condition": condition, "group": "all", "method": [*METHODS, "replicate"], "kind": kinds}
    )
    for metric, values in (("edistance", distances), ("r2_variances", scores)):
        values = np.array(values)
        table[metric], table[f"{metric}_low"], table[f"{metric}_high"] = (
            values,
            values - 0.1,
            values + 0.2,
        )
        table[f"{metric}_scaled"] = 0.5
    return table


@pytest.fixture
def table():
    found = rows("A", [0.3, 0.5, 40.0, 0.7, 0.0], [0.8, 0.9, 0.2, 0.5, 0.95])
    found.attrs["higher_is_better"] = ["r2_variances"]
    return found


def points(panel):
    return {float(line.get_ydata()[0]): line for line in panel.lines if line.get_marker() == "o"}


def test_points_intervals_and_names(table):
    ax = pl.evaluation(table)
    first, second = ax.child_axes
    assert [label.get_text() for label in first.get_yticklabels()] == list(METHODS)
    assert [label.get_text() for label in second.get_yticklabels()] == [""] * 4
    for panel, metric in ((first, "edistance"), (second, "r2_variances")):
        drawn = points(panel)
        for y, (method, kind) in enumerate(METHODS.items()):
            if (metric, method) != ("edistance", "identity"):
                assert drawn[y].get_xdata()[0] == pytest.approx(table[metric][y])
                assert to_rgba(drawn[y].get_color()) == to_rgba(COLORS[kind])
    ends = [
        line.get_xdata()
        for line in first.lines
        if len(line.get_xdata()) == 2 and len(set(line.get_ydata())) == 1
    ]
    np.testing.assert_allclose(ends[0], [0.2, 0.5])
    assert first.get_title() == "energy distance\nlower is better"
    assert second.get_title() == "R² of variances\nhigher is better"
    assert ax.get_title() == "Held-out cells: A"
    assert not ax.texts
    ax = pl.evaluation(table.assign(edistance=table["edistance"] - 0.4, n_true=1200))
    assert ax.get_title() == "Held-out cells: A (1,200 cells)"
    assert "a negative value is as good as 0" in " ".join(ax.texts[0].get_text().split())


def test_metrics_are_named_in_words(table):
    for metric, words in (
        ("squared_error_means", "squared error of means"),
        ("discrimination", "perturbation discrimination"),
    ):
        named = table.rename(columns=lambda name, new=metric: name.replace("edistance", new))
        assert pl.evaluation(named, metric).child_axes[0].get_title().startswith(f"{words}\n")


def test_the_value_that_is_right_is_in_the_title(table):
    table = table.rename(columns=lambda name: name.replace("r2_variances", "coverage_80"))
    table.attrs = {"higher_is_better": [], "ideal": {"coverage_80": 0.8}}
    table.loc[table["method"] == "mean shift", "coverage_80"] = 0.9
    panel = pl.evaluation(table, "coverage_80").child_axes[0]
    assert panel.get_title() == "cells in the 80 % region\n80 % is right"
    (dotted,) = (line for line in panel.lines if line.get_linestyle() == ":")
    assert dotted.get_xdata()[0] == 0.9  # the other baseline has 0.2


def test_what_is_far_off_is_an_arrow_with_its_value(table):
    panel = pl.evaluation(table, "edistance").child_axes[0]
    assert panel.get_xlim()[1] < 2  # the others can be told apart
    (arrow,) = (line for line in panel.lines if line.get_marker() == ">")
    assert arrow.get_ydata() == 2
    assert [text.get_text() for text in panel.texts] == ["40"]


def test_ceiling_and_best_baseline(table):
    for panel, best, ceiling in zip(
        pl.evaluation(table).child_axes, (0.7, 0.5), (0.0, 0.95), strict=True
    ):
        (dotted,) = (line for line in panel.lines if line.get_linestyle() == ":")
        assert dotted.get_xdata()[0] == best
        (band,) = panel.patches
        corners = band.get_path().transformed(band.get_patch_transform()).get_extents()
        assert corners.x0 == pytest.approx(ceiling - 0.1)
        assert corners.width == pytest.approx(0.3)


def test_rows_that_sum_up_come_by_themselves(table):
    mean = rows("mean", [1.0, 2.0, 3.0, 4.0, 0.5], [0.1, 0.2, 0.3, 0.4, 0.5])
    mean["group"] = "mean"
    other = rows("B", [1.1, 2.1, 3.1, 4.1, 0.6], [0.1, 0.2, 0.3, 0.4, 0.5])
    table = pd.concat([mean, table, other])
    assert points(pl.evaluation(table, "edistance").child_axes[0])[0].get_xdata()[0] == 1.0
    chosen = pl.evaluation(table, "edistance", condition="B")
    assert points(chosen.child_axes[0])[0].get_xdata()[0] == 1.1
    with pytest.raises(ValueError, match=r"several of `condition`: choose one of \['A', 'B'\]"):
        pl.evaluation(table[table["condition"] != "mean"])
    with pytest.raises(ValueError, match="`condition='C'` is not in `table`"):
        pl.evaluation(table, condition="C")


@pytest.mark.parametrize("metric", ["edistance", None])
def test_the_caption_takes_no_room_of_the_panels(table, metric):
    table.loc[0, "edistance"] = -0.01
    table.loc[0, "edistance_low"] = -0.02
    ax = pl.evaluation(table, metric)
    ax.figure.canvas.draw()  # warns, here an error, when the layout collapses
    box = ax.get_window_extent()
    for text in ax.texts:
        assert text.get_window_extent().width <= 1.2 * box.width
    assert box.width / ax.figure.dpi > 1.5


def test_given_axes_and_what_is_missing(table):
    ax = plt.figure().add_subplot()
    table.loc[3, ["edistance", "edistance_low", "edistance_high"]] = np.nan
    assert pl.evaluation(table, ax=ax) is ax
    assert 3 not in points(ax.child_axes[0])


def test_bad_input(table):
    with pytest.raises(TypeError, match="found dict"):
        pl.evaluation({})
    with pytest.raises(KeyError, match=r"lacks the columns \['kind'\]"):
        pl.evaluation(table.drop(columns="kind"))
    with pytest.raises(
        KeyError, match=r"\['mmd'\] is not in `table`; found \['edistance', 'r2_variances'\]"
    ):
        pl.evaluation(table, "mmd")
