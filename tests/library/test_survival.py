"""A search survives any exception of one of the many things that it reads, and reports what it left out."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from tests.library.stores import HuggingFaceCache, OllamaStore
from workbench.core.errors import ModelFileError
from workbench.core.models import ScanProblem
from workbench.gguf.names import parameter_count
from workbench.library.catalog import LibraryCatalog
from workbench.library.folders import find_in_folders, listed
from workbench.library.ollama import Manifest, OllamaName
from workbench.library.ollama_layers import read_layers
from workbench.library.search import STORES


@pytest.fixture
def catalog(tmp_path: Path, places) -> LibraryCatalog:
    folder = tmp_path / "folder"
    folder.mkdir()
    return LibraryCatalog([folder], stores=tuple(STORES), places=places(), find_demo_file=lambda: None)


def sound(catalog: LibraryCatalog) -> set[str]:
    return {model.name for model in catalog.list_models() if not model.problem}


@pytest.mark.parametrize("count", ["9" * 400 + "B", "9" * 4000 + ".5T", 10**400])
def test_a_number_of_400_digits_ends_no_search(ollama: OllamaStore, catalog, weights, count) -> None:
    ollama.add("hostile/1b", weights(name="one"), config={"model_type": count, "file_type": count})
    ollama.add("sound/1b", weights(name="two", rows=5), config={"model_type": "1.5B"})
    assert sound(catalog) == {"hostile:1b", "sound:1b"}
    assert catalog.resolve("ollama:hostile:1b").parameters == 128


@pytest.mark.parametrize("text", ["9" * 400, "9" * 400 + "K", "9" * 306 + "T"])
def test_a_count_that_no_float_holds(text: str) -> None:
    assert parameter_count(text) is None


@pytest.mark.parametrize(
    "place",
    ["ollama._blob", "lmstudio.place_in", "llamacpp.parse_name", "huggingface._digest", "file_facts.describe",
     "file_facts._hash", "entries.group_of"],
)  # fmt: skip
def test_one_of_many_that_raises_is_left_out_and_reported(
    ollama: OllamaStore, hub: HuggingFaceCache, home: Path, catalog, weights, model, monkeypatch, place: str
) -> None:
    module_name, name = place.split(".")
    module = importlib.import_module(f"workbench.library.{module_name}")
    real = getattr(module, name)

    def raises(*arguments, **options):
        if "hostile" in repr(arguments):
            raise ZeroDivisionError("division by zero")
        return real(*arguments, **options)

    for index, word in enumerate(("hostile", "sound")):
        ollama.add(f"{word}-ollama/1b", weights(name=f"{word}-ollama", rows=10 + index))
        hub.add(f"{word}/hub", f"{word}-hub.gguf", weights(name=f"{word}-hub", rows=20 + index))
        model(home / ".lmstudio/models/me" / word / f"{word}-studio.gguf", name=f"{word}-studio", rows=30 + index)
        model(home / ".cache/llama.cpp" / f"{word}-cache.gguf", name=f"{word}-cache", rows=40 + index)
    monkeypatch.setattr(module, name, raises)
    found = sound(catalog)
    assert {"sound-ollama:1b", "sound-hub", "sound-studio", "sound-cache"} <= found
    left_out = [model for model in catalog.list_models() if "division by zero" in model.problem]
    problems = [problem for problem in catalog.problems if "division by zero" in problem.message]
    assert left_out or problems
    assert all("hostile" in str(problem.path) or "folder" in str(problem.path) for problem in problems)


def test_a_store_that_raises_takes_no_other_along(ollama: OllamaStore, home: Path, catalog, model, monkeypatch) -> None:
    model(home / ".lmstudio/models/me/sound/sound.gguf")
    monkeypatch.setitem(STORES, "ollama", lambda _: 1 / 0)
    assert sound(catalog) == {"sound"}
    assert any("ollama: it is left out" in str(problem) for problem in catalog.problems)


@pytest.mark.parametrize("search", [lambda path: find_in_folders([path]), lambda path: listed(path)])
def test_a_folder_whose_name_is_no_path(search) -> None:
    ((problem),) = search(Path("a\0b"))
    assert isinstance(problem, ScanProblem)
    assert "null" in problem.message


@pytest.mark.parametrize("kind", ["params", "messages"])
@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5000, '{"seed": ' + "9" * 5000 + "}"])
def test_a_layer_that_cannot_be_parsed_is_one_sentence(ollama: OllamaStore, weights, kind: str, content: str) -> None:
    path = ollama.add("hostile/1b", weights(), layers=[ollama.layer(kind, content.encode())])
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_layers(Manifest(OllamaName("registry.ollama.ai", "library", "hostile", "1b"), path, ollama.root))


def test_a_parameter_that_is_too_large_is_noted(ollama: OllamaStore, weights) -> None:
    layer = ollama.layer("params", json.dumps({"temperature": 10**400, "top_k": 10**400, "seed": 7}).encode())
    path = ollama.add("hostile/1b", weights(), layers=[layer])
    manifest = Manifest(OllamaName("registry.ollama.ai", "library", "hostile", "1b"), path, ollama.root)
    _, recipe = read_layers(manifest)
    assert dict(recipe.parameters) == {"seed": 7}
    assert sum("is not valid" in note for note in recipe.notes) == 2
