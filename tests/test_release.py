"""What a release says of itself, in several files, agrees; the command line does what it says."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import scgenot

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def read(file: str) -> dict:
    return yaml.safe_load((ROOT / file).read_text())


def run(*args: str) -> str:
    command = [sys.executable, "-m", "scgenot", *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_addresses_agree():
    urls = PROJECT["project"]["urls"]
    citation, entry = read("CITATION.cff"), read(".github/scverse/meta.yaml")
    conf = (ROOT / "docs" / "conf.py").read_text()
    assert citation["repository-code"] == entry["project_home"] == urls["Source"]
    assert citation["url"] == entry["documentation_home"] == urls["Documentation"]
    assert f'REPOSITORY = "{urls["Source"]}"' in conf
    assert f"git clone {urls['Source']}\n" in (ROOT / "README.md").read_text()


def test_licences_and_authors_agree():
    project, citation = PROJECT["project"], read("CITATION.cff")
    entry = read(".github/scverse/meta.yaml")
    assert project["license"] == citation["license"] == entry["license"] == "BSD-3-Clause"
    assert [author["name"] for author in citation["authors"]] == ["The scgenot developers"]
    assert project["authors"] == [{"name": "The scgenot developers"}]
    assert "The scgenot developers" in (ROOT / "LICENSE").read_text()


def test_each_python_of_the_metadata_is_tested():
    named = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))
    matrix = read(".github/workflows/test.yaml")["jobs"]["test"]["strategy"]["matrix"]["include"]
    assert {job["python"] for job in matrix} == set(named)
    assert {"test", "test-lowest", "test-newest"} == {job["target"] for job in matrix}
    assert PROJECT["project"]["requires-python"] == f">={min(named)}"


def test_workflows_call_what_there_is():
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for file in (ROOT / ".github" / "workflows").glob("*.yaml"):
        for called in re.findall(r"run: make (\S+)", file.read_text()):
            assert called in targets or called == "${{"


def test_only_the_job_that_publishes_may_ask_for_an_identity():
    jobs = read(".github/workflows/release.yaml")["jobs"]
    asking = [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})]
    assert asking == ["publish"]
    assert "refs/tags/v" in jobs["publish"]["if"]


def test_the_changelog_knows_the_next_release():
    fallback = PROJECT["tool"]["hatch"]["version"]["fallback-version"]
    assert fallback.endswith(".dev0")
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()
    assert read(".github/scverse/meta.yaml")["version"] == fallback.removesuffix(".dev0")


@pytest.mark.medium
def test_the_command_line_names_its_commands():
    for args in ((), ("--help",)):
        assert re.search(r"demo .*\n.*info ", run(*args), re.DOTALL)
    assert "--seed" in run("demo", "--help")


@pytest.mark.medium
def test_info_has_versions_and_the_device():
    told = run("info")
    assert f"scgenot {scgenot.__version__}" in told
    assert f"torch {version('torch')}" in told
    assert re.search(r"device (cpu|cuda)", told)


@pytest.mark.slow
def test_the_demonstration_leaves_figures(tmp_path):
    told = run("demo", "--out", str(tmp_path))
    names = {file.name for file in tmp_path.iterdir()}
    assert {"translation.png", "coupling.png", "training.png", "translated.h5ad"} <= names
    assert "GENOT, conditional mean" in told


def test_the_registry_entry_has_what_the_registry_asks_for():
    entry = read(".github/scverse/meta.yaml")
    texts = ("name", "description", "project_home", "documentation_home", "license", "version")
    assert all(isinstance(entry[name], str) and entry[name] for name in texts)
    assert entry["install"] == {"pypi": PROJECT["project"]["name"]}
    assert entry["category"] == "ecosystem"
    for name in ("tags", "contact"):
        assert len(set(entry[name])) == len(entry[name]) > 0
