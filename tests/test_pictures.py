"""Each plot has a picture in the docs, and no picture is older than the code that draws it."""

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

import scgenot as sg

FILE = Path(__file__).parents[1] / "docs" / "pictures.py"
spec = importlib.util.spec_from_file_location("pictures", FILE)
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)


def test_every_plot_has_a_picture():
    assert {name for name in pictures.PICTURES if name.startswith("pl/")} == {
        f"pl/{name}" for name in sg.pl.__all__
    }


@pytest.mark.medium
@pytest.mark.parametrize("name", pictures.PICTURES)
def test_no_picture_is_older_than_its_code(name):
    found = pictures.stored_digest(name)
    assert found == pictures.digest(name), f"run `python docs/pictures.py {name}`"


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pictures_fit_a_page(name):
    file = pictures.FOLDER / f"{name}.png"
    assert file.stat().st_size < 150_000
    with Image.open(file) as picture:
        assert picture.width <= 2200
