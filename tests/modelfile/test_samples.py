from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.parameters import LoadSettings, Sampling, get_value
from workbench.modelfile.meaning import examine, read

FOLDER = Path(__file__).parents[2] / "sample_modelfiles"
SAMPLES = sorted(FOLDER.glob("*.Modelfile"))


def test_there_are_some():
    assert len(SAMPLES) >= 4


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_is_sound(path):
    source = path.read_bytes()
    reading = examine(source)
    assert (reading.errors, reading.warnings) == ((), ())
    modelfile = read(source)
    assert modelfile.base == "demo"
    assert read(modelfile.text()) == modelfile
    sampling, load = modelfile.recipe.settings(Sampling(), LoadSettings())
    assert all(get_value(sampling, load, name) == value for name, value in modelfile.parameters.items())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_says_what_it_shows_and_is_listed(path):
    assert path.read_text(encoding="utf-8").startswith("# Shows: ")
    assert f"`{path.name}`" in (FOLDER / "README.md").read_text(encoding="utf-8")
