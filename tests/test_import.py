"""`import scgenot` is cheap, and its face is complete."""

import subprocess
import sys

import pytest

import scgenot

HEAVY = ("anndata", "matplotlib", "numpy", "ot", "pandas", "scanpy", "scipy", "sklearn", "torch")


def loaded_after(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after `statement`."""
    report = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{report}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_loads_nothing_heavy():
    assert not loaded_after("import scgenot; dir(scgenot)").intersection(HEAVY)


@pytest.mark.medium
@pytest.mark.parametrize("module", ["pl", "metrics", "baselines"])
def test_torch_is_not_loaded_by(module):
    assert not loaded_after(f"import scgenot; scgenot.{module}").intersection(
        {"torch", "scgenot.tl"}
    )


@pytest.mark.parametrize("half", ["ot", "flow", "model"])
@pytest.mark.slow
def test_arrays_half_does_not_load_anndata(half):
    assert not loaded_after(f"import scgenot.{half}").intersection(
        {"anndata", "scanpy", "matplotlib"}
    )


def test_dir_lists_the_face():
    assert set(dir(scgenot)) == {*scgenot.__all__, "__version__"}


def test_every_name_of_the_face_is_there():
    found = {name: getattr(scgenot, name) for name in scgenot.__all__}
    assert found.pop("settings") is scgenot._settings.settings
    found = {name: thing.__name__.rpartition(".")[2] for name, thing in found.items()}
    assert all(name == own for name, own in found.items()), found


def test_version_is_that_of_the_distribution():
    assert scgenot.__version__.count(".") >= 2


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'teleport'"):
        scgenot.teleport  # noqa: B018
