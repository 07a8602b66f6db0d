"""Names of models in the stores of other programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.stores import HuggingFaceCache, OllamaStore, sha256
from workbench.core.errors import ModelFileError, UnknownModelError, WorkbenchError
from workbench.library.catalog import LibraryCatalog
from workbench.library.search import STORES

REPO = "bartowski/Llama-3.2-3B-Instruct-GGUF"


@pytest.fixture
def library(places) -> Callable[..., LibraryCatalog]:
    def make(*folders: Path, **environ: Path) -> LibraryCatalog:
        return LibraryCatalog(folders, find_demo_file=lambda: None, stores=tuple(STORES), places=places(**environ))

    return make


@pytest.fixture
def never_searched(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this must not take a search")

    monkeypatch.setattr("workbench.library.search.Search", refuse)


# Ollama


@pytest.mark.parametrize(
    "ref", ["ollama:llama3.2:3b", "OLLAMA:Llama3.2:3B", "ollama:registry.ollama.ai/library/llama3.2:3b"]
)
@pytest.mark.usefixtures("never_searched")
def test_a_model_of_ollama(ollama: OllamaStore, library, weights, ref: str) -> None:
    data = weights(name="Llama 3.2 3B Instruct")
    ollama.add("llama3.2/3b", data, config={"file_type": "Q4_K_M"})
    ollama.add("llama3.2/1b", weights(rows=9))
    entry = library().resolve(ref)
    assert (entry.ref, entry.name, entry.quant) == ("ollama:llama3.2:3b", "llama3.2:3b", "Q4_K_M")
    assert entry.path == str(ollama.root / "blobs" / f"sha256-{sha256(data)}")
    assert (entry.digest, entry.parameters, entry.source) == (sha256(data), 128, "ollama")
    assert entry.label_mismatch


def test_the_tag_may_be_left_out_for_latest(ollama: OllamaStore, library, weights) -> None:
    ollama.add("mine/latest", weights())
    ollama.add("hf.co/user/Repo-GGUF/Q4_K_M", weights(rows=9))
    assert library().resolve("ollama:mine").name == "mine:latest"
    assert library().resolve("mine").name == "mine:latest"
    assert library().resolve("mine:latest").name == "mine:latest"
    assert library().resolve("ollama:hf.co/user/Repo-GGUF:Q4_K_M").quant == "Q4_K_M"


def test_an_unknown_tag_answers_with_the_nearest(ollama: OllamaStore, library, weights) -> None:
    with pytest.raises(UnknownModelError) as caught:
        library().resolve("ollama:llama3.2:3b")
    assert "OLLAMA_MODELS" in caught.value.hint
    for name in ("llama3.2/3b", "qwen3/8b"):
        ollama.add(name, weights())
    with pytest.raises(UnknownModelError) as caught:
        library().resolve("ollama:lama3.2:3b")
    assert "'ollama:llama3.2:3b'" in caught.value.hint
    for ref in ("ollama:xyz", "ollama:", "ollama:a//b", "ollama:../../../etc/passwd"):
        with pytest.raises(UnknownModelError) as caught:
            library().resolve(ref)
        assert "qwen3:8b" in caught.value.hint


def test_a_store_that_cannot_be_read_is_part_of_the_answer(tmp_path: Path, library) -> None:
    with pytest.raises(UnknownModelError) as caught:
        library(OLLAMA_MODELS=tmp_path / "unplugged").resolve("ollama:llama3.2")
    assert "unplugged" in caught.value.hint


def test_entries_that_cannot_be_opened_have_a_reason(ollama: OllamaStore, library, weights) -> None:
    ollama.add("big/cloud", config={"remote_host": "https://ollama.com\x1b[2J", "remote_model": "big"})
    ollama.add("mlx/latest", layers=[ollama.layer("tensor", b"t")])
    ollama.add("half/latest", layers=[ollama.layer("model", b"weights", there=False)])
    ollama.add("bad/latest").write_text("{")
    said = {}
    for name in ("big:cloud", "mlx", "half", "bad"):
        with pytest.raises(ModelFileError) as caught:
            library().resolve(f"ollama:{name}")
        said[name] = str(caught.value)
    assert "cloud" in said["big:cloud"]
    assert "\x1b" not in said["big:cloud"]
    assert "safetensors" in said["mlx"]
    assert "ollama pull half:latest" in said["half"]
    assert "damaged" in said["bad"]


def test_they_are_listed_with_their_reasons(ollama: OllamaStore, library) -> None:
    ollama.add("big/cloud", config={"remote_host": "https://ollama.com"})
    (entry,) = library().list_models()
    assert (entry.name, entry.path, entry.size_bytes, entry.ref) == ("big:cloud", None, None, "ollama:big:cloud")
    assert "cloud" in entry.problem


# Repositories of Hugging Face and LM Studio


def test_a_repository(hub: HuggingFaceCache, home: Path, library, weights, model) -> None:
    for rows, quant in ((8, "Q8_0"), (4, "Q4_K_M"), (3, "Q2_K")):
        hub.add(REPO, f"Llama-3.2-3B-Instruct-{quant}.gguf", weights(rows=rows))
    model(home / ".lmstudio/models/someone/Other-GGUF/Other-Q4_0.gguf", rows=20)
    models = library()
    assert models.resolve(REPO).quant == "Q4_K_M"
    assert models.resolve(f"{REPO.lower()}:q8_0").quant == "Q8_0"
    assert models.resolve(f"{REPO}@Q2_K").quant == "Q2_K"
    assert models.resolve("someone/other-gguf").name == "Other"
    with pytest.raises(UnknownModelError) as caught:
        models.resolve(f"{REPO}:Q3_K_M")
    assert "Llama-3.2-3B-Instruct" in caught.value.hint


def test_a_repository_with_several_models_is_not_guessed(hub: HuggingFaceCache, library, weights) -> None:
    hub.add("user/all-GGUF", "Llama-3.2-1B-Q4_K_M.gguf", weights(rows=4))
    hub.add("user/all-GGUF", "Llama-3.2-3B-Q4_K_M.gguf", weights(rows=5))
    with pytest.raises(UnknownModelError) as caught:
        library().resolve("user/all-GGUF")
    assert "several models" in caught.value.message
    assert "Llama-3.2-1B Q4_K_M" in caught.value.hint


def test_a_file_at_that_path_comes_before_a_repository(
    tmp_path: Path, hub: HuggingFaceCache, library, weights, model, monkeypatch
) -> None:
    hub.add("user/thing", "Thing-Q4_0.gguf", weights())
    path = model(tmp_path / "user" / "thing", rows=9)
    monkeypatch.chdir(tmp_path)
    assert library().resolve("user/thing").path == str(path)


# Without a search


@pytest.mark.usefixtures("never_searched")
def test_paths_and_the_demo_model_take_no_search(tmp_path: Path, model, places) -> None:
    path = model(tmp_path / "m-F32.gguf")
    models = LibraryCatalog([tmp_path], find_demo_file=lambda: path, stores=tuple(STORES), places=places())
    assert models.resolve("demo").path == str(path)
    assert models.resolve(str(path)).path == str(path)
    assert models.resolve("scripted").path is None


def test_stores_that_were_not_chosen_are_not_looked_into(
    ollama: OllamaStore, hub: HuggingFaceCache, places, weights
) -> None:
    ollama.add("a/latest", weights())
    hub.add(REPO, "b-Q4_0.gguf", weights(rows=9))
    models = LibraryCatalog(find_demo_file=lambda: None, stores=("huggingface",), places=places())
    assert [entry.source for entry in models.list_models()] == ["huggingface"]
    # Who names a program means it.
    assert models.resolve("ollama:a").name == "a:latest"


@given(ref=st.text(max_size=40) | st.text(max_size=20).map(lambda text: f"ollama:{text}"))
def test_no_reference_raises_anything_else(places, ref: str) -> None:
    models = LibraryCatalog(find_demo_file=lambda: None, stores=tuple(STORES), places=places())
    with suppress(WorkbenchError):
        assert models.resolve(ref).ref == "scripted"


# Odd files


def test_a_store_full_of_oddities_is_listed(
    tmp_path: Path, hub: HuggingFaceCache, home: Path, library, weights, model
) -> None:
    folder = home / ".lmstudio/models/u/m"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe-Q4_0.gguf")
    (folder / "empty-Q4_0.gguf").write_bytes(b"")
    (folder / "self.gguf").symlink_to("self.gguf")
    (folder / "device.gguf").symlink_to("/dev/zero")
    model(folder / "good-F32.gguf")
    catalog = library()
    said = {entry.name: entry.problem for entry in catalog.list_models()}
    assert set(said) == {"pipe", "empty", "device", "good"}
    assert "named pipe" in said["pipe"]
    assert "empty" in said["empty"]
    assert "device" in said["device"]
    assert said["good"] == ""
    assert [problem.path.name for problem in catalog.problems] == ["self.gguf"]
