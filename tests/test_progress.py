"""Progress bars are for people: a log or a file gets none."""

import io
import sys

import pytest

import scgenot as sg
from scgenot._progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("file", "shown", "expected"),
    [
        (Terminal, True, True),
        (Terminal, False, False),
        (io.StringIO, True, False),
    ],
)
def test_bars_are_shown_where_somebody_looks(monkeypatch, file, shown, expected):
    monkeypatch.setattr(sys, "stderr", file())
    assert list(progress_bar(range(3), shown=shown, desc="counting", file=sys.stderr)) == [0, 1, 2]
    assert ("counting" in sys.stderr.getvalue()) is expected


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_log_of_a_fit_is_short(capfd):
    adata = sg.datasets.branching(30)
    sg.tl.fit_trajectory(adata, "time", learner=sg.model.FlowMatching(steps=20))
    out, err = capfd.readouterr()
    assert len(out + err) < 200
