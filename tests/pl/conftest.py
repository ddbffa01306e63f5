"""What all tests of plots share."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from scgenot.model import FlowMatching

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def short():
    """Options of a fit whose predictions the tests write themselves."""
    learner = FlowMatching(steps=4, width=8, validation_fraction=0)
    return {"learner": learner, "predict": False, "progress": False}
