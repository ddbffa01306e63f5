"""The code of the tutorials runs as it stands there, on real cells and without a network."""

import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from realdata import data_dir

TUTORIALS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.ipynb"))


def test_there_are_tutorials():
    assert TUTORIALS


@pytest.mark.slow
@pytest.mark.parametrize("notebook", TUTORIALS, ids=lambda path: path.stem)
# what Scanpy and its friends warn of is not ours to silence in a story
@pytest.mark.filterwarnings("ignore")
def test_a_tutorial_runs(notebook, monkeypatch, tmp_path):
    monkeypatch.setenv("SCGENOT_DATA", str(data_dir()))
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    names = {}
    for number, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), f"{notebook.name}, cell {number}", "exec")
            exec(code, names)
    plt.close("all")


@pytest.mark.parametrize("notebook", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_shown_with_its_pictures(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [
        output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]
    ]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert not [output for output in outputs if output["output_type"] == "error"]
