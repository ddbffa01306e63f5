"""The code of the README and of the guide runs as it stands there."""

import re
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from anndata import AnnData

import scgenot as sg

ROOT = Path(__file__).parents[1]


def code_of(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


# so few starts on so few cells may well disagree
pytestmark = pytest.mark.filterwarnings("ignore:The match between:UserWarning")


@pytest.fixture
def short(monkeypatch):
    """Examples spell out no settings; here a few steps and one start will do."""
    monkeypatch.setattr(sg.model.TrainSettings.__init__, "__defaults__", defaults(sg.model.TrainSettings, steps=20))
    monkeypatch.setattr("scgenot.tl._perturbation.SETTINGS", sg.model.TrainSettings(steps=20))
    few = defaults(sg.ot.GromovWasserstein, n_starts=3, search_cells=60)
    monkeypatch.setattr(sg.ot.GromovWasserstein.__init__, "__defaults__", few)


def defaults(cls, **changes):
    names = cls.__init__.__code__.co_varnames[1 : cls.__init__.__code__.co_argcount]
    values = cls.__init__.__defaults__
    named = dict(zip(names[-len(values) :], values, strict=True)) | changes
    return tuple(named.values())


@pytest.fixture
def cells():
    return sg.datasets.twins(80)


def test_the_guide_to_extending_runs(short, cells):
    rna, atac = cells
    names = {"rna": rna, "atac": atac}
    blocks = code_of("docs/extending.md")
    assert len(blocks) == 3
    for block in blocks:
        exec(block, names)
    assert names["cells"].shape == (80, 8, 12)
    assert {"manhattan", "singlets"} <= set(rna.uns)


@pytest.fixture
def run(short, tmp_path, monkeypatch):
    """Run the code of a page in an empty folder; gives the names it ends with."""
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")

    def run(page: str) -> dict:
        names = {}
        for block in code_of(page):
            exec(block, names)
        return names

    return run


def test_the_guide_to_translation_runs(run):
    assert run("docs/translation.md")["new"].obsm["X_genot"].shape == (100, 12)


@pytest.mark.slow
def test_the_guide_to_trajectories_runs(run):
    names = run("docs/trajectory.md")
    assert set(names["table"].columns) == {"A", "B"}
    assert (names["between"].obs["time"] == 1.5).all()
    assert set(names["couplings"]) == {(0.0, 1.0), (1.0, 2.0)}


def test_the_readme_runs(short, cells, tmp_path, monkeypatch):
    rna, atac = cells
    rng = np.random.default_rng(0)
    counts = AnnData(rng.poisson(np.exp(rna.obsm["X_pca"] @ rng.normal(size=(8, 60)) / 4)).astype(np.float32), rna.obs)
    peaks = AnnData(rng.binomial(2, 0.3, size=(80, 90)).astype(np.float32), atac.obs)
    counts.X = np.log1p(counts.X)
    counts.write_h5ad(tmp_path / "rna.h5ad")
    peaks.write_h5ad(tmp_path / "atac.h5ad")
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    blocks = code_of("README.md")
    assert len(blocks) == 1
    assert len(blocks[0].splitlines()) <= 12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(blocks[0], {})


@pytest.mark.slow
def test_the_guide_to_perturbations_runs(run):
    names = run("docs/perturbation.md")
    assert set(names["treated"].obs["drug"]) == {"A", "C+D"}
    assert len(names["table"]) == 3 * names["measured"].n_vars
