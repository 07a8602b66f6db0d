from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from tests.library.stores import HuggingFaceCache, OllamaStore, sha256
from workbench.core.models import ModelEntry
from workbench.library.catalog import LibraryCatalog
from workbench.library.search import STORES


def listed(*folders: Path, places=None, recent=(), demo: Path | None = None) -> list[ModelEntry]:
    stores = () if places is None else tuple(STORES)
    catalog = LibraryCatalog(folders, lambda: recent, lambda: demo, stores=stores, places=places and places())
    return list(catalog.list_models())


def test_hard_links_and_symbolic_links_are_one_model(tmp_path: Path, model) -> None:
    path = model(tmp_path / "a" / "m-F32.gguf")
    os.link(path, tmp_path / "a" / "n-F32.gguf")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "o-F32.gguf").symlink_to(path)
    (entry,) = listed(tmp_path / "a", tmp_path / "b")
    assert [Path(place.path).name for place in entry.places] == ["m-F32.gguf", "n-F32.gguf", "o-F32.gguf"]
    assert entry.path == entry.places[0].path


def test_a_copy_is_one_model_with_two_places(tmp_path: Path, model) -> None:
    path = model(tmp_path / "a" / "m-F32.gguf", fill=1)
    (tmp_path / "b").mkdir()
    shutil.copy(path, tmp_path / "b" / "renamed.gguf")
    (entry,) = listed(tmp_path)
    assert len(entry.places) == 2


def test_files_that_differ_in_their_weights_alone_are_two(tmp_path: Path, model) -> None:
    sizes = {model(tmp_path / f"{number}-F32.gguf", fill=number, rows=4096).stat().st_size for number in (1, 2)}
    assert len(sizes) == 1
    assert len(listed(tmp_path)) == 2


def test_a_copy_of_a_split_file_is_one_model(tmp_path: Path, model) -> None:
    for folder in ("a", "b"):
        for number in (1, 2):
            model(tmp_path / folder / f"m-0000{number}-of-00002.gguf", fill=number)
    (entry,) = listed(tmp_path)
    assert len(entry.places) == 2
    model(tmp_path / "b" / "m-00002-of-00002.gguf", fill=9)
    assert len(listed(tmp_path)) == 2


def test_one_digest_in_two_stores_is_one_model(ollama: OllamaStore, hub: HuggingFaceCache, places, weights) -> None:
    data = weights(name="Tiny 3B Instruct")
    ollama.add("tiny/3b", data)
    ollama.add("alias/latest", data)
    link = hub.add("user/Tiny-GGUF", "Tiny-3B-Instruct-F32.gguf", data)
    (entry,) = listed(places=places)
    assert entry.digest == sha256(data)
    assert [(place.source, place.name) for place in entry.places] == [
        ("ollama", "alias:latest"),
        ("ollama", "tiny:3b"),
        ("huggingface", "user/Tiny-GGUF"),
    ]
    assert entry.places[2].path == str(link)


def test_a_copy_without_a_digest_joins_one_that_has_it(tmp_path: Path, hub: HuggingFaceCache, places, weights) -> None:
    data = weights(fill=3)
    hub.add("user/Tiny-GGUF", "Tiny-F32.gguf", data)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "copy.gguf").write_bytes(data)
    (entry,) = listed(tmp_path / "own", places=places)
    assert [place.source for place in entry.places] == [str(tmp_path / "own"), "huggingface"]
    assert entry.digest == sha256(data)


def test_digests_that_differ_keep_files_apart(hub: HuggingFaceCache, places, weights) -> None:
    hub.add("user/A-GGUF", "m-F32.gguf", weights(fill=1, rows=4096))
    hub.add("user/B-GGUF", "m-F32.gguf", weights(fill=2, rows=4096))
    assert len(listed(places=places)) == 2


def test_a_folder_that_is_configured_and_also_a_store(hub: HuggingFaceCache, places, weights) -> None:
    hub.add("user/A-GGUF", "m-F32.gguf", weights())
    (entry,) = listed(hub.root, places=places)
    assert [(place.source, place.name) for place in entry.places] == [(str(hub.root), "user/A-GGUF")]


def test_a_recent_file_keeps_its_source_and_stands_first(
    tmp_path: Path, ollama: OllamaStore, places, weights, model
) -> None:
    data = weights(name="Zeta")
    ollama.add("zeta/latest", data)
    model(tmp_path / "own" / "alpha-F32.gguf")
    blob = ollama.root / "blobs" / f"sha256-{sha256(data)}"
    first, second = listed(tmp_path / "own", places=places, recent=(str(blob),))
    assert (first.name, first.ref, first.source, len(first.places)) == (
        "zeta:latest",
        "ollama:zeta:latest",
        "ollama",
        1,
    )
    assert second.name == "alpha"


def test_broken_files_are_never_taken_for_copies(tmp_path: Path) -> None:
    for name in ("a-F32.gguf", "b-F32.gguf"):
        (tmp_path / name).write_bytes(b"broken")
    assert len(listed(tmp_path)) == 2


def test_quantizations_are_grouped_across_folders(
    tmp_path: Path, ollama: OllamaStore, hub: HuggingFaceCache, home: Path, places, weights, model
) -> None:
    inside = {"name": "Tiny 3B Instruct", "basename": "Tiny", "size_label": "3B", "finetune": "Instruct"}
    ollama.add("tiny/3b", weights(rows=4, **inside))
    hub.add("user/Tiny-3B-Instruct-GGUF", "Tiny-3B-Instruct-Q8_0.gguf", weights(rows=5, **inside))
    model(home / ".lmstudio/models/user/Tiny/tiny-3b-instruct-q4_0.gguf", rows=6)
    model(home / ".cache/llama.cpp/user_Tiny-3B-Instruct-GGUF_Tiny-3B-Instruct-Q6_K.gguf", rows=7)
    model(tmp_path / "own" / "Tiny-3B-Instruct-F32.gguf", rows=8)
    model(tmp_path / "own" / "Tiny-3B-F32.gguf", rows=9)
    entries = listed(tmp_path / "own", places=places)
    assert len(entries) == 6
    groups = {entry.group for entry in entries if entry.path != str(tmp_path / "own" / "Tiny-3B-F32.gguf")}
    assert len(groups) == 1
    assert len({entry.group for entry in entries}) == 2


def test_files_that_have_no_name_are_known_by_their_folder(tmp_path: Path, model) -> None:
    for rows, name in enumerate(("Tiny-Q4/model.gguf", "Tiny-Q8/ggml-model-Q8_0.gguf", "Other/model.gguf"), 5):
        model(tmp_path / name, rows=rows)
    groups = {Path(entry.path).parent.name: entry.group for entry in listed(tmp_path)}
    assert groups["Tiny-Q4"] == groups["Tiny-Q8"] != groups["Other"]


def test_incomplete_files_are_grouped_with_complete_ones(tmp_path: Path, model) -> None:
    model(tmp_path / "Tiny-3B-F32.gguf")
    model(tmp_path / "Tiny-3B-Q8_0-00002-of-00002.gguf")
    (tmp_path / "Tiny-3B-Q4_0.gguf").write_bytes(b"")
    entries = listed(tmp_path)
    assert len(entries) == 3
    assert len({entry.group for entry in entries}) == 1


def test_resolving_gives_the_entry_of_the_list(tmp_path: Path, ollama: OllamaStore, places, weights, model) -> None:
    own = tmp_path / "own"
    model(own / "Tiny-3B-Q8_0.gguf")
    ollama.add("tiny/3b", weights(name="Tiny 3B", rows=8))
    catalog = LibraryCatalog([own], find_demo_file=lambda: None, stores=tuple(STORES), places=places())
    before = {ref: catalog.resolve(ref) for ref in (str(own / "Tiny-3B-Q8_0.gguf"), "ollama:tiny:3b")}
    entries = {entry.ref: entry for entry in catalog.list_models()}
    assert {ref: replace(entry, source="", places=()) for ref, entry in before.items()} == {
        ref: replace(entry, source="", places=()) for ref, entry in entries.items()
    }
    assert {ref: catalog.resolve(ref) for ref in before} == entries
    blob = entries["ollama:tiny:3b"].path
    assert catalog.resolve(blob).name == "tiny:3b"
