"""Progress bars are for people: one line where somebody looks, none in a log."""

import io
import sys

import pytest
import torch

import scgenot as sg
from scgenot import _progress, _settings
from scgenot._check import usable_device
from scgenot._progress import MOST_LINES, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def output(monkeypatch):
    """What is written to a standard error of a kind, and how often."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def output(file, **options):
        monkeypatch.setattr(sys, "stderr", file())
        bar = progress_bar(range(1000), desc="counting", file=sys.stderr, **options)
        assert list(bar) == list(range(1000))
        return sys.stderr.getvalue()

    return output


@pytest.fixture
def settings():
    """The settings of the session, put back afterwards."""
    kept = sg.settings.device, sg.settings.progress
    yield sg.settings
    sg.settings.device, sg.settings.progress = kept


@pytest.mark.parametrize(
    ("file", "shown", "expected"),
    [(Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False)],
)
def test_bars_are_shown_where_somebody_looks(output, file, shown, expected):
    assert ("counting" in output(file, shown=shown)) is expected


def test_bars_stay_on_one_line(output):
    assert "\n" not in output(Terminal, shown=True)


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_no_bars_where_the_environment_says_so(output, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert output(Terminal, shown=True) == ""


@pytest.mark.parametrize("notebook", [True, False])
def test_what_keeps_each_update_gets_few(output, monkeypatch, settings, notebook):
    # a notebook without widgets, or a log with bars asked for
    monkeypatch.setattr(_progress, "in_notebook", lambda: notebook)
    monkeypatch.setattr(_settings, "in_notebook", lambda: notebook)
    monkeypatch.setattr(_progress, "find_spec", lambda name: None)
    settings.progress = None if notebook else True
    written = output(io.StringIO, shown=True)
    assert 2 <= written.count("counting") <= MOST_LINES + 2
    assert len(written) < 2000


def test_the_settings_hide_bars(output, settings):
    settings.progress = False
    assert output(Terminal, shown=True) == ""


def test_the_device_of_the_settings_is_taken_unless_another_is_named(settings):
    settings.device = "cpu"
    assert usable_device(None) == "cpu"
    settings.device = torch.device("meta")
    assert usable_device(None) == torch.device("meta")
    assert usable_device("cpu") == "cpu"
    settings.device = None
    assert usable_device(None) == ("cuda" if torch.cuda.is_available() else "cpu")


def test_settings_that_cannot_be(settings):
    with pytest.raises(TypeError, match=r"`progress='no'` must be True, False or None"):
        settings.progress = "no"
    with pytest.raises(ValueError, match=r"`device='gpu'` is not available"):
        settings.device = "gpu"
    with pytest.raises(AttributeError):
        settings.progres = False
    assert repr(settings) == "Settings(device=None, progress=None)"


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_log_of_a_fit_is_short(capfd):
    adata = sg.datasets.branching(30)
    sg.tl.fit_trajectory(adata, "time", learner=sg.model.FlowMatching(steps=20))
    out, err = capfd.readouterr()
    assert len(out + err) < 200
