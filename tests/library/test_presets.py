"""Models by their section in llama-server's presets.ini."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.core.errors import ModelfileError
from workbench.core.parameters import LoadSettings, Sampling
from workbench.library.catalog import LibraryCatalog
from workbench.library.places import Places
from workbench.modelfile.presets import preset_text


@pytest.fixture
def catalog(places: Callable[..., Places], demo_path: Path) -> LibraryCatalog:
    return LibraryCatalog(find_demo_file=lambda: demo_path, stores=(), places=places())


def test_a_section_is_a_model_with_its_settings(catalog: LibraryCatalog, demo_path: Path, tmp_path: Path) -> None:
    sampling, load = Sampling(temperature=0.25, seed=7), LoadSettings(num_ctx=1024, type_k="q8_0", use_mmap=False)
    path = tmp_path / "presets.ini"
    path.write_text(preset_text("tiny", str(demo_path), sampling, load) + "jinja = on\n")
    entry = catalog.resolve(f"{path}#tiny")
    assert (entry.name, entry.path, entry.ref) == ("tiny", str(demo_path), f"{path}#tiny")
    recipe = catalog.recipe(str(path))
    assert recipe == entry.recipe
    assert recipe is not None
    found, loaded = recipe.settings(Sampling(), LoadSettings())
    assert found == sampling
    assert (loaded.num_ctx, loaded.type_k, loaded.reading) == (1024, "q8_0", "none")
    assert recipe.notes == ("[tiny]: jinja is ignored.",)


def test_a_section_that_is_not_there_is_said(catalog: LibraryCatalog, tmp_path: Path) -> None:
    path = tmp_path / "presets.ini"
    path.write_text("[one]\nmodel = /a.gguf\n")
    with pytest.raises(ModelfileError, match="no section 'two'"):
        catalog.resolve(f"{path}#two")
