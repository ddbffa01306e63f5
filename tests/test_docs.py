"""The code of the README and of the guides runs as it stands; the README says what is true."""

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import h5py
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import scgenot as sg

ROOT = Path(__file__).parents[1]


def code_of(page: str) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL
    )


# so few starts on so few cells may well disagree
pytestmark = pytest.mark.filterwarnings("ignore:.*The match between:UserWarning")


@pytest.fixture
def short(monkeypatch):
    """Examples spell out no settings; here a few steps and one start will do."""
    monkeypatch.setattr(
        sg.model.FlowMatching.__init__, "__defaults__", defaults(sg.model.FlowMatching, steps=20)
    )
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


@pytest.mark.slow
def test_the_guide_to_translation_runs(run):
    assert run("docs/translation.md")["new"].obsm["X_genot"].shape == (100, 12)


@pytest.mark.slow
def test_the_guide_to_trajectories_runs(run):
    names = run("docs/trajectory.md")
    assert set(names["table"].columns) == {"A", "B"}
    assert (names["between"].obs["time"] == 1.5).all()
    assert set(names["couplings"]) == {(0.0, 1.0), (1.0, 2.0)}


@pytest.fixture
def own_files(tmp_path, monkeypatch):
    """An empty folder with files as a newcomer has them: genes, peaks, `obs`, and no
    representation.
    """
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical(["B", "T"] * 40)}, index=[f"cell-{i}" for i in range(80)]
    )
    genes = np.log1p(rng.poisson(rng.gamma(1, 2, size=(80, 60)))).astype(np.float32)
    course = obs.assign(day=np.repeat([2, 4], 40))
    screen = obs.assign(drug=np.repeat(["DMSO", "dexamethasone"], 40))
    for name, values, of_cells in (
        ("course", genes, course),
        ("screen", genes, screen),
        ("rna", genes, obs),
    ):
        AnnData(values, of_cells).write_h5ad(tmp_path / f"{name}.h5ad")
    AnnData(rng.binomial(2, 0.3, size=(80, 90)).astype(np.float32), obs).write_h5ad(
        tmp_path / "atac.h5ad"
    )
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of files that stay as they are, and of few cells
def test_the_guide_to_scale_runs(short, own_files, monkeypatch):
    """In a group of one process."""
    group = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "localhost", "MASTER_PORT": 29_511}
    for name, value in group.items():
        monkeypatch.setenv(name, str(value))
    names = {}
    for block in code_of("docs/scale.md"):
        exec(block, names)
    assert names["treated"].shape == (40, 60)
    assert Path("predicted.zarr").is_dir()
    assert Path("run.safetensors").is_file()
    assert Path("fitted.h5ad").is_file()


@pytest.mark.medium
@pytest.mark.parametrize("task", range(3))
@pytest.mark.filterwarnings("ignore")  # so few random cells deserve warnings
def test_a_newcomer_gets_a_figure_of_an_own_file(short, own_files, task):
    blocks = code_of("README.md")
    assert len(blocks) == 3
    lines = [line for line in blocks[task].splitlines() if line]
    assert len(lines) <= 8
    plt.close("all")
    exec(blocks[task], {})
    assert lines[-1].startswith("sg.pl.")
    assert plt.gcf().axes
    plt.close("all")


def write_10x(file, counts, features: dict[str, str]):
    """Write cells x features in the format of 10x: the transposed matrix, CSC, and the features
    with their types.
    """
    matrix = sparse.csr_matrix(counts)
    with h5py.File(file, "w") as out:
        group = out.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = np.array(counts.shape[::-1])
        group["barcodes"] = np.array([f"cell-{i}" for i in range(len(counts))], dtype="S")
        for key, values in {
            "id": features,
            "name": features,
            "feature_type": features.values(),
            "genome": ["GRCh38"] * len(features),
        }.items():
            group[f"features/{key}"] = np.array(list(values), dtype="S")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # so few random cells deserve warnings
def test_the_guide_to_your_own_data_runs(run, tmp_path):
    rng = np.random.default_rng(0)
    genes = {f"gene{i}": "Gene Expression" for i in range(60)}
    for day in (2, 4):
        counts = rng.poisson(rng.gamma(1, 2, size=(80, 60)))
        write_10x(tmp_path / f"day{day}.h5", counts, genes)
    peaks = {f"chr1:{i}-{i + 9}": "Peaks" for i in range(90)}
    write_10x(tmp_path / "multiome.h5", rng.binomial(2, 0.3, size=(80, 150)), genes | peaks)
    names = run("docs/data.md")
    assert names["adata"].obsm["X_genot"].shape == (160, 30)
    assert (names["rna"].n_vars, names["atac"].n_vars) == (60, 90)
    assert set(names["scores"]) == {5, 10}
    assert set(names["changes"]) == {"donor1", "donor2"}


def test_figures_of_the_readme_are_those_of_the_benchmarks():
    readme, benchmarks = ((ROOT / page).read_text() for page in ("README.md", "docs/benchmarks.md"))
    rows = [
        row.split("|")
        for row in readme.split("## Figures")[1].split("## ")[0].splitlines()
        if row.startswith("|")
    ]
    figures = [
        figure
        for row in rows[2:]
        for figure in re.findall(r"(?<![\d.])\d*\.\d+", " ".join(row[2:4]))
    ]
    assert len(figures) > 15
    assert not [
        figure
        for figure in figures
        if not re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", benchmarks)
    ]
    scripts = re.findall(r"tests/benchmarks/\w+\.py", readme)
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)


def test_badges_are_true():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    badges = [
        unquote(badge)
        for badge in re.findall(r"img\.shields\.io/badge/(\S+)\)", (ROOT / "README.md").read_text())
    ]
    licence = (ROOT / "LICENSE").read_text().splitlines()[0].removesuffix(" License")
    assert badges == [
        f"licence-{licence.replace('-', '--')}-blue",
        f"python-{project['requires-python']}-blue",
        f"status-{project['classifiers'][0].split(' - ')[1].lower()}-orange",
    ]


@pytest.mark.slow
def test_questions_are_answered_with_code_that_runs(run):
    names = run("docs/faq.md")
    assert names["table"].attrs["verdict"]
    assert isinstance(names["model"], sg.Genot)


@pytest.mark.slow
def test_the_guide_to_perturbations_runs(run):
    names = run("docs/perturbation.md")
    assert set(names["treated"].obs["drug"]) == {"A", "C+D"}
    assert len(names["table"]) == 3 * names["measured"].n_vars


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:40 populations are few")
def test_the_guide_to_populations_runs(run):
    names = run("docs/populations.md")
    assert names["samples"].n_obs == 40
    assert "the best baseline" in names["scores"].attrs["verdict"]
